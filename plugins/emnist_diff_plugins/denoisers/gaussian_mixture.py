"""The exact denoiser of a class-conditional Gaussian mixture: the project's proving ground.

Each class is a mixture of isotropic Gaussians N(mu_k, s_k² I) with weights pi_k; "no class" is the mixture of all
classes in equal parts. Noised to x_t = sqrt(a) x_0 + sqrt(1-a) eps it stays a mixture, with means sqrt(a) mu_k and
variances d_k = a s_k² + 1 - a, so that

    E[eps | x_t] = sqrt(1-a) Σ_k r_k(x_t) (x_t - sqrt(a) mu_k) / d_k,

r_k being the posterior probability of component k (Tweedie's formula; Efron, 2011, for each component).
"""

from __future__ import annotations

import math
import string
from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
import torch
from attrs import validators as v
from torch import Tensor

from emnist_diff.conditions import ConditionSpace, RowConditions
from emnist_diff.errors import ConfigError
from emnist_diff.protocols import NoiseSchedule, PredictionType
from emnist_diff_plugins.schedulers._diffusion import alphas_cumprod

_SYMBOLS = string.digits + string.ascii_uppercase + string.ascii_lowercase


@attrs.frozen
class GaussianMixture:
    """A mixture over states of any shape, its means drawn from `seed` in [-1, 1] unless given.

    Example: ``--denoiser "gaussian-mixture:shape=[2],classes=ABC"``
    """

    shape: tuple[int, ...] = attrs.field(
        default=(1, 8, 8), metadata={"help": "shape of one state, e.g. [1, 8, 8] or [2]"}
    )
    classes: str | tuple[str, ...] = attrs.field(
        default=_SYMBOLS, metadata={"help": "class names: a list, or a text whose letters are the names"}
    )
    components: int = attrs.field(default=2, validator=v.ge(1), metadata={"help": "Gaussians a class"})
    spread: float = attrs.field(
        default=0.2, validator=v.gt(0), metadata={"help": "standard deviation of every Gaussian"}
    )
    means: tuple[tuple[tuple[float, ...], ...], ...] | None = attrs.field(
        default=None, metadata={"help": "means[class][component], flattened states; drawn when left out"}
    )
    seed: int = attrs.field(default=0, validator=v.ge(0), metadata={"help": "seed of the drawn means"})
    train_timesteps: int = attrs.field(
        default=1000, validator=v.ge(1), metadata={"help": "levels of the forward process"}
    )
    beta_schedule: str = attrs.field(
        default="linear",
        validator=v.in_(("linear", "scaled_linear", "squaredcos_cap_v2")),
        metadata={"help": "linear, scaled_linear or squaredcos_cap_v2"},
    )
    prediction: PredictionType = attrs.field(default="epsilon", metadata={"help": "epsilon, v_prediction or sample"})

    def __attrs_post_init__(self) -> None:
        if not self.shape or min(self.shape) < 1:
            raise ConfigError(f"gaussian-mixture: shape {self.shape} must have sizes of at least 1")
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise ConfigError("gaussian-mixture: classes must be different and at least one")
        if self.means is not None:
            got = (
                np.array([[len(m) for m in c] for c in self.means]) if len({len(c) for c in self.means}) == 1 else None
            )
            expected = (len(self.classes), self.components)
            if got is None or got.shape != expected or (got != math.prod(self.shape)).any():
                raise ConfigError(
                    f"gaussian-mixture: means must be {expected[0]} classes × {expected[1]} components × "
                    f"{math.prod(self.shape)} numbers"
                )

    def mean_array(self) -> np.ndarray:
        """The means, (classes, components, size) float64."""
        if self.means is not None:
            return np.array(self.means, dtype=np.float64)
        size = math.prod(self.shape)
        return np.random.default_rng(self.seed).uniform(-1, 1, (len(self.classes), self.components, size))

    def denoiser(
        self, weights: Mapping[str, Tensor] | None = None, header: Any = None, device: str = "cpu"
    ) -> MixtureDenoiser:
        """The denoiser; needs neither weights nor header."""
        schedule = NoiseSchedule(
            train_timesteps=self.train_timesteps, beta_schedule=self.beta_schedule, clip_sample=None
        )
        return MixtureDenoiser(self, schedule, torch.device(device))


@attrs.define(eq=False)
class MixtureDenoiser:
    """`protocols.Denoiser` over the exact posterior. Rows are computed one by one in float32 reductions over the
    state alone, so that no row sees another."""

    family: GaussianMixture
    schedule: NoiseSchedule
    device: torch.device
    _means: Tensor = attrs.field(init=False)
    _alpha_bar: np.ndarray = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._means = torch.from_numpy(self.family.mean_array()).to(self.device)
        self._alpha_bar = alphas_cumprod(self.schedule)

    @property
    def prediction(self) -> PredictionType:
        return self.family.prediction

    @property
    def shape(self) -> tuple[int, ...]:
        return self.family.shape

    @property
    def conditions(self) -> ConditionSpace:
        return ConditionSpace(tuple(self.family.classes), null_index=len(self.family.classes))

    def predict(self, x: Tensor, t: Tensor, conds: RowConditions) -> Tensor:
        """The exact prediction in float64, rounded once: x (R, *shape), t (R,) timesteps → (R, *shape)."""
        rows = len(x)
        state = x.to(torch.float64).reshape(rows, 1, -1)
        a = torch.from_numpy(self._alpha_bar[t.cpu().numpy().astype(np.int64)]).to(self.device).reshape(rows, 1)
        classes, components, size = self._means.shape
        means = self._means.reshape(1, classes * components, size)
        variance = a * self.family.spread**2 + 1.0 - a
        difference = state - a.sqrt()[..., None] * means
        # every Gaussian has the same spread, so that the normalisers cancel in the posterior
        log_weight = -0.5 * difference.square().sum(-1) / variance
        owner = torch.arange(classes, device=self.device).repeat_interleave(components)[None]
        index = conds.index.reshape(rows, 1)
        allowed = (owner == index) | (index == classes)
        posterior = torch.softmax(log_weight.masked_fill(~allowed, -torch.inf), dim=-1)
        epsilon = (1.0 - a).sqrt() / variance * (posterior[..., None] * difference).sum(1)
        state = state[:, 0]
        if self.family.prediction == "epsilon":
            out = epsilon
        else:
            x0 = (state - (1.0 - a).sqrt() * epsilon) / a.sqrt()
            out = x0 if self.family.prediction == "sample" else a.sqrt() * epsilon - (1.0 - a).sqrt() * x0
        return out.reshape(x.shape).to(x.dtype)

    def decode(self, x: Tensor) -> Tensor:
        """Images in [0, 1], (B, C, H, W): the state itself where it looks like one, else one row of pixels."""
        image = x if x.dim() == 4 and x.shape[1] in (1, 3) else x.reshape(len(x), 1, 1, -1)
        return ((image + 1.0) / 2.0).clamp(0.0, 1.0)
