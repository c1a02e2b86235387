"""What a folder's ``scheduler_config.json`` says: the forward process, and the scheduler that its authors use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emnist_diff.errors import CheckpointError
from emnist_diff.timeline import FlowSchedule, NoiseSchedule, PredictionType

_SCHEDULERS = {
    "EulerDiscreteScheduler": "euler",
    "EulerAncestralDiscreteScheduler": "euler_ancestral",
    "HeunDiscreteScheduler": "heun",
    "LMSDiscreteScheduler": "lms",
    "DDIMScheduler": "ddim",
    "DDPMScheduler": "ddpm",
    "DPMSolverMultistepScheduler": "dpmpp_2m",
    "DPMSolverSDEScheduler": "dpmpp_sde",
    "KDPM2DiscreteScheduler": "dpm2",
    "UniPCMultistepScheduler": "unipc",
}
"""Of diffusions, by diffusers' class. For others the folder recommends Euler's."""

_PREDICTIONS: dict[str, PredictionType] = {
    "epsilon": "epsilon", "v_prediction": "v_prediction", "sample": "sample",
}  # fmt: skip

_SHIFTS = {"base_shift": 0.5, "max_shift": 1.15, "base_image_seq_len": 256.0, "max_image_seq_len": 4096.0}
"""The line by which Flux shifts its grid: mu at the fewest and at the most tokens, and how many these are."""


def diffusion(path: Path, config: Mapping[str, Any]) -> tuple[NoiseSchedule, PredictionType]:
    """Forward process and prediction type of a diffusion. Raises `CheckpointError` for what is not known."""
    kind = str(config.get("prediction_type", "epsilon"))
    if kind not in _PREDICTIONS or config.get("trained_betas") is not None:
        what = "trained_betas" if kind in _PREDICTIONS else f"prediction_type {kind!r:.40}"
        raise CheckpointError(f"{path}: the scheduler says {what}, which is not known here")
    try:
        schedule = NoiseSchedule(
            train_timesteps=int(config.get("num_train_timesteps", 1000)),
            beta_schedule=str(config.get("beta_schedule", "linear")),
            beta_start=float(config.get("beta_start", 0.0001)),
            beta_end=float(config.get("beta_end", 0.02)),
            zero_terminal_snr=bool(config.get("rescale_betas_zero_snr", False)),
            clip_sample=None,
        )
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: the scheduler's settings are not known here: {error}") from error
    return schedule, _PREDICTIONS[kind]


def diffusion_scheduler(config: Mapping[str, Any]) -> dict[str, Any]:
    """The scheduler of a diffusion, as a configuration names it."""
    settings: dict[str, Any] = {"spacing": config.get("timestep_spacing", "linspace")}
    if config.get("use_karras_sigmas"):
        settings["spacing"] = "karras"
    elif config.get("use_exponential_sigmas"):
        settings["spacing"] = "exponential"
    if settings["spacing"] == "leading" and config.get("steps_offset"):
        settings["steps_offset"] = int(config["steps_offset"])
    name = _SCHEDULERS.get(str(config.get("_class_name")), "euler")
    if name == "dpmpp_2m" and str(config.get("algorithm_type", "")).startswith("sde"):
        name = "dpmpp_2m_sde"
    return {"name": name, "settings": settings}


def flow(path: Path, config: Mapping[str, Any]) -> FlowSchedule:
    """The forward process of a flow. Raises `CheckpointError` for a scheduler of diffusions."""
    if not str(config.get("_class_name")).startswith("FlowMatch"):
        raise CheckpointError(f"{path}: the scheduler is a {config.get('_class_name')}, and the model is a flow")
    return FlowSchedule(time_scale=float(config.get("num_train_timesteps", 1000)))


def flow_scheduler(config: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    """The scheduler of a flow, as a configuration names it.  tokens: of an image, by which some shift their grid."""
    settings: dict[str, Any] = {}
    if config.get("use_dynamic_shifting"):
        ends = [float(config.get(key, value)) for key, value in _SHIFTS.items()]
        if ends == list(_SHIFTS.values()):
            settings["tokens"] = tokens
        else:  # the same line through other points
            low, high, few, many = ends
            settings["mu"] = low + (high - low) * (tokens - few) / (many - few)
    elif float(config.get("shift") or 1.0) != 1.0:
        settings["shift"] = float(config["shift"])
    return {"name": "flow_euler", "settings": settings}
