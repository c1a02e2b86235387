"""A terminal's other screen, as editors and pagers use it."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from typing import Any, TextIO

from rich.color import ColorSystem
from rich.console import Console, RenderableType
from rich.segment import Segment

_SYSTEMS = {"standard": ColorSystem.STANDARD, "256": ColorSystem.EIGHT_BIT, "truecolor": ColorSystem.TRUECOLOR}

_REPAINT_EVERY = 10.0
"""Seconds after which even what has not changed is drawn anew, over what something else may have written there."""


class Terminal:
    """A terminal's other screen: entered, drawn on, left. Only lines that have changed are written."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._console = Console(file=stream, force_terminal=True, legacy_windows=False)
        self._colors = None if self._console.no_color else _SYSTEMS.get(self._console.color_system or "")
        self._lock = threading.RLock()
        self._shown: list[list[Segment]] = []
        self._size = (0, 0)
        self._drawn_all = 0.0
        self._inside = False
        self._echo: Any = None

    @property
    def inside(self) -> bool:
        """Whether the other screen is shown."""
        return self._inside

    def enter(self) -> None:
        """Go to the other screen, unless it is shown."""
        with self._lock:
            if self._inside:
                return
            self._inside = True
            self._echo = _without_echo(self.stream)
            self._write("\x1b[?1049h\x1b[?25l\x1b[2J")
            self._size = (0, 0)

    def leave(self) -> None:
        """Back to the screen that was there, with its cursor; safe to call twice."""
        with self._lock:
            if self._inside:
                self._inside = False
                with contextlib.suppress(OSError):  # the terminal is gone
                    self._write("\x1b[0m\x1b[?25h\x1b[?1049l")
                _with_echo(self.stream, self._echo)

    def draw(self, picture: Callable[[int, int], RenderableType]) -> None:
        """What `picture` makes of a width and a height in cells."""
        width, height = size = self._dimensions()
        options = self._console.options.update_dimensions(width, height)
        lines = self._console.render_lines(picture(width, height), options, pad=True)[:height]
        with self._lock:
            if not self._inside:
                return
            now = time.monotonic()
            out = []
            if size != self._size or now - self._drawn_all >= _REPAINT_EVERY:
                out.append("\x1b[2J" if size != self._size else "")
                self._shown, self._size, self._drawn_all = [], size, now
            for row, line in enumerate(lines):
                if row < len(self._shown) and self._shown[row] == line:
                    continue
                out.append(f"\x1b[{row + 1};1H" + "".join(self._encoded(part) for part in line))
            self._shown = lines
            self._write("".join(out))

    def _dimensions(self) -> tuple[int, int]:
        """Columns and lines of now; COLUMNS and LINES of the environment are those of the shell's start."""
        try:
            width, height = os.get_terminal_size(self.stream.fileno())
        except (OSError, ValueError):  # what is not quite a terminal
            width = height = 0
        return (width, height) if width and height else (self._console.width, self._console.height)

    def _write(self, text: str) -> None:
        if text:
            self.stream.write(text)
            self.stream.flush()

    def _encoded(self, part: Segment) -> str:
        if part.style is None or self._colors is None:
            return part.text
        return part.style.render(part.text, color_system=self._colors)


def _without_echo(stream: TextIO) -> Any:
    """Have typed keys not appear on the screen; returns the modes that were set, or None where there are none."""
    try:
        import termios

        before = termios.tcgetattr(stream.fileno())
        modes = list(before)
        modes[3] &= ~termios.ECHO
        termios.tcsetattr(stream.fileno(), termios.TCSADRAIN, modes)
        return before
    except (ImportError, OSError, termios.error):
        return None


def _with_echo(stream: TextIO, before: Any) -> None:
    if before is not None:
        import termios

        with contextlib.suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(stream.fileno(), termios.TCSADRAIN, before)
