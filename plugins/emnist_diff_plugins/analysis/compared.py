"""Generated and real samples of the same classes as vectors, of pixels or of latents."""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import numpy.typing as npt
import torch

from emnist_diff.errors import ConfigError, DatasetError
from emnist_diff.plugins import Registry
from emnist_diff.protocols import Encodes, offers
from emnist_diff_plugins import rebuild
from emnist_diff_plugins.datasets.images import Images
from emnist_diff_plugins.judging.report import finished_images
from emnist_diff_trajectory.reader import Trajectory

SPACES = ("pixels", "latents")

Floats = npt.NDArray[np.float64]


@attrs.frozen(eq=False)
class Vectors:
    """real: (N, D).  generated: (M, D).  labels: (N,) the real ones' classes, indices into `classes`."""

    real: Floats
    generated: Floats
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]


@attrs.frozen
class Choice:
    """What is compared.

    space: ``pixels``, in [0, 1], or ``latents``, for which both are encoded by the model that made the file.
    most: generated and real samples each.  seed: of which real images are taken.
    """

    space: str = "pixels"
    most: int = 1000
    seed: int = 0


def vectors(registry: Registry, file: Path, images: Images, choice: Choice, checkpoint: str | None = None) -> Vectors:
    """Committed samples of a file, and as many real ones of their classes.

    Raises `ConfigError` for another space and for real images of another size, `DatasetError` for none of the classes,
    and as `rebuild.model`.
    """
    if choice.space not in SPACES:
        raise ConfigError(f"--in {choice.space!r}: use one of {', '.join(SPACES)}")
    generated, names = finished_images(file)
    generated = generated[: choice.most]
    images = _of_classes(images, sorted(set(names[: choice.most])))
    if images.images.shape[1:] != generated.shape[1:]:
        wanted, given = ("×".join(map(str, shape[1:])) for shape in (generated.shape, images.images.shape))
        raise ConfigError(f"--data: its images are {given}, the samples {wanted}")
    chosen = np.random.default_rng(choice.seed).permutation(len(images.images))[: choice.most]
    real, labels = images.images[chosen], images.labels[chosen]
    if choice.space == "pixels":
        both = [_flat(part / 255.0) for part in (real, generated)]
    else:
        both = [_flat(part) for part in _encoded(registry, file, checkpoint, (real, generated))]
    return Vectors(both[0], both[1], labels, images.classes)


def _of_classes(images: Images, names: list[str]) -> Images:
    places = [images.classes.index(name) for name in names if name in images.classes]
    own = np.isin(images.labels, places)
    if not own.any():
        raise DatasetError(f"--data: it has no image of class {names[0]!r}, nor of the file's others")
    return attrs.evolve(images, images=images.images[own], labels=images.labels[own])


def _flat(values: npt.NDArray[np.float64]) -> Floats:
    return values.reshape(len(values), -1).astype(np.float64)


def _encoded(
    registry: Registry, file: Path, checkpoint: str | None, parts: tuple[npt.NDArray[np.uint8], ...]
) -> list[Floats]:
    with Trajectory(file) as trajectory:
        _, denoiser = rebuild.model(trajectory, registry, checkpoint)
    if not offers(denoiser, Encodes):
        raise ConfigError(f"--in latents: {file} was made by a model of pixels — use --in pixels")
    scaled = [torch.from_numpy(part).to(torch.float32) / 255.0 for part in parts]
    return [denoiser.encode(part).cpu().double().numpy() for part in scaled]
