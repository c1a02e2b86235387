"""Values that are not finite, found where they arise and without making a device wait for it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from emnist_diff.errors import RunFailed


@attrs.define(eq=False)
class FiniteWatch:
    """Looks at everything that components return in the walk of one batch.

    On a CPU a value is judged at once. Elsewhere that would wait for all work that was queued, at every step, and so
    what is wrong is kept on the device until `settle`. sample_ids: (B,) of the batch.
    """

    sample_ids: Sequence[int]
    _kept: list[tuple[Tensor, str, int]] = attrs.field(init=False, factory=list)

    def look(self, value: Tensor, what: str, step: int) -> None:
        """Look at what `what` returned at a step, (B, *shape). Raises `RunFailed`, at once or in `settle`."""
        if value.device.type != "cpu":
            self._kept.append((_not_finite(value), what, step))
        elif not math.isfinite(value.sum().item()):  # which finite values can bring about too, by their size
            self._judge(_not_finite(value), what, step)

    def settle(self) -> None:
        """Judge what was kept, in the order in which it was seen. Raises `RunFailed` for the first."""
        if not self._kept:
            return
        flags = torch.stack([flag for flag, _, _ in self._kept]).cpu()
        for flag, (_, what, step) in zip(flags, self._kept, strict=True):
            self._judge(flag, what, step)
        self._kept.clear()

    def _judge(self, bad: Tensor, what: str, step: int) -> None:
        """bad: (B,), which samples are not finite."""
        if bad.any():
            ids = ", ".join(str(self.sample_ids[b]) for b in bad.nonzero().flatten().tolist()[:8])
            raise RunFailed(
                f"{what} returned non-finite values (step {step}, sample {ids}) — "
                "lower its weight or the guidance scale"
            )


def _not_finite(value: Tensor) -> Tensor:
    """(B,), for values (B, *shape)."""
    return ~torch.isfinite(value.reshape(len(value), -1)).all(1)
