"""Going on with an earlier run by the same arithmetic and the same noise.

What the choices ``auto`` and ``random`` mean depends on the number of samples, or on chance: a run that goes on takes
them from the record of the earlier one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from emnist_diff.assembly.layout import Layout
from emnist_diff.assembly.record import output_of
from emnist_diff.config import AUTO, ComponentConfig, RunConfig
from emnist_diff.errors import ConfigError
from emnist_diff.events import get_logger
from emnist_diff.plugins import Registry
from emnist_diff.seeds import DrawnSeed
from emnist_diff.surroundings import Review
from emnist_diff_plugins.earlier import Earlier
from emnist_diff_trajectory.identity import EVALUATION, evaluation

log = get_logger()


@attrs.frozen
class ResumedRuns(Review):
    """Gives a run that is resumed the backend, precision, rows of a call and seed of the earlier one, where its own
    settings leave them to choice."""

    def resume(self, layout: Layout, registry: Registry) -> Layout:
        """`Review.resume`."""
        folder, earlier = output_of(registry, layout), Earlier.of(registry)
        settings = with_recorded_seed(as_before(layout.settings, folder, earlier), folder, earlier)
        layout = attrs.evolve(layout, settings=settings)
        return layout if settings.micro_batch is None else layout.with_rows(settings.micro_batch)


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


def with_recorded_seed(settings: RunConfig, folder: Path, earlier: Earlier) -> RunConfig:
    """The settings with the seed that any worker of the earlier run recorded, in place of one that was drawn."""
    run = earlier.of_any_worker(folder) if isinstance(settings.seed, DrawnSeed) else None
    seed = None if run is None else run.config.get("seed")
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 1 << 63:
        return settings
    log.info("seed.recorded", seed=seed)
    return attrs.evolve(settings, seed=seed)
