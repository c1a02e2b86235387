"""From an `InferenceConfig` to the `RunConfig` that the engine's assembly understands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from emnist_diff.assembly.presets import expanded
from emnist_diff.config import ComponentConfig, RunConfig, normalised, resolve
from emnist_diff.discovery import installed
from emnist_diff.errors import CheckpointError, ConfigError, unknown
from emnist_diff.plugins import Registry
from emnist_diff.records import DriftSpec, ForceSpec, Spec
from emnist_diff.shorthands import switched
from emnist_diff.structuring import aliases
from emnist_diff_inference.checkpoints import chosen_scheduler
from emnist_diff_inference.limits import refuse_later, written

if TYPE_CHECKING:
    from emnist_diff_inference.config import DriftConfig, ForceConfig, InferenceConfig
from emnist_diff_plugins.containers import checkpoint
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader


def to_run_config(config: InferenceConfig) -> RunConfig:
    """See `InferenceConfig.to_run_config`."""
    refuse_later(config)
    registry = installed()
    RunConfig(checkpoint=config.checkpoint, epoch=config.checkpoint_epoch)  # for what it refuses
    path = checkpoint.located(config.checkpoint, config.checkpoint_epoch)
    whole = settings(config, path, checkpoint.read_header(path), registry)
    return attrs.evolve(whole, rank=config.env.slurm_rank, world_size=config.env.slurm_world)


def settings(config: InferenceConfig, path: Path, header: CheckpointHeader, registry: Registry) -> RunConfig:
    """The run that `config` means with the checkpoint at `path`.

    Raises `UnknownName` and `ConfigError` naming the setting, `CheckpointError` for bad recommendations.
    """
    try:
        recommended = normalised(header.recommended)
        resolve(recommended)
    except ConfigError as error:
        raise CheckpointError(f"{path}: its recommended settings do not hold here: {error}") from error
    said = {"checkpoint": str(path), **layer(config, header, registry)}
    if "steps" not in said and "steps" not in recommended:
        said["steps"] = min(RunConfig().steps, header.schedule.train_timesteps)
    return resolve(recommended, expanded(registry, normalised(said)))


def layer(config: InferenceConfig, header: CheckpointHeader | None, registry: Registry) -> dict[str, Any]:
    """What `config` says of a run, but which checkpoint: a layer for `assembly.configure`.

    header: of its checkpoint, or None where there is none.  Raises as `settings`.
    """
    said: dict[str, Any] = {
        "total_videos": config.total_videos,
        "seed": config.base_seed,
        "forces": forces(config.force, registry),
        "guides": dict(config.force.guides),
        "drifts": drifts(config.drift, registry),
        "output": config.output,
        "batch_size": config.env.batch_size,
        "micro_batch": config.env.micro_batch,
        "backend": config.env.backend,
        "precision": config.env.precision,
        "device": config.env.device,
    }
    if (files := sinks(config, registry)) is not None:
        said["sinks"] = files
    for key in ("base", "clip_abs", "clip_norm"):
        if (value := getattr(config.force, key)) is not None:
            said[key] = value
    if config.force.preset is not None:
        said["preset"] = {"name": config.force.preset, "settings": dict(config.force.preset_args)}
    if config.force.guidance_scale is not None:
        said["guidance_scale"] = config.force.guidance_scale
    for key in ("character", "steps"):
        if (value := getattr(config, key)) is not None:
            said[key] = value
    if config.scheduler is not None or config.eta is not None:
        eta = {} if config.eta is None else {"eta": config.eta}
        said["scheduler"] = chosen_scheduler(header, config.scheduler, eta)
    return said


def sinks(config: InferenceConfig, registry: Registry) -> list[ComponentConfig] | None:
    """The sinks of a run, or None for the default ones.

    Raises `UnknownName` when no installed sink writes what is asked for.
    """
    asked = written(config)
    if not asked:
        return None
    capture, video = config.capture, config.video
    shown = {"every": capture.save_every, "upscale": video.upscale}
    settings: dict[str, dict[str, Any]] = {
        "frames": {"format": capture.frame_format, **shown},
        "video": {"fps": video.fps, "codec": video.codec, "pixel_format": video.pixel_format, **shown},
        "latents": {"format": capture.latent_format or "npy", "every": capture.save_every},
        "deltas": {"every": capture.save_every},
    }
    chosen = switched(registry, None, dict.fromkeys(asked, True), settings)
    return [ComponentConfig(item["name"], settings=item.get("settings", {})) for item in chosen]


def forces(config: ForceConfig, registry: Registry) -> list[ComponentConfig]:
    """The force stack with `global_cfg` laid under the settings of each force that knows them.

    Raises `UnknownName` for a global setting that no force of the stack knows.
    """
    tables = [_spellings(registry, ForceSpec, item.name) for item in config.force_stack]
    for key in config.global_cfg:
        if not tables:
            raise ConfigError(f"ForceConfig.global_cfg: {key!r} is for forces, and force_stack has none — add one")
        if not any(key in table for table in tables):
            raise unknown("setting of ForceConfig.global_cfg:", key, {name for table in tables for name in table})
    return [
        attrs.evolve(item, settings=_overlaid(config.global_cfg, item.settings, table))
        for item, table in zip(config.force_stack, tables, strict=True)
    ]


def drifts(config: DriftConfig, registry: Registry) -> list[ComponentConfig]:
    """The drift, if it is enabled.

    Raises `ConfigError` when noise_scale or decay was changed and the drift has no such setting.
    """
    if not config.enabled:
        return []
    table = _spellings(registry, DriftSpec, config.function_name)
    shared = {"noise_scale": config.noise_scale, "decay": config.decay}
    for key, value in shared.items():
        if key not in table and value != getattr(attrs.fields(DriftConfig), key).default:
            raise ConfigError(
                f"DriftConfig.{key} = {value:g}: drift {config.function_name!r} has no such setting — leave it out, or "
                "use another DriftConfig.function_name"
            )
    return [ComponentConfig(config.function_name, settings=_overlaid(shared, config.custom_cfg, table))]


def _spellings(registry: Registry, kind: type[Spec], name: str) -> dict[str, str]:
    factory = registry.load(kind, name)
    return aliases(factory) if attrs.has(factory) else {}


def _overlaid(under: Mapping[str, Any], over: Mapping[str, Any], table: Mapping[str, str]) -> dict[str, Any]:
    """Settings of a component: those of `under` that it knows and that `over` does not say, in any spelling, and all
    of `over`."""
    said = {table.get(key, key) for key in over}
    return {**{k: value for k, value in under.items() if k in table and table[k] not in said}, **over}
