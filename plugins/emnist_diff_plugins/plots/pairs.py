"""A run's own file, and beside it that of what was captured from it afterwards."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np

from emnist_diff.errors import TrajectoryError
from emnist_diff_plugins.plots.attended import Attended
from emnist_diff_trajectory.attention import ATTENTION, beside, captured_from
from emnist_diff_trajectory.identity import fingerprint
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.structure import require_sound


def paired(file: Path) -> tuple[Path, Path | None]:
    """The file of a run and that of what was captured from it, whichever of them is named; a file that stands alone,
    and None."""
    source = captured_from(file)
    if source is not None and source.exists():
        return source, file
    captured = beside(file)
    return file, captured if source is None and captured.exists() else None


def attention_of(stack: ExitStack, trajectory: Trajectory, captured: Path | None) -> Attended | str:
    """What the network of a run attended to, from its own file or from the one beside it, open as long as `stack`; or
    what is missing, for `Plot.lacks`."""
    if captured is None:
        return Attended(trajectory) if _attends(trajectory) else f"attention (emnist-diff attend {trajectory.path})"
    redo = f"emnist-diff attend {trajectory.path} --overwrite"
    try:
        beside_it = stack.enter_context(Trajectory(captured))
        require_sound(beside_it)
    except TrajectoryError as error:
        return Attended(trajectory) if _attends(trajectory) else f"attention that can be read ({error}; {redo})"
    if not same_samples(trajectory, beside_it):
        return f"attention of this run: {captured} is of another ({redo})"
    return Attended(beside_it if _attends(beside_it) else trajectory)


def _attends(trajectory: Trajectory) -> bool:
    return any(name.partition("/")[0] == ATTENTION for name in trajectory.activations)


def same_samples(one: Trajectory, other: Trajectory) -> bool:
    """Whether both are of the same samples of one run."""
    return (
        fingerprint(one.config) == fingerprint(other.config)
        and np.array_equal(one.ids, other.ids)
        and np.array_equal(one.labels, other.labels)
        and np.array_equal(one.seeds, other.seeds)
        and one.steps == other.steps
    )
