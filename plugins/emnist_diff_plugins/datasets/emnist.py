"""EMNIST in its official IDX files (Cohen, Afshar, Tapson, van Schaik, 2017, arXiv:1702.05373)."""

from __future__ import annotations

import re
import string
from pathlib import Path
from typing import Literal

import attrs
import numpy as np

from emnist_diff.errors import DatasetError
from emnist_diff_plugins.datasets import _archives, _files, _matlab, idx
from emnist_diff_plugins.datasets.images import Images, only_field

Split = Literal["byclass", "bymerge", "balanced", "letters", "digits", "mnist"]

_KEPT_APART = "abdefghnqrt"
"""Lower-case letters that the merged splits keep apart from their capitals."""

_CASE_MERGED = string.digits + string.ascii_uppercase + _KEPT_APART
CLASSES: dict[str, str] = {
    "byclass": string.digits + string.ascii_uppercase + string.ascii_lowercase,
    "bymerge": _CASE_MERGED,
    "balanced": _CASE_MERGED,
    "letters": string.ascii_uppercase,
    "digits": string.digits,
    "mnist": string.digits,
}
"""The well-known class table of each split, in label order."""

_MERGING = ("bymerge", "balanced", "letters")
_FIRST_LABEL = {"letters": 1}  # the official files count letters from 1

_WITHIN = ("gzip", "matlab", "raw", "EMNIST/raw", "emnist_source_files")
"""Where the official archives, torchvision and a well-known copy put the files."""

_IMAGES = re.compile(rf"(?:.*-)?({'|'.join(CLASSES)})-(train|test)-images-idx3-ubyte")
_MATLAB = re.compile(rf"(?:.*-)?({'|'.join(CLASSES)})\.mat")


@attrs.frozen
class Emnist:
    """The six splits of EMNIST, or anything else in its files, e.g. ``emnist-byclass-train-images-idx3-ubyte.gz``.

    IDX files may carry any prefix or none, may be gzipped, and stand in `data` or its folder ``gzip``. Where they are
    not there, the ``.mat`` file of the split is read (needs SciPy), and where that is not there either, the archives as
    they are downloaded, ``gzip.zip`` and ``matlab.zip``; `data` may also be one of these files itself. Images are
    stored transposed there; here they are upright. Class names come from ``…-mapping.txt`` or the ``.mat`` file where
    they are there, else from the well-known table. Where a split merges cases, `Images.merged` names the letters
    without a class of their own.

    Example: ``emnist-diff train unet2d --data DIR --split balanced``
    """

    data: str = attrs.field(metadata={"help": "directory of the files, or a .zip or .mat file of EMNIST"})
    split: Split = attrs.field(
        default="byclass", metadata={"help": "byclass, bymerge, balanced, letters, digits, mnist"}
    )
    part: Literal["train", "test"] = attrs.field(default="train", metadata={"help": "train or test"})
    only: str | None = only_field()

    def load(self) -> Images:
        """All images of the part, (N, 1, H, W). Raises `DatasetError` naming the file and what is wrong with it."""
        found = _files.listing(self.data, *_WITHIN)
        archives = [] if any(self._wanted(p.name) for p in found) else [p for p in found if p.suffix == ".zip"]
        with _archives.unpacked(archives, lambda name: self._wanted(name) or name.endswith("mapping.txt")) as more:
            return self._load([*found, *more])

    def _wanted(self, name: str) -> bool:
        """Whether a file of this name holds images or labels of the split and part."""
        name = name.removesuffix(".gz")
        ending = rf"(?:.*-)?{self.split}(?:-{self.part}-(?:images-idx3|labels-idx1)-ubyte|\.mat)"
        return re.fullmatch(ending, name) is not None

    def _load(self, listing: list[Path]) -> Images:
        """`load`, from the files that are there."""
        files = self._find(listing)
        if len(files) == 1:
            stored = _matlab.read(files[0], self.part)
            x, y = stored.images, stored.labels
            numbers = None if stored.mapping is None else [[int(n) for n in row] for row in stored.mapping]
            mapping = None if numbers is None else _names(numbers, str(files[0]), "row")
        else:
            images, labels, *text = files
            x, y = idx.read_labelled(images, labels)
            mapping = read_mapping(text[0]) if text else None
        first, classes = (_FIRST_LABEL.get(self.split, 0), tuple(CLASSES[self.split])) if mapping is None else mapping
        indices = y.astype(np.int64) - first
        if indices.min() < 0 or indices.max() >= len(classes):
            raise DatasetError(
                f"{files[-1 if len(files) == 1 else 1]} holds labels {y.min()} … {y.max()}, but "
                f"{f'split {self.split!r}' if mapping is None else files[-1].name} has {first} … "
                f"{first + len(classes) - 1}"
            )
        return Images(
            np.ascontiguousarray(x.transpose(0, 2, 1))[:, None],
            indices,
            classes,
            merged(classes) if self.split in _MERGING else {},
            {
                "reader": "emnist",
                "split": self.split,
                "part": self.part,
                "images": len(x),
                "files": _files.digests(files),
            },
        ).of_classes(self.only)

    def _find(self, listing: list[Path]) -> list[Path]:
        """Images, labels of the same prefix, and the mapping if there is one; or a ``.mat`` file alone."""
        images = self._one(listing, f"{self.split}-{self.part}-images-idx3-ubyte")
        if images is None and (matlab := self._one(listing, f"{self.split}.mat")) is not None:
            return [matlab]
        if images is None:
            raise DatasetError(
                f"{self.data} holds no …{self.split}-{self.part}-images-idx3-ubyte[.gz] and no …{self.split}.mat, also "
                f"not in an archive — {self._instead(listing)}"
            )
        start = _files.unzipped(images).removesuffix(f"{self.part}-images-idx3-ubyte")
        name = f"{start}{self.part}-labels-idx1-ubyte"
        labels = _files.only([p for p in listing if _files.unzipped(p) == name], name, self.data)
        if labels is None:
            raise DatasetError(
                f"{self.data} holds no {name}[.gz] beside {images.name} — {_files.shown(listing, self.data)}"
            )
        own = [p for p in listing if _files.unzipped(p) == f"{start}mapping.txt"]
        mapping = self._one(own or listing, f"{self.split}-mapping.txt")
        return [images, labels] if mapping is None else [images, labels, mapping]

    def _one(self, listing: list[Path], ending: str) -> Path | None:
        found = [p for p in listing if (n := _files.unzipped(p)) == ending or n.endswith(f"-{ending}")]
        return _files.only(found, ending, self.data)

    def _instead(self, listing: list[Path]) -> str:
        """For messages: which splits and parts are there."""
        names = [_files.unzipped(p) for p in listing]
        names += [name.removesuffix(".gz") for p in listing if p.suffix == ".zip" for name in _archives.names(p)]
        parts: dict[str, set[str]] = {}
        for match in filter(None, map(_IMAGES.fullmatch, names)):
            parts.setdefault(match[1], set()).add(match[2])
        for match in filter(None, map(_MATLAB.fullmatch, names)):
            parts[match[1]] = {"train", "test"}
        if parts:
            return "splits there: " + ", ".join(f"{s} ({', '.join(sorted(parts[s]))})" for s in CLASSES if s in parts)
        hint = " (CSV files are not read)" if any(p.suffix == ".csv" for p in listing) else ""
        return _files.shown(listing, self.data) + hint


def read_mapping(path: Path) -> tuple[int, tuple[str, ...]]:
    """The first label and the class names in label order, from lines of a label and a character's code. Letters have
    a third column, the code of the lower case, which the name leaves out.

    Raises `DatasetError` naming file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is not text'}") from error
    rows = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not all(re.fullmatch("[0-9]{1,7}", word) for word in words):
            raise DatasetError(f"{path}, line {number}: {_EXPECTED}, got {line[:40]!r}")
        rows.append([int(word) for word in words])
    return _names(rows, str(path), "line")


_EXPECTED = "expected a label and one or two codes of characters, as '0 48'"


def _names(rows: list[list[int]], source: str, unit: str) -> tuple[int, tuple[str, ...]]:
    """`read_mapping` of rows of numbers, of which empty ones are passed over; `unit` is what the source calls a row."""
    names: dict[int, str] = {}
    for number, row in enumerate(rows, 1):
        if not row:
            continue
        where = f"{source}, {unit} {number}"
        if len(row) not in (2, 3) or min(row) < 0 or not all(_printable(code) for code in row[1:]):
            raise DatasetError(f"{where}: {_EXPECTED}, got {' '.join(map(str, row))[:40]!r}")
        label, name = row[0], chr(row[1])
        if label in names or name in names.values():
            raise DatasetError(f"{where}: label {label} or its character {name!r} was on a {unit} before")
        names[label] = name
    labels = sorted(names)
    if not labels:
        raise DatasetError(f"{source} is empty")
    if labels != list(range(labels[0], labels[0] + len(labels))):
        gap = next(label for label in range(labels[0], labels[-1]) if label not in names)
        raise DatasetError(f"{source}: label {gap} is missing between {labels[0]} and {labels[-1]}")
    return labels[0], tuple(names[label] for label in labels)


def merged(classes: tuple[str, ...]) -> dict[str, str]:
    """Letters without a class of their own → the class of their other case."""
    return {c.swapcase(): c for c in classes if c.isalpha() and c.swapcase() not in classes}


def _printable(code: int) -> bool:
    return code <= 0x10FFFF and chr(code).isprintable() and not chr(code).isspace()
