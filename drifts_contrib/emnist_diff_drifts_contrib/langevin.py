"""Langevin correction: at the level where the step ends, the state is moved toward that level's distribution."""

from __future__ import annotations

import attrs
import torch
from attrs import validators as v
from emnist_diff.parameterization import to_epsilon
from emnist_diff.steps import DriftStep
from emnist_diff.timeline import StepInfo
from torch import Tensor

from emnist_diff_drifts_contrib._levels import is_last
from emnist_diff_drifts_contrib._metropolis import log_density_difference, log_proposal_ratio, uniform

_FLOOR = 1e-12


@attrs.frozen
class Langevin:
    """`steps` times x' = x + ε s(x) + √(2ε) z, with the score s = −eps / noise of base and forces at the level where
    the step ends, and z ~ N(0, 1): the corrector of predictor-corrector sampling (Song et al., 2021, arXiv:2011.13456,
    algorithm 4).

    The step size is ε = 2 (r ‖z‖ / ‖s‖)², with the norms of each sample by itself, where the authors' program takes
    their means over the batch. Algorithm 5 multiplies it by the alpha of the training step, which is 1 but for a
    hundredth or two and means nothing where steps are skipped; it is left out.

    Without a test this leaves a bias of the order of r²; in a few dimensions, where ‖s‖ can all but vanish, single
    steps may go far. With ``acceptance=true`` each sample takes the move with probability
    min(1, p(x') q(x | x') / (p(x) q(x' | x))), and the bias is gone (Metropolis-adjusted Langevin; for diffusion models
    Du et al., 2023, "Reduce, Reuse, Recycle", arXiv:2302.11552). Networks give no density, but ln p(x') − ln p(x) is
    the integral of the score along the line between (Sjöberg et al., 2023, arXiv:2307.14012), here by the trapezoidal
    rule over `points` points. The test needs a step size that knows neither x nor z: ε = 2 (r · noise)², which is the
    one above where the predicted noise has the norm of noise.

    Each step asks the network once, with the test `points` − 1 times and once more at the beginning. At the image,
    which has no noise, nothing is done. A weight other than 0 and 1 takes a share of the way, which leaves no
    distribution invariant.

    Example: ``--drift "langevin:r=0.1,steps=2"``
    """

    r: float = attrs.field(
        default=0.16,
        validator=v.gt(0),
        metadata={"help": "signal-to-noise ratio of a step, more than 0", "aliases": ("snr",)},
    )
    steps: int = attrs.field(
        default=1, validator=v.ge(1), metadata={"help": "corrector steps at each level, at least 1"}
    )
    acceptance: bool = attrs.field(
        default=False, metadata={"help": "let a Metropolis test of each sample accept or reject each step"}
    )
    points: int = attrs.field(
        default=3,
        validator=v.ge(2),
        metadata={"help": "with acceptance: points of the trapezoidal rule on the line of a move, at least 2"},
    )

    def evaluations(self, at: StepInfo) -> int:
        """See `protocols.Drift`."""
        return 1 + self.steps * (self.points - 1) if self.acceptance else self.steps

    def idle(self, at: StepInfo) -> bool:
        """See `protocols.Drift`."""
        return is_last(at)

    def __call__(self, x: Tensor, step: DriftStep) -> Tensor:
        if is_last(step.at):
            return x
        return self._tested(x, step) if self.acceptance else self._plain(x, step)

    def _plain(self, x: Tensor, step: DriftStep) -> Tensor:
        for number in range(self.steps):
            z, score = step.noise(f"proposal.{number}"), score_at(x, step)
            size = 2.0 * (self.r * norm(z) / norm(score).clamp_min(_FLOOR)) ** 2
            x = langevin_step(x, score, size, z)
        return x

    def _tested(self, x: Tensor, step: DriftStep) -> Tensor:
        size = torch.full_like(norm(x), 2.0 * (self.r * step.at.rates_next[1]) ** 2)
        score = score_at(x, step)
        for number in range(self.steps):
            proposed = langevin_step(x, score, size, step.noise(f"proposal.{number}"))
            way = proposed - x
            between = [score_at(x + (place / (self.points - 1)) * way, step) for place in range(1, self.points - 1)]
            there = score_at(proposed, step)
            gain = log_density_difference([score, *between, there], way)
            gain = gain + log_proposal_ratio(x, score, proposed, there, size)
            taken = (uniform(step.noise(f"accept.{number}")).log() < gain).view(size.shape)
            x, score = torch.where(taken, proposed, x), torch.where(taken, there, score)
        return x


def score_at(x: Tensor, step: DriftStep) -> Tensor:
    """∇ ln p(x) at the level where the step ends, as base and forces predict it: −eps / noise, (B, *shape)."""
    rates = step.at.rates_next
    return -to_epsilon(step.evaluate(x), x, rates, step.prediction_type) / rates[1]


def langevin_step(x: Tensor, score: Tensor, size: Tensor, z: Tensor) -> Tensor:
    """x + ε s + √(2ε) z, all (B, *shape) and ε = `size` (B, 1, …)."""
    return x + size * score + (2.0 * size).sqrt() * z


def norm(x: Tensor) -> Tensor:
    """The L2 norm of each sample, (B, 1, …) to go with x (B, *shape)."""
    out: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return out.view(-1, *(1,) * (x.dim() - 1))
