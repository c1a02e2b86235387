"""The images sink: one PNG a sample, named for people, which says how it came to be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import attrs
import numpy as np

from emnist_diff.frames import BatchResult, Frame, RunHeader
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.pictures import enlargement, png
from emnist_diff_plugins.sinks._folder import IMAGES, image_name
from emnist_diff_plugins.sinks._per_sample import PerSampleSink, PictureSink, upscale_setting
from emnist_diff_trajectory.identity import COUNT, canonical_json
from emnist_diff_trajectory.pixels import to_uint8

KEYWORD = "emnist-diff"
"""Of the text chunk that holds the settings as JSON."""


def image_text(number: int, seed: int, condition: str | None, settings: Mapping[str, Any]) -> dict[str, str]:
    """The text chunks of a sample's PNG by keyword: ``Software``, ``Description`` (what it shows), and `KEYWORD`, JSON
    of its id, seed, condition and settings."""
    text = {"Software": "emnist-diff", "Description": condition or ""}
    data = {"id": number, "seed": seed, "condition": condition, "settings": dict(settings)}
    return {key: value for key, value in text.items() if value} | {KEYWORD: canonical_json(data)}


@attrs.define(eq=False, kw_only=True)
class ImagesSink(PerSampleSink):
    """Writes ``images/unet2d_000000_A.png``, …: the finished samples, named by model, id, and the beginning of the
    class or prompt. Text chunks of the PNG say what the image shows, and with which settings and seed it was sampled.

    Example: ``--sink "images:upscale=1"``
    """

    folder: ClassVar[str] = IMAGES

    upscale: int | None = upscale_setting(8)

    def wants(self, at: StepInfo) -> frozenset[str]:
        return frozenset()

    def check(self, header: RunHeader) -> None:
        PictureSink.require_pictures(self.folder, header)

    def memory(self, header: RunHeader, batch: int) -> float:
        """The images of a batch, and one of them enlarged, before and after it is encoded."""
        size = float(np.prod(header.image_shape))
        return size * (batch + 2 * enlargement(8, header.image_shape, self.upscale) ** 2)

    def names(self, header: RunHeader, number: int) -> Iterable[str]:
        places = np.flatnonzero(header.sample_ids == number)
        return (self._name(header, int(places[0])),) if len(places) else ()

    def take(self, frame: Frame) -> None:
        """Nothing of a step is kept."""

    def last(self, batch: BatchResult) -> np.ndarray:
        return to_uint8(batch.images)

    def files(self, number: int, row: int, taken: Sequence[tuple[int, Any]]) -> Iterator[tuple[str, bytes]]:
        header = self.header
        position = int(np.flatnonzero(header.sample_ids == number)[0])
        settings = {key: value for key, value in header.config.items() if key != COUNT}  # a run may grow
        text = image_text(number, int(header.seeds[position]), header.class_of(position), settings)
        factor = enlargement(8, header.image_shape, self.upscale)
        yield self._name(header, position), png(taken[-1][1][row], factor, text)

    @staticmethod
    def _name(header: RunHeader, position: int) -> str:
        model = str(header.config["denoiser"]["name"])
        return image_name(model, int(header.sample_ids[position]), header.class_of(position))
