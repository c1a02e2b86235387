"""The viewer in a notebook's cell.

A notebook may run far from the browser that shows it, with no address that leads from one to the other. So the page
stands in a frame, and asks the kernel for ranges of bytes by messages of the widget that holds the frame.
"""

from __future__ import annotations

import importlib
import os
import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs

from emnist_diff.errors import ConfigError
from emnist_diff_plugins.capacity import size
from emnist_diff_plugins.viewer.page import page
from emnist_diff_plugins.viewer.shown import Shown, showing
from emnist_diff_trajectory.reader import Trajectory

FRAME = Path(__file__).with_name("static") / "widget.js"
"""What holds the page in the browser, and passes its requests on."""

MOST = 1 << 28
"""Bytes of one answer."""

_widgets: weakref.WeakKeyDictionary[Trajectory, Any] = weakref.WeakKeyDictionary()
"""Of each trajectory that was shown."""


@attrs.frozen
class Viewer:
    """Shows trajectories by the viewer's page."""

    def widget(self, trajectory: Trajectory) -> Any:
        """The widget of this trajectory. Raises `ConfigError` where anywidget is not installed, and what
        `shown.showing` raises."""
        if trajectory not in _widgets:
            try:
                base = importlib.import_module("anywidget").AnyWidget
            except ImportError as error:
                raise ConfigError(
                    "the viewer in a notebook needs anywidget — pip install 'emnist-diff[notebook]', and start the "
                    "notebook anew"
                ) from error
            _widgets[trajectory] = _build(base, trajectory.path.resolve())
        return _widgets[trajectory]


def _build(base: Any, path: Path) -> Any:
    with ExitStack() as stack:
        answers = Answers.of(stack.enter_context(showing([path])))
        widget = type("TrajectoryView", (base,), {"__module__": __name__, "_esm": FRAME.read_text(encoding="utf-8")})()
        weakref.finalize(widget, stack.pop_all().close)  # copies are removed when the kernel ends, at the latest
    widget.on_msg(lambda _, content, buffers: widget.send(*answers.answer(content)))
    return widget


@attrs.frozen
class Answers:
    """What requests of the page get: `html` is the page, `files` are those whose bytes may be read, by number."""

    html: str
    files: tuple[Shown, ...]

    @classmethod
    def of(cls, shown: Sequence[Shown]) -> Answers:
        """Of a page that shows these files."""
        files: list[Shown] = []

        def entry(file: Shown) -> dict[str, Any]:
            files.append(file)
            out = {"name": file.name, "bytes": file.bytes, "port": len(files) - 1}
            return out if file.sidecar is None else {**out, "sidecar": entry(file.sidecar)}

        html = page([entry(file) for file in shown], policy=True)
        return cls(html, tuple(files))

    def answer(self, request: Any) -> tuple[dict[str, Any], list[bytes]]:
        """A message and its buffers: the page where no `file` is requested, else `length` bytes of it from `offset` on,
        or ``error``, a line on why they are not there."""
        if not isinstance(request, Mapping):
            request = {}
        known = {"id": request.get("id")}
        if "file" not in request:
            return {**known, "html": self.html}, []
        try:
            return known, [self._read(request)]
        except ValueError as refused:
            return {**known, "error": str(refused)}, []

    def _read(self, request: Mapping[str, Any]) -> bytes:
        """The requested bytes. Raises `ValueError`, which says why they are not there."""
        number, offset, length = (request.get(name) for name in ("file", "offset", "length"))
        if not (isinstance(number, int) and 0 <= number < len(self.files)):
            raise ValueError("there is no such file")
        file = self.files[number]
        if not (isinstance(offset, int) and isinstance(length, int) and offset >= 0 and 0 <= length <= MOST):
            raise ValueError(f"{file.name}: the notebook sends up to {size(MOST)} at once, from a place on")
        try:
            with file.path.open("rb") as opened:
                if offset + length > opened.seek(0, os.SEEK_END):
                    raise ValueError(f"{file.name}: it is truncated: byte {offset + length} is not there")
                opened.seek(offset)
                return opened.read(length)
        except OSError as error:
            raise ValueError(f"{file.name}: it cannot be read any more: {error.strerror}") from error
