"""What earlier runs left in a directory, as the readers of the registry tell it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from operator import attrgetter
from pathlib import Path

import attrs

from emnist_diff.components import make
from emnist_diff.config import ComponentConfig
from emnist_diff.plugins import Registry
from emnist_diff_trajectory.contract import EarlierRun, ReaderSpec, RunReader


@attrs.frozen(eq=False)
class Earlier:
    """All readers of the registry, in the order of their records."""

    readers: tuple[RunReader, ...]

    @classmethod
    def of(cls, registry: Registry) -> Earlier:
        """The installed readers."""
        entries = sorted(registry.of(ReaderSpec), key=attrgetter("spec.place"))
        return cls(tuple(make(registry, ReaderSpec, ComponentConfig(e.qualified)).object for e in entries))

    def runs(self, folder: Path, rank: int = 0, world_size: int = 1) -> Iterator[EarlierRun]:
        """What a worker of this rank left in a run's directory; a lone run has rank 0 of 1."""
        return chain.from_iterable(reader.runs(folder, rank, world_size) for reader in self.readers)

    def of_any_worker(self, folder: Path) -> EarlierRun | None:
        """What the first file in a run's directory says that any reader knows, whichever worker left it."""
        return next((run for path in sorted(folder.glob("*")) if (run := self.read(path)) is not None), None)

    def read(self, path: Path) -> EarlierRun | None:
        """What a file says of its run; None where no reader knows it, or it is damaged."""
        return next((run for reader in self.readers if (run := reader.read(path)) is not None), None)
