"""The Python interface that makes samples one by one: configuration, checkpoint, frames, generation.

A thin layer over the engine. Its names are imported from `emnist_diff` itself, which loads them on first use.
"""

from __future__ import annotations

from collections.abc import Iterable

from emnist_diff.hookspecs import hookimpl
from emnist_diff_plugins.contract import FormSpec


@hookimpl
def emnist_diff_forms() -> Iterable[FormSpec]:
    yield FormSpec(
        name="inference",
        factory=f"{__name__}.documents:InferenceForm",
        summary="an InferenceConfig, as to_dict writes it",
    )
