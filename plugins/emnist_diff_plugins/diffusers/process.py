"""The forward process that a scheduler of diffusers was configured for."""

from __future__ import annotations

from typing import Any

from emnist_diff.errors import ConfigError
from emnist_diff.timeline import FlowSchedule, ForwardProcess, NoiseSchedule, PredictionType

_BETAS = ("linear", "scaled_linear", "squaredcos_cap_v2")


def process_of(schedule: Any) -> tuple[ForwardProcess, PredictionType | None]:
    """The process, and what the network predicts: of a scheduler of diffusers, as its configuration says; None of a
    process of ours, which says nothing of that.

    Raises `ConfigError` for what is no schedule, and for one whose noise levels are of its own kind.
    """
    if isinstance(schedule, NoiseSchedule | FlowSchedule):
        return schedule, None
    config: Any = getattr(schedule, "config", None)
    trained = getattr(config, "num_train_timesteps", None)
    name = type(schedule).__name__
    if trained is None:
        raise ConfigError(
            f"{name} is no noise schedule — give a scheduler of diffusers, a NoiseSchedule or FlowSchedule"
        )
    if "FlowMatch" in name or getattr(config, "prediction_type", "") == "flow_prediction":
        return FlowSchedule(time_scale=float(trained)), "flow"
    betas = getattr(config, "beta_schedule", None)
    if betas not in _BETAS or getattr(config, "trained_betas", None) is not None:
        raise ConfigError(
            f"{name}: noise levels of its own (beta_schedule {betas!r}) are not known — use one of {', '.join(_BETAS)}"
        )
    clipped = getattr(config, "clip_sample", False)
    process = NoiseSchedule(
        train_timesteps=trained,
        beta_schedule=betas,
        beta_start=config.beta_start,
        beta_end=config.beta_end,
        zero_terminal_snr=bool(getattr(config, "rescale_betas_zero_snr", False)),
        clip_sample=getattr(config, "clip_sample_range", 1.0) if clipped else None,
    )
    return process, getattr(config, "prediction_type", "epsilon")
