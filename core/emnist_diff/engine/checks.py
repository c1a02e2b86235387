"""Components under guard: what they raise is named, and what they return is judged before it is used."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager

import attrs
import torch
from torch import Tensor

from emnist_diff.errors import RunFailed, blame
from emnist_diff.shortage import described
from emnist_diff.timeline import StepInfo


def blamed_on(label: str, at: StepInfo) -> AbstractContextManager[None]:
    """Whatever is raised inside becomes a `RunFailed` that names the component and the step.

    label: how messages call it. Errors of this package pass as they are.
    """
    return blame(RunFailed, lambda error: f"{described(label, error)} (step {at.index})")


def require_tensor(value: object, label: str, at: StepInfo) -> None:
    """Raise `RunFailed` where a component returned all but a tensor."""
    if not isinstance(value, Tensor):
        raise RunFailed(f"{label} returned {type(value).__name__} instead of a tensor (step {at.index})")


@attrs.define(eq=False)
class Checks:
    """The checks of the walk of one batch. A wrong trajectory is worse than none: they are made at every step.

    On a CPU a value is judged at once. Elsewhere that would wait for all work that was queued, at every step, and so
    values that are not finite are kept on the device until `settle`. sample_ids: (B,) of the batch.
    """

    sample_ids: Sequence[int]
    _kept: list[tuple[Tensor, str, int]] = attrs.field(init=False, factory=list)

    def require_state(self, value: Tensor, like: Tensor, label: str, at: StepInfo) -> None:
        """Raise `RunFailed` where a component returned all but a finite tensor like `like`, of its shape and device."""
        require_tensor(value, label, at)
        if value.shape != like.shape:
            raise RunFailed(
                f"{label} returned shape {tuple(value.shape)} instead of {tuple(like.shape)} (step {at.index})"
            )
        if value.device != like.device:
            raise RunFailed(
                f"{label} returned a tensor on {value.device} instead of {like.device} (step {at.index}) — "
                "tensors are made with device=step.x.device"
            )
        self.require_finite(value, label, at.index)

    def require_finite(self, value: Tensor, label: str, step: int) -> None:
        """Judge what a component returned at a step, (B, *shape). Raises `RunFailed`, at once or in `settle`."""
        if value.device.type != "cpu":
            self._kept.append((_not_finite(value), label, step))
        elif not math.isfinite(value.sum().item()):  # which finite values can bring about too, by their size
            self._judge(_not_finite(value), label, step)

    def settle(self) -> None:
        """Judge what was kept, in the order in which it was seen. Raises `RunFailed` for the first."""
        if not self._kept:
            return
        flags = torch.stack([flag for flag, _, _ in self._kept]).cpu()
        for flag, (_, label, step) in zip(flags, self._kept, strict=True):
            self._judge(flag, label, step)
        self._kept.clear()

    def _judge(self, bad: Tensor, label: str, step: int) -> None:
        """bad: (B,), which samples are not finite."""
        if bad.any():
            ids = ", ".join(str(self.sample_ids[b]) for b in bad.nonzero().flatten().tolist()[:8])
            raise RunFailed(
                f"{label} returned non-finite values (step {step}, sample {ids}) — "
                "lower its weight or the guidance scale"
            )


def _not_finite(value: Tensor) -> Tensor:
    """(B,), for values (B, *shape)."""
    return ~torch.isfinite(value.reshape(len(value), -1)).all(1)
