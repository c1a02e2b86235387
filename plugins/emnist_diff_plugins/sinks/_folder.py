"""A folder that receives one or more files a sample: which run may write to it, and which samples it already holds."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from emnist_diff.errors import OutputError
from emnist_diff.frames import RunHeader
from emnist_diff_plugins.sinks._mark import NAME, Mark
from emnist_diff_trajectory.filenames import of_class
from emnist_diff_trajectory.files import make_folder, sync_file, write_at, write_files
from emnist_diff_trajectory.lock import WriterLock
from emnist_diff_trajectory.occupied import whose
from emnist_diff_trajectory.temporary import is_abandoned

_OF_A_SAMPLE = re.compile(r"\.?v(\d{3,})[_.].*")
_IMAGE = re.compile(r"\.?[0-9A-Za-z-]+_(\d{6,})(?:_[0-9A-Za-z-]+)?\.png(?:\..*)?")
IMAGES = "images"
"""The folder whose files are named for people, see `image_name`."""
_SHOWN = 30
"""Characters of a condition that stand in the name of an image."""
_OCCUPIED = "{} already has files of samples{} — use --resume to continue it or --overwrite to replace them"


def sample_name(number: int) -> str:
    """``v007``: how the files of the sample with this id begin."""
    return f"v{number:03d}"


def image_name(model: str, number: int, condition: str | None) -> str:
    """``unet2d_000007_A.png``: the file of a sample's image, with the beginning of what it shows in ASCII letters,
    digits and dashes. `number` alone tells the samples of a run apart.  condition: None where it decides nothing."""
    parts = [_safe(model) or "model", f"{number:06d}"]
    if condition is not None:
        parts.append(_safe(condition[:_SHOWN]) or of_class(condition))
    return "_".join(parts) + ".png"


def _safe(text: str) -> str:
    ascii_letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^0-9A-Za-z]+", "-", ascii_letters)[:_SHOWN].strip("-")


def sample_number(folder: str, name: str) -> int | None:
    """The id of the sample that a file of this name in a sink's folder belongs to; None for other files."""
    match = (_IMAGE if folder == IMAGES else _OF_A_SAMPLE).fullmatch(name)
    return int(match[1]) if match else None


@attrs.frozen(eq=False)
class Folder:
    """A folder in a run's directory, held by one run; `release` it at the end.

    A hidden file in it says which run's samples these are, and with which settings they were written. That file is
    locked while the run goes on: several workers share a folder, and each has one of its own.
    """

    path: Path
    complete: frozenset[int]
    """Ids of the samples whose files were all there when the folder was opened."""
    _lock: WriterLock
    _fsync: bool

    @classmethod
    def open(
        cls,
        header: RunHeader,
        name: str,
        settings: Mapping[str, Any],
        files: Callable[[int], Iterable[str]],
    ) -> Folder:
        """The folder `name` of the run.

        settings: of the sink, which a resumed run must repeat.  files: the names that a sample's id stands for.
        Raises `OutputError` when samples are there and the run neither resumes nor overwrites, when they are another
        run's, when another writer is at work, or when the directory cannot be written.
        """
        path = header.output / name
        mark, ours = path / header.own_name(NAME), Mark.of(header, settings)
        content = ours.to_bytes()
        try:
            make_folder(path, sync=header.fsync)
            present = _listed(path, header)
            if present and not (header.resume or header.overwrite):
                raise OutputError(_OCCUPIED.format(path, whose(header.output)))
            known = mark.read_bytes() if mark.exists() else None
            if header.resume and present and (reason := ours.refusal(known)):
                raise OutputError(f"{path} {reason} — repeat that run's settings, or use --overwrite")
            if known is None:
                mark.touch()
            lock = WriterLock(mark)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
        try:
            for file in present:
                if header.overwrite or is_abandoned(path / file):
                    (path / file).unlink(missing_ok=True)
            if known != content:
                rewrite(mark, content, sync=header.fsync)
        except OSError as error:
            lock.release()
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
        whole = {file for file, size in present.items() if size} if header.resume else set()
        ids = {number for file in whole if (number := sample_number(name, file)) is not None}
        return cls(path, frozenset(n for n in ids if whole.issuperset(files(n))), lock, header.fsync)

    def write(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Files by name and content, each whole or not at all. Raises `OutputError`."""
        write_files(self.path, files, sync=self._fsync)

    def release(self) -> None:
        """Let others write here."""
        self._lock.release()


def rewrite(mark: Path, content: bytes, *, sync: bool) -> None:
    """Replace the content of a file in place, because the lock is on this very file. Raises `OSError`."""
    with mark.open("r+b", buffering=0) as file:
        write_at(file, 0, content)
        file.truncate()
        if sync:
            sync_file(file)


def _listed(path: Path, header: RunHeader) -> dict[str, int]:
    """The files of this worker's samples in a folder, leftovers of a kill among them, and their sizes.

    A lone worker has all samples, those that an earlier and larger run left included.
    """
    ids = set(np.asarray(header.sample_ids).tolist())
    out = {}
    for entry in os.scandir(path):
        number = sample_number(path.name, entry.name)
        if number is not None and (header.world_size == 1 or number in ids) and entry.is_file(follow_symlinks=False):
            out[entry.name] = entry.stat(follow_symlinks=False).st_size
    return out
