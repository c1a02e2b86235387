"""Presets: named pieces of configuration, all of which start from the unconditional prediction; and the plain form of
configuration files, which are pieces of configuration too."""

from __future__ import annotations

from collections.abc import Iterable

from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import Spec
from emnist_diff_plugins.contract import FormSpec, PresetSpec

_PRESETS = {
    "null_wander": ("NullWander", "a walk without a class: noise on the unconditional prediction"),
    "attract_class": ("AttractClassPreset", "attraction to a class"),
    "repel_class": ("RepelClassPreset", "anything but a class"),
    "blend": ("Blend", "a mixture of two classes"),
    "subtract": ("Subtract", "one class minus another"),
    "oscillate": ("Oscillate", "two classes that take turns, smoothly"),
    "competitive": ("Competitive", "classes that pull at once"),
    "rotating_all": ("RotatingAll", "every class in turn"),
    "crystallize": ("Crystallize", "one class first, then another"),
    "chaos": ("Chaos", "noise and every class in turn"),
    "ramp_to_class": ("RampToClass", "attraction that grows"),
    "weighted_multi": ("WeightedMultiPreset", "a weighted sum of many classes"),
}


@hookimpl
def emnist_diff_kinds() -> Iterable[type[Spec]]:
    yield PresetSpec
    yield FormSpec


@hookimpl
def emnist_diff_presets() -> Iterable[PresetSpec]:
    for name, (cls, summary) in _PRESETS.items():
        yield PresetSpec(name=name, factory=f"{__name__}.{name}:{cls}", summary=summary)


@hookimpl
def emnist_diff_forms() -> Iterable[FormSpec]:
    factory = "emnist_diff_plugins.documents:PlainForm"
    yield FormSpec(name="plain", factory=factory, summary="a table of a run's settings, in TOML or JSON", default=True)
