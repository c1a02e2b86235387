"""A start from an image: the walk begins in the middle, with the image noised to the level there."""

from __future__ import annotations

import attrs
from attrs import validators as v
from emnist_diff.protocols import Denoiser
from emnist_diff.steps import DriftStep
from emnist_diff.timeline import StepInfo
from torch import Tensor

from emnist_diff_drifts_contrib._files import digest_field
from emnist_diff_drifts_contrib._images import Known, known_field, replaced
from emnist_diff_drifts_contrib._levels import noised

_NOISE = "noise"


@attrs.frozen
class SdEdit:
    """x' = signal · y + noise · z up to the level where the walk is to start, x' = x afterwards: SDEdit (Meng et al.,
    2022, arXiv:2108.01073, section 3).

    z ~ N(0, 1) is drawn once for each sample and stays the same, so that the recorded states before the start show the
    image vanishing in its noise. The network is asked there too. Schedulers without memory, such as ddim, ddpm and
    euler, use nothing of what it says there; those that remember earlier predictions, such as unipc, dpmpp_2m and lms,
    still lean on them in their first steps after the start: say ``--scheduler ddim``.

    The level: `strength` of the walk's steps are left to the model, counted as diffusers counts them; the paper's t0,
    of which it recommends 0.3 … 0.6. 0 gives the image back, 1 leaves nothing of it. `sigma` names the level itself,
    by its noise-to-signal ratio. Of a folder, samples take an image each in turn, by the order of the names.

    Example: ``--scheduler ddim --drift "sdedit:image=example:strokes.png,strength=0.5"``
    """

    image: str = attrs.field(metadata={"help": "the image: a picture, an array of a state (.npy), or a folder"})
    strength: float = attrs.field(
        default=0.5,
        validator=v.and_(v.ge(0), v.le(1)),
        metadata={"help": "share of the walk that is left to the model, 0 … 1", "aliases": ("t0",)},
    )
    sigma: float | None = attrs.field(
        default=None,
        validator=v.optional(v.gt(0)),
        metadata={"help": "start at this noise-to-signal ratio instead, more than 0"},
    )
    image_sha256: str = digest_field("image")
    _known: Known = known_field("image")

    def encoded(self, denoiser: Denoiser) -> SdEdit:
        """See `protocols.HoldsImages`."""
        return replaced(self, _known=self._known.encoded(denoiser))

    def require_shape(self, shape: tuple[int, ...]) -> None:
        """See `protocols.Drift`."""
        self._known.shaped(shape)

    def before_start(self, at: StepInfo) -> bool:
        """Whether the step ends at the level where the walk starts, or at a noisier one."""
        if self.sigma is not None:
            return at.sigma_next >= self.sigma
        own = int(at.steps * self.strength + 1e-9)  # 0.29 · 100 is 28.999…
        return at.index < at.steps - own

    def idle(self, at: StepInfo) -> bool:
        """See `protocols.Drift`."""
        return not self.before_start(at)

    def __call__(self, x: Tensor, step: DriftStep) -> Tensor:
        if not self.before_start(step.at):
            return x
        noise = step.memory[_NOISE] if _NOISE in step.memory else step.noise()
        step.remember(_NOISE, noise)
        return noised(self._known.like(x, step.sample_ids), noise, step)
