"""Names, shapes and dtypes of the trajectory file: the one place that writer, reader and verifier share."""

from __future__ import annotations

import math

import attrs

from emnist_diff.errors import OutputError
from emnist_diff.protocols import Field, RunHeader

FORMAT = "emnist-diff-trajectory"
FORMAT_VERSION = (1, 0)
"""Major and minor. A reader refuses a newer major and ignores what a newer minor added."""

STEP_FIELDS = (Field.X0, Field.PREDICTION, Field.BASE)
"""Fields with one state a step, stored under ``trajectory/``; x has one more, the final state."""


@attrs.frozen
class Array:
    """A dataset of states: name, shape with samples first, dtype as numpy spells it."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """Bytes."""
        return math.prod(self.shape) * {"float32": 4, "float16": 2, "uint8": 1}[self.dtype]


def component_path(kind: str, index: int, name: str) -> str:
    """``forces/00_attract_class``: the group of the index-th force or drift."""
    return f"{kind}/{index:02d}_{name}"


def arrays(header: RunHeader, fields: frozenset[Field], dtype: str) -> list[Array]:
    """The sample-major datasets of a run that records `fields`. Raises `OutputError` for images of odd channels."""
    samples, steps, shape = len(header.sample_ids), len(header.timeline), header.shape
    out = []
    if Field.X in fields:
        out.append(Array("trajectory/x", (samples, steps + 1, *shape), dtype))
    out += [
        Array(f"trajectory/{field.value}", (samples, steps, *shape), dtype) for field in STEP_FIELDS if field in fields
    ]
    if Field.FORCES in fields:
        out += [
            Array(f"{component_path('forces', i, name)}/contribution", (samples, steps, *shape), dtype)
            for i, name in enumerate(header.forces)
        ]
    if Field.DRIFT in fields:
        out += [
            Array(f"{component_path('drifts', i, name)}/delta", (samples, steps, *shape), dtype)
            for i, name in enumerate(header.drifts)
        ]
    channels, height, width = header.image_shape
    if channels not in (1, 3):
        raise OutputError(f"the denoiser decodes to images of {channels} channels; only 1 or 3 can be recorded")
    out.append(Array("images", (samples, height, width) + ((channels,) if channels > 1 else ()), "uint8"))
    return out
