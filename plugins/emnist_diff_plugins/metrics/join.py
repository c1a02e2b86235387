"""Metrics of trajectory files, and of the tables that workers wrote, as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from emnist_diff.errors import OutputError, TrajectoryError
from emnist_diff.plugins import Registry
from emnist_diff_plugins.metrics.attention import attention_file
from emnist_diff_plugins.metrics.block import Block
from emnist_diff_plugins.metrics.files import FOLDER, STEPS, VIDEOS
from emnist_diff_plugins.metrics.lines import of_block
from emnist_diff_plugins.metrics.reading import BlockReader
from emnist_diff_plugins.metrics.record import Run, rows
from emnist_diff_plugins.metrics.scorers import SCORERS, scores
from emnist_diff_plugins.metrics.steps import FIELDS_OF, OF_A_FORCE
from emnist_diff_plugins.metrics.tables import Table, read_csv, sorted_by, stacked
from emnist_diff_plugins.metrics.times import Times, reports, wall_seconds
from emnist_diff_trajectory.reader import Trajectory


@attrs.frozen(eq=False)
class Measured:
    """Everything that was measured.

    videos, steps, scores: tables; `scores` is None where it was not asked for or there are no files to score.
    config: of the only run, or {run: config} of several.  wall_seconds: of the run, where its sink left them.
    lacking: of each file that lacks states of samples, a line that says of how many; of each that lacks fields, one
    that says which columns are empty for want of which.
    """

    videos: Table
    steps: Table
    scores: Table | None
    config: dict[str, Any]
    lacking: tuple[str, ...]
    wall_seconds: float | None = None


def measure(
    files: Sequence[Path],
    registry: Registry,
    checkpoint: str | None = None,
    scorers: Sequence[str] = tuple(SCORERS),
    lines: Callable[[Iterable[str]], object] | None = None,
) -> Measured:
    """Measure every committed sample of these files whose states are kept.

    scorers: names of `scorers.SCORERS`; none, and no scores are computed.  lines: takes the JSON lines of samples.
    Raises `TrajectoryError` for damaged files, when two hold the same sample of a run, and when there is no sample.
    """
    videos: list[Table] = []
    steps: list[Table] = []
    scored: list[Table] = []
    configs: dict[str, Any] = {}
    seen: dict[tuple[str, int], Path] = {}
    lacking: list[str] = []
    for file, reader in _readers(files, registry, checkpoint):
        run = Run.of(reader.header)
        configs[run.name] = reader.trajectory.config
        lacking += _lacking(reader.trajectory, reader.positions)
        times = Times(file, run.name)
        for block in reader:
            _once(seen, run.name, block, file)
            of_videos, of_steps = rows(run, block)
            times.fill(VIDEOS, of_videos)
            times.fill(STEPS, of_steps)
            videos.append(of_videos)
            steps.append(of_steps)
            if scorers and block.x is not None:
                scored.append(scores(run.name, block, scorers))
            if lines is not None:
                lines(of_block(run.name, block))
    if not videos:
        raise TrajectoryError(f"{', '.join(map(str, files))}: no committed sample whose states are kept")
    config = next(iter(configs.values())) if len(configs) == 1 else configs
    return Measured(
        sorted_by(stacked(videos), "run", "vid_id"),
        sorted_by(stacked(steps), "run", "vid_id", "step_index"),
        sorted_by(stacked(scored), "run", "vid_id", "step_index") if scored else None,
        config,
        tuple(lacking),
        wall_seconds(reports(files[0].parent / FOLDER), config) if len(configs) == 1 else None,
    )


def _readers(files: Sequence[Path], registry: Registry, checkpoint: str | None) -> Iterator[tuple[Path, BlockReader]]:
    """Files, each open until the next is asked for, with the attention of its run."""
    for file in files:
        with Trajectory(file) as trajectory, ExitStack() as stack:
            yield file, BlockReader(trajectory, registry, checkpoint, attention_file(stack, trajectory))


def join(folder: Path) -> Measured:
    """The tables that the workers of a run wrote into a directory, as one. Raises `OutputError` when there are none."""
    videos, steps = (_shards(folder, name) for name in (VIDEOS, STEPS))
    table = sorted_by(stacked([read_csv(path) for path in videos]), "run", "vid_id")
    numbers, counts = np.unique(np.asarray(table["vid_id"]), return_counts=True)
    if len(set(table["run"].tolist())) == 1 and (counts > 1).any():
        raise OutputError(f"{folder}: sample {numbers[counts > 1][0]} is in two of the tables")
    per_step = sorted_by(stacked([read_csv(path) for path in steps]), "run", "vid_id", "step_index")
    found = reports(folder)
    config = found[0]["config"] if found else {}
    return Measured(table, per_step, None, config, (), wall_seconds(found, config))


def _shards(folder: Path, name: str) -> list[Path]:
    stem, _, suffix = name.rpartition(".")
    found = sorted(folder.glob(f"{stem}-[0-9]*-of-[0-9]*.{suffix}"))
    if not found:
        raise OutputError(f"{str(folder)!r} holds no {stem}-RANK-of-WORLD.{suffix} — name trajectory files instead")
    return found


def _once(seen: dict[tuple[str, int], Path], run: str, block: Block, file: Path) -> None:
    for number in block.ids.tolist():
        if (run, number) in seen:
            raise TrajectoryError(f"{file} and {seen[run, number]} both hold sample {number} of one run — name one")
        seen[run, number] = file


def _lacking(trajectory: Trajectory, positions: Sequence[int]) -> Iterable[str]:
    """One line on samples, and one on fields, that the file was not told to keep."""
    left_out = len(trajectory.committed) - len(positions)
    if left_out and positions:
        total = len(trajectory.committed)
        yield f"{trajectory.path}: {left_out} of {total} samples left out, whose states are not kept"
    held = set(trajectory.fields)
    columns = [
        f"{', '.join(names)} ({fields})"
        for fields, names in FIELDS_OF.items()
        if not set(fields.split(" and ")) <= held
    ]
    forces, drifts = trajectory.config.get("forces"), trajectory.config.get("drifts")
    if "forces" not in held and forces:
        columns.append(f"force_…_{'|'.join(OF_A_FORCE)} (forces)")
    if "drifts" not in held and drifts:
        columns.append("drift_…_l2 (drifts)")
    if columns and positions:
        yield f"{trajectory.path}: empty for want of recorded fields: {'; '.join(columns)}"
