"""What trajectory files say of the runs that left them, for runs that come after."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs

from emnist_diff.errors import TrajectoryError
from emnist_diff.frames import worker_name
from emnist_diff_trajectory.contract import EarlierRun
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.workerfiles import OF_A_WORKER


@attrs.frozen
class TrajectoryReader:
    """A `emnist_diff_trajectory.contract.RunReader` of trajectory files."""

    def runs(self, folder: Path, rank: int, world_size: int) -> Iterator[EarlierRun]:
        """What the trajectory files of this worker say, by name."""
        for path in sorted(folder.glob(worker_name("*.h5", rank, world_size))):
            if world_size == 1 and OF_A_WORKER.fullmatch(path.name):
                continue
            if (run := self.read(path)) is not None:
                yield run

    def read(self, path: Path) -> EarlierRun | None:
        """What a trajectory file says; None for any other file, and for one that is damaged."""
        if path.suffix != ".h5":
            return None
        try:
            with Trajectory(path, index=False) as trajectory:
                environment = trajectory.environment
                joined = bool(trajectory.sources) or "workers" in environment
                return EarlierRun(path, trajectory.config, environment, len(trajectory), joined)
        except TrajectoryError:
            return None
