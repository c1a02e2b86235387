"""What a run requires of the backend that evaluates a network, and how it fails to get it."""

from __future__ import annotations

import attrs
import torch

from emnist_diff.assembly.layout import Layout
from emnist_diff.engine.plan import evenly
from emnist_diff.errors import ConfigError
from emnist_diff.evaluators import Precision
from emnist_diff_plugins.contract import Workload


class Unsuitable(ConfigError):
    """A backend cannot serve a network here.  reason: why, without the name of the backend."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


@attrs.frozen(kw_only=True)
class Limits:
    """What a run requires of the backend that evaluates a network.

    device, precision, identity, threads: as of `Workload`.  variants: of the network, that the run evaluates.
    largest: the most rows that a nominal batch evaluates at once.  total: network rows of the whole run.
    rows: of a call, where the configuration says; None leaves them to the backend.
    """

    device: torch.device
    precision: Precision = "fp32"
    largest: int
    total: int
    rows: int | None = None
    threads: int = 1
    identity: str = ""
    variants: tuple[str, ...] = ("",)

    @classmethod
    def of(cls, layout: Layout, network: str, identity: str, device: torch.device) -> Limits:
        """What a run requires for its network of that name, in calls of as many rows as its settings say."""
        settings, plan = layout.settings, layout.plan
        return cls(
            device=device,
            precision="fp32" if settings.precision == "auto" else settings.precision,  # the only harmless one
            largest=plan.largest,
            total=plan.rows,
            rows=settings.micro_batch,
            threads=settings.threads or torch.get_num_threads(),
            identity=identity,
            variants=tuple(variant for name, variant in plan.networks if name == network),
        )

    def work(self, most: int) -> Workload:
        """The workload in equal calls of at most `most` rows, unless the configuration says how many."""
        rows = evenly(self.largest, most) if self.rows is None else self.rows
        return Workload(rows, self.device, self.precision, self.identity, self.threads)
