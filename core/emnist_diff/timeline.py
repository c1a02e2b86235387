"""What is known of a run's steps before it starts: forward processes, noise levels, and the timeline of the steps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import attrs
from attrs import validators as v

from emnist_diff.brief import briefly

if TYPE_CHECKING:  # the contracts can be read without paying for numpy
    import numpy as np
    import numpy.typing as npt


PredictionType = Literal["epsilon", "v_prediction", "sample", "flow"]
"""What a network returns: the noise; v; the image; or, on a flow, the velocity. See `parameterization`."""


MOST_TIMESTEPS = 100_000
"""Levels of a forward process; networks are trained on thousands."""


_FARTHEST = 1e6


ProcessKind = Literal["diffusion", "flow"]
"""How signal and noise mix into a state; see `rates`."""


def rates(alpha_bar: float, process: ProcessKind) -> tuple[float, float]:
    """(signal, noise) such that x_t = signal · x_0 + noise · eps, where alpha_bar is the signal's share of the power:
    signal² / (signal² + noise²). On a diffusion the squares add up to 1, on a flow the rates do."""
    signal, noise = alpha_bar**0.5, (1.0 - alpha_bar) ** 0.5
    return (signal, noise) if process == "diffusion" else (signal / (signal + noise), noise / (signal + noise))


def _clip(instance: object, attribute: Any, value: float | None) -> None:
    if value is not None and not 0 < value <= _FARTHEST:
        raise ValueError(f"'clip_sample' must be > 0 and <= {_FARTHEST:g}: {value}")


@attrs.frozen
class NoiseSchedule:
    """The forward process x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps that a network was trained on.

    train_timesteps: number of discrete levels.
    beta_schedule: ``linear``, ``scaled_linear`` or ``squaredcos_cap_v2``.
    beta_start, beta_end: ends of the linear ones, more than 0 and less than 1; the squared cosine ignores them.
    zero_terminal_snr: rescaled so that the last level holds no signal (Lin et al., 2024, arXiv:2305.08891,
    algorithm 1).
    clip_sample: half-width of the range that x0 is clipped to while sampling, or None. Images live in [-1, 1].
    """

    train_timesteps: int = attrs.field(default=1000, validator=v.and_(v.ge(1), v.le(MOST_TIMESTEPS)))
    beta_schedule: str = attrs.field(
        default="squaredcos_cap_v2",
        validator=v.in_(("linear", "scaled_linear", "squaredcos_cap_v2")),
    )
    beta_start: float = attrs.field(default=0.0001, validator=v.and_(v.gt(0), v.lt(1)))
    beta_end: float = attrs.field(default=0.02, validator=v.and_(v.gt(0), v.lt(1)))
    clip_sample: float | None = attrs.field(default=1.0, validator=_clip)
    zero_terminal_snr: bool = False


@attrs.frozen
class FlowSchedule:
    """The forward process x_s = (1 - s) x_0 + s eps, s in [0, 1], of rectified flow (Liu, Gong and Liu, 2023,
    arXiv:2209.03003).

    time_scale: the network is shown the timestep time_scale · s.
    clip_sample: half-width of the range that x0 is clipped to while sampling, or None.
    """

    time_scale: float = attrs.field(default=1000.0, validator=[v.gt(0), v.le(_FARTHEST)])
    clip_sample: float | None = attrs.field(default=None, validator=_clip)


ForwardProcess = NoiseSchedule | FlowSchedule


@attrs.frozen
class Level:
    """A noise level inside a step, at which a scheduler evaluates a second time.

    timestep, alpha_bar: as in `StepInfo`.  offset: where in the step it stands, 0 (its start) … 1 (its end).
    """

    timestep: float
    alpha_bar: float
    offset: float


@attrs.frozen
class StepInfo:
    """What is known of a step before it happens.

    index: 0 … steps-1, from noise to image.  steps: of the run.  timestep: the training timestep shown to the network.
    alpha_bar, alpha_bar_next: signal power here and where the step ends (1 for the image).
    process: how signal and noise mix.  offset: 0, or where inside the step the scheduler evaluates again.
    inner: the levels of those evaluations.
    """

    index: int
    steps: int
    timestep: float
    alpha_bar: float
    alpha_bar_next: float
    process: ProcessKind = "diffusion"
    offset: float = 0.0
    inner: tuple[Level, ...] = ()

    @property
    def frac(self) -> float:
        """Progress 0 → 1 from noise to image; 0 for a run of one step."""
        return min(1.0, (self.index + self.offset) / max(1, self.steps - 1))

    @property
    def sigma(self) -> float:
        """Noise-to-signal ratio sqrt((1 - alpha_bar) / alpha_bar), as EDM counts it; infinite without signal."""
        return _sigma(self.alpha_bar)

    @property
    def sigma_next(self) -> float:
        """Noise-to-signal ratio where the step ends; 0 for the image."""
        return _sigma(self.alpha_bar_next)

    @property
    def rates(self) -> tuple[float, float]:
        """(signal, noise) here: x_t = signal · x_0 + noise · eps."""
        return rates(self.alpha_bar, self.process)

    @property
    def rates_next(self) -> tuple[float, float]:
        """(signal, noise) where the step ends."""
        return rates(self.alpha_bar_next, self.process)

    def inside(self, stage: int) -> StepInfo:
        """The same step, as seen from its inner level `stage`."""
        level = self.inner[stage]
        return attrs.evolve(self, timestep=level.timestep, alpha_bar=level.alpha_bar, offset=level.offset, inner=())


def _sigma(alpha_bar: float) -> float:
    return float(((1.0 - alpha_bar) / alpha_bar) ** 0.5) if alpha_bar > 0 else math.inf


@briefly
@attrs.frozen(eq=False)
class Timeline:
    """The steps of a run, noise first; each array has one float64 entry a step. Stored verbatim in the file.

    timestep: shown to the network.  alpha_bar, alpha_bar_next: signal power where a step starts, and where it ends.
    process: how signal and noise mix.  inner: for each step the levels at which its scheduler evaluates again; () where
    every step takes one evaluation.
    """

    timestep: npt.NDArray[np.float64]
    alpha_bar: npt.NDArray[np.float64]
    alpha_bar_next: npt.NDArray[np.float64]
    process: ProcessKind = "diffusion"
    inner: tuple[tuple[Level, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.timestep)

    def at(self, index: int) -> StepInfo:
        """What is known of step `index`."""
        return StepInfo(
            index,
            len(self),
            float(self.timestep[index]),
            float(self.alpha_bar[index]),
            float(self.alpha_bar_next[index]),
            self.process,
            inner=self.inner[index] if self.inner else (),
        )

    def stages(self, index: int) -> tuple[StepInfo, ...]:
        """Everything at which a scheduler has the network asked in step `index`, in order."""
        at = self.at(index)
        return (at, *(at.inside(stage) for stage in range(len(at.inner))))

    def end(self, index: int) -> StepInfo | None:
        """Step `index` as seen from the level where it ends, which is where the next one starts; None for the image."""
        if index + 1 >= len(self):
            return None
        level = Level(float(self.timestep[index + 1]), float(self.alpha_bar[index + 1]), offset=1.0)
        return attrs.evolve(self.at(index), inner=(level,)).inside(0)

    @property
    def evaluations(self) -> npt.NDArray[np.int64]:
        """How often each step asks the network."""
        import numpy as np

        return np.array([1 + (len(self.inner[i]) if self.inner else 0) for i in range(len(self))], dtype=np.int64)

    @property
    def sigma(self) -> npt.NDArray[np.float64]:
        """Noise-to-signal ratio of each step; infinite where there is no signal."""
        import numpy as np

        return np.array([_sigma(a) for a in self.alpha_bar.tolist()], dtype=np.float64)
