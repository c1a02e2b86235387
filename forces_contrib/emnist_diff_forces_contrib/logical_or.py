"""One of several classes, no matter which."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import attrs
import torch
from emnist_diff.conditions import NULL, Cond, Predictions, named
from emnist_diff.errors import ConfigError
from emnist_diff.parameterization import to_x0
from emnist_diff.schedules import Schedule
from emnist_diff.spaces import ConditionSpace
from emnist_diff.steps import ForceStep
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.capabilities import Directions
from torch import Tensor

from emnist_diff_forces_contrib._fields import scalar_field
from emnist_diff_forces_contrib._logic import TOWARD, Composition, targets_field, weights_field


@attrs.frozen
class Or(Composition):
    """strength · Σ_i r_i (e_i − e_null): at strength 1 on base ``uncond``, the score of the mixture Σ_i w_i p(x | c_i).

    Its score is that of the classes in the shares r_i that they have in the density at x (Du et al., 2023, "Reduce,
    Reuse, Recycle", arXiv:2302.11552, section 4, softmax of the energies). A network that says scores does not say
    densities, so the shares are kept up on the way: they begin as w_i, and each move from x_t to x_s multiplies them by
    how likely class i would have made it, N(x_s; μ_i(x_t), σ²) with the mean and variance of the posterior of x_s given
    x_t and class i's estimate of the image (Ho et al., 2020, arXiv:2006.11239, equations 6 and 7). Given its first step
    and exact networks this is Bayes' rule, because p(c | path) = p(c | x). It holds for schedulers that draw from that
    posterior, ``ddpm`` or ``ddim`` with eta=1; deterministic moves carry less evidence than it thinks, and it decides
    for a class sooner. `temperature` above 1 slows it down. Where a force has had no weight for a step, it begins
    again.

    Each class costs a row a sample.

    Example: ``--base uncond --scheduler ddpm --force 'or:targets=["A","B"]'``
    """

    targets: tuple[str, ...] = targets_field()
    weights: tuple[float, ...] | None = weights_field("w_i > 0, a share for each class; equal when left out")
    strength: Schedule = scalar_field(1.0, "multiplies all of it, as a guidance scale does; at least 0")
    temperature: float = attrs.field(
        default=1.0,
        converter=float,
        validator=attrs.validators.gt(0),
        metadata={"help": "what the evidence of every move is divided by, > 0"},
    )

    directions: ClassVar[Directions] = {"weight": TOWARD, "strength": TOWARD}

    def __attrs_post_init__(self) -> None:
        Composition.__attrs_post_init__(self)
        if min(self.all_weights) <= 0:
            raise ConfigError(f"or: weights must be more than 0, got {min(self.all_weights):g}")

    def bind(self, space: ConditionSpace) -> Or:
        """The force for a model with these classes. Raises `UnknownName` for a class that is not there."""
        Composition.bind(self, space)
        return self

    def idle(self, at: StepInfo) -> bool:
        """See `protocols.Force`."""
        return self.strength(at) == 0

    def conditions(self, at: StepInfo) -> Iterable[Cond]:
        return (*(named(name) for name in self.targets), NULL)

    def __call__(self, predictions: Predictions, step: ForceStep) -> Tensor:
        at, x = step.at, step.x
        classes = torch.stack([predictions[named(name)] for name in self.targets], dim=1)  # (B, C, *shape)
        log_shares = self._log_shares(step)
        wide = (-1, len(self.targets), *(1,) * (x.dim() - 1))
        shares = log_shares.exp().to(x.dtype).view(wide)
        if at.alpha_bar > 0:  # a move from pure noise says nothing of the class
            step.remember("x", x)
            step.remember("x0", to_x0(classes, x[:, None], at.rates, step.prediction_type))
            step.remember("level", torch.tensor([*at.rates, *at.rates_next], dtype=torch.float64).repeat(len(x), 1))
        step.remember("log_shares", log_shares)
        return self.strength(at) * ((shares * classes).sum(1) - predictions[NULL])

    def _log_shares(self, step: ForceStep) -> Tensor:
        """log r_i of each sample, (B, C) float64."""
        before = step.memory
        if "log_shares" not in before:
            prior = torch.tensor(self.all_weights, dtype=torch.float64, device=step.x.device).log()
            return torch.log_softmax(prior, 0).repeat(len(step.x), 1)
        if "x0" not in before or step.at.offset > 0:  # a second evaluation is no move
            return before["log_shares"]
        signal, noise, signal_next, noise_next = before["level"][0].tolist()
        kept = signal / signal_next  # x_t given x_s is N(kept · x_s, added)
        added = noise**2 - kept**2 * noise_next**2
        variance = added * noise_next**2 / noise**2
        if variance <= 0:
            return before["log_shares"]
        x0, x = before["x0"].double(), before["x"].double()[:, None]
        mean = (kept * noise_next**2 * x + signal_next * added * x0) / noise**2
        distance = (step.x.double()[:, None] - mean).flatten(2).square().sum(2)
        evidence = -0.5 * distance / (variance * self.temperature)
        return torch.log_softmax(before["log_shares"] + evidence, 1)
