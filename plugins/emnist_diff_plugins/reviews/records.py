"""Whether a configuration that a run recorded is met by the files that are named now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from emnist_diff.assembly.sources import Found, opened
from emnist_diff.components import Component, make
from emnist_diff.config import RunConfig
from emnist_diff.errors import CheckpointError, ConfigError
from emnist_diff.plugins import Registry
from emnist_diff.records import DriftSpec, ForceSpec, SchedulerSpec
from emnist_diff_plugins.contract import SettingsReview
from emnist_diff_plugins.reviews.settings import files_of
from emnist_diff_trajectory.other_files import differing


@attrs.frozen
class RecordedWeights(SettingsReview):
    """Refuses a recorded configuration where checkpoint, guides or files are others than the recorded ones."""

    def require_record(
        self, record: Mapping[str, Any], registry: Registry, settings: RunConfig, denoiser: Found
    ) -> None:
        """`SettingsReview.require_record`."""
        if record.get("guide_sha256") is not None:
            require_recorded_guides(registry, settings.guides, record["guide_sha256"], "this configuration")
        source, sha256 = denoiser.source, record.get("checkpoint_sha256")
        if sha256 is not None and source.identity != sha256:
            raise CheckpointError(
                f"{source.label} is not the checkpoint that this configuration was recorded with, whose SHA-256 is "
                f"{sha256} — name that one with --checkpoint"
            )
        if record.get("files") is not None:
            _require_files(registry, settings, denoiser.component, record["files"])


def require_recorded_guides(registry: Registry, guides: Mapping[str, str], recorded: object, what: str) -> None:
    """Raise `CheckpointError` when `guides`, name → path, are not the ones that were recorded, name → SHA-256.

    what: whose they were, for the message.
    """
    hashes: Mapping[str, Any] = recorded if isinstance(recorded, Mapping) else {}
    for name, sha256 in hashes.items():
        wanted = f"{what} was made with the guide {str(name)!r:.80} of sha256 {sha256!s:.12}…"
        if name not in guides:
            raise CheckpointError(f"{wanted} — use --guide {name}=FILE")
        source = opened(registry, guides[name]).source
        if source.identity != sha256:
            raise CheckpointError(f"{wanted}, and {source.label} is another")
    if more := sorted(guides.keys() - hashes.keys()):
        raise CheckpointError(f"{what} was made without the guide {more[0]!r} — leave it out")


def _require_files(registry: Registry, settings: RunConfig, denoiser: Component, recorded: Any) -> None:
    """Raise `ConfigError` where a record says that other files decided its samples than those that are named now."""
    components = {"denoiser": denoiser, "scheduler": make(registry, SchedulerSpec, settings.scheduler)}
    components |= {f"forces[{n}]": make(registry, ForceSpec, force) for n, force in enumerate(settings.forces)}
    components |= {f"drifts[{n}]": make(registry, DriftSpec, drift) for n, drift in enumerate(settings.drifts)}
    if odd := differing({"files": recorded}, files_of(registry, settings, components)):
        raise ConfigError(f"this configuration was recorded with other files ({odd}) — give back those that it names")
