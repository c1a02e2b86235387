"""Classifier guidance."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import attrs
import torch
from emnist_diff.errors import CheckpointError, ConfigError, unknown
from emnist_diff.paths import local_path
from emnist_diff.schedules import Schedule
from emnist_diff.spaces import ConditionSpace
from emnist_diff.steps import ForceStep
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.capabilities import Direction, Directions
from torch import Tensor

from emnist_diff_forces_contrib import noisy_classifier
from emnist_diff_forces_contrib._fields import scalar_field
from emnist_diff_forces_contrib.energy import EnergyForce, of_field

_TOWARD = Direction("moves toward the class", "not to leave a class out")


@attrs.frozen
class ClassifierForce(EnergyForce):
    """Toward what a classifier takes for the class: the score becomes ∇ log p + strength · ∇ₓ log p(class | x).

    Classifier guidance (Dhariwal and Nichol, 2021, arXiv:2105.05233, algorithm 2, which uses strengths of 1 … 10). The
    classifier is asked about the image that the base estimates (``of=x0``), through the network, or, without it, about
    the noisy state itself (``of=x``), for which it must have been trained on noisy images.

    The one that comes with this package was, at all noise levels, on 62 classes of handwriting; the package's example
    ``train_classifier.py`` trains others. Only diffusions of images of its size can be asked about.

    Example: ``--force "classifier:strength=2,of=x"``
    """

    strength: Schedule = scalar_field(1.0, "s, ≥ 0; 0 leaves a step alone", ("scale",))
    target: str = attrs.field(
        default="own",
        validator=attrs.validators.min_len(1),
        metadata={"help": "a class name, or own for each sample's own class", "aliases": ("target_class",)},
    )
    of: Literal["x0", "x"] = of_field()
    relative: bool = attrs.field(
        default=False, metadata={"help": "whether strength is a share of the norm of the base, whatever the gradient"}
    )
    file: str | None = attrs.field(
        default=None,
        metadata={"help": "the classifier's file; the one that comes with the package when left out", "file": True},
    )
    sha256: str = attrs.field(
        default="", metadata={"help": "of the file, which must be it; found out and recorded when left out"}
    )
    _labels: tuple[int, ...] = attrs.field(default=(), init=False, repr=False, eq=False)

    directions: ClassVar[Directions] = {"weight": _TOWARD, "strength": _TOWARD}

    def __attrs_post_init__(self) -> None:
        if self.target == "null":
            raise ConfigError("classifier: target 'null' is no class — name one, or own")
        there = noisy_classifier.file_sha256(self.path)
        if self.sha256 and self.sha256 != there:
            raise CheckpointError(f"classifier {str(self.path)!r} has sha256 {there:.12}…, not {self.sha256:.12}…")
        object.__setattr__(self, "sha256", there)

    @property
    def reads_own(self) -> bool:
        """Whether it goes toward each sample's own class, which it finds without asking the network."""
        return self.target == "own"

    @property
    def path(self) -> Path:
        """The classifier's file."""
        return noisy_classifier.shipped() if self.file is None else Path(local_path(self.file))

    def bind(self, space: ConditionSpace) -> ClassifierForce:
        """The force for a model with these classes.

        Raises `UnknownName` for a class that is not there, `ConfigError` for one that the classifier does not know.
        """
        known = noisy_classifier.load(self.path, self.sha256, "cpu").classes
        wanted = space.classes if self.target == "own" else (space.resolve(self.target),)
        for name in wanted:
            if name not in known:
                raise unknown("class of the classifier", name, known)
        labels = tuple(known.index(name) if name in wanted else -1 for name in space.classes)
        if self.target != "own":
            labels = (known.index(wanted[0]),) * len(space.classes)
        bound = attrs.evolve(self)
        object.__setattr__(bound, "_labels", labels)
        return bound

    def require_shape(self, shape: tuple[int, ...]) -> None:
        """Raise `ConfigError` for states that are no images as the classifier knows them."""
        channels = noisy_classifier.load(self.path, self.sha256, "cpu").network.channels
        if len(shape) != 3 or shape[0] != channels or min(shape[1:]) < 4:
            raise ConfigError(f"classifier: states of shape {shape} are no images with {channels} channels")

    def strength_at(self, at: StepInfo) -> float:
        return self.strength(at)

    def energy_of(self, x: Tensor, step: ForceStep) -> Tensor:
        """−log p(class | x), (B,)."""
        if not self._labels:
            raise ConfigError("classifier: the force was not given the model's classes, by bound()")
        self.require_shape(tuple(x.shape[1:]))
        classifier = noisy_classifier.load(self.path, self.sha256, str(x.device))
        if step.at.process != "diffusion" and self.of == "x":
            raise ConfigError("classifier: it knows the noise of diffusions, not of flows — use of=x0")
        noise = 0.0 if self.of == "x0" else step.at.rates[1]
        return -classifier.log_probability(x, noise, torch.tensor(self._labels, device=x.device)[step.labels])
