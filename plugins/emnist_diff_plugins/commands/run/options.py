"""What the options of ``emnist-diff run`` mean that are no settings themselves."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import attrs

from emnist_diff.config import ComponentConfig, RunConfig
from emnist_diff.errors import ConfigError, unknown
from emnist_diff.plugins import Registry
from emnist_diff.shown import shown
from emnist_diff_plugins import parse
from emnist_diff_plugins.contract import LayerSpec
from emnist_diff_plugins.runconfig import normalised


def this_worker(rank: int | None, world_size: int | None) -> dict[str, int]:
    """Which of several workers this is, as what starts them says it."""
    from emnist_diff_plugins.machine.workers import chosen

    rank, world_size = chosen(rank, world_size, os.environ)
    return {"rank": rank, "world_size": world_size}


def forces(stack: str | None) -> dict[str, Any]:
    """The setting ``forces`` that ``--force-stack`` holds."""
    return {} if stack is None else {"forces": parse.json_or_file(stack, "--force-stack")}


def presets(texts: list[str], arguments: str | None) -> dict[str, Any]:
    """The setting ``preset``: each is ``name``, ``name:key=value,…`` or a file; the arguments belong to the only one.

    Raises `ConfigError` for arguments without one preset, or that say again what stands beside its name.
    """
    out = [_preset(text) for text in texts]
    if arguments is not None:
        if len(out) != 1:
            raise ConfigError(f"--preset-args needs one --preset, got {len(out)}")
        settings = parse.json_or_file(arguments, "--preset-args")
        if not isinstance(settings, dict):
            raise ConfigError(f"--preset-args: expected a table of settings, got {shown(settings)}")
        out = [{**out[0], "settings": settings}]
    return {"preset": out} if out else {}


def _preset(text: str) -> dict[str, Any]:
    is_file = text.endswith((".toml", ".json")) and not re.match(r"[\w.-]+:[\w-]+=", text)
    return {"name": text} if is_file else parse.component(text, "--preset")


def saved(registry: Registry, names: Iterable[str]) -> dict[str, bool]:
    """The flags of the sinks that ``--save`` switches on: ``all``, or names separated by commas.

    Raises `UnknownName` for a name that no sink with a flag has.
    """
    from emnist_diff_plugins.shorthands import flags

    known = flags(registry)
    out: dict[str, bool] = {}
    flag_of = {spec.name: flag for flag, spec in known.items()} | {flag: flag for flag in known}
    for name in (part.strip() for text in names for part in text.split(",")):
        if name == "all":
            out |= dict.fromkeys(known, True)
        elif name in flag_of:
            out[flag_of[name]] = True
        else:
            raise unknown("sink of --save:", name, ["all", *flag_of])
    return out


def sinks(
    registry: Registry,
    given: Mapping[str, Any],
    written: Mapping[str, Any],
    switches: Mapping[str, bool],
    attention: bool = False,
    **values: Any,
) -> dict[str, Any]:
    """The setting ``sinks`` with some switched on and off, and with values for those that know them.

    given, written: settings of the command line, and of the file under them.  attention: whether to record it.
    """
    from emnist_diff_plugins.shorthands import recording_attention, switched, with_settings

    values = {key: value for key, value in values.items() if value is not None}
    if not values and not switches and not attention:
        return {}
    requested = given.get("sinks", normalised(written).get("sinks"))
    out = with_settings(registry, switched(registry, requested, switches), values)
    return {"sinks": recording_attention(registry, out) if attention else out}


def layers_beneath(registry: Registry, left_out: Collection[str]) -> list[Mapping[str, Any]]:
    """The settings that plugins lay beneath the user's own.  left_out: the names of the layers not to ask.

    Raises `ConfigError` for what is wrong with them.
    """
    from emnist_diff.components import make

    chosen = [entry for entry in registry.of(LayerSpec) if entry.spec.name not in left_out]
    return [make(registry, LayerSpec, ComponentConfig(entry.qualified)).object.settings() for entry in chosen]


def completed(registry: Registry, settings: RunConfig, drift_scale: float | None) -> RunConfig:
    """The settings with the noise of their drifts, and with the threads that a command uses where none are named."""
    from emnist_diff_plugins.machine.threads import default_threads
    from emnist_diff_plugins.shorthands import with_noise

    if drift_scale is not None:
        settings = attrs.evolve(settings, drifts=with_noise(registry, settings.drifts, drift_scale))
    return settings if settings.threads is not None else attrs.evolve(settings, threads=default_threads().count)
