"""From an `InferenceConfig` to the `RunConfig` that the engine's assembly understands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from emnist_diff.config import ComponentConfig, RunConfig
from emnist_diff.discovery import installed
from emnist_diff.errors import CheckpointError, ConfigError, unknown
from emnist_diff.plugins import Registry
from emnist_diff.records import DriftSpec, ForceSpec, Spec
from emnist_diff.structuring import aliases
from emnist_diff_inference.checkpoints import FolderHeader, chosen_scheduler, headed
from emnist_diff_inference.limits import refuse_later, written
from emnist_diff_plugins.reviews.presets import expanded
from emnist_diff_plugins.runconfig import normalised, resolve
from emnist_diff_plugins.shorthands import switched

if TYPE_CHECKING:
    from emnist_diff_inference.config import InferenceConfig
from emnist_diff.timeline import NoiseSchedule
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader

SETTINGS = {
    "character": "character",
    "total_videos": "total_videos",
    "seed": "base_seed",
    "steps": "steps",
    "base": "force.base",
    "guidance_scale": "force.guidance_scale",
    "guides": "force.guides",
    "clip_abs": "force.clip_abs",
    "clip_norm": "force.clip_norm",
    "output": "output",
    "batch_size": "env.batch_size",
    "micro_batch": "env.micro_batch",
    "backend": "env.backend",
    "precision": "env.precision",
    "device": "env.device",
}
"""Settings of a run, and where an `InferenceConfig` has each as it is; None leaves one to the checkpoint."""

CHECKPOINT = {"checkpoint": "checkpoint", "epoch": "checkpoint_epoch"}
WORKER = {"rank": "env.slurm_rank", "world_size": "env.slurm_world"}
"""The same of the checkpoint, and of which worker of several this is."""


def to_run_config(config: InferenceConfig) -> RunConfig:
    """See `InferenceConfig.to_run_config`."""
    refuse_later(config)
    registry = installed()
    RunConfig(**taken(config, CHECKPOINT))  # for what it refuses
    whole = settings(config, *headed(config.checkpoint, config.checkpoint_epoch), registry)
    return attrs.evolve(whole, **taken(config, WORKER))


def settings(config: InferenceConfig, path: Path, header: CheckpointHeader, registry: Registry) -> RunConfig:
    """The run that `config` means with the checkpoint at `path`.

    Raises `UnknownName` and `ConfigError` naming the setting, `CheckpointError` for bad recommendations.
    """
    try:
        recommended = normalised(header.recommended)
        resolve(recommended)
    except ConfigError as error:
        raise CheckpointError(f"{path}: its recommended settings do not hold here: {error}") from error
    stated = {"checkpoint": str(path), **layer(config, header, registry)}
    if isinstance(header, FolderHeader) and header.network:
        stated["denoiser"] = {"name": header.family, "settings": dict(header.network)}
    if "steps" not in stated and "steps" not in recommended:
        process = header.schedule
        most = process.train_timesteps if isinstance(process, NoiseSchedule) else RunConfig().steps
        stated["steps"] = min(RunConfig().steps, most)
    return resolve(recommended, expanded(registry, normalised(stated)))


def layer(config: InferenceConfig, header: CheckpointHeader | None, registry: Registry) -> dict[str, Any]:
    """What `config` says of a run, but which checkpoint: a layer for `layers.configure`.

    header: of its checkpoint, or None where there is none.  Raises as `settings`.
    """
    composed = {key: make(config, header, registry) for key, make in COMPOSED.items()}
    return {key: value for key, value in (taken(config, SETTINGS) | composed).items() if value is not None}


def taken(config: InferenceConfig, table: Mapping[str, str]) -> dict[str, Any]:
    """The settings of a run that a table names, as they stand in `config`."""
    return {key: attrgetter(place)(config) for key, place in table.items()}


def preset(config: InferenceConfig, header: CheckpointHeader | None, registry: Registry) -> dict[str, Any] | None:
    """The preset of the forces with its settings, or None."""
    force = config.force
    return None if force.preset is None else {"name": force.preset, "settings": dict(force.preset_args)}


def scheduler(config: InferenceConfig, header: CheckpointHeader | None, registry: Registry) -> ComponentConfig | None:
    """The scheduler, where `config` names one or its eta; None leaves it to the checkpoint."""
    if config.scheduler is None and config.eta is None:
        return None
    return chosen_scheduler(header, config.scheduler, {} if config.eta is None else {"eta": config.eta})


def sinks(config: InferenceConfig, header: CheckpointHeader | None, registry: Registry) -> list[ComponentConfig] | None:
    """The sinks of a run, or None for the default ones.

    Raises `UnknownName` when no installed sink writes what is asked for.
    """
    flags = written(config)
    if not flags:
        return None
    capture, video = config.capture, config.video
    shown = {"every": capture.save_every, "upscale": video.upscale}
    settings: dict[str, dict[str, Any]] = {
        "frames": {"format": capture.frame_format, **shown},
        "video": {"fps": video.fps, "codec": video.codec, "pixel_format": video.pixel_format, **shown},
        "latents": {"format": capture.latent_format or "npy", "every": capture.save_every},
        "deltas": {"every": capture.save_every},
    }
    chosen = switched(registry, None, dict.fromkeys(flags, True), settings)
    return [ComponentConfig(item["name"], settings=item.get("settings", {})) for item in chosen]


def forces(config: InferenceConfig, header: CheckpointHeader | None, registry: Registry) -> list[ComponentConfig]:
    """The force stack with `global_cfg` laid under the settings of each force that knows them.

    Raises `UnknownName` for a global setting that no force of the stack knows.
    """
    force = config.force
    tables = [_spellings(registry, ForceSpec, item.name) for item in force.force_stack]
    for key in force.global_cfg:
        if not tables:
            raise ConfigError(f"ForceConfig.global_cfg: {key!r} is for forces, and force_stack has none — add one")
        if not any(key in table for table in tables):
            raise unknown("setting of ForceConfig.global_cfg:", key, {name for table in tables for name in table})
    return [
        attrs.evolve(item, settings=_overlaid(force.global_cfg, item.settings, table))
        for item, table in zip(force.force_stack, tables, strict=True)
    ]


def drifts(config: InferenceConfig, header: CheckpointHeader | None, registry: Registry) -> list[ComponentConfig]:
    """The drift, if it is enabled.

    Raises `ConfigError` when noise_scale or decay was changed and the drift has no such setting.
    """
    drift = config.drift
    if not drift.enabled:
        return []
    table = _spellings(registry, DriftSpec, drift.function_name)
    shared = {"noise_scale": drift.noise_scale, "decay": drift.decay}
    for key, value in shared.items():
        if key not in table and value != getattr(attrs.fields(type(drift)), key).default:
            raise ConfigError(
                f"DriftConfig.{key} = {value:g}: drift {drift.function_name!r} has no such setting — leave it out, or "
                "use another DriftConfig.function_name"
            )
    return [ComponentConfig(drift.function_name, settings=_overlaid(shared, drift.custom_cfg, table))]


COMPOSED: dict[str, Callable[[InferenceConfig, CheckpointHeader | None, Registry], Any]] = {
    "preset": preset,
    "forces": forces,
    "drifts": drifts,
    "sinks": sinks,
    "scheduler": scheduler,
}
"""Settings of a run that are made of several of an `InferenceConfig`; None for one that it says nothing of."""


def _spellings(registry: Registry, kind: type[Spec], name: str) -> dict[str, str]:
    factory = registry.load(kind, name)
    return aliases(factory) if attrs.has(factory) else {}


def _overlaid(under: Mapping[str, Any], over: Mapping[str, Any], table: Mapping[str, str]) -> dict[str, Any]:
    """Settings of a component: those of `under` that it knows and that `over` does not say, in any spelling, and all
    of `over`."""
    stated = {table.get(key, key) for key in over}
    return {**{k: value for k, value in under.items() if k in table and table[k] not in stated}, **over}
