"""One configuration from layers of plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from emnist_diff import checkpoint, config
from emnist_diff.assembly import guides, presets
from emnist_diff.assembly.record import files_of
from emnist_diff.assembly.sources import checkpoint_path
from emnist_diff.components import default, make
from emnist_diff.config import ComponentConfig, RunConfig
from emnist_diff.errors import CheckpointError, ConfigError
from emnist_diff.events import get_logger
from emnist_diff.identity import differing
from emnist_diff.plugins import Registry
from emnist_diff.records import DenoiserSpec, DriftSpec, ForceSpec, SchedulerSpec

log = get_logger()


def configure(registry: Registry, *layers: Mapping[str, Any]) -> tuple[RunConfig, checkpoint.CheckpointHeader | None]:
    """The configuration from layers of plain data (file, then command line), with presets expanded and the
    checkpoint's recommended settings under them, and the checkpoint's header. Nothing but the header is read of the
    checkpoint.

    A configuration as a trajectory file records it is one too: its ``checkpoint_sha256`` and ``guide_sha256`` say which
    checkpoint and guides must be there. Raises `CheckpointError` when they are others.
    """
    merged = _merged(layers)
    recorded, recorded_guides = merged.pop("checkpoint_sha256", None), merged.pop("guide_sha256", None)
    recorded_files = merged.pop("files", None)
    if recorded is not None:
        merged.pop("denoiser", None)  # which the record copied from the checkpoint
    guided = merged.get("guidance_scale")
    merged = presets.expanded(registry, merged)
    named_only = _with_scheduler(registry, config.resolve(merged))
    if recorded_guides is not None:
        guides.require_recorded(named_only.guides, recorded_guides, "this configuration")
    if guided is not None and named_only.base != "cfg":
        log.warning("guidance.unused", guidance_scale=guided, base=named_only.base, hint="only base cfg is guided")
    if named_only.denoiser is not None:
        if named_only.checkpoint is not None:
            raise ConfigError("checkpoint and denoiser exclude each other — name one of them")
        _require_files(registry, named_only, named_only.denoiser, recorded_files)
        return named_only, None
    path = checkpoint_path(registry, named_only)
    header = checkpoint.read_header(path)
    if recorded is not None and checkpoint.sha256(path) != recorded:
        raise CheckpointError(
            f"{path} is not the checkpoint that this configuration was recorded with, whose SHA-256 is {recorded} — "
            "name that one with --checkpoint"
        )
    try:
        settings = _with_scheduler(registry, config.resolve(header.recommended, merged))
    except ConfigError as error:
        raise CheckpointError(f"{path}: its recommended settings do not hold here: {error}") from error
    _require_files(registry, settings, ComponentConfig(header.family, settings=header.network), recorded_files)
    return settings, header


def _with_scheduler(registry: Registry, settings: RunConfig) -> RunConfig:
    """The settings with the default scheduler where they name none."""
    return attrs.evolve(settings, scheduler=settings.scheduler or default(registry, SchedulerSpec))


def _require_files(registry: Registry, settings: RunConfig, denoiser: ComponentConfig, recorded: Any) -> None:
    """Raise `ConfigError` where a record says that other files decided its samples than those that are named here."""
    if recorded is None:
        return
    made = [make(registry, DenoiserSpec, denoiser), make(registry, SchedulerSpec, settings.scheduler)]
    made += [make(registry, ForceSpec, force) for force in settings.forces]
    made += [make(registry, DriftSpec, drift) for drift in settings.drifts]
    if odd := differing({"files": recorded}, files_of(settings, made, {})):
        raise ConfigError(f"this configuration was recorded with other files ({odd}) — give back those that it names")


def _merged(layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One layer of several, weakest first. Raises `ConfigError` for settings that exclude each other."""
    merged: dict[str, Any] = {}
    for layer in layers:
        layer = config.normalised(layer)
        for one, other in (("total_videos", "per_character"), ("per_character", "total_videos")):
            if layer.get(one) is not None and other not in layer:
                merged.pop(other, None)
        merged.update(layer)
    if merged.get("per_character") is not None and "total_videos" in merged:
        raise ConfigError("total_videos and per_character exclude each other — one says it in all, the other of each")
    for given, missing in (("rank", "world_size"), ("world_size", "rank")):
        if given in merged and missing not in merged:
            raise ConfigError(f"{given} = {merged[given]!r:.40} without {missing}: give both, or say --distributed")
    return merged
