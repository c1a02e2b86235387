"""One configuration from layers of plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from emnist_diff.assembly.reviews import reviews_of, unknown_names_explained
from emnist_diff.assembly.sources import Found, found
from emnist_diff.components import default
from emnist_diff.config import RunConfig
from emnist_diff.errors import CheckpointError, ConfigError, UnknownName
from emnist_diff.events import get_logger
from emnist_diff.plugins import Registry
from emnist_diff.records import DenoiserSpec, SchedulerSpec
from emnist_diff_plugins import runconfig
from emnist_diff_plugins.contract import SettingsReview

log = get_logger()

RECORDED = ("checkpoint_sha256", "guide_sha256", "files")
"""What a recorded configuration says beside the settings: hashes of what decided the samples."""


def configure(registry: Registry, *layers: Mapping[str, Any]) -> tuple[RunConfig, Found]:
    """The configuration from layers of plain data (file, then command line), as the reviews expand them and with
    the settings that its denoiser recommends under them; and that denoiser, of which no weights are read.

    A configuration as a trajectory file records it is one too: its ``checkpoint_sha256`` and ``guide_sha256`` say which
    checkpoint and guides must be there. Raises `CheckpointError` when they are others.
    """
    merged = _merged(layers)
    record = {key: merged.pop(key, None) for key in RECORDED}
    if record["checkpoint_sha256"] is not None and not opens_paths(registry, merged.get("denoiser")):
        merged.pop("denoiser", None)  # which the record copied from the checkpoint
    guided = merged.get("guidance_scale")
    for review in reviews_of(registry, SettingsReview):
        merged = dict(review.expand(merged, registry))
    named_only = _with_scheduler(registry, runconfig.resolve(merged))
    if guided is not None and named_only.base != "cfg":
        log.warning("guidance.unused", guidance_scale=guided, base=named_only.base, hint="only base cfg is guided")
    with unknown_names_explained(registry, named_only):
        denoiser = found(registry, named_only)
    source = denoiser.source
    for review in reviews_of(registry, SettingsReview):
        review.require_record(record, registry, named_only, denoiser)
    try:
        settings = _with_scheduler(registry, runconfig.resolve(source.recommended, merged))
    except ConfigError as error:
        raise CheckpointError(f"{source.label}: its recommended settings do not hold here: {error}") from error
    return settings, denoiser


def _with_scheduler(registry: Registry, settings: RunConfig) -> RunConfig:
    """The settings with the default scheduler where they name none."""
    return attrs.evolve(settings, scheduler=settings.scheduler or default(registry, SchedulerSpec))


def opens_paths(registry: Registry, recorded: Any) -> bool:
    """Whether the family that a record names as its denoiser is one that opens the path beside it."""
    try:
        spec = registry.resolve(DenoiserSpec, recorded["name"]).spec
    except (UnknownName, TypeError, KeyError):
        return False
    return spec.opens_paths


def _merged(layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One layer of several, weakest first. Raises `ConfigError` for settings that exclude each other."""
    merged: dict[str, Any] = {}
    for layer in layers:
        layer = runconfig.normalised(layer)
        for one, other in (("total_videos", "per_character"), ("per_character", "total_videos")):
            if layer.get(one) is not None and other not in layer:
                merged.pop(other, None)
        merged.update(layer)
    if merged.get("per_character") is not None and "total_videos" in merged:
        raise ConfigError("total_videos and per_character exclude each other — one says it in all, the other of each")
    for given, missing in (("rank", "world_size"), ("world_size", "rank")):
        if given in merged and missing not in merged:
            raise ConfigError(f"{given} = {merged[given]!r:.40} without {missing}: give both, or use --distributed")
    return merged
