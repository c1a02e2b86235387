"""What a configuration asks for that cannot be had: of this version, or of `generate_sample`, which writes no files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from emnist_diff.errors import ConfigError
from emnist_diff.shown import shown
from emnist_diff_inference.capture import CaptureConfig

if TYPE_CHECKING:
    from emnist_diff_inference.config import InferenceConfig


def refuse_later(config: InferenceConfig) -> None:
    """Raise `ConfigError` for a setting whose feature is not there yet: nothing that was asked for is passed over."""
    for part in (config, config.capture, config.video, config.force, config.drift, config.env):
        for field in attrs.fields(type(part)):
            value = getattr(part, field.name)
            if "later" in field.metadata and value != field.default:
                raise ConfigError(
                    f"{type(part).__name__}.{field.name} = {shown(value)} is not supported yet — leave it at "
                    f"{field.default!r}; {field.metadata['later']}"
                )


def written(config: InferenceConfig) -> dict[str, str]:
    """What a run writes beside the default files: the flag of each sink, and the setting that asked for it."""
    out: dict[str, str] = {}
    for part in (config.capture, config.video):
        for field in attrs.fields(type(part)):
            if "written" in field.metadata and getattr(part, field.name):
                out.setdefault(field.metadata["written"], f"{type(part).__name__}.{field.name}")
    if not config.capture.keeps_latents:  # a format alone is no wish
        out.pop("latents", None)
    return out


_KEPT = {field.name for field in attrs.fields(CaptureConfig) if "kept" in field.metadata}
"""What generate_sample keeps in memory, and a run writes as well."""


def refuse_files(config: InferenceConfig) -> None:
    """Raise `ConfigError` for settings that only a run can meet."""
    for requested in written(config).values():
        name = requested.rpartition(".")[2]
        if name in _KEPT:
            continue
        raise ConfigError(
            f"{requested} asks for files, and generate_sample writes none — take frames from its result, or run "
            "emnist_diff.run(config.to_run_config())"
        )
