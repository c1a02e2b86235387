"""Sphinx configuration."""

from emnist_diff import __version__

project = "emnist-diff"
author = "the emnist-diff authors"
version = release = __version__
extensions = ["myst_parser"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"emnist-diff {release}"
