"""Names, shapes and dtypes of the trajectory file: the one place that writer, reader and verifier share."""

from __future__ import annotations

import math

import attrs
import numpy as np
import numpy.typing as npt

from emnist_diff.config import MOST_SAMPLES
from emnist_diff.errors import OutputError
from emnist_diff.frames import FIELDS, RunHeader, is_requested

FORMAT = "emnist-diff-trajectory"
FORMAT_VERSION = (1, 0)
"""Major and minor. A reader refuses a newer major and ignores what a newer minor added."""

MOST_STEPS = MOST_SAMPLES
"""The most steps; a list in a file that is longer is no list of samples or steps, but wants memory."""

_LEAVES = {"forces": "contribution", "drifts": "delta"}
"""What a component's dataset of states is called in the component's group."""


def dataset_of(field: str) -> str:
    """The dataset that holds a field of a frame: ``trajectory/x``, ``forces/00_attract_class/contribution``."""
    leaf = _LEAVES.get(field.partition("/")[0])
    return f"trajectory/{field}" if leaf is None else f"{field}/{leaf}"


def field_of(dataset: str) -> str:
    """The field of a frame that a dataset of states holds; the inverse of `dataset_of`."""
    group, _, rest = dataset.partition("/")
    return rest if group == "trajectory" else dataset.rpartition("/")[0]


MARKERS = "samples/steps_done"
"""Of each sample how many steps are recorded: none, or all of them once it is committed."""


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


@attrs.frozen
class Capture:
    """What a file keeps of a run.

    fields: of each step.  dtype: of states, float32 or float16.
    every: the steps whose index this divides are kept, and the final state always.
    samples: ids of the samples whose states are kept: these, or those below a number; None for all. Of the others
    there is no more than id, class, marker and image.
    """

    fields: frozenset[str] = frozenset(FIELDS)
    dtype: str = "float32"
    every: int = 1
    samples: int | frozenset[int] | None = None

    def steps(self, header: RunHeader) -> npt.NDArray[np.int64]:
        """Indices of the kept steps."""
        return np.arange(0, len(header.timeline), self.every, dtype=np.int64)

    def positions(self, header: RunHeader) -> npt.NDArray[np.int64]:
        """Positions of the samples whose states are kept."""
        ids = header.sample_ids
        if self.samples is None:
            chosen = np.ones(len(ids), dtype=bool)
        elif isinstance(self.samples, int):
            chosen = ids < self.samples
        else:
            chosen = np.isin(ids, np.fromiter(self.samples, np.int64))
        return np.flatnonzero(chosen).astype(np.int64)


def arrays(header: RunHeader, capture: Capture) -> list[Array]:
    """The datasets of states of a run that keeps `capture`, and its images. Where no sample's states are kept, there
    are only images. Raises `OutputError` for images of odd channels."""
    rows, steps = len(capture.positions(header)), len(capture.steps(header))
    fields = [field for field in header.fields if rows and is_requested(field, capture.fields)]
    out = [Array(dataset_of(field), (rows, steps + (field == "x"), *header.shape), capture.dtype) for field in fields]
    channels, height, width = header.image_shape
    if channels not in (1, 3):
        raise OutputError(f"the denoiser decodes to images of {channels} channels; only 1 or 3 can be recorded")
    images = (len(header.sample_ids), height, width) + ((channels,) if channels > 1 else ())
    return [*out, Array("images", images, "uint8")]
