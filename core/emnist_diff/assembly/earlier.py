"""What earlier runs left in a directory, as the readers of the registry tell it; and going on with it by the same
arithmetic.

What the choices ``auto`` mean may depend on the number of samples, so that a run which goes on takes them from the
record of the earlier one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any

import attrs

from emnist_diff.components import make
from emnist_diff.config import AUTO, ComponentConfig, RunConfig
from emnist_diff.errors import ConfigError
from emnist_diff.events import get_logger
from emnist_diff.identity import EVALUATION, evaluation
from emnist_diff.plugins import Registry
from emnist_diff.records import ReaderSpec
from emnist_diff.surroundings import EarlierRun, RunReader

log = get_logger()


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


def as_before(settings: RunConfig, folder: Path, earlier: Earlier) -> RunConfig:
    """The settings with backend, precision and rows of a call as the earlier run in its directory had them, where they
    are left to choice; unchanged where no earlier run says."""
    left = earlier.runs(folder, settings.rank, settings.world_size)
    before = next((evaluation(run.config) for run in left), {})
    taken: dict[str, Any] = {}
    backend, precision, rows = (before.get(key) for key in EVALUATION)
    if settings.backend.name == AUTO and isinstance(backend, Mapping) and isinstance(backend.get("name"), str):
        chosen = backend.get("settings")
        taken["backend"] = ComponentConfig(backend["name"], settings=chosen if isinstance(chosen, dict) else {})
    if settings.precision == AUTO and isinstance(precision, str):
        taken["precision"] = precision
    if settings.micro_batch is None and isinstance(rows, int):
        taken["micro_batch"] = rows
    try:
        return attrs.evolve(settings, **taken)
    except (ConfigError, ValueError) as error:  # what is there is damaged: the sinks say so
        log.debug("run.not_continued", folder=str(folder), error=str(error))
        return settings
