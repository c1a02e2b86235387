"""What every dataset reader returns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from emnist_diff.errors import DatasetError
from emnist_diff_plugins.spaces import listed

_MOST_NAMED = 70
"""Classes that a message lists: all of EMNIST's."""


@attrs.frozen(eq=False)
class Images:
    """A labelled image set in memory.

    images: uint8 (N, C, H, W), upright, C 1 (gray) or 3 (RGB); values as stored, so that EMNIST's background is 0.
    labels: int64 (N,), indices into `classes`.  classes: names in index order; some may have no image.
    merged: letters without a class of their own → the class that stands for them.
    provenance: JSON-ready; where the images come from, without directories.

    Raises `DatasetError` when they do not fit each other.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    merged: Mapping[str, str] = attrs.field(factory=dict)
    provenance: Mapping[str, Any] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim != 4 or self.images.shape[1] not in (1, 3):
            raise DatasetError(f"images must be uint8 (N, 1 or 3, H, W), got {self.images.dtype} {self.images.shape}")
        if not self.images.size:
            raise DatasetError(f"images of shape {self.images.shape} are no dataset: there is nothing in them")
        if self.labels.dtype != np.int64 or self.labels.shape != self.images.shape[:1]:
            raise DatasetError(
                f"labels must be one int64 an image, got {self.labels.dtype} {self.labels.shape} "
                f"for {len(self.images)} images"
            )
        if twice := sorted({name for name in self.classes if self.classes.count(name) > 1}):
            raise DatasetError(f"class {twice[0]!r} is named twice")
        if unfit := [name for name in self.classes if not name.strip() or not name.isprintable()]:
            raise DatasetError(f"{unfit[0]!r} is no name for a class — a name is printable text")
        if self.labels.min() < 0 or self.labels.max() >= len(self.classes):
            raise DatasetError(
                f"labels {self.labels.min()} … {self.labels.max()} do not fit the {len(self.classes)} classes"
            )
        for name, stands_in in self.merged.items():
            if name in self.classes or stands_in not in self.classes:
                raise DatasetError(
                    f"merged says {name!r} → {stands_in!r}: from no class to a class is what it must say"
                )
        try:
            json.dumps(self.provenance)
        except (TypeError, ValueError) as error:
            raise DatasetError(f"provenance cannot be written as JSON: {error}") from error

    def of_classes(self, only: str | None) -> Images:
        """The images of the classes that ``5`` or ``1,7`` names, in that order; all for None. Raises `DatasetError` for
        a class that is not there."""
        if only is None:
            return self
        names = tuple(dict.fromkeys([only] if only in self.classes else listed(only)))
        if absent := [name for name in names if name not in self.classes]:
            known = ", ".join(self.classes[:_MOST_NAMED]) + (", …" if len(self.classes) > _MOST_NAMED else "")
            raise DatasetError(f"only: there is no class {absent[0]!r} — classes are {known}")
        places = np.full(len(self.classes), -1, dtype=np.int64)
        places[[self.classes.index(name) for name in names]] = np.arange(len(names))
        labels = places[self.labels]
        chosen = labels >= 0
        return attrs.evolve(
            self,
            images=self.images[chosen],
            labels=labels[chosen],
            classes=names,
            merged={name: stands_in for name, stands_in in self.merged.items() if stands_in in names},
            provenance={**self.provenance, "images": int(chosen.sum()), "only": list(names)},
        )


def only_field() -> Any:
    """The setting of a reader for `Images.of_classes`."""
    return attrs.field(default=None, metadata={"help": "classes to read, e.g. 5 or 1,7; all when left out"})
