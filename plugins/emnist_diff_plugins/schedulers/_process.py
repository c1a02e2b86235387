"""Noise levels: the forward process of a diffusion, and the grids that samplers lay over it.

The process and the standard spacings are diffusers' to the bit, written down once more because importing diffusers
takes longer than making a sample. Its `step` methods would not do: some are wrong (DDIM's takes another timestep than
the next one when steps are unevenly spaced), all keep the index of the step as hidden state, and the stochastic ones
draw one noise for the whole batch, which would make a sample depend on its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import numpy as np
import numpy.typing as npt
import torch

from emnist_diff.brief import briefly
from emnist_diff.errors import ConfigError
from emnist_diff.timeline import Level, NoiseSchedule, Timeline

Floats = npt.NDArray[np.float64]

DISCRETE = ("leading", "trailing", "linspace")
SPACINGS = (*DISCRETE, "karras", "exponential")
LARGEST_SIGMA = 80.0
"""Where grids over sigma begin unless told otherwise: at most at EDM's largest (Karras et al., 2022, arXiv:2206.00364,
table 1). A squared-cosine process reaches 20,000, and most steps would be spent where nothing is to be seen."""


@briefly
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
    """alpha_bar of every training timestep, (train_timesteps,) float64, computed in float32 as diffusers does."""
    betas = _betas(schedule)
    if schedule.zero_terminal_snr:
        betas = _without_signal_at_the_end(betas)
    alpha_bar: Floats = torch.cumprod(1.0 - betas, dim=0).numpy().astype(np.float64)
    return alpha_bar


def _betas(schedule: NoiseSchedule) -> torch.Tensor:
    """The variance that each training timestep adds, (train_timesteps,) float32."""
    count, first, last = schedule.train_timesteps, schedule.beta_start, schedule.beta_end
    if schedule.beta_schedule == "linear":
        return torch.linspace(first, last, count, dtype=torch.float32)
    if schedule.beta_schedule == "scaled_linear":
        return torch.linspace(first**0.5, last**0.5, count, dtype=torch.float32) ** 2

    def signal(t: float) -> float:  # Nichol and Dhariwal, 2021, arXiv:2102.09672, equation 17
        return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [min(1 - signal((i + 1) / count) / signal(i / count), 0.999) for i in range(count)]
    return torch.tensor(betas, dtype=torch.float32)


def _without_signal_at_the_end(betas: torch.Tensor) -> torch.Tensor:
    """Lin et al., 2024, arXiv:2305.08891, algorithm 1: sqrt(alpha_bar) shifted to end at 0 and scaled to begin as it
    did."""
    root = torch.cumprod(1.0 - betas, dim=0).sqrt()
    first, last = root[0].clone(), root[-1].clone()
    alpha_bar = ((root - last) * (first / (first - last))) ** 2
    return 1 - torch.cat((alpha_bar[:1], alpha_bar[1:] / alpha_bar[:-1]))


def spaced(
    process: Process, steps: int, spacing: str, offset: int, ends: tuple[float | None, ...], rho: float
) -> Floats:
    """`steps` timesteps of the process, noisiest first.

    offset: added to every timestep of the spacing ``leading``.  ends: smallest and largest sigma of a grid over sigma,
    None for the process's own, at most `LARGEST_SIGMA`.  rho: of the Karras grid.

    The steps of a process whose noisiest level holds no signal start there, unless `ends` say otherwise: a grid over
    sigma, which has no place for that level, has it in place of its own noisiest one.

    Raises `ConfigError` when the model was trained with fewer timesteps, the spacing cannot lay so many, or it does not
    reach the level without signal.
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
        if process.schedule.zero_terminal_snr and ends[1] is None:
            timesteps[0] = trained - 1
    if spacing in DISCRETE and not _starts_where_it_must(process, timesteps):
        raise ConfigError(
            f"spacing {spacing!r} does not reach the level without signal, from which a run with zero terminal SNR "
            "starts — use trailing, linspace, karras or exponential"
        )
    if (np.diff(timesteps) >= 0).any() or timesteps.max() > trained - 1:
        raise ConfigError(
            f"spacing {spacing!r} cannot lay {steps} different steps over {trained} timesteps — "
            "use another spacing or another number of steps"
        )
    return timesteps


def written(process: Process, steps: int, timesteps: Sequence[float]) -> Floats:
    """Timesteps that are written out, falling from at most the process's noisiest one, as float32 can show them.

    Raises `ConfigError` when they are not as many as the steps, the process does not have them, or they do not start at
    its level without signal.
    """
    if len(timesteps) != steps:
        raise ConfigError(f"timesteps lays {len(timesteps)} steps, and steps = {steps} — use --steps {len(timesteps)}")
    last = process.schedule.train_timesteps - 1
    if timesteps[0] > last:
        raise ConfigError(f"timesteps starts at {timesteps[0]:g}, and this model was trained with 0 … {last}")
    grid = np.array(timesteps, dtype=np.float32).astype(np.float64)
    if not _starts_where_it_must(process, grid):
        raise ConfigError(
            f"timesteps starts at {timesteps[0]:g} and does not reach the level without signal, from which a run with "
            f"zero terminal SNR starts — let it start at {last}"
        )
    return grid


def _starts_where_it_must(process: Process, timesteps: Floats) -> bool:
    """Whether the steps of a process whose noisiest level holds no signal start there."""
    schedule = process.schedule
    return not schedule.zero_terminal_snr or bool(timesteps[0] == schedule.train_timesteps - 1)


def timeline_through(process: Process, timesteps: Floats, inner: tuple[tuple[Level, ...], ...] = ()) -> Timeline:
    """The timeline through these timesteps; the last step ends at the image (alpha_bar 1)."""
    alpha_bars = process.at(timesteps)
    return Timeline(timesteps, alpha_bars, np.append(alpha_bars[1:], 1.0), inner=inner)


def level(process: Process, timestep: float, offset: float) -> Level:
    """A level of the process inside a step."""
    return Level(timestep, float(process.at(timestep)), offset)


def _discrete(schedule: NoiseSchedule, steps: int, spacing: str, offset: int) -> Floats:
    """The spacings of Lin et al., 2024, arXiv:2305.08891, table 2."""
    trained = schedule.train_timesteps
    if steps == 1:  # linspace of one point would start at the cleanest timestep
        return np.array([trained - 1.0])
    if spacing == "linspace":
        timesteps = np.linspace(0, trained - 1, steps).round()[::-1]
    elif spacing == "leading":
        timesteps = np.arange(steps)[::-1] * float(trained // steps) + offset
    else:
        timesteps = np.arange(trained, 0, -trained / steps).round() - 1
    if len(timesteps) != steps:
        raise ConfigError(f"spacing {spacing!r} cannot lay {steps} steps — use another")
    return np.ascontiguousarray(timesteps)


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
