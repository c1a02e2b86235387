"""What the schedulers for discrete diffusion share: the forward process, spacing, and x0 rules.

The forward process and the standard spacings are diffusers' own. Its `step` methods are not used: they take the
step before last for the previous one when the steps are unevenly spaced, keep the index of the step as hidden
state, and draw one noise for the whole batch, which would make a sample depend on its neighbours.
"""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
from attrs import validators as v
from diffusers import DDIMScheduler
from torch import Tensor

from emnist_diff.errors import ConfigError
from emnist_diff.parameterization import epsilon_from_x0, to_epsilon, to_x0
from emnist_diff.protocols import NoiseSchedule, PredictionType, StepInfo, Timeline


def spacing_field() -> Any:
    return attrs.field(
        default="trailing",
        validator=v.in_(("leading", "trailing", "linspace")),
        metadata={"help": "which training timesteps are visited; trailing starts at the noisiest"},
    )


def clip_field() -> Any:
    return attrs.field(
        default=True,
        metadata={
            "help": "clip the x0 estimate to the range that the model's images have",
            "aliases": ("clip_sample",),
        },
    )


def alphas_cumprod(schedule: NoiseSchedule) -> np.ndarray:
    """alpha_bar of every training timestep, (train_timesteps,) float64, as diffusers computes it."""
    return _diffusers(schedule).alphas_cumprod.numpy().astype(np.float64)


def timeline(schedule: NoiseSchedule, steps: int, spacing: str) -> Timeline:
    """`steps` training timesteps, noisiest first; the last step ends at the image (alpha_bar 1).

    Raises `ConfigError` when the model was trained with fewer timesteps.
    """
    if steps > schedule.train_timesteps:
        raise ConfigError(
            f"steps = {steps} is more than the {schedule.train_timesteps} timesteps that this model was trained "
            f"with — ask for 1 … {schedule.train_timesteps}"
        )
    if steps == 1:  # linspace of one point would start at the cleanest timestep
        timesteps = np.array([schedule.train_timesteps - 1])
    else:
        scheduler = _diffusers(schedule, timestep_spacing=spacing)
        scheduler.set_timesteps(steps)
        timesteps = scheduler.timesteps.numpy()
    if len(set(timesteps.tolist())) != steps or (np.diff(timesteps) >= 0).any():
        raise ConfigError(
            f"spacing {spacing!r} cannot lay {steps} different steps over {schedule.train_timesteps} timesteps — "
            "use another spacing or another number of steps"
        )
    here = alphas_cumprod(schedule)[timesteps]
    return Timeline(timesteps.astype(np.float64), here, np.append(here[1:], 1.0))


def x0_and_epsilon(
    prediction: Tensor, x: Tensor, at: StepInfo, kind: PredictionType, clip: float | None
) -> tuple[Tensor, Tensor]:
    """The image and noise estimates, (B, *shape) each; after clipping, the noise is the one that fits the clipped
    image, so that the pair still adds up to x_t."""
    x0 = to_x0(prediction, x, at.alpha_bar, kind)
    if clip is None:
        return x0, to_epsilon(prediction, x, at.alpha_bar, kind)
    x0 = x0.clamp(-clip, clip)
    return x0, epsilon_from_x0(x0, x, at.alpha_bar)


def _diffusers(schedule: NoiseSchedule, **more: Any) -> DDIMScheduler:
    return DDIMScheduler(
        num_train_timesteps=schedule.train_timesteps,
        beta_schedule=schedule.beta_schedule,
        beta_start=schedule.beta_start,
        beta_end=schedule.beta_end,
        **more,
    )
