"""Recipes as layers of the configuration."""

from __future__ import annotations

from typing import Any

from emnist_diff.components import call_component, make
from emnist_diff.config import ComponentConfig
from emnist_diff.errors import PluginError, UnknownName
from emnist_diff.plugins import Registry
from emnist_diff_plugins import parse
from emnist_diff_plugins.contract import RecipeSpec


def layer(registry: Registry, text: str) -> dict[str, Any] | None:
    """The settings of a recipe, to lie under all others; None where `text` names none, but perhaps a network.

    text: ``NAME`` or ``NAME:SETTING=VALUE,…``.  Raises `ConfigError` for settings that the recipe does not have, and
    `PluginError` for one that gives no settings.
    """
    table = parse.component(text, "FAMILY")
    name = str(table.pop("name"))
    try:
        registry.resolve(RecipeSpec, name)
    except UnknownName:
        return None
    component = make(registry, RecipeSpec, ComponentConfig(name, settings=table))
    label = component.label("recipe")
    given = call_component(label, component.object.expand)
    if not isinstance(given, dict) or "family" not in given:
        raise PluginError(f"{label} is broken: expand() gives no table with a family")
    return {**given, "recipe": component.name}
