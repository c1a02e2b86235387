"""The video sink: each sample as a film, from noise to image."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

import attrs
import numpy as np
from attrs import validators as v

from emnist_diff.errors import ConfigError
from emnist_diff.frames import RunHeader
from emnist_diff_plugins.pictures import enlargement
from emnist_diff_plugins.sinks import _film
from emnist_diff_plugins.sinks._folder import sample_name
from emnist_diff_plugins.sinks._per_sample import PictureSink, enlarged, upscale_setting

_LARGEST = 8192
_MOST_STILL = 10_000


@attrs.define(eq=False, kw_only=True)
class VideoSink(PictureSink):
    """Writes ``videos/v000.mp4``, …: the frames of a sample one after the other, the last one held.

    MP4 is written by PyAV, which is an extra: ``pip install "emnist-diff[video]"``. GIF and WebP need nothing more.
    A picture of odd width or height gets its last column or row twice, because H.264 wants even ones.

    Examples: ``--sink "video:fps=20"``, ``--sink "video:format=gif,upscale=4"``
    """

    folder: ClassVar[str] = "videos"

    format: str = attrs.field(
        default="mp4",
        validator=v.in_(("mp4", "gif", "webp")),
        metadata={"help": "mp4, gif (256 colours) or webp (exact)"},
    )
    fps: int = attrs.field(
        default=30, validator=v.and_(v.ge(1), v.le(1000)), metadata={"help": "frames a second; of a gif at most 50"}
    )
    upscale: int | None = upscale_setting(8)
    hold: float = attrs.field(
        default=1.0, validator=v.and_(v.ge(0), v.le(3600)), metadata={"help": "seconds for which the last frame stays"}
    )
    codec: str = attrs.field(default="libx264", metadata={"help": "encoder of an mp4, as FFmpeg calls it"})
    pixel_format: str = attrs.field(default="yuv420p", metadata={"help": "of an mp4, as FFmpeg calls it"})
    quality: int = attrs.field(
        default=18,
        validator=v.and_(v.ge(0), v.le(51)),
        metadata={"help": "of an mp4: 0 (exact) … 51 (worst), the crf of H.264"},
    )

    def __attrs_post_init__(self) -> None:
        if self.format == "gif" and self.fps > _film.FASTEST_GIF:
            raise ConfigError(
                f"a gif shows at most {_film.FASTEST_GIF} frames a second, not {self.fps} — lower fps, or use "
                "format=webp"
            )
        if self.format == "gif" and self.hold > _film.LONGEST_GIF:
            raise ConfigError(
                f"a gif shows a frame for at most {_film.LONGEST_GIF} seconds, not {self.hold:g} — lower hold, or use "
                "format=webp"
            )
        if self.format == "mp4" and self.hold * self.fps > _MOST_STILL:
            raise ConfigError(
                f"hold = {self.hold:g} seconds at {self.fps} frames a second repeat the last frame "
                f"{self.hold * self.fps:.0f} times — an mp4 takes at most {_MOST_STILL} of them"
            )
        # A trial: what the encoder will not do, it says before anything is opened, or overwritten.
        self._film_bytes([np.zeros((16, 16), np.uint8)])

    def memory(self, header: RunHeader, batch: int) -> float:
        """The pictures of a batch, and one film of them, enlarged."""
        film = (len(self.steps(header)) + 1) * self._factor(header) ** 2 * math.prod(header.image_shape)
        return PictureSink.memory(self, header, batch) + film

    def _factor(self, header: RunHeader) -> int:
        return enlargement(8, header.image_shape, self.upscale)

    def check(self, header: RunHeader) -> None:
        PictureSink.check(self, header)
        channels, height, width = header.image_shape
        if max(height, width) * self._factor(header) > _LARGEST:
            raise ConfigError(
                f"sink 'video': {width}×{height} pixels, {self._factor(header)} times enlarged, are more than "
                f"{_LARGEST} across — lower upscale"
            )
        self._encoded([np.zeros((height, width) if channels == 1 else (height, width, channels), np.uint8)])

    def names(self, header: RunHeader, number: int) -> Iterable[str]:
        return (f"{sample_name(number)}.{self.format}",)

    def files(self, number: int, row: int, taken: Sequence[tuple[int, Any]]) -> Iterator[tuple[str, bytes]]:
        yield f"{sample_name(number)}.{self.format}", self._encoded([pictures[row] for _, pictures in taken])

    def _encoded(self, pictures: Sequence[np.ndarray]) -> bytes:
        try:
            return self._film_bytes([enlarged(picture, self._factor(self.header)) for picture in pictures])
        except ConfigError as error:
            raise ConfigError(f"sink 'video': {error}") from error

    def _film_bytes(self, frames: Sequence[np.ndarray]) -> bytes:
        if self.format == "mp4":
            still = round(self.hold * self.fps)
            return _film.mp4(frames, self.fps, still, self.codec, self.pixel_format, self.quality)
        return _film.animation(frames, self.fps, self.hold, self.format)
