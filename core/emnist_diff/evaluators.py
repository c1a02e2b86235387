"""Evaluators, which a backend makes of a denoiser, and the work that they have to be ready for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import attrs

if TYPE_CHECKING:  # the contracts can be read without paying for torch
    import torch
    from torch import Tensor

    from emnist_diff.conditions import RowConditions
    from emnist_diff.protocols import Denoiser


Precision = Literal["fp32", "bf16", "fp16"]
"""What a network computes in. States, noise, sums and files are float32 whatever the network does."""


@attrs.frozen
class Workload:
    """What a backend has to be ready for.

    rows: of a call at most, constant in the run.  calls: in the whole run, all workers counted.
    device: where states are, and what is asked is.  precision: what the network computes in.
    identity: a hash of network and weights, for caches; "" where nothing is known.
    threads: of the CPU, for this process.
    """

    rows: int
    device: torch.device
    precision: Precision = "fp32"
    calls: int = 1
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
