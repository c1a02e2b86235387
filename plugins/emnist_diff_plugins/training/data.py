"""The images of a training: decoded once, with a held-out part, and warnings of what they do not hold."""

from __future__ import annotations

import mimetypes
from pathlib import Path

import attrs
import numpy as np

from emnist_diff.components import make
from emnist_diff.config import ComponentConfig
from emnist_diff.errors import DatasetError, EmnistDiffError
from emnist_diff.events import get_logger
from emnist_diff.paths import local_path
from emnist_diff.plugins import Registry
from emnist_diff_plugins.contract import DatasetSpec
from emnist_diff_plugins.datasets.images import Images
from emnist_diff_plugins.training.config import TrainConfig

log = get_logger()

_MOST_NAMED = 70
"""Classes that a warning lists: all of EMNIST's."""


def load(registry: Registry, reader: ComponentConfig) -> Images:
    component = make(registry, DatasetSpec, reader)
    try:
        loaded: Images = component.object.load()
    except DatasetError as error:
        if component.name != "folder" and _holds_class_folders(component.settings.get("data")):
            raise DatasetError(f"{error}; for a folder of images use --dataset folder") from error
        raise
    return loaded


def _holds_class_folders(data: object) -> bool:
    """Whether a directory looks like what the reader ``folder`` reads: images in folders, perhaps of a part."""
    if not isinstance(data, str):
        return False
    found = (path for pattern in ("*/*.*", "train/*/*.*") for path in Path(local_path(data)).glob(pattern))
    return any((mimetypes.guess_type(path.name)[0] or "").startswith("image/") for path in found)


def held_out(registry: Registry, reader: ComponentConfig, images: Images) -> Images:
    """The reader's test part, or the training images where there is none of the same kind."""
    try:
        found = load(registry, attrs.evolve(reader, settings={**reader.settings, "part": "test"}))
    except EmnistDiffError as error:
        reason = str(error)
    else:
        if found.classes == images.classes and found.images.shape[1:] == images.images.shape[1:]:
            return found
        reason = "its classes or its image size are others"
    log.info("train.no_test_part", reason=reason, instead="the training images")
    return images


def warn(config: TrainConfig, images: Images) -> None:
    """Say what will not be learnt."""
    counts = np.bincount(images.labels, minlength=len(images.classes))
    if missing := [name for name, count in zip(images.classes, counts, strict=True) if not count]:
        more = len(missing) - _MOST_NAMED
        some = missing if more <= 0 else [*missing[:_MOST_NAMED], f"and {more} more"]
        log.warning("train.classes_without_images", classes=some, effect="they will not be learnt")
    if config.label_dropout == 0:
        log.warning("train.no_label_dropout", effect="'no class' will not be learnt, so guidance will mislead")
