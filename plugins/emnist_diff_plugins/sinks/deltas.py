"""The deltas sink: how the picture changes from frame to frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import attrs
import numpy as np
from attrs import validators as v

from emnist_diff.frames import BatchResult, RunHeader
from emnist_diff_plugins.sinks._arrays import npy
from emnist_diff_plugins.sinks._folder import sample_name
from emnist_diff_plugins.sinks._per_sample import PictureSink, enlarged
from emnist_diff_trajectory.pixels import Pixels


@attrs.define(eq=False, kw_only=True)
class DeltasSink(PictureSink):
    """Writes ``deltas/v000_d0001.npy``, …: frame i minus the frame before it, int16, -255 … 255, (H, W) or (H, W, 3).

    With `every`, the frame before is the one before that is kept. The sum of all, added to frame 0, is the last frame.

    Example: ``--sink deltas``
    """

    folder: ClassVar[str] = "deltas"

    upscale: int = attrs.field(
        default=1,
        validator=v.and_(v.ge(1), v.le(256)),
        metadata={"help": "as of frames; 1 keeps the size of the image"},
    )

    def names(self, header: RunHeader, number: int) -> Iterable[str]:
        return (self._name(number, step) for step in self.steps(header)[1:])

    def last(self, batch: BatchResult) -> Pixels:
        """The final state as the states before it are shown."""
        return self.shown(batch.x) if self.preview else PictureSink.last(self, batch)

    def files(self, number: int, row: int, taken: Sequence[tuple[int, Any]]) -> Iterator[tuple[str, bytes]]:
        for (_, before), (step, after) in pairwise(taken):
            change = after[row].astype(np.int16) - before[row].astype(np.int16)
            yield self._name(number, step), npy(enlarged(change, self.upscale))

    def _name(self, number: int, step: int) -> str:
        return f"{sample_name(number)}_d{step:04d}.npy"
