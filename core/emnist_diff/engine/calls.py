"""One packed evaluation of all networks that a step asks: rows and calls."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from emnist_diff.conditions import Cond, Group, Packing, RowConditions, pack
from emnist_diff.direct import rows_of
from emnist_diff.engine.checks import blamed_on
from emnist_diff.engine.state import Batch, Engine
from emnist_diff.evaluators import Evaluator
from emnist_diff.parameterization import convert
from emnist_diff.timeline import PredictionType, StepInfo


@attrs.frozen(eq=False)
class NetworkCall:
    """The rows of one network, padded to as many as its evaluator computes at a time; the last row is repeated.

    denoiser: its name.  predicts, wanted: what it predicts, and what the main network does.
    rows: (R',) sample positions.  conds: their conditions.  count: R, without padding.
    """

    denoiser: str
    evaluator: Evaluator
    predicts: PredictionType
    wanted: PredictionType
    rows: Tensor
    conds: RowConditions
    count: int

    @classmethod
    def of(cls, evaluator: Evaluator, group: Group, engine: Engine) -> NetworkCall:
        """The call that evaluates a group of rows."""
        count, rows = len(group.sample), rows_of(evaluator, engine.micro_batch)
        order = torch.arange(count + -count % rows, device=engine.device).clamp_(max=count - 1)
        conds = RowConditions(group.index[order], group.variant)
        predicts = engine.denoisers[group.denoiser].prediction_type
        wanted = engine.denoisers[""].prediction_type
        return cls(group.denoiser, evaluator, predicts, wanted, group.sample[order], conds, count)

    def __call__(self, x: Tensor, at: StepInfo) -> Tensor:
        """(R, *shape) predictions at x (B, *shape), as the main network would predict them."""
        with blamed_on(f"the denoiser {self.denoiser!r}" if self.denoiser else "the denoiser", at):
            t = torch.full((len(self.rows),), at.timestep, dtype=torch.float32, device=x.device)
            out = self.evaluator(x.index_select(0, self.rows), t, self.conds)[: self.count]
        if self.predicts != self.wanted:
            states = x.index_select(0, self.rows[: self.count])
            out = convert(out, states, at.rates, self.predicts, self.wanted)
        return out


@attrs.frozen(eq=False)
class PackedCalls:
    """The rows of some conditions and the calls that evaluate them, with all that does not change from step to step
    set up once."""

    packing: Packing
    calls: Sequence[NetworkCall]

    @classmethod
    def of(cls, engine: Engine, batch: Batch, conds: tuple[Cond, ...], differentiable: bool) -> PackedCalls:
        """The calls for these conditions of a batch.  differentiable: without backends, few of which can be
        differentiated."""
        spaces = {name: denoiser.conditions for name, denoiser in engine.denoisers.items()}
        evaluator = engine.differentiable if differentiable else engine.evaluator
        with torch.inference_mode(False):  # indices that autograd may keep
            packing = pack(conds, batch.labels, spaces, batch.sample_ids, engine.device)
            calls = [NetworkCall.of(evaluator(group.denoiser), group, engine) for group in packing.groups]
        return cls(packing, calls)

    def __call__(self, x: Tensor, at: StepInfo) -> list[Tensor]:
        """Each call's predictions at x (B, *shape)."""
        return [call(x, at) for call in self.calls]
