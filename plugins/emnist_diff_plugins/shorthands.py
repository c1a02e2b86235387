"""Settings in short: ``--save-video``, ``--no-video``, ``--fps 20`` of sinks, ``--drift-scale`` of drifts, and what the
Python API means by them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from emnist_diff.components import default
from emnist_diff.config import ComponentConfig
from emnist_diff.errors import ConfigError, EmnistDiffError, unknown
from emnist_diff.plugins import Registry
from emnist_diff.records import DriftSpec, SinkSpec
from emnist_diff.structuring import aliases
from emnist_diff_plugins.runconfig import component
from emnist_diff_trajectory.attention import ATTENTION

ACTIVATIONS = "activations"
"""The setting of sinks that record what a network has inside."""


def flags(registry: Registry) -> dict[str, SinkSpec]:
    """The sinks that a flag switches on and off, by that flag; of several sinks that claim one, the first."""
    out: dict[str, SinkSpec] = {}
    for entry in registry.of(SinkSpec):
        if entry.spec.flag:
            out.setdefault(entry.spec.flag, entry.spec)
    return out


def switched(
    registry: Registry,
    sinks: Sequence[Mapping[str, Any]] | None,
    switches: Mapping[str, bool],
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """The sinks of a run, with some switched on and others off.

    sinks: those asked for, as `runconfig.component` takes them; None for the default ones.
    switches: flag → on or off.  settings: of those that are added, by flag.
    Raises `UnknownName` for a flag that no sink has.
    """
    known = flags(registry)
    if sinks is None:
        sinks = [{"name": e.spec.name} for e in registry.of(SinkSpec) if e.spec.default]
    out = [component(sink, "sink") for sink in sinks]
    for flag, on in switches.items():
        if flag not in known:
            raise unknown("sink flag", flag, known)
        name = known[flag].name
        chosen = [registry.resolve(SinkSpec, item["name"]).spec.name == name for item in out]
        if on and not any(chosen):
            out.append({"name": name, "settings": dict((settings or {}).get(flag, {}))})
        elif not on:
            out = [item for item, is_it in zip(out, chosen, strict=True) if not is_it]
    return out


def with_settings(
    registry: Registry, sinks: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The sinks, each with those of the settings that it knows and that its table leaves out.

    Raises `ConfigError` for a setting that no sink knows.
    """
    out = []
    used = set()
    for sink in sinks:
        item = component(sink, "sink")
        table = aliases(registry.load(SinkSpec, item["name"]))
        set_already = {table.get(key) for key in item.get("settings", {})}
        used |= settings.keys() & table.keys()
        more = {key: value for key, value in settings.items() if key in table and key not in set_already}
        out.append({**item, "settings": {**item.get("settings", {}), **more}})
    if lost := sorted(settings.keys() - used):
        names = ", ".join(item["name"] for item in out) or "none"
        raise ConfigError(
            f"--{lost[0]} {settings[lost[0]]}: no sink of this run has the setting {lost[0]!r} (sinks: {names})"
            f"{_add_one(registry, SinkSpec, lost[0])}"
        )
    return out


def recording_attention(registry: Registry, sinks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The sinks, those that record activations with the attention of the network among these; one whose settings say
    which attention stays as it is.

    Raises `ConfigError` where no sink records activations.
    """
    out = [component(sink, "sink") for sink in sinks]
    recorders = [item for item in out if ACTIVATIONS in aliases(registry.load(SinkSpec, item["name"]))]
    for item in recorders:
        settings = item.setdefault("settings", {})
        kept = settings.get(ACTIVATIONS, ())
        kept = (kept,) if isinstance(kept, str) else kept
        if settings.get(ATTENTION) is None and isinstance(kept, list | tuple) and ATTENTION not in kept:
            item["settings"] = {**settings, ACTIVATIONS: [*kept, ATTENTION] if kept else ATTENTION}
    if not recorders:
        names = ", ".join(item["name"] for item in out) or "none"
        raise ConfigError(
            f"--record-attention: no sink of this run records what a network attends to (sinks: {names})"
            f"{_add_one(registry, SinkSpec, ACTIVATIONS)}"
        )
    return out


def _add_one(registry: Registry, kind: type[Any], setting: str) -> str:
    """The way out for people who need a component with a setting: those of a kind that have it."""
    names = []
    for entry in registry.of(kind):
        with contextlib.suppress(EmnistDiffError):  # of a broken plugin, which is none to advise
            if setting in aliases(registry.load(kind, entry.qualified)):
                names.append(entry.spec.name)
    return f" — add one that does: --{kind.kind} {' or '.join(names)}" if names else ""


def with_noise(registry: Registry, drifts: Sequence[ComponentConfig], scale: float) -> tuple[ComponentConfig, ...]:
    """Drifts, the default one where there are none, with their noise set to `scale` where they have any and were not
    told how much.

    Raises `ConfigError` when none has any.
    """
    out = []
    used = False
    for drift in drifts or (default(registry, DriftSpec),):
        spellings = aliases(registry.load(DriftSpec, drift.name))
        used = used or "noise_scale" in spellings
        if "noise_scale" in spellings and "noise_scale" not in {spellings.get(key) for key in drift.settings}:
            drift = attrs.evolve(drift, settings={**drift.settings, "noise_scale": scale})
        out.append(drift)
    if not used:
        names = ", ".join(item.name for item in out)
        raise ConfigError(
            f"--drift-scale {scale:g}: no drift of this run has the setting 'noise_scale' (drifts: {names})"
            f"{_add_one(registry, DriftSpec, 'noise_scale')}"
        )
    return tuple(out)
