"""Where the files of a run stand: in a folder that is named after its classes."""

from __future__ import annotations

from pathlib import Path

import attrs

from emnist_diff.assembly.layout import Layout
from emnist_diff.surroundings import Review
from emnist_diff_trajectory.filenames import of_classes


@attrs.frozen
class ClassFolders(Review):
    """Has runs of other classes write to other folders of one output directory, each named after its classes."""

    def output(self, layout: Layout, output: Path) -> Path:
        """`Review.output`."""
        return output / of_classes(layout.characters)
