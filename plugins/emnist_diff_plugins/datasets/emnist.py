"""EMNIST in its official IDX files (Cohen, Afshar, Tapson, van Schaik, 2017, arXiv:1702.05373)."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Literal

import attrs
import numpy as np

from emnist_diff.checkpoint import sha256
from emnist_diff.errors import DatasetError
from emnist_diff_plugins.datasets import idx
from emnist_diff_plugins.datasets.images import Images

Split = Literal["byclass", "bymerge", "balanced", "letters", "digits", "mnist"]

_KEPT_APART = "abdefghnqrt"
"""Lower-case letters that the merged splits keep apart from their capitals."""

_MERGED = string.digits + string.ascii_uppercase + _KEPT_APART
CLASSES: dict[str, str] = {
    "byclass": string.digits + string.ascii_uppercase + string.ascii_lowercase,
    "bymerge": _MERGED,
    "balanced": _MERGED,
    "letters": string.ascii_uppercase,
    "digits": string.digits,
    "mnist": string.digits,
}
"""The well-known class table of each split, in label order."""

_FIRST_LABEL = {"letters": 1}  # the official files count letters from 1


@attrs.frozen
class Emnist:
    """The six splits of EMNIST, or anything else in its files, e.g. ``emnist-byclass-train-images-idx3-ubyte.gz``.

    Files may carry any prefix and stand in `data` or its folder ``gzip``. Images are stored transposed there; here
    they are upright. Class names come from ``…-mapping.txt`` where it is there, else from the well-known table.

    Example: ``emnist-diff train unet2d --data DIR --split balanced``
    """

    data: str = attrs.field(metadata={"help": "directory of the files"})
    split: Split = attrs.field(
        default="byclass", metadata={"help": "byclass, bymerge, balanced, letters, digits, mnist"}
    )
    part: Literal["train", "test"] = attrs.field(default="train", metadata={"help": "train or test"})

    def load(self) -> Images:
        """All images of the part. Raises `DatasetError` naming the file and what is wrong with it."""
        files = {what: self._find(f"{self.split}-{self.part}-{what}-ubyte") for what in ("images-idx3", "labels-idx1")}
        images, labels = idx.read(files["images-idx3"], 3), idx.read(files["labels-idx1"], 1)
        if len(images) != len(labels):
            raise DatasetError(
                f"{files['images-idx3'].name} holds {len(images)} images, {files['labels-idx1'].name} "
                f"{len(labels)} labels"
            )
        first, classes, mapping = self._classes()
        indices = labels.astype(np.int64) - first
        if len(indices) and not (indices.min() >= 0 and indices.max() < len(classes)):
            raise DatasetError(
                f"{files['labels-idx1']} holds labels {labels.min()} … {labels.max()}, split {self.split!r} has "
                f"{first} … {first + len(classes) - 1}"
            )
        used = [*files.values(), *([mapping] if mapping else [])]
        provenance = {
            "reader": "emnist",
            "split": self.split,
            "part": self.part,
            "images": len(images),
            "files": {path.name: sha256(path) for path in used},
        }
        upright = np.ascontiguousarray(images.transpose(0, 2, 1))[:, None]
        return Images(upright, indices, classes, merged(classes), provenance)

    def _find(self, ending: str) -> Path:
        folder = Path(self.data)
        if not folder.is_dir():
            raise DatasetError(f"{self.data!r} is no directory — name the one that holds the dataset's files")
        there = sorted(p for f in (folder, folder / "gzip") if f.is_dir() for p in f.iterdir() if p.is_file())
        found = [
            p
            for p in there
            if p.name.removesuffix(".gz") == ending or p.name.removesuffix(".gz").endswith(f"-{ending}")
        ]
        if len(found) == 1:
            return found[0]
        if found:
            raise DatasetError(f"{folder} holds several {ending}: {', '.join(p.name for p in found)} — keep one")
        splits = sorted({s for s in CLASSES for p in there if f"{s}-{self.part}-images" in p.name})
        raise DatasetError(
            f"{folder} holds no …-{ending}[.gz]" + (f" — splits there: {', '.join(splits)}" if splits else "")
        )

    def _classes(self) -> tuple[int, tuple[str, ...], Path | None]:
        """The first label, the names in label order, and the mapping file that they come from."""
        try:
            path = self._find(f"{self.split}-mapping.txt")
        except DatasetError:
            return _FIRST_LABEL.get(self.split, 0), tuple(CLASSES[self.split]), None
        names: dict[int, str] = {}
        for number, line in enumerate(path.read_text(encoding="ascii", errors="replace").splitlines(), 1):
            if not line.strip():
                continue
            try:
                label, code, *_ = map(int, line.split())
                names[label] = chr(code)
            except (ValueError, OverflowError) as error:
                raise DatasetError(f"{path}, line {number}: expected a label and a character's code") from error
        labels = sorted(names)
        if not labels or labels != list(range(labels[0], labels[0] + len(labels))):
            raise DatasetError(f"{path}: labels are not consecutive")
        return labels[0], tuple(names[label] for label in labels), path


def merged(classes: tuple[str, ...]) -> dict[str, str]:
    """Letters without a class of their own → the class of their other case."""
    return {c.swapcase(): c for c in classes if c.isalpha() and c.swapcase() not in classes}
