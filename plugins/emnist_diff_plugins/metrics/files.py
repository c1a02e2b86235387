"""The two tables of a run while they grow: rows are added at each commit, and a resumed run goes on after the last."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from emnist_diff.errors import OutputError
from emnist_diff.frames import RunHeader
from emnist_diff_plugins.metrics.growing import LINES, GrowingLines, finished
from emnist_diff_plugins.metrics.record import Run
from emnist_diff_plugins.metrics.tables import Table, csv_header, csv_rows, read_csv
from emnist_diff_plugins.sinks._folder import rewrite
from emnist_diff_plugins.sinks._mark import NAME, Mark
from emnist_diff_trajectory.files import make_folder, sync_file, write_at, write_bytes
from emnist_diff_trajectory.lock import WriterLock
from emnist_diff_trajectory.occupied import occupied

FOLDER = "metrics"
VIDEOS, STEPS, SUMMARY = "video_metrics.csv", "step_metrics.csv", "inference_metrics.json"


@attrs.define(eq=False)
class GrowingTables:
    """``metrics/video_metrics.csv`` and ``metrics/step_metrics.csv`` of one worker.

    A sample's row in the first is written after its rows in the second and says that these are complete. Nothing that
    is there is written again, so a commit costs the same at the end of a long run as at its beginning.

    done: ids of the samples that were complete when the tables were opened.  lines: where the run's JSON lines are kept
    too, see `growing`.
    """

    videos: Path
    steps: Path
    summary: Path
    done: frozenset[int]
    lines: GrowingLines | None
    _lock: WriterLock
    _fsync: bool

    @classmethod
    def open(cls, header: RunHeader, run: Run, settings: Mapping[str, Any], lines: bool = False) -> GrowingTables:
        """The tables of a run, ready to grow.

        settings: of the sink, which a resumed run must repeat.  lines: whether to keep JSON lines too.
        Raises `OutputError` when there are some and the run neither resumes nor overwrites, when they are another
        run's, when another writer is at work, or when the directory cannot be written.
        """
        folder = header.output / FOLDER
        videos, steps, summary = (folder / header.own_name(name) for name in (VIDEOS, STEPS, SUMMARY))
        mark, ours = folder / header.own_name(NAME), Mark.of(header, settings)
        if videos.exists() and not (header.resume or header.overwrite):
            raise occupied(videos, run=header.output)
        try:
            make_folder(folder, sync=header.fsync)
            mark.touch()
            lock = WriterLock(mark)
        except OSError as error:
            raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error
        try:
            again = header.resume and videos.exists()
            if again and (reason := ours.refusal(mark.read_bytes())):
                raise OutputError(f"{videos} {reason} — repeat that run's settings, or use --overwrite")
            done, text = (
                _kept(videos, steps, len(header.timeline)) if again else frozenset(),
                folder / header.own_name(LINES),
            )
            done &= finished(text) if lines else done
            if not again:  # whatever stops this now, no rows stand there that the mark does not speak of
                for old in (summary, videos, steps, text):
                    old.unlink(missing_ok=True)
            if mark.read_bytes() != (content := ours.to_bytes()):
                rewrite(mark, content, sync=header.fsync)
            _begin(steps, run.step_columns, done, header.fsync)
            _begin(videos, run.video_columns, done, header.fsync)
            growing = GrowingLines.open(text, header, done) if lines else None
        except BaseException as error:
            lock.release()
            if isinstance(error, OSError):
                raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error
            raise
        return cls(videos, steps, summary, done, growing, lock, header.fsync)

    def append(self, videos: Table, steps: Table) -> None:
        """Add the rows of finished samples. Raises `OutputError`."""
        for path, table in ((self.steps, steps), (self.videos, videos)):
            try:
                with path.open("r+b", buffering=0) as file:
                    write_at(file, file.seek(0, os.SEEK_END), csv_rows(table).encode())
                    if self._fsync:
                        sync_file(file)
            except OSError as error:
                raise OutputError(f"cannot write {path}: {error.strerror or error}") from error

    def release(self) -> None:
        """Let others write here."""
        self._lock.release()


def _kept(videos: Path, steps: Path, count: int) -> frozenset[int]:
    """Ids of the samples that are in the first table and have all their rows in the second."""
    if not steps.exists():
        return frozenset()
    numbers, rows = np.unique(np.asarray(read_csv(steps)["vid_id"], dtype=np.int64), return_counts=True)
    whole = set(numbers[rows == count].tolist())
    return frozenset(whole & set(np.asarray(read_csv(videos)["vid_id"], dtype=np.int64).tolist()))


def _begin(path: Path, columns: Iterable[str], done: frozenset[int], sync: bool) -> None:
    """A table with the rows of these samples alone: what a kill cut off, or left without its other half, goes."""
    names = list(columns)
    text = csv_header(names)
    if done:
        table = read_csv(path)
        kept = np.isin(np.asarray(table["vid_id"], dtype=np.int64), list(done))
        text += csv_rows({name: table[name][kept] for name in names})
    write_bytes(path, text.encode(), sync=sync)
