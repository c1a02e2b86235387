"""Texts in place of classes: ``prompt`` and what belongs to models that take them, in files and on command lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from emnist_diff.assembly.sources import Found, found
from emnist_diff.errors import ConfigError
from emnist_diff.plugins import Registry
from emnist_diff.records import DenoiserSpec
from emnist_diff.shown import shown
from emnist_diff_plugins.contract import SettingsReview
from emnist_diff_plugins.runconfig import resolve

PROMPT = "prompt"
OF_THE_MODEL = (
    "negative_prompt", "prompts", "lora", "offload", "attention_slicing", "vae_slicing", "vae_tiling",
)  # fmt: skip
"""Settings of the model of a run that may stand among those of the run."""


@attrs.frozen
class Texts(SettingsReview):
    """Puts prompts in place of classes, and what else belongs to a model of texts among its settings."""

    def expand(self, settings: Mapping[str, Any], registry: Registry) -> Mapping[str, Any]:
        """`SettingsReview.expand`. Raises as `expanded`."""
        return expanded(registry, settings)


def expanded(registry: Registry, layer: Mapping[str, Any]) -> dict[str, Any]:
    """A normalised layer with its ``prompt`` (one text, or several) as what samples are made of, one of each unless the
    layer says how many, and with the settings `OF_THE_MODEL` among those of its denoiser.

    Raises `ConfigError` where texts and classes are requested at once, and for settings that the model has not.
    """
    out = dict(layer)
    texts = out.pop(PROMPT, None)
    beside = {key: out.pop(key) for key in OF_THE_MODEL if key in out}
    beside = {key: value for key, value in beside.items() if value is not None}
    if isinstance(names := beside.get("prompts"), Mapping):
        beside["prompts"] = [list(pair) for pair in names.items()]
    if texts is not None:
        texts = (texts,) if isinstance(texts, str) else texts
        if out.get("character") is not None:
            raise ConfigError("prompt and character exclude each other — a prompt is what samples are made of")
        if not isinstance(texts, list | tuple) or not texts or not all(isinstance(text, str) for text in texts):
            raise ConfigError(f"prompt: expected a text or a list of them, got {shown(texts)}")
        if not (denoiser := _found(registry, out)).source.conditions.open:
            raise _no_texts(PROMPT, denoiser)
        out["character"] = tuple(texts)
    if (texts or "prompts" in beside) and out.get("total_videos") is None and out.get("per_character") is None:
        out["per_character"] = 1
    if beside:
        out["denoiser"] = _with_settings(registry, out, beside)
    return out


def _with_settings(registry: Registry, layer: Mapping[str, Any], beside: Mapping[str, Any]) -> dict[str, Any]:
    """The denoiser of a layer, or the family of its checkpoint, with further settings. Raises `ConfigError` for one
    that has not all of them."""
    denoiser = layer.get("denoiser") or {"name": _found(registry, layer).component.name}
    family = registry.load(DenoiserSpec, denoiser["name"])
    if strange := sorted(beside.keys() - {field.name for field in attrs.fields(family)}):
        raise _no_texts(strange[0], _found(registry, layer))
    return {**denoiser, "settings": {**denoiser.get("settings", {}), **beside}}


def _found(registry: Registry, layer: Mapping[str, Any]) -> Found:
    """The denoiser that a layer means, without further settings. Raises as `sources.found`."""
    return found(registry, resolve({key: layer[key] for key in ("denoiser", "checkpoint", "epoch") if key in layer}))


def _no_texts(setting: str, denoiser: Found) -> ConfigError:
    return ConfigError(
        f"{setting} belongs to models that take texts, and {denoiser.component.label('denoiser')} does not — use "
        "--checkpoint FOLDER of a text-to-image pipeline"
    )
