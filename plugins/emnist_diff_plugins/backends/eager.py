"""Torch as it is, set up as well as it can be without compiling anything."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from emnist_diff.conditions import RowConditions
from emnist_diff.direct import Direct, rows_of
from emnist_diff.errors import ConfigError
from emnist_diff.evaluators import Evaluator
from emnist_diff.protocols import Denoiser, offers
from emnist_diff_plugins.backends._cast import DTYPES, Cast
from emnist_diff_plugins.backends._cuda import arithmetic
from emnist_diff_plugins.backends._identity import structure_of
from emnist_diff_plugins.backends._packed_unet import PackedUNet, known
from emnist_diff_plugins.backends._streams import Cut, Network, Streams
from emnist_diff_plugins.backends._traced import traced
from emnist_diff_plugins.capabilities import Casts, Exportable
from emnist_diff_plugins.contract import Workload


@attrs.frozen
class Eager:
    """Torch as it is; on a CPU the networks of `unet2d` with packed weights, several parts of a call at once.

    Example: ``--backend eager --precision bf16``
    """

    rewrite: bool = attrs.field(
        default=True,
        metadata={"help": "on a CPU, evaluate networks of unet2d by faster sums of the same terms"},
    )

    def refusal(self, denoiser: Denoiser, work: Workload) -> str | None:
        """`contract.Backend`."""
        if work.device.type == "cpu" and work.precision == "fp16":
            return "processors have no fp16 arithmetic that torch uses — use --precision bf16"
        if work.precision != "fp32" and not (isinstance(denoiser, Exportable) or offers(denoiser, Casts)):
            return f"{type(denoiser).__name__} offers no network to be cast to {work.precision} — use --precision fp32"
        return None

    def evaluator(self, denoiser: Denoiser, work: Workload) -> Evaluator:
        """`contract.Backend`. Raises `ConfigError` where it refuses."""
        if reason := self.refusal(denoiser, work):
            raise ConfigError(f"backend 'eager' cannot serve here: {reason}")
        if offers(denoiser, Casts):
            denoiser.cast(work.precision)
        if work.device.type == "cpu" and isinstance(denoiser, Exportable):
            return _Parallel(denoiser, denoiser.shape, work, self.rewrite)
        if work.precision == "fp32" or not isinstance(denoiser, Exportable):
            plain: Evaluator = Direct.of(denoiser, work.rows, work.device, work.threads)
        else:
            plain = _Narrow(denoiser, work)
        return plain if work.device.type == "cpu" else _Exact(plain, work.rows)


@attrs.frozen(eq=False)
class _Exact:
    """`evaluators.Evaluator` on a GPU without TF32, to which torch's convolutions round their inputs by default."""

    plain: Evaluator
    most: int

    @property
    def rows(self) -> int:
        """`evaluators.Evaluator`."""
        return rows_of(self.plain, self.most)

    def __call__(self, x: Tensor, t: Tensor, conds: RowConditions) -> Tensor:
        with arithmetic(tf32=False):
            return self.plain(x, t, conds)


class _Parallel:
    """`evaluators.Evaluator` on a CPU: parts of a call beside each other, each on one thread, or on several where a
    part is one row; so bits do not depend on where a row stands, whatever the network (`onethread`).

    shape: of one state.  rewrite: whether networks of `unet2d` are replaced by `PackedUNet`.
    """

    def __init__(self, denoiser: Exportable, shape: tuple[int, ...], work: Workload, rewrite: bool) -> None:
        self.denoiser, self.shape, self.precision, self.rewrite = denoiser, shape, work.precision, rewrite
        self.cut = Cut.of(work.rows, work.threads)
        if rewrite and known(denoiser.module()):
            self.cut = self.cut.fewer(shape)
        self.rows, self.streams = self.cut.size, Streams(self.cut)
        self.networks: dict[str, Network] = {}
        self.variant("")

    def __call__(self, x: Tensor, t: Tensor, conds: RowConditions) -> Tensor:
        return self.streams(self.variant(conds.variant), x, t, conds.index)

    def variant(self, name: str) -> Network:
        """The network's variant, set up."""
        if name not in self.networks:
            self.networks[name] = self.streams.run(lambda: self._network(name))
        return self.networks[name]

    def _network(self, variant: str) -> Network:
        network = self.denoiser.module(variant)
        if not (self.rewrite and known(network)):
            return Cast(network, DTYPES[self.precision])
        rows, shape = self.cut.size, self.shape
        key = (structure_of(network), rows, shape, self.cut.threads == 1, self.precision)
        with torch.inference_mode():
            packed = PackedUNet(network, rows, (shape[1], shape[2]), DTYPES[self.precision])
            times = torch.zeros(rows)
            return traced(packed, (torch.zeros(rows, *shape), times, times.long()), key)


class _Narrow:
    """`evaluators.Evaluator` of a network with its weights in a narrower type, one copy a variant."""

    def __init__(self, denoiser: Exportable, work: Workload) -> None:
        self.denoiser, self.rows, self.dtype = denoiser, work.rows, DTYPES[work.precision]
        self.networks: dict[str, Cast] = {}

    def __call__(self, x: Tensor, t: Tensor, conds: RowConditions) -> Tensor:
        if conds.variant not in self.networks:
            self.networks[conds.variant] = Cast(self.denoiser.module(conds.variant), self.dtype)
        network, rows = self.networks[conds.variant], self.rows
        parts = [slice(start, start + rows) for start in range(0, len(x), rows)]
        return torch.cat([network(x[part], t[part], conds.index[part]) for part in parts])
