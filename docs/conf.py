"""Sphinx configuration."""

from pathlib import Path
from typing import Any

from emnist_diff import __version__
from emnist_diff_plugins.viewer.page import page

project = "emnist-diff"
author = "the emnist-diff authors"
version = release = __version__
extensions = ["myst_parser"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"emnist-diff {release}"


def _write_viewer(app: Any, failure: Exception | None) -> None:
    """Put the viewer beside the pages, one of which shows it."""
    if failure is None and app.builder.format == "html":
        (Path(app.outdir) / "viewer-page.html").write_text(page(policy=True), encoding="utf-8")


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("build-finished", _write_viewer)
