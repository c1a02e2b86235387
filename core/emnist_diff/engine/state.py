"""What a walk needs, the samples that it walks, and where it stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs
import torch
from torch import Tensor

from emnist_diff.brief import briefly
from emnist_diff.direct import Direct
from emnist_diff.engine.base import Base
from emnist_diff.engine.noise import Normal, batch_normal
from emnist_diff.engine.plan import WeightedDrift, WeightedForce
from emnist_diff.errors import RunFailed, blame
from emnist_diff.evaluators import Evaluator
from emnist_diff.protocols import Denoiser, Scheduler
from emnist_diff.shortage import described
from emnist_diff.timeline import Timeline

INITIAL_STREAM = "init"
"""The stream of noise that starting states are drawn from."""


@briefly
@attrs.frozen(eq=False)
class Engine:
    """All that a walk needs beside the samples.

    denoisers: by name; ``""`` is the main one, which gives the state its shape and decodes it.
    evaluators: the same denoisers on a backend, made for `micro_batch` rows; those left out are asked directly.
    micro_batch: rows of a network call at most. An evaluator computes as many at a time, or an equal part of them, and
    its last call is filled up. A row's last bits depend on the row count of its call and not on its neighbours, so a
    constant count makes trajectories independent of how samples are batched.
    normal: what draws noise; `noise.batch_normal`, or the same by another way.
    decoder: what makes images of states, as `Prepared.decoder`; the main denoiser itself for None.
    """

    denoisers: Mapping[str, Denoiser]
    scheduler: Scheduler
    timeline: Timeline
    base: Base
    forces: Sequence[WeightedForce] = ()
    drifts: Sequence[WeightedDrift] = ()
    micro_batch: int = 32
    device: torch.device = attrs.field(factory=lambda: torch.device("cpu"))
    evaluators: Mapping[str, Evaluator] = attrs.field(factory=dict)
    normal: Normal = batch_normal
    decoder: Callable[[Tensor], Tensor] | None = None

    def evaluator(self, name: str) -> Evaluator:
        """What evaluates the denoiser of that name."""
        return self.evaluators.get(name) or Direct(self.denoisers[name], self.micro_batch)

    def differentiable(self, name: str) -> Evaluator:
        """The same without a backend, for few of them can be differentiated, on one thread of a CPU."""
        return Direct.of(self.denoisers[name], self.micro_batch, self.device, threads=1)

    def decode(self, x: Tensor) -> Tensor:
        """Images in [0, 1], (B, C, H, W), of states (B, *shape). Raises `RunFailed` for a decoder that raises."""
        decode = self.decoder or self.denoisers[""].decode
        with torch.inference_mode(), blame(RunFailed, lambda error: described("decoding", error)):
            return decode(x)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one state."""
        return self.denoisers[""].shape


@attrs.frozen
class Batch:
    """Samples walked together: positions in the run, ids, own class indices, and the seed of each."""

    positions: tuple[int, ...]
    sample_ids: tuple[int, ...]
    labels: tuple[int, ...]
    seeds: tuple[int, ...]


@attrs.frozen(eq=False)
class WalkState:
    """A walk between two steps: all that the rest of it depends on.

    index: of the next step.  x: the state, (B, *shape).
    memory: what the components remember, by ``scope/name``: the scheduler's scope is ``scheduler``, that of a force or
    drift the one of its noise.
    """

    index: int
    x: Tensor
    memory: Mapping[str, Tensor]
