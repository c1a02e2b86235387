"""The exact denoiser of a class-conditional Gaussian mixture: the project's proving ground.

Each class is a mixture of isotropic Gaussians N(mu_k, s_k² I) with weights pi_k; "no class" is the mixture of all
classes in equal parts. Noised to x_t = m x_0 + n eps it stays a mixture, with means m mu_k and variances
d_k = m² s_k² + n², so that

    E[eps | x_t] = n Σ_k r_k(x_t) (x_t - m mu_k) / d_k,
    E[x_0 | x_t] = Σ_k r_k(x_t) (mu_k + m s_k² (x_t - m mu_k) / d_k),

r_k being the posterior probability of component k (Tweedie's formula; Efron, 2011, for each component). On a
diffusion m² = alpha_bar = 1 - n²; on a flow m = 1 - s and n = s, and the velocity is the difference of the two.
"""

from __future__ import annotations

import math
import string
from typing import TYPE_CHECKING

import attrs
import numpy as np
import torch
from attrs import validators as v
from torch import Tensor

from emnist_diff.brief import briefly
from emnist_diff.conditions import RowConditions
from emnist_diff.errors import ConfigError
from emnist_diff.families import Source
from emnist_diff.spaces import ConditionSpace
from emnist_diff.timeline import MOST_TIMESTEPS, FlowSchedule, ForwardProcess, NoiseSchedule, PredictionType
from emnist_diff_plugins.capacity import require_memory
from emnist_diff_plugins.schedulers._process import Process
from emnist_diff_plugins.spaces import ClassSpace

if TYPE_CHECKING:
    from emnist_diff.plugins import Registry

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
        default=1000,
        validator=v.and_(v.ge(1), v.le(MOST_TIMESTEPS)),
        metadata={"help": "levels of the forward process"},
    )
    beta_schedule: str = attrs.field(
        default="linear",
        validator=v.in_(("linear", "scaled_linear", "squaredcos_cap_v2")),
        metadata={"help": "linear, scaled_linear or squaredcos_cap_v2"},
    )
    zero_terminal_snr: bool = attrs.field(
        default=False, metadata={"help": "rescaled so that the last level holds no signal"}
    )
    prediction: PredictionType = attrs.field(
        default="epsilon",
        metadata={"help": "epsilon, v_prediction or sample; flow makes it a flow, which has no beta schedule"},
    )

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

    def source(self, registry: Registry) -> Source:
        """`DenoiserFamily.source`."""
        return Source(
            conditions=self.conditions,
            process=self.process,
            prediction_type=self.prediction,
            shape=self.shape,
            load=self.denoiser,
        )

    @property
    def conditions(self) -> ConditionSpace:
        """The classes, and the row behind them for none."""
        return ClassSpace(tuple(self.classes), null_index=len(self.classes))

    @property
    def process(self) -> ForwardProcess:
        """What states are noised by."""
        if self.prediction == "flow":
            return FlowSchedule(clip_sample=None)
        return NoiseSchedule(
            train_timesteps=self.train_timesteps,
            beta_schedule=self.beta_schedule,
            zero_terminal_snr=self.zero_terminal_snr,
            clip_sample=None,
        )

    def denoiser(self, device: str = "cpu") -> MixtureDenoiser:
        """The denoiser on a device. Raises `ConfigError` where memory does not hold the means."""
        require_memory(
            16.0 * len(self.classes) * self.components * math.prod(self.shape),
            f"gaussian-mixture: means of {len(self.classes)} classes × {self.components} components × "
            f"{math.prod(self.shape)} numbers",
            "give a smaller shape, or fewer classes or components",
        )
        return MixtureDenoiser(self, self.process, torch.device(device))


@briefly
@attrs.define(eq=False)
class MixtureDenoiser:
    """`protocols.Denoiser` over the exact posterior. Rows are computed one by one in float32 reductions over the
    state alone, so that no row sees another."""

    family: GaussianMixture
    process: ForwardProcess
    device: torch.device
    _means: Tensor = attrs.field(init=False)
    _process: Process | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self._means = torch.from_numpy(self.family.mean_array()).to(self.device)
        if isinstance(self.process, NoiseSchedule):
            self._process = Process.of(self.process)

    @property
    def prediction_type(self) -> PredictionType:
        return self.family.prediction

    @property
    def shape(self) -> tuple[int, ...]:
        return self.family.shape

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(C, H, W) of `decode`."""
        shape = self.family.shape
        return shape if len(shape) == 3 and shape[0] in (1, 3) else (1, 1, math.prod(shape))

    @property
    def conditions(self) -> ConditionSpace:
        return self.family.conditions

    def predict(self, x: Tensor, t: Tensor, conds: RowConditions) -> Tensor:
        """The exact prediction in float64, rounded once: x (R, *shape), t (R,) timesteps → (R, *shape)."""
        rows = len(x)
        state = x.to(torch.float64).reshape(rows, 1, -1)
        signal, noise = (r.to(self.device).reshape(rows, 1) for r in self._rates(t))
        classes, components, size = self._means.shape
        means = self._means.reshape(1, classes * components, size)
        own = self.family.spread**2
        variance = signal**2 * own + noise**2
        difference = state - signal[..., None] * means
        # every Gaussian has the same spread, so that the normalisers cancel in the posterior
        log_weight = -0.5 * difference.square().sum(-1) / variance
        owner = torch.arange(classes, device=self.device).repeat_interleave(components)[None]
        index = conds.index.reshape(rows, 1)
        allowed = (owner == index) | (index == classes)
        posterior = torch.softmax(log_weight.masked_fill(~allowed, -torch.inf), dim=-1)[..., None]
        mean, away = (posterior * means).sum(1), (posterior * difference).sum(1)
        epsilon = noise / variance * away
        x0 = mean + signal * own / variance * away
        out = {
            "epsilon": lambda: epsilon,
            "sample": lambda: x0,
            "v_prediction": lambda: signal * epsilon - noise * x0,
            "flow": lambda: epsilon - x0,
        }[self.family.prediction]()
        return out.reshape(x.shape).to(x.dtype)

    def _rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(signal, noise) of timesteps (R,), each (R,) float64 on the CPU."""
        times = t.cpu().to(torch.float64)
        if self._process is None:
            assert isinstance(self.process, FlowSchedule)
            s = times / self.process.time_scale
            return 1.0 - s, s
        a = torch.from_numpy(self._process.at(times.numpy()))
        return a.sqrt(), (1.0 - a).sqrt()

    def decode(self, x: Tensor) -> Tensor:
        """Images in [0, 1], (B, C, H, W): the state itself where it looks like one, else one row of pixels."""
        image = x if x.dim() == 4 and x.shape[1] in (1, 3) else x.reshape(len(x), 1, 1, -1)
        return ((image + 1.0) / 2.0).clamp(0.0, 1.0)
