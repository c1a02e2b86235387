"""The page that shows trajectory files in a browser: how `view` serves and saves it, and how notebooks show it.

The page itself, ``static/viewer.html``, is built from ``plugins/viewer`` and reads bytes of trajectory files. `page`
tells it which files there are, and states what it may do; `shown` finds these files, and copies those that the page
cannot read; `serve` hands out the page and ranges of bytes, `save` writes a page with the bytes in it, and `notebook`
answers its requests by the messages of a widget.
"""

from __future__ import annotations

from collections.abc import Iterable

from emnist_diff.hookspecs import hookimpl
from emnist_diff_trajectory.contract import WidgetSpec


@hookimpl
def emnist_diff_widgets() -> Iterable[WidgetSpec]:
    yield WidgetSpec(
        name="viewer",
        factory=f"{__name__}.notebook:Viewer",
        summary="the page of emnist-diff view, in a cell; needs anywidget",
        default=True,
    )
