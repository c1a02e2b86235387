"""Objectives: on which forward process a denoiser is trained, and to predict what."""

from __future__ import annotations

from collections.abc import Iterable

from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import Spec
from emnist_diff_plugins.contract import ObjectiveSpec


@hookimpl
def emnist_diff_kinds() -> Iterable[type[Spec]]:
    yield ObjectiveSpec


@hookimpl
def emnist_diff_objectives() -> Iterable[ObjectiveSpec]:
    yield ObjectiveSpec(
        name="diffusion",
        factory=f"{__name__}.diffusion:DiffusionObjective",
        summary="noise, image or v of a diffusion, weighted by noise level",
        default=True,
    )
    yield ObjectiveSpec(name="flow", factory=f"{__name__}.flow:FlowObjective", summary="velocity of a rectified flow")
