"""An engine at work on one batch."""

from __future__ import annotations

from typing import Any

import attrs
import torch
from torch import Tensor

from emnist_diff.conditions import Cond
from emnist_diff.engine.calls import PackedCalls
from emnist_diff.engine.checks import Checks
from emnist_diff.engine.memory import Memory
from emnist_diff.engine.noise import INITIAL
from emnist_diff.engine.state import INITIAL_STREAM, Batch, Engine, WalkState
from emnist_diff.errors import RunFailed
from emnist_diff.frames import run_fields
from emnist_diff.shortage import described
from emnist_diff.timeline import StepInfo


@attrs.frozen(eq=False)
class BatchEngine:
    """An engine for the samples of one batch: a step depends on it and on the `WalkState` alone.

    labels: (B,) own class indices, on the device.  fields: that a frame can hold, in order.
    packed: calls by the conditions that they serve and whether they can be differentiated, set up when a step reads
    these for the first time.
    """

    engine: Engine
    batch: Batch
    labels: Tensor
    checks: Checks
    fields: tuple[str, ...]
    packed: dict[tuple[tuple[Cond, ...], bool], PackedCalls] = attrs.field(factory=dict)

    @classmethod
    def of(cls, engine: Engine, batch: Batch) -> BatchEngine:
        """The engine at work on a batch."""
        labels = torch.tensor(batch.labels, dtype=torch.int64, device=engine.device)
        fields = run_fields([force.name for force in engine.forces], [drift.name for drift in engine.drifts])
        return cls(engine, batch, labels, Checks(batch.sample_ids), fields)

    def begin(self) -> WalkState:
        """Where a walk begins: noise, and nothing remembered."""
        return WalkState(0, self.noise(INITIAL, INITIAL_STREAM), {})

    def calls(self, conds: tuple[Cond, ...], differentiable: bool) -> PackedCalls:
        """The calls for some conditions."""
        key = conds, differentiable
        if key not in self.packed:
            self.packed[key] = PackedCalls.of(self.engine, self.batch, *key)
        return self.packed[key]

    def noise(self, step: int, stream: str) -> Tensor:
        """(B, *shape) standard normal noise of a stream."""
        batch, engine = self.batch, self.engine
        try:
            drawn = engine.normal(batch.seeds, batch.sample_ids, step, stream, engine.shape)
            return drawn.to(engine.device, non_blocking=engine.device.type == "cuda")
        except (RuntimeError, MemoryError) as error:
            raise RunFailed(f"{described('drawing noise', error)} (step {step})") from error

    def handed(self, at: StepInfo, x: Tensor, scope: str, memory: Memory, suffix: str = "") -> dict[str, Any]:
        """What the step of any role holds, for the component of a scope: its streams of noise are its own, whatever it
        calls them.  suffix: sets the noise of further evaluations apart from that of the first."""
        return {
            "at": at,
            "x": x,
            "labels": self.labels,
            "sample_ids": self.batch.sample_ids,
            "noise": lambda stream="": self.noise(at.index, f"{scope}{suffix}/{stream}"),
            "memory": memory.of(scope),
            "prediction_type": self.engine.denoisers[""].prediction_type,
        }
