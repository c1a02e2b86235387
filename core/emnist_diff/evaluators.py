"""Evaluators, which a backend makes of a denoiser, and the work that they have to be ready for."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import attrs

from emnist_diff.errors import ConfigError

if TYPE_CHECKING:  # the contracts can be read without paying for torch
    import torch
    from torch import Tensor

    from emnist_diff.components import Component
    from emnist_diff.conditions import RowConditions
    from emnist_diff.plugins import Registry
    from emnist_diff.protocols import Denoiser


Precision = Literal["fp32", "bf16", "fp16"]
"""What a network computes in. States, noise, sums and files are float32 whatever the network does."""


@attrs.frozen
class Workload:
    """What a backend has to be ready for.

    rows: of a call at most, constant in the run.  device: where states are.  precision: what the network computes in.
    identity: a hash of network and weights, for caches; "" where nothing is known.
    threads: of the CPU, for this process.
    """

    rows: int
    device: torch.device
    precision: Precision = "fp32"
    identity: str = ""
    threads: int = 1


class HasRows(Protocol):
    """An evaluator that cuts calls into parts, and is called for whole parts."""

    @property
    def rows(self) -> int:
        """How many rows a part has; without, `Workload.rows`."""


class Evaluator(Protocol):
    """A denoiser on a backend. It may also be `HasRows`."""

    def __call__(self, x: Tensor, t: Tensor, conds: RowConditions) -> Tensor:
        """The predictions of k · rows rows, float32 and contiguous.

        x: (k·rows, *shape) float32.  t: (k·rows,) float32 timesteps.  conds.index: (k·rows,).  k may differ from call
        to call. A row's value depends on its own inputs and on `Workload`, and on nothing else: neither on its
        neighbours nor on k.
        """


@runtime_checkable
class Backend(Protocol):
    """What a `BackendSpec` names: an attrs class of settings that makes a denoiser ready to be asked."""

    def refusal(self, denoiser: Denoiser, work: Workload) -> str | None:
        """Why it cannot serve this denoiser here (a library, the precision, the device), with the way out; or None.
        Cheap: imports nothing heavy."""

    def evaluator(self, denoiser: Denoiser, work: Workload) -> Evaluator:
        """The denoiser, set up. Raises `PluginError` or `ConfigError` with the way out."""


class Unsuitable(ConfigError):
    """A backend cannot serve a network here.  reason: why, without the name of the backend."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class MemoryShort(ConfigError):
    """A device's memory does not hold a call of a network, however few its rows may be."""


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

    def work(self, most: int) -> Workload:
        """The workload in equal calls of at most `most` rows, unless the configuration says how many."""
        rows = evenly(self.largest, most) if self.rows is None else self.rows
        return Workload(rows, self.device, self.precision, self.identity, self.threads)


def evenly(rows: int, most: int) -> int:
    """The rows of a call, when `rows` of them are split into as few equal calls of at most `most` as can be."""
    return math.ceil(rows / math.ceil(rows / most))


@attrs.frozen(eq=False)
class Prepared:
    """A network on a backend.

    evaluator: what evaluates it.  rows: of a call.  precision: what it computes in.
    component: the backend.  requires: the modules that it needs, whose versions are recorded.
    reason: why this backend was chosen, and not a better one.  hint: what a user can do for a better one, or "".
    """

    evaluator: Evaluator
    rows: int
    precision: Precision
    component: Component
    requires: tuple[str, ...] = ()
    reason: str = "asked for"
    hint: str = ""


@runtime_checkable
class Chooser(Protocol):
    """What a `ChooserSpec` names: takes a backend where a configuration says ``auto``."""

    def choose(self, registry: Registry, limits: Limits, attempt: Callable[..., Prepared]) -> Prepared:
        """The network on the backend that is taken.

        attempt: ``attempt(name, **settings)`` prepares the network on a backend. Raises `Unsuitable` where that one
        refuses, `MemoryShort` where the device's memory does not hold even one row, and what else the backend raises.
        """
