"""What all schedulers of diffusions share: their settings, and the grid of noise levels."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import attrs
import numpy as np
from attrs import validators as v

from emnist_diff.errors import ConfigError
from emnist_diff.timeline import FlowSchedule, ForwardProcess, Level, PredictionType, Timeline
from emnist_diff_plugins.schedulers._process import SPACINGS, Floats, Process, spaced, timeline_through, written
from emnist_diff_plugins.schedulers._scheduler import Bound, Settings

_RHO = 7.0


def spacing_field(default: str) -> Any:
    return attrs.field(
        default=default,
        validator=v.in_(SPACINGS),
        metadata={
            "help": "noise levels visited: trailing (from the noisiest), leading, linspace; or over sigma karras, "
            "exponential",
            "aliases": ("timestep_spacing",),
        },
    )


@attrs.frozen(kw_only=True)
class Diffusion(Settings):
    """The settings of a scheduler for diffusions; a subclass says how it moves."""

    flow_counterpart: ClassVar[str] = "flow_euler"
    """The scheduler to use on a flow instead."""

    spacing: str = spacing_field("trailing")
    steps_offset: int = attrs.field(
        default=0, validator=v.ge(0), metadata={"help": "added to the timesteps of spacing leading"}
    )
    sigma_min: float | None = attrs.field(
        default=None,
        validator=v.optional(v.gt(0)),
        metadata={"help": "karras, exponential: last noise level; the process's smallest when left out"},
    )
    sigma_max: float | None = attrs.field(
        default=None,
        validator=v.optional(v.gt(0)),
        metadata={"help": "karras, exponential: first noise level; the process's largest, at most 80, when left out"},
    )
    rho: float = attrs.field(default=_RHO, validator=v.gt(0), metadata={"help": "karras: bend of the grid"})
    timesteps: tuple[float, ...] | None = attrs.field(
        default=None,
        metadata={"help": "the grid itself in place of a spacing, e.g. of Align Your Steps: falling, to 0 or more"},
    )
    zero_terminal_snr: bool = attrs.field(
        default=False,
        metadata={
            "help": "rescale the noise levels so that the first, where the run starts, holds no signal; for models "
            "that predict v or images",
            "aliases": ("rescale_betas_zero_snr",),
        },
    )

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if self.timesteps is not None:
            self._check_timesteps(np.array(self.timesteps, dtype=np.float64))
        for name, given, spacings in (
            ("sigma_min", self.sigma_min is not None, ("karras", "exponential")),
            ("sigma_max", self.sigma_max is not None, ("karras", "exponential")),
            ("rho", self.rho != _RHO, ("karras",)),
            ("steps_offset", self.steps_offset != 0, ("leading",)),
        ):
            if given and self.spacing not in spacings:
                raise ConfigError(f"{name} shapes spacing {' and '.join(spacings)}, and spacing is {self.spacing!r}")
        if self.zero_terminal_snr and self.sigma_max is not None:
            raise ConfigError("zero_terminal_snr starts where there is no signal, and sigma_max elsewhere — use one")

    def _check_timesteps(self, grid: Floats) -> None:
        """Raise `ConfigError` for a grid that cannot be walked, and for settings of a spacing beside it."""
        with np.errstate(over="ignore"):
            shown = grid.astype(np.float32)  # as the network is shown them
        if not len(shown) or not np.isfinite(shown).all() or (np.diff(shown) >= 0).any() or shown[-1] < 0:
            raise ConfigError("timesteps must fall, to 0 or more; the image, where the last step ends, is not written")
        fields = attrs.fields_dict(type(self))
        for name in ("spacing", "steps_offset", "sigma_min", "sigma_max", "rho"):
            if getattr(self, name) != fields[name].default:
                raise ConfigError(f"{name} shapes a grid, and timesteps is the grid itself — use one of them")

    def bind(self, process: ForwardProcess, prediction_type: PredictionType) -> Bound:
        """See `protocols.SchedulerFactory`."""
        if isinstance(process, FlowSchedule):
            raise ConfigError(
                f"scheduler {self.name!r} walks diffusions, and this model is a flow — use {self.flow_counterpart}"
            )
        if prediction_type == "flow":
            raise ConfigError(
                f"scheduler {self.name!r} walks diffusions, and this model predicts the velocity of a flow — "
                "its forward process must be a flow too"
            )
        if self.zero_terminal_snr:
            process = attrs.evolve(process, zero_terminal_snr=True)
        if process.zero_terminal_snr and prediction_type == "epsilon" and self.sigma_max is None:
            raise ConfigError(
                "zero_terminal_snr: where there is no signal, a prediction of noise says nothing of the image — use a "
                "model that predicts v or images, or start below that level: leave zero_terminal_snr out, and, where "
                "the model has it, use sigma_max with spacing karras"
            )
        return Bound(self, process, prediction_type, partial(self.timeline, Process.of(process)))

    def grid(self, process: Process, steps: int) -> Floats:
        """The timesteps to visit, noisiest first."""
        if self.timesteps is not None:
            return written(process, steps, self.timesteps)
        ends = (self.sigma_min, self.sigma_max)
        return spaced(process, steps, self.spacing, self.steps_offset, ends, self.rho)

    def timeline(self, process: Process, steps: int) -> Timeline:
        """The steps to take, with their inner levels."""
        timesteps = self.grid(process, steps)
        return timeline_through(process, timesteps, self.inner(process, timesteps))

    def inner(self, process: Process, timesteps: Floats) -> tuple[tuple[Level, ...], ...]:
        """The inner levels of each step; () where every step takes one evaluation."""
        return ()
