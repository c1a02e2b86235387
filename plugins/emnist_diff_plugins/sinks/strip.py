"""The strip sink: one picture a sample, from noise to image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

import attrs
import numpy as np
from attrs import validators as v

from emnist_diff.frames import BatchResult, Frame, RunHeader
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.pictures import enlargement, png, table
from emnist_diff_plugins.sinks._folder import sample_name
from emnist_diff_plugins.sinks._per_sample import PerSampleSink, upscale_setting
from emnist_diff_trajectory.pixels import to_uint8


@attrs.define(eq=False, kw_only=True)
class StripSink(PerSampleSink):
    """Writes ``strips/v000.png``: evenly spaced steps from left to right, the state in the upper row, in the lower row
    what the model takes the finished image to be, and at the right end the sample.

    Example: ``--sink "strip:moments=16,samples=5"``
    """

    folder: ClassVar[str] = "strips"

    moments: int = attrs.field(default=10, validator=v.ge(1), metadata={"help": "how many steps are shown"})
    estimates: bool = attrs.field(default=True, metadata={"help": "whether there is a lower row"})
    upscale: int | None = upscale_setting(3)

    def wants(self, at: StepInfo) -> frozenset[str]:
        if at.index not in np.linspace(0, at.steps - 1, min(self.moments, at.steps)).round().astype(int):
            return frozenset()
        return frozenset({"x", "x0"} if self.estimates else {"x"})

    def names(self, header: RunHeader, number: int) -> Iterable[str]:
        return (f"{sample_name(number)}.png",)

    def take(self, frame: Frame) -> list[np.ndarray]:
        names = ("x", "x0") if self.estimates else ("x",)
        return [to_uint8(self.header.decode(frame[name])) for name in names]

    def last(self, batch: BatchResult) -> list[np.ndarray]:
        return [to_uint8(batch.images)] * (1 + self.estimates)

    def files(self, number: int, row: int, taken: Sequence[tuple[int, Any]]) -> Iterator[tuple[str, bytes]]:
        cells = [shown[line][row] for line in range(1 + self.estimates) for _, shown in taken]
        factor = enlargement(3, self.header.image_shape, self.upscale)
        yield f"{sample_name(number)}.png", png(table(cells, len(taken)), factor)
