"""The frames sink: a picture of every state."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

import attrs
from attrs import validators as v
from PIL import Image

from emnist_diff.frames import RunHeader
from emnist_diff_plugins.pictures import enlargement
from emnist_diff_plugins.sinks._folder import sample_name
from emnist_diff_plugins.sinks._per_sample import PictureSink, enlarged, upscale_setting


@attrs.define(eq=False, kw_only=True)
class FramesSink(PictureSink):
    """Writes ``frames/v000_f0000.png``, …: what state x[i] of a sample looks like. f0000 is the noise that the walk
    starts from, the highest number the finished sample.

    Example: ``--sink "frames:every=10,upscale=1"``
    """

    folder: ClassVar[str] = "frames"

    format: str = attrs.field(
        default="png", validator=v.in_(("png", "jpg")), metadata={"help": "png (exact) or jpg (smaller, inexact)"}
    )
    upscale: int | None = upscale_setting(8)

    def names(self, header: RunHeader, number: int) -> Iterable[str]:
        return (self._name(number, step) for step in self.steps(header))

    def files(self, number: int, row: int, taken: Sequence[tuple[int, Any]]) -> Iterator[tuple[str, bytes]]:
        factor = enlargement(8, self.header.image_shape, self.upscale)
        for step, pictures in taken:
            yield self._name(number, step), self._encoded(Image.fromarray(enlarged(pictures[row], factor)))

    def _name(self, number: int, step: int) -> str:
        return f"{sample_name(number)}_f{step:04d}.{self.format}"

    def _encoded(self, picture: Image.Image) -> bytes:
        file = io.BytesIO()
        if self.format == "png":
            picture.save(file, "PNG", compress_level=1)  # squares of one colour need no more
        else:
            picture.save(file, "JPEG", quality=95, subsampling=0)
        return file.getvalue()
