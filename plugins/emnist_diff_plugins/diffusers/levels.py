"""The noise levels at which a scheduler of diffusers steps, and the scale of its states."""

from __future__ import annotations

from typing import Any, Literal

import attrs

from emnist_diff.errors import ConfigError
from emnist_diff.timeline import PredictionType, ProcessKind


@attrs.frozen
class Kind:
    """How a class of schedulers counts noise.

    levels: ``alphas``, by the timestep, or ``sigmas``, by the number of the step.
    exploding: whether its states are x0 + sigma · eps, which only its ``scale_model_input`` brings to unit variance.
    estimates: whether the second value that ``step`` returns is its estimate of the image.
    """

    levels: Literal["alphas", "sigmas"]
    exploding: bool = False
    estimates: bool = True


_ALPHAS, _SIGMAS = Kind("alphas"), Kind("sigmas", estimates=False)
_EXPLODING = Kind("sigmas", exploding=True)
_FLOW_PREFIX = "FlowMatch"

KINDS = {
    "DDIMParallelScheduler": _ALPHAS,
    "DDIMScheduler": _ALPHAS,
    "DDPMParallelScheduler": _ALPHAS,
    "DDPMScheduler": _ALPHAS,
    "DEISMultistepScheduler": _SIGMAS,
    "DPMSolverMultistepScheduler": _SIGMAS,
    "DPMSolverSinglestepScheduler": _SIGMAS,
    "EulerAncestralDiscreteScheduler": _EXPLODING,
    "EulerDiscreteScheduler": _EXPLODING,
    "FlowMatchEulerDiscreteScheduler": _SIGMAS,
    "FlowMatchHeunDiscreteScheduler": _SIGMAS,
    "FlowMatchLCMScheduler": _SIGMAS,
    "HeunDiscreteScheduler": _EXPLODING,
    "KDPM2AncestralDiscreteScheduler": _EXPLODING,
    "KDPM2DiscreteScheduler": _EXPLODING,
    "LCMScheduler": _ALPHAS,
    "LMSDiscreteScheduler": _EXPLODING,
    "PNDMScheduler": Kind("alphas", estimates=False),
    "SASolverScheduler": _SIGMAS,
    "TCDScheduler": Kind("alphas", estimates=False),
    "UniPCMultistepScheduler": _SIGMAS,
}
"""The schedulers whose steps can be recorded, by their names."""


@attrs.frozen
class Levels:
    """scheduler: of diffusers.  process: how signal and noise mix in its states, once they are scaled.
    prediction_type: what its network predicts."""

    scheduler: Any
    kind: Kind
    process: ProcessKind
    prediction_type: PredictionType

    @classmethod
    def of(cls, scheduler: Any) -> Levels:
        """Raises `ConfigError` for a scheduler that is not among `KINDS`, and for Runge-Kutta steps of PNDM."""
        kind = next((KINDS[base.__name__] for base in type(scheduler).__mro__ if base.__name__ in KINDS), None)
        name, config = type(scheduler).__name__, getattr(scheduler, "config", None)
        if kind is None:
            raise ConfigError(f"steps of {name} cannot be recorded — use one of {', '.join(KINDS)}")
        if "PNDM" in name and not getattr(config, "skip_prk_steps", False):
            raise ConfigError(f"{name} evaluates four times a step at first — set skip_prk_steps=True")
        predicted = str(getattr(config, "prediction_type", None) or "epsilon")
        flow = predicted == "flow_prediction" or bool(getattr(config, "use_flow_sigmas", False))
        if flow or name.startswith(_FLOW_PREFIX):
            return cls(scheduler, kind, "flow", "flow")
        if predicted not in ("epsilon", "v_prediction", "sample"):
            raise ConfigError(f"{name} takes a prediction of type {predicted!r:.40}, which cannot be recorded")
        return cls(scheduler, kind, "diffusion", predicted)  # type: ignore[arg-type]  # one of the three, as checked

    @property
    def begins(self) -> bool:
        """Whether the next call of ``step`` begins a step, and does not complete one that evaluates twice."""
        if "PNDM" in type(self.scheduler).__name__:
            return int(self.scheduler.counter) != 1
        return bool(getattr(self.scheduler, "state_in_first_order", True))

    def of_call(self, timestep: Any) -> tuple[float, float]:
        """The share of the signal in the power, ``alpha_bar``, where the call of ``step`` that has just returned began,
        and where it ended (1 for the image)."""
        if self.kind.levels == "alphas":
            return self._alpha(float(timestep)), self._alpha(self._following(float(timestep)))
        index, sigmas = int(self.scheduler.step_index) - 1, self.scheduler.sigmas
        return self._signal(float(sigmas[index])), self._signal(float(sigmas[min(index + 1, len(sigmas) - 1)]))

    def grid(self) -> list[float]:
        """``alpha_bar`` where each of the scheduler's steps begins, and where the last ends, once its steps are set."""
        if self.kind.levels == "sigmas":
            return [self._signal(float(sigma)) for sigma in self.scheduler.sigmas]
        return [*(self._alpha(float(timestep)) for timestep in self.scheduler.timesteps), 1.0]

    def scale(self, alpha_bar: float) -> float:
        """What a state of the scheduler is multiplied by to be signal · x0 + noise · eps at this level."""
        return alpha_bar**0.5 if self.kind.exploding else 1.0

    def _alpha(self, timestep: float | None) -> float:
        return 1.0 if timestep is None else float(self.scheduler.alphas_cumprod[int(timestep)])

    def _following(self, timestep: float) -> float | None:
        """The timestep after this one; None after the last."""
        lower = [float(other) for other in self.scheduler.timesteps if float(other) < timestep]
        return lower[0] if lower else None

    def _signal(self, sigma: float) -> float:
        if self.process == "diffusion":
            return 1.0 / (1.0 + sigma**2)
        signal = 1.0 - sigma
        return signal**2 / (signal**2 + sigma**2)
