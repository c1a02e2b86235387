"""Frames as the bytes of a video: MP4 by PyAV, GIF and WebP by Pillow. Frames are uint8 (H, W) or (H, W, 3)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from PIL import Image

from emnist_diff.errors import ConfigError, nearest

FASTEST_GIF = 50
"""Frames a second: most viewers slow down a GIF whose frames last less than two hundredths."""


LONGEST_GIF = 655
"""Seconds that a frame of a GIF can last: it counts hundredths in 16 bits."""


def mp4(frames: Sequence[np.ndarray], fps: int, still: int, codec: str, pixel_format: str, quality: int) -> bytes:
    """An MP4 with one picture a frame; equal frames give equal bytes on one machine.

    still: how often the last frame is shown again.
    Raises `ConfigError` without PyAV, and for an encoder or pixel format that it does not have or cannot combine.
    """
    av = _av()
    _check_codec(av, codec, pixel_format)
    height, width = frames[0].shape[:2]
    size = (height + height % 2, width + width % 2)
    file = io.BytesIO()
    try:
        with av.open(file, "w", format="mp4") as container:
            stream = container.add_stream(codec, rate=fps, options=_options(codec, quality))
            stream.height, stream.width = size
            stream.pix_fmt = pixel_format
            stream.codec_context.thread_count = 1  # films are short, and how they are shared out would change the bytes
            shown = [*frames, *[frames[-1]] * still]
            for number, pixels in enumerate(shown):
                frame = av.VideoFrame.from_ndarray(_even(pixels, size), format="gray" if pixels.ndim == 2 else "rgb24")
                frame = frame.reformat(format=pixel_format)
                frame.pts = number
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    except (av.error.FFmpegError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"an mp4 of {size[1]}×{size[0]} pixels, {fps} frames a second, codec {codec!r} and pixel "
            f"format {pixel_format!r} cannot be made: {reason}"
        ) from error
    return file.getvalue()


def animation(frames: Sequence[np.ndarray], fps: int, hold: float, format: str) -> bytes:
    """A GIF or a lossless WebP that loops for ever.

    fps: frames a second; times are rounded to what the format counts in, and the errors do not add up.
    hold: seconds for which the last frame stays beyond its turn.
    """
    tick = 10 if format == "gif" else 1  # milliseconds
    ends = [round(number * 1000 / fps / tick) * tick for number in range(len(frames) + 1)]
    lasting = [end - start for start, end in pairwise(ends)]
    lasting[-1] += round(hold * 1000 / tick) * tick
    first, *rest = [Image.fromarray(pixels) for pixels in frames]
    how: dict[str, Any] = {"lossless": True, "method": 2} if format == "webp" else {"disposal": 1}
    file = io.BytesIO()
    try:
        first.save(file, format.upper(), save_all=True, append_images=rest, duration=lasting, loop=0, **how)
    except (KeyError, OSError) as error:  # Pillow can be built without WebP
        raise ConfigError(f"this Pillow writes no {format}: {error} — use format=mp4") from error
    return file.getvalue()


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise ConfigError(
            'mp4 needs PyAV, which is not installed — pip install "emnist-diff[video]", or use '
            "format=gif or format=webp"
        ) from error
    return av


def _check_codec(av: Any, codec: str, pixel_format: str) -> None:
    try:
        encoder = av.codec.Codec(codec, "w")
    except ValueError:
        encoder = None
    if encoder is None or encoder.type != "video":
        raise ConfigError(f"no video encoder {codec!r} — use codec=libx264")
    takes = sorted(kind.name for kind in encoder.video_formats or ())
    if takes and pixel_format not in takes:
        near = nearest(pixel_format, takes) or takes[:3]
        raise ConfigError(f"{codec} takes no pixel format {pixel_format!r} — use {' or '.join(near)}")


def _options(codec: str, quality: int) -> dict[str, str]:
    # The slower presets of x264 look ahead in a way that makes equal frames unequal bytes.
    return {"crf": str(quality), "preset": "superfast"} if codec in ("libx264", "libx265") else {}


def _even(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixels with their last row or column twice where the size asks for it."""
    more = [(0, size[0] - pixels.shape[0]), (0, size[1] - pixels.shape[1]), (0, 0)]
    return np.pad(pixels, more[: pixels.ndim], mode="edge")
