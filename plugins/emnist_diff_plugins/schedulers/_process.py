"""Noise levels: the forward process of a diffusion, and the grids that samplers lay over it.

The process and the standard spacings are diffusers' own. Its `step` methods are not used: some are wrong (DDIM's takes
another timestep than the next one when steps are unevenly spaced), all keep the index of the step as hidden state, and
the stochastic ones draw one noise for the whole batch, which would make a sample depend on its neighbours.
"""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from diffusers import DDIMScheduler

from emnist_diff.errors import ConfigError
from emnist_diff.protocols import Level, NoiseSchedule, Timeline

Floats = npt.NDArray[np.float64]

BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2")
DISCRETE = ("leading", "trailing", "linspace")
SPACINGS = (*DISCRETE, "karras", "exponential")
LARGEST_SIGMA = 80.0
"""Where grids over sigma begin unless told otherwise: at most at EDM's largest (Karras et al., 2022, arXiv:2206.00364,
table 1). A squared-cosine process reaches 20,000, and most steps would be spent where nothing is to be seen."""


@attrs.frozen(eq=False)
class Process:
    """The levels of a diffusion: exact at its training timesteps, linear in ln sigma between them."""

    schedule: NoiseSchedule
    alpha_bar: Floats
    log_sigma: Floats

    @classmethod
    def of(cls, schedule: NoiseSchedule) -> Process:
        """The process that a schedule describes."""
        alpha_bar = alphas_cumprod(schedule)
        with np.errstate(divide="ignore"):
            return cls(schedule, alpha_bar, 0.5 * (np.log1p(-alpha_bar) - np.log(alpha_bar)))

    def at(self, timestep: npt.ArrayLike) -> Floats:
        """alpha_bar at timesteps, fractional ones included."""
        t = np.asarray(timestep, dtype=np.float64)
        whole = np.clip(t.astype(np.int64), 0, len(self.alpha_bar) - 1)
        between = np.interp(t, np.arange(len(self._finite)), self._finite)
        return np.where(t == whole, self.alpha_bar[whole], 1.0 / (1.0 + np.exp(2.0 * between)))

    def timestep(self, sigma: npt.ArrayLike) -> Floats:
        """The timesteps of noise-to-signal ratios, as float32 can show them to a network; clamped to the process."""
        t = np.interp(np.log(np.asarray(sigma, dtype=np.float64)), self._finite, np.arange(len(self._finite)))
        return t.astype(np.float32).astype(np.float64)

    @property
    def sigma_range(self) -> tuple[float, float]:
        """The smallest ratio and the largest finite one."""
        return math.exp(self._finite[0]), math.exp(self._finite[-1])

    @property
    def _finite(self) -> Floats:
        return self.log_sigma[np.isfinite(self.log_sigma)]


def alphas_cumprod(schedule: NoiseSchedule) -> Floats:
    """alpha_bar of every training timestep, (train_timesteps,) float64, as diffusers computes it."""
    alpha_bar: Floats = _diffusers(schedule).alphas_cumprod.numpy().astype(np.float64)
    return alpha_bar


def spaced(
    process: Process, steps: int, spacing: str, offset: int, ends: tuple[float | None, ...], rho: float
) -> Floats:
    """`steps` timesteps of the process, noisiest first.

    offset: added to every timestep of the spacing ``leading``.  ends: smallest and largest sigma of a grid over sigma,
    None for the process's own, at most `LARGEST_SIGMA`.  rho: of the Karras grid.

    Raises `ConfigError` when the model was trained with fewer timesteps, or the spacing cannot lay so many.
    """
    trained = process.schedule.train_timesteps
    if steps > trained:
        raise ConfigError(
            f"steps = {steps} is more than the {trained} timesteps that this model was trained with — "
            f"ask for 1 … {trained}"
        )
    if spacing in DISCRETE:
        timesteps = _discrete(process.schedule, steps, spacing, offset)
    else:
        low, high = _ends(process, ends)
        u = np.linspace(0.0, 1.0, steps)
        if spacing == "karras":
            sigma = (high ** (1 / rho) + u * (low ** (1 / rho) - high ** (1 / rho))) ** rho
        else:
            sigma = np.exp(np.log(high) + u * (np.log(low) - np.log(high)))
        timesteps = process.timestep(sigma)
    if (np.diff(timesteps) >= 0).any() or timesteps.max() > trained - 1:
        raise ConfigError(
            f"spacing {spacing!r} cannot lay {steps} different steps over {trained} timesteps — "
            "use another spacing or another number of steps"
        )
    return timesteps


def laid(process: Process, timesteps: Floats, inner: tuple[tuple[Level, ...], ...] = ()) -> Timeline:
    """The timeline through these timesteps; the last step ends at the image (alpha_bar 1)."""
    here = process.at(timesteps)
    return Timeline(timesteps, here, np.append(here[1:], 1.0), inner=inner)


def level(process: Process, timestep: float, offset: float) -> Level:
    """A level of the process inside a step."""
    return Level(timestep, float(process.at(timestep)), offset)


def _discrete(schedule: NoiseSchedule, steps: int, spacing: str, offset: int) -> Floats:
    if steps == 1:  # linspace of one point would start at the cleanest timestep
        return np.array([schedule.train_timesteps - 1.0])
    scheduler = _diffusers(schedule, timestep_spacing=spacing, steps_offset=offset)
    scheduler.set_timesteps(steps)
    timesteps: Floats = scheduler.timesteps.numpy().astype(np.float64)
    if len(timesteps) != steps:
        raise ConfigError(f"spacing {spacing!r} cannot lay {steps} steps — use another")
    return timesteps


def _ends(process: Process, ends: tuple[float | None, ...]) -> tuple[float, float]:
    smallest, largest = process.sigma_range
    low, high = ends
    low = smallest if low is None else low
    high = min(largest, LARGEST_SIGMA) if high is None else high
    room = 1.0 + 1e-6
    if not smallest <= low * room or not low < high or not high <= largest * room:
        raise ConfigError(
            f"sigma_min = {low:g} and sigma_max = {high:g} must rise and lie within {smallest:.4g} … {largest:.4g}, "
            "the noise levels that this model was trained on"
        )
    return low, high


def _diffusers(schedule: NoiseSchedule, **more: Any) -> DDIMScheduler:
    return DDIMScheduler(
        num_train_timesteps=schedule.train_timesteps,
        beta_schedule=schedule.beta_schedule,
        beta_start=schedule.beta_start,
        beta_end=schedule.beta_end,
        rescale_betas_zero_snr=schedule.zero_terminal_snr,
        **more,
    )
