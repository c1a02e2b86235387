"""The trajectory file of a run, found beside what its other sinks write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np

from emnist_diff.errors import TrajectoryError
from emnist_diff.events import get_logger
from emnist_diff.frames import RunHeader
from emnist_diff_trajectory.identity import run_fingerprint
from emnist_diff_trajectory.reader import Trajectory

log = get_logger()


def trajectories_beside(header: RunHeader) -> Iterator[Trajectory]:
    """This worker's trajectory files in the directory of the run, by name, each open until the next is asked for.

    Whatever its recorder was told to call it, a file is this run's when it says so: see `is_of`. Others, and what is
    no trajectory, are passed over.
    """
    for path in sorted(header.output.glob(header.own_name("*.h5"))):
        with ExitStack() as stack:
            try:
                trajectory = stack.enter_context(Trajectory(path))
                ours = is_of(trajectory, header)
            except TrajectoryError as error:
                log.debug("sink.passed_over", file=str(path), error=str(error))
                continue
            if ours:
                yield trajectory


def is_of(trajectory: Trajectory, header: RunHeader) -> bool:
    """Whether the file holds samples of this very run, each in its place: all of them, or the first of a run that had
    fewer."""
    same = run_fingerprint(trajectory.config) == run_fingerprint(header.config)
    return same and np.array_equal(trajectory.ids, header.sample_ids[: len(trajectory)])
