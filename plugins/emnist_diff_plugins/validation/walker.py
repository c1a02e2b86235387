"""Samples of a denoiser that somebody else holds, by the engine of runs: the same noise for the same ids each time, so
that what differs between two pictures is the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import attrs
import torch
from torch import Tensor

from emnist_diff.assembly.layout import Layout, bound_scheduler, lay_out
from emnist_diff.components import make
from emnist_diff.config import RunConfig
from emnist_diff.engine.base import Base
from emnist_diff.engine.state import Batch, Engine
from emnist_diff.engine.walk import walk
from emnist_diff.frames import BatchResult, Frame
from emnist_diff.plugins import Registry
from emnist_diff.protocols import Denoiser
from emnist_diff.records import SchedulerSpec
from emnist_diff_plugins.decoding import decoded
from emnist_diff_plugins.reviews.declared import require_declared

Stop = Callable[[], bool]
"""Whether there is no time for more pictures."""

_BATCH, _ROWS = 16, 32
"""Samples that are walked together, and rows of a network call at most."""


@attrs.frozen(eq=False)
class Walker:
    """layout: what the settings mean for the denoiser.  engine: walks it."""

    layout: Layout
    engine: Engine

    @classmethod
    def of(cls, denoiser: Denoiser, settings: RunConfig, registry: Registry, device: torch.device) -> Walker:
        """What walks as a run with these settings would.

        Raises the errors of `components.make` and `layout.lay_out`: `ConfigError`, `UnknownName`, `PluginError`.
        """
        component = make(registry, SchedulerSpec, settings.scheduler)
        scheduler = bound_scheduler(component, denoiser.process, denoiser.prediction_type)
        label, settings = component.label("scheduler"), attrs.evolve(settings, device=str(device))
        layout = lay_out(registry, settings, {"": denoiser.conditions}, scheduler, label)
        require_declared(layout.plan.networks, {"": denoiser})
        engine = layout.engine({"": denoiser}, device)
        return cls(layout, attrs.evolve(engine, micro_batch=_ROWS, decoder=partial(decoded, denoiser)))

    def guided(self, scale: float) -> Walker:
        """The same with another guidance scale."""
        return attrs.evolve(self, engine=attrs.evolve(self.engine, base=Base("cfg", scale)))

    def walked(
        self, labels: Sequence[int], stop: Stop, moments: frozenset[int] = frozenset()
    ) -> Iterator[Frame | BatchResult]:
        """Samples of these classes, a batch after the other, ended where `stop` says so.  moments: steps whose frames
        hold ``x`` and ``x0``."""
        wanted, seed = frozenset({"x", "x0"}), self.layout.settings.seed
        for start in range(0, len(labels), _BATCH):
            if stop():
                return
            ids = tuple(range(start, min(start + _BATCH, len(labels))))
            batch = Batch(ids, ids, tuple(labels[i] for i in ids), (int(seed),) * len(ids))
            yield from walk(self.engine, batch, lambda at: wanted if at.index in moments else frozenset())

    def samples(self, labels: Sequence[int], stop: Stop) -> tuple[Tensor, Tensor] | None:
        """States (N, *shape) and images (N, C, H, W) in [0, 1] of samples of these classes; None where `stop` says on
        the way that there is no time for them."""
        done = [event for event in self.walked(labels, stop) if isinstance(event, BatchResult)]
        if sum(len(result.positions) for result in done) < len(labels):
            return None
        return torch.cat([result.x for result in done]), torch.cat([result.images for result in done])
