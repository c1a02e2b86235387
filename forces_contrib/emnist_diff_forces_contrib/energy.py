"""Guidance by the gradient of an energy that a Python function says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs
import torch
from attrs import validators as v
from emnist_diff.conditions import Cond, Predictions
from emnist_diff.parameterization import to_x0
from emnist_diff.schedules import Schedule
from emnist_diff.steps import ForceStep
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.functions import as_function
from torch import Tensor

from emnist_diff_forces_contrib._fields import scalar_field
from emnist_diff_forces_contrib.score_shift import prediction_shift

_FLOOR = 1e-12


def of_field() -> Any:
    """What an energy is asked about."""
    return attrs.field(
        default="x0",
        validator=v.in_(("x0", "x")),
        metadata={"help": "what the energy is of: x0, the estimated image, or x, the noisy state itself"},
    )


def brightness(x: Tensor, step: ForceStep) -> Tensor:
    """An example of an energy: the mean of each image, (B,); its guidance makes images darker."""
    return x.flatten(1).mean(1)


class EnergyForce:
    """What forces by an energy share: score − strength · ∇ₓ E, in the type of the run's prediction."""

    of: str
    relative: bool

    @property
    def gradient(self) -> bool:
        """An energy of the estimated image is differentiated through the network."""
        return self.of == "x0"

    def energy_of(self, x: Tensor, step: ForceStep) -> Tensor:
        """The energy of each sample, (B,)."""
        raise NotImplementedError

    def strength_at(self, at: StepInfo) -> float:
        """What the gradient is multiplied by."""
        raise NotImplementedError

    def idle(self, at: StepInfo) -> bool:
        """See `protocols.Force`."""
        return self.strength_at(at) == 0 or (self.of == "x0" and at.alpha_bar == 0)

    def conditions(self, at: StepInfo) -> Iterable[Cond]:
        """None: the estimate is made of the base, whose conditions are read anyway."""
        return ()

    def __call__(self, predictions: Predictions, step: ForceStep) -> Tensor:
        strength = self.strength_at(step.at)
        if strength == 0 or (self.of == "x0" and step.at.alpha_bar == 0):  # no image can be estimated without signal
            return torch.zeros_like(step.x)
        if self.of == "x0":
            gradient = self._slope(to_x0(step.base, step.x, step.at.rates, step.prediction_type), step.x, step)
        else:
            with torch.inference_mode(False), torch.enable_grad():
                x = step.x.clone().requires_grad_()
                gradient = self._slope(x, x, step)
        shift = prediction_shift(-gradient, step.at, step.prediction_type)
        if self.relative:
            length, wanted = (torch.linalg.vector_norm(t.flatten(1), dim=1) for t in (shift, step.base.detach()))
            shift = shift * (wanted / length.clamp_min(_FLOOR)).view(-1, *(1,) * (shift.dim() - 1))
        return strength * shift

    def _slope(self, asked: Tensor, x: Tensor, step: ForceStep) -> Tensor:
        """∇ₓ of the energy of `asked`, (B, *shape)."""
        energy = self.energy_of(asked, step)
        if energy.shape != (len(step.x),):
            raise ValueError(f"the energy has shape {tuple(energy.shape)} instead of ({len(step.x)},), one a sample")
        if not energy.requires_grad:
            raise ValueError("the energy does not depend on its argument")
        return torch.autograd.grad(energy.sum(), x)[0]


@attrs.frozen
class Energy(EnergyForce):
    """Samples of p(x) · exp(−strength · E): the score becomes ∇ log p − strength · ∇ₓ E.

    E is a Python function ``energy(x, step)`` → (B,), one number a sample, that torch can differentiate. Of ``x`` it is
    asked about the noisy state (Dhariwal and Nichol, 2021, arXiv:2105.05233, algorithm 2, with −log p(y | x) for E),
    and must know of its noise, ``step.at``. Of ``x0`` it is asked about the image that the base estimates, and
    differentiated through the network (diffusion posterior sampling, Chung et al., 2023, arXiv:2209.14687, without its
    division by the residual; universal guidance, Bansal et al., 2023, arXiv:2302.07121, its forward part); a step then
    takes two to three times as long.

    With `relative` the term has, sample by sample, `strength` times the L2 norm of the base, whatever the size of E.

    Example: ``--force "energy:energy=emnist_diff_forces_contrib.energy:brightness,strength=20"``
    """

    energy: Callable[..., Any] = attrs.field(
        converter=as_function,
        metadata={"help": "package.module:function, or in Python a callable", "aliases": ("function", "fn")},
    )
    strength: Schedule = scalar_field(1.0, "what the energy is multiplied by; a negative one goes up", ("scale",))
    of: str = of_field()
    relative: bool = attrs.field(
        default=False, metadata={"help": "whether strength is a share of the norm of the base, whatever the energy"}
    )

    def energy_of(self, x: Tensor, step: ForceStep) -> Tensor:
        out = self.energy(x, step)
        if not isinstance(out, Tensor):
            raise TypeError(f"the energy is {type(out).__name__}, no tensor")
        return out

    def strength_at(self, at: StepInfo) -> float:
        return self.strength(at)
