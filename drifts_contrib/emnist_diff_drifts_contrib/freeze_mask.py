"""A part of the state that stays as it was."""

from __future__ import annotations

from typing import Literal

import attrs
from attrs import validators as v
from emnist_diff.protocols import Denoiser
from emnist_diff.steps import DriftStep
from emnist_diff.timeline import StepInfo
from torch import Tensor

from emnist_diff_drifts_contrib._files import digest_field
from emnist_diff_drifts_contrib._images import replaced
from emnist_diff_drifts_contrib._levels import is_last, noise_estimate, noised
from emnist_diff_drifts_contrib._masks import REGIONS, Mask, mask_field, mask_setting

_FROZEN, _NOISE = "frozen", "noise"


@attrs.frozen
class FreezeMask:
    """x' = x + m (x_k − x) after step k, where the mask m is 1: what the state was at the end of the chosen step k,
    the first at or behind `at`, it remains.

    ``what=state`` keeps the elements themselves. Their noise stays with them to the end, and the network sees more of
    it than belongs to the level. ``what=image`` keeps the image estimate and the noise that x_k is made of, by the
    prediction of that step, and shows them at the rates of each level: the noise fades, and the estimate stays.

    With a weight that is 0 at some steps, what was kept is forgotten there, and the next step chooses anew.

    Example: ``--drift "freeze_mask:mask=left,at=0.5,what=image"``
    """

    mask: str = mask_setting("what is frozen, 1 or white", default="left")
    at: float = attrs.field(
        default=0.5,
        converter=float,
        validator=v.and_(v.ge(0), v.le(1)),
        metadata={"help": "the chosen step, as a fraction of the run from noise (0) to image (1)"},
    )
    what: Literal["state", "image"] = attrs.field(
        default="state", metadata={"help": "state: the elements as they are; image: the estimate in them, renoised"}
    )
    mask_sha256: str = digest_field("mask", REGIONS)
    _where: Mask = mask_field()

    def encoded(self, denoiser: Denoiser) -> FreezeMask:
        """See `protocols.HoldsImages`."""
        return replaced(self, _where=self._where.encoded(denoiser))

    def require_shape(self, shape: tuple[int, ...]) -> None:
        """See `protocols.Drift`."""
        self._where.shaped(shape)

    def idle(self, at: StepInfo) -> bool:
        """See `protocols.Drift`."""
        if at.frac < self.at:
            return True
        chosen = at.index == 0 or (at.index - 1) / (at.steps - 1) < self.at
        return chosen and (self.what == "state" or is_last(at))  # x_k is x itself, an image estimate all but

    def __call__(self, x: Tensor, step: DriftStep) -> Tensor:
        if step.at.frac < self.at:
            return x
        kept = dict(step.memory) or self._kept(x, step)
        for name, value in kept.items():
            step.remember(name, value)
        now = noised(kept[_FROZEN], kept[_NOISE], step) if self.what == "image" else kept[_FROZEN]
        return x + self._where.like(x) * (now - x)

    def _kept(self, x: Tensor, step: DriftStep) -> dict[str, Tensor]:
        """What is remembered of the chosen step, (B, *shape) each."""
        if self.what == "state":
            return {_FROZEN: x}
        (signal, noise), epsilon = step.at.rates_next, noise_estimate(step)
        return {_FROZEN: (x - noise * epsilon) / signal, _NOISE: epsilon}
