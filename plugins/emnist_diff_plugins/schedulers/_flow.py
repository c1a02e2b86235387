"""What all schedulers of flows share: their settings, and the grid of s from 1 (noise) to 0 (image)."""

from __future__ import annotations

import math
from functools import partial
from typing import ClassVar

import attrs
import numpy as np
from attrs import validators as v
from torch import Tensor

from emnist_diff.errors import ConfigError
from emnist_diff.timeline import FlowSchedule, ForwardProcess, Level, PredictionType, Timeline
from emnist_diff_plugins.schedulers._estimates import Estimates
from emnist_diff_plugins.schedulers._process import Floats
from emnist_diff_plugins.schedulers._scheduler import Bound, Settings

_TOKENS = (256, 4096)
_MU = (0.5, 1.15)
"""Shift of Flux at its smallest and its largest image (FLUX.1, `get_lin_function`)."""


def shifted(s: Floats, shift: float) -> Floats:
    """s' = a s / (1 + (a - 1) s): more steps near the noise for a > 1. Esser et al., 2024, arXiv:2403.03206,
    equation 23. Keeps 0 and 1; a = 1 changes nothing; a = e^mu is the exponential shift of Flux."""
    return shift * s / ((1.0 - s) + shift * s)  # exactly 1 at 1


def stretched(s: Floats, terminal: float) -> Floats:
    """The grid s, (steps,), falling from 1, stretched so that its last value is `terminal`, as LTX-Video has it. 1
    stays 1, and so does a grid of one step."""
    if s[-1] == 1.0:
        return s
    result: Floats = 1.0 - (1.0 - s) * (1.0 - terminal) / (1.0 - s[-1])
    return result


def resolution_shift(tokens: int) -> float:
    """e^mu for an image of so many tokens, mu being linear in their number, 0.5 at 256 and 1.15 at 4096."""
    slope = (_MU[1] - _MU[0]) / (_TOKENS[1] - _TOKENS[0])
    return math.exp(_MU[0] + slope * (tokens - _TOKENS[0]))


@attrs.frozen(kw_only=True)
class Flow(Settings):
    """The settings of a scheduler for flows; a subclass says how it moves."""

    diffusion_counterpart: ClassVar[str] = "ddim"
    """The scheduler to use on a diffusion instead."""

    shift: float | None = attrs.field(
        default=None, validator=v.optional(v.gt(0)), metadata={"help": "static shift a, e.g. 3 for SD3; 1 is none"}
    )
    mu: float | None = attrs.field(default=None, metadata={"help": "exponential shift: a = e^mu, as Flux has it"})
    tokens: int | None = attrs.field(
        default=None,
        validator=v.optional(v.ge(1)),
        metadata={"help": "shift by resolution: image tokens, (H/16)(W/16) for Flux"},
    )
    terminal: float | None = attrs.field(
        default=None,
        validator=v.optional(v.and_(v.gt(0), v.lt(1))),
        metadata={"help": "stretch the grid so that the last step, to the image, starts at this s, e.g. 0.1 for LTX"},
    )
    end: float | None = attrs.field(
        default=None,
        validator=v.optional(v.and_(v.gt(0), v.lt(1))),
        metadata={"help": "s, before any shift, at which the last step starts; SD3's grid is end=0.002994,shift=3"},
    )
    sigmas: tuple[float, ...] | None = attrs.field(
        default=None, metadata={"help": "the grid itself, falling from at most 1; a last 0 may be left out"}
    )

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if sum(value is not None for value in (self.shift, self.mu, self.tokens)) > 1:
            raise ConfigError("shift, mu and tokens are three ways to say one thing — name one of them")
        if self.sigmas is not None:
            if self.end is not None:
                raise ConfigError("end shapes a grid, and sigmas is the grid itself — use one of them")
            grid = np.array(self.sigmas, dtype=np.float64)
            if not len(grid) or not np.isfinite(grid).all() or (np.diff(grid) >= 0).any() or not 0 < grid[0] <= 1:
                raise ConfigError("sigmas must fall, from at most 1")
            if grid[-1] < 0 or len(self._steps_of(grid)) == 0:
                raise ConfigError("sigmas must stay above 0 until the end")

    def bind(self, process: ForwardProcess, prediction_type: PredictionType) -> Bound:
        """See `protocols.SchedulerFactory`."""
        if not isinstance(process, FlowSchedule):
            raise ConfigError(
                f"scheduler {self.name!r} walks flows, and this model is a diffusion — use {self.diffusion_counterpart}"
            )
        if prediction_type not in ("flow", "sample"):
            raise ConfigError(
                f"scheduler {self.name!r} cannot walk a flow by predictions of {prediction_type!r}: they say nothing "
                "of the image where a flow begins, at pure noise — use a model that predicts flow or sample"
            )
        return Bound(self, process, prediction_type, partial(self.timeline, process))

    @staticmethod
    def _steps_of(grid: Floats) -> Floats:
        return grid[:-1] if grid[-1] == 0 else grid

    def grid(self, steps: int) -> Floats:
        """s at which each step starts, (steps,), falling from 1; the last step ends at 0."""
        if self.sigmas is not None:
            s = self._steps_of(np.array(self.sigmas, dtype=np.float64))
            if len(s) != steps:
                raise ConfigError(f"sigmas lays {len(s)} steps, and steps = {steps} — use --steps {len(s)}")
        elif self.end is not None:
            s = np.linspace(1.0, self.end, steps)
        else:
            s = 1.0 - np.arange(steps) / steps
        shift = self.shift
        if self.mu is not None:
            shift = math.exp(self.mu)
        if self.tokens is not None:
            shift = resolution_shift(self.tokens)
        if shift is not None:
            s = shifted(s, shift)
        return s if self.terminal is None else stretched(s, self.terminal)

    def timeline(self, process: FlowSchedule, steps: int) -> Timeline:
        """The steps to take, with their inner levels."""
        s = self.grid(steps)
        alpha_bars = alpha_bar(s)
        return Timeline(
            process.time_scale * s, alpha_bars, np.append(alpha_bars[1:], 1.0), "flow", self.inner(process, s)
        )

    def inner(self, process: FlowSchedule, s: Floats) -> tuple[tuple[Level, ...], ...]:
        """The inner levels of each step, s being its start; () where every step takes one evaluation."""
        return ()


def alpha_bar(s: Floats) -> Floats:
    """The signal's share of the power at s."""
    out: Floats = (1.0 - s) ** 2 / ((1.0 - s) ** 2 + s**2)
    return out


def velocity(estimates: Estimates) -> Tensor:
    """dx/ds = eps - x0, (B, *shape)."""
    return estimates.epsilon - estimates.x0
