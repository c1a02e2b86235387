"""What a run has chosen itself, where its settings leave it to choice: its seed and its backend."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import torch

from emnist_diff.assembly.assemble import Assembly, Parts
from emnist_diff.errors import ConfigError
from emnist_diff.events import get_logger
from emnist_diff.protocols import Denoiser
from emnist_diff.seeds import DrawnSeed
from emnist_diff.surroundings import Review

log = get_logger()


@attrs.frozen
class DrawnSeeds(Review):
    """Says which seed was drawn, and refuses one where each of several workers would draw its own."""

    def require(self, parts: Parts, denoisers: Mapping[str, Denoiser], device: torch.device) -> None:
        """`Review.require`. Raises `ConfigError`."""
        settings = parts.layout.settings
        if isinstance(settings.seed, DrawnSeed) and settings.world_size > 1:
            workers = settings.world_size
            raise ConfigError(f"seed random would be another for each of {workers} workers — give all one number")

    def report_assembly(self, assembly: Assembly) -> None:
        """`Review.report_assembly`."""
        if isinstance(assembly.config.seed, DrawnSeed):
            log.info("seed.drawn", seed=int(assembly.config.seed))


@attrs.frozen
class ChosenBackend(Review):
    """Says what evaluates the network; of why it is no better one, only what a user can act on, unless the log is to
    show more."""

    def report_assembly(self, assembly: Assembly) -> None:
        """`Review.report_assembly`."""
        chosen, rows = assembly.backend, assembly.plan.micro_batch
        hint = {"hint": chosen.hint} if chosen.hint else {}
        log.info("backend.chosen", backend=chosen.component.name, precision=chosen.precision, rows=rows, **hint)
        log.debug("backend.reason", reason=chosen.reason)
