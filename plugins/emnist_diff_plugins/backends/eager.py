"""Torch as it is, set up as well as it can be without compiling anything."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import attrs
import torch
from torch import Tensor

from emnist_diff.conditions import RowConditions
from emnist_diff.direct import Direct
from emnist_diff.errors import ConfigError
from emnist_diff.onethread import one_thread
from emnist_diff.protocols import Denoiser, Evaluator, Exportable, Precision, Workload
from emnist_diff_plugins.backends._cast import DTYPES, Cast
from emnist_diff_plugins.backends._cuda import arithmetic
from emnist_diff_plugins.backends._identity import structure_of
from emnist_diff_plugins.backends._packed_unet import PackedUNet
from emnist_diff_plugins.backends._streams import Cut, Network, Streams
from emnist_diff_plugins.backends._traced import traced
from emnist_diff_plugins.denoisers._unet import UNet


@attrs.frozen
class Eager:
    """Torch as it is; on a CPU the networks of `unet2d` with packed weights, several parts of a call at once.

    Example: ``--backend eager --precision bf16``
    """

    rewrite: bool = attrs.field(
        default=True,
        metadata={"help": "evaluate the networks that are known here by faster sums of the same terms, on a CPU"},
    )

    def refusal(self, denoiser: Denoiser, work: Workload) -> str | None:
        """`protocols.Backend`."""
        if work.device.type == "cpu" and work.precision == "fp16":
            return "processors have no fp16 arithmetic that torch uses — say --precision bf16"
        if work.precision != "fp32" and not isinstance(denoiser, Exportable):
            return f"{type(denoiser).__name__} offers no network to be cast to {work.precision} — say --precision fp32"
        return None

    def evaluator(self, denoiser: Denoiser, work: Workload) -> Evaluator:
        """`protocols.Backend`. Raises `ConfigError` where it refuses."""
        if reason := self.refusal(denoiser, work):
            raise ConfigError(f"backend 'eager' cannot serve here: {reason}")
        if work.device.type == "cpu" and isinstance(denoiser, Exportable):
            cut = Cut.of(work.rows, work.threads)
            if not (self.rewrite and isinstance(denoiser.module(), UNet)):
                return _Parallel(denoiser, work.precision, cut, _plain)
            return _Parallel(denoiser, work.precision, cut.fewer(denoiser.shape), _packed)
        if work.precision == "fp32" or not isinstance(denoiser, Exportable):
            plain: Evaluator = Direct(denoiser, work.rows)
        else:
            plain = _Narrow(denoiser, work)
        return plain if work.device.type == "cpu" else _Exact(plain)


@attrs.frozen(eq=False)
class _Exact:
    """`protocols.Evaluator` of a GPU whose float32 is that: by default convolutions round their inputs to TF32."""

    plain: Evaluator

    def __call__(self, x: Tensor, t: Tensor, conds: RowConditions) -> Tensor:
        with arithmetic(tf32=False):
            return self.plain(x, t, conds)


Make = Callable[[Exportable, str, Cut, Precision], Network]
"""A variant of a denoiser's network, for the parts of a call, in a precision."""


def _packed(denoiser: Exportable, variant: str, cut: Cut, precision: Precision) -> Network:
    """One that is known here, rewritten."""
    network = denoiser.module(variant)
    assert isinstance(network, UNet)
    x, times = torch.zeros(cut.size, *denoiser.shape), torch.zeros(cut.size)
    with torch.inference_mode(), one_thread("cpu") if cut.threads == 1 else nullcontext():
        made = PackedUNet(network, cut.size, denoiser.shape[1:], DTYPES[precision])
        key = (structure_of(network), variant, denoiser.shape, cut.size, cut.threads == 1, precision)
        return traced(made, (x, times, times.long()), key)


def _plain(denoiser: Exportable, variant: str, cut: Cut, precision: Precision) -> Network:
    """Any other, as it is."""
    return Cast(denoiser.module(variant), DTYPES[precision])


class _Parallel:
    """`protocols.Evaluator` on a CPU: parts of a call beside each other, each on one thread, or on several where a part
    is one row; so bits do not depend on where a row stands, whatever the network (`onethread`)."""

    def __init__(self, denoiser: Exportable, precision: Precision, cut: Cut, make: Make) -> None:
        self.denoiser, self.precision, self.cut, self.make = denoiser, precision, cut, make
        self.streams: dict[str, Streams] = {}
        self.variant("")

    def __call__(self, x: Tensor, t: Tensor, conds: RowConditions) -> Tensor:
        return self.variant(conds.variant)(x, t, conds.index)

    def variant(self, name: str) -> Streams:
        """The network's variant, set up."""
        if name not in self.streams:
            network = self.make(self.denoiser, name, self.cut, self.precision)
            self.streams[name] = Streams(network, self.cut)
        return self.streams[name]


class _Narrow:
    """`protocols.Evaluator` of a network with its weights in a narrower type, one copy a variant."""

    def __init__(self, denoiser: Exportable, work: Workload) -> None:
        self.denoiser, self.rows, self.dtype = denoiser, work.rows, DTYPES[work.precision]
        self.networks: dict[str, Cast] = {}

    def __call__(self, x: Tensor, t: Tensor, conds: RowConditions) -> Tensor:
        if conds.variant not in self.networks:
            self.networks[conds.variant] = Cast(self.denoiser.module(conds.variant), self.dtype)
        network, rows = self.networks[conds.variant], self.rows
        parts = [slice(start, start + rows) for start in range(0, len(x), rows)]
        return torch.cat([network(x[part], t[part], conds.index[part]) for part in parts])
