"""Pictures out of characters: two pixels to a cell, the upper half block over its background.

`lines` serves the dashboard, `printed` what is printed once.
"""

from __future__ import annotations

import functools

import numpy as np
from rich.color import Color, ColorSystem
from rich.segment import Segment
from rich.style import Style

from emnist_diff_trajectory.pixels import Pixels

_LEVELS = 24
"""Greys: the ramp of a terminal with 256 colours, and few enough styles to keep them all."""


def shrunk(pixels: Pixels, rows: int) -> Pixels:
    """Pictures (K, H, W) or (K, H, W, 3) made small enough for `rows` lines of text, two pixels a line: squares of
    the smallest sufficient size become their mean."""
    factor = 1
    while (-(-pixels.shape[1] // factor) + 1) // 2 > rows:
        factor += 1
    return in_squares(pixels, factor)


def in_squares(pixels: Pixels, factor: int) -> Pixels:
    """Pictures (K, H, W) or (K, H, W, 3), of which each square of `factor` pixels has become its mean; those at the
    edges are filled up."""
    if factor == 1:
        return pixels
    height = pixels.shape[1]
    padding = [(0, 0), (0, -height % factor), (0, -pixels.shape[2] % factor), (0, 0)][: pixels.ndim]
    full = np.pad(pixels, padding, mode="edge")
    count, height, width = full.shape[:3]
    squares = full.reshape(count, height // factor, factor, width // factor, factor, *full.shape[3:])
    means: Pixels = squares.mean(axis=(2, 4)).round().astype(np.uint8)
    return means


def lines(picture: Pixels, color: bool) -> list[list[Segment]]:
    """One picture, (H, W) or (H, W, 3), as ⌈H / 2⌉ lines of W cells; without colour, what is brighter than half."""
    if len(picture) % 2:
        picture = np.concatenate([picture, np.zeros_like(picture[:1])])
    upper, lower = picture[0::2], picture[1::2]
    if not color:
        lit = picture if picture.ndim == 2 else picture.mean(axis=2)
        glyphs = (lit[0::2] > 127) + 2 * (lit[1::2] > 127)
        return [[Segment("".join(" ▀▄█"[g] for g in row))] for row in glyphs.tolist()]
    out = []
    for above, below in zip(_colors(upper), _colors(lower), strict=True):
        line: list[Segment] = []
        for pair in zip(above, below, strict=True):
            style = _style(*pair)
            if line and line[-1].style is style:
                line[-1] = Segment(line[-1].text + "▀", style)
            else:
                line.append(Segment("▀", style))
        out.append(line)
    return out


def printed(picture: Pixels) -> list[str]:
    """The same lines as text with the escapes of a terminal with 24-bit colours."""
    system = ColorSystem.TRUECOLOR
    return [
        "".join(part.text if part.style is None else part.style.render(part.text, color_system=system) for part in line)
        for line in lines(picture, color=True)
    ]


def _colors(rows: Pixels) -> list[list[int]]:
    """A number for each pixel: its level of grey, or, above those, red, green and blue of 16 levels each."""
    if rows.ndim == 2:
        return (rows.astype(np.int64) * _LEVELS // 256).tolist()  # type: ignore[no-any-return]  # NumPy's is Any
    red, green, blue = np.moveaxis(rows.astype(np.int64) // 16, -1, 0)
    return (_LEVELS + red * 256 + green * 16 + blue).tolist()  # type: ignore[no-any-return]  # as above


@functools.lru_cache(maxsize=8192)
def _style(above: int, below: int) -> Style:
    return Style(color=_color(above), bgcolor=_color(below))


@functools.lru_cache(maxsize=8192)
def _color(number: int) -> Color:
    if number < _LEVELS:
        return Color.from_ansi(16 if number == 0 else 232 + number)  # 16 is black, which no terminal's theme changes
    number -= _LEVELS
    return Color.from_rgb(*(17 * (number >> shift & 15) for shift in (8, 4, 0)))
