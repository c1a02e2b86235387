"""Denoising: the forward process of a diffusion, and its noise, image or v to predict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs
import torch
from attrs import validators as v
from torch import Tensor

from emnist_diff.errors import ConfigError
from emnist_diff.timeline import MOST_TIMESTEPS, NoiseSchedule, PredictionType
from emnist_diff_plugins.fields import setting
from emnist_diff_plugins.objectives._shared import like
from emnist_diff_plugins.schedulers._process import alphas_cumprod


@attrs.frozen
class DiffusionObjective:
    """A diffusion's noise, image, or v (Salimans and Ho, 2022, arXiv:2202.00512), by mean squared error.

    Example: ``emnist-diff train unet2d --objective "diffusion:prediction=epsilon,beta_schedule=linear"``
    """

    prediction: Literal["epsilon", "v_prediction", "sample"] = setting(
        "v_prediction", "what the network learns: v_prediction, epsilon or sample"
    )
    weighting: Literal["uniform", "min-snr"] = setting("uniform", "loss weight by noise level: uniform or min-snr")
    min_snr_gamma: float = setting(5.0, "signal-to-noise ratio where min-snr cuts", v.and_(v.gt(0), v.lt(1e12)))
    train_timesteps: int = setting(1000, "noise levels", v.and_(v.ge(2), v.le(MOST_TIMESTEPS)))
    beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"] = setting(
        "squaredcos_cap_v2", "linear, scaled_linear or squaredcos_cap_v2"
    )
    beta_start: float = setting(1e-4, "first beta of the linear schedules", v.and_(v.gt(0), v.lt(1)))
    beta_end: float = setting(0.02, "last beta of the linear schedules", v.and_(v.gt(0), v.lt(1)))
    zero_terminal_snr: bool = setting(False, "whether the last level holds no signal; not for epsilon")
    _tables: dict[torch.device, Tensor] = attrs.field(factory=dict, init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.zero_terminal_snr and self.prediction == "epsilon":
            raise ConfigError("objective 'diffusion': zero_terminal_snr leaves epsilon nothing to say of the image")

    def process(self, clip: float | None) -> NoiseSchedule:
        """`Objective.process`."""
        return NoiseSchedule(
            self.train_timesteps,
            self.beta_schedule,
            self.beta_start,
            self.beta_end,
            clip,
            self.zero_terminal_snr,
        )

    @property
    def prediction_type(self) -> PredictionType:
        """`Objective.prediction_type`."""
        return self.prediction

    @property
    def recommended(self) -> Mapping[str, Any]:
        """`Objective.recommended`: ten steps of UniPC where the noisiest levels say something of the image, fifty of
        DDIM where they say noise alone."""
        if self.prediction == "epsilon":
            return {"scheduler": {"name": "ddim"}, "steps": min(50, self.train_timesteps), "guidance_scale": 2.5}
        return {"scheduler": {"name": "unipc"}, "steps": min(10, self.train_timesteps), "guidance_scale": 2.5}

    def timesteps(self, generator: torch.Generator, count: int) -> Tensor:
        """`Objective.timesteps`: whole ones, uniform."""
        return torch.randint(0, self.train_timesteps, (count,), generator=generator)

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """`Objective.rates`: sqrt(a) and sqrt(1 - a) (Ho et al., 2020, arXiv:2006.11239, equation 4)."""
        a = self._alpha_bar(t)
        return a.sqrt(), (1.0 - a).sqrt()

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """`Objective.target`: eps, x_0, or v = sqrt(a) eps - sqrt(1 - a) x_0."""
        if self.prediction == "epsilon":
            return noise
        if self.prediction == "sample":
            return x0
        signal, sigma = (like(rate, x0) for rate in self.rates(t))
        return signal * noise - sigma * x0

    def weight(self, t: Tensor) -> Tensor | None:
        """`Objective.weight`: min(SNR, gamma) for x_0, and the same loss said in the network's own terms: divided by
        SNR for eps, by SNR + 1 for v (Hang et al., 2023, arXiv:2303.09556, section 3.4)."""
        if self.weighting == "uniform":
            return None
        a = self._alpha_bar(t)
        snr = a / (1.0 - a)
        cut = snr.clamp(max=self.min_snr_gamma)
        if self.prediction == "sample":
            return cut
        return cut / (snr if self.prediction == "epsilon" else snr + 1.0)

    def _alpha_bar(self, t: Tensor) -> Tensor:
        if t.device not in self._tables:
            table = torch.from_numpy(alphas_cumprod(self.process(None)))
            self._tables[t.device] = table.to(t.device, torch.float32)
        return self._tables[t.device][t.long()]
