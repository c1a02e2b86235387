"""What a training needs before its first step: images, a network, and what checkpoints will say of both."""

from __future__ import annotations

import json
import math
import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor, nn

from emnist_diff import __version__
from emnist_diff.components import Component, make
from emnist_diff.config import ComponentConfig
from emnist_diff.errors import CheckpointError, ConfigError, DatasetError, EmnistDiffError
from emnist_diff.events import get_logger
from emnist_diff.machine.capacity import require_memory
from emnist_diff.paths import local_path
from emnist_diff.plugins import Registry
from emnist_diff.records import DatasetSpec, DenoiserSpec
from emnist_diff.shown import shown
from emnist_diff.structuring import unstructure
from emnist_diff.timeline import NoiseSchedule
from emnist_diff_plugins.containers import checkpoint
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader
from emnist_diff_plugins.containers.families import TrainableFamily
from emnist_diff_plugins.containers.recommended import require_walkable
from emnist_diff_plugins.datasets.images import Images
from emnist_diff_plugins.training.batches import key
from emnist_diff_plugins.training.config import TrainConfig, to_dict
from emnist_diff_plugins.training.state import Facts

log = get_logger()

_MOST_NAMED = 70
"""Classes that a warning lists: all of EMNIST's."""


@attrs.frozen(eq=False)
class Prepared:
    """A training that has learnt nothing yet.

    header: of its checkpoints, without an epoch.  held_out: the images that epochs are compared on.
    origin: file and hash of the checkpoint that the weights start from, if there is one.
    """

    family: TrainableFamily
    network: nn.Module
    header: CheckpointHeader
    images: Images
    held_out: Images
    origin: dict[str, Any] | None


def prepare(config: TrainConfig, registry: Registry, before: Facts | None) -> Prepared:
    """Data decoded, network initialised.

    before: of the training to go on with. It knows its network in full, so that neither another version's defaults
    nor a missing `init_from` matter.

    Raises `DatasetError`, `CheckpointError` and `ConfigError`; the latter when the data is not what it was, too.
    """
    start, origin, asked = None, None, config.family
    if before is not None and before.network is not None:
        asked, origin = attrs.evolve(asked, settings=before.network), before.origin
    elif config.init_from is not None:
        path = checkpoint.discover(Path(config.init_from))
        start, origin = checkpoint.load(path), {"file": path.name, "sha256": checkpoint.sha256(path)}
        asked = _over(start[0], asked)
    _trainable(registry, asked)  # a mistake in the settings is said before the data is decoded
    images = _load(registry, config.dataset)
    data = json.loads(json.dumps(dict(images.provenance)))
    if before is not None and before.data != data:
        raise ConfigError("cannot resume: the dataset's files are not those that the training began with")
    _warn(config, images)
    made = _fitted(registry, asked, images)
    header = CheckpointHeader(
        family=made.name,
        network=made.settings,
        classes=images.classes,
        null_index=len(images.classes),
        merged=dict(images.merged),
        schedule=NoiseSchedule(train_timesteps=config.train_timesteps, beta_schedule=config.beta_schedule),
        prediction=config.prediction,
        recommended=dict(config.recommended),
        provenance={**config.provenance, "data": data, "trained_with": _method(config, origin)},
    )
    require_walkable(header)
    _require_memory(config, made, images)
    torch.manual_seed(key(config.seed, 4))
    network = made.object.network()
    if start is not None:
        _start_from(start, header, network)
    return Prepared(made.object, network, header, images, _held_out(registry, config.dataset, images), origin)


def _require_memory(config: TrainConfig, made: Component, images: Images) -> None:
    """Raise `ConfigError` where network and batch do not fit into memory: weights, gradients, two averages of AdamW and
    the averaged weights; and the images of a batch, noised, with their noise and the network's answer."""
    with torch.device("meta"):  # shapes alone; unet2d bounds how many layers there are
        weights = sum(parameter.numel() for parameter in made.object.network().parameters())
    require_memory(4.0 * 5 * weights, f"a network of {weights} weights in training", "make it smaller")
    one = math.prod(images.images.shape[1:])
    require_memory(
        4.0 * 4 * config.batch_size * one,
        f"a batch of {config.batch_size} images of {one} numbers in training",
        "say a smaller --batch-size",
    )


def _over(start: CheckpointHeader, asked: ComponentConfig) -> ComponentConfig:
    """The family as asked for, over the settings of the checkpoint to start from."""
    if start.family != asked.name:
        raise ConfigError(f"init_from: the checkpoint is of family {start.family!r}, the training of {asked.name!r}")
    return attrs.evolve(asked, settings={**start.network, **asked.settings})


def _trainable(registry: Registry, asked: ComponentConfig) -> Component:
    made = make(registry, DenoiserSpec, asked)
    if not all(hasattr(made.object, name) for name in ("fitted", "network", "evaluate")):
        raise ConfigError(f"denoiser {asked.name!r} cannot be trained")
    return made


def _fitted(registry: Registry, asked: ComponentConfig, images: Images) -> Component:
    """The family with the settings that the data decides."""
    factory = registry.load(DenoiserSpec, asked.name)
    fitted = dict(factory.fitted(tuple(images.images.shape[1:]), len(images.classes)))
    for name in fitted.keys() & asked.settings.keys():
        if fitted[name] != asked.settings[name]:
            raise ConfigError(
                f"{name} = {shown(asked.settings[name])} does not fit the data, which needs {shown(fitted[name])}"
            )
    return _trainable(registry, attrs.evolve(asked, settings={**asked.settings, **fitted}))


def _load(registry: Registry, asked: ComponentConfig) -> Images:
    made = make(registry, DatasetSpec, asked)
    try:
        loaded: Images = made.object.load()
    except DatasetError as error:
        if made.name != "folder" and _holds_class_folders(made.settings.get("data")):
            raise DatasetError(f"{error}; for a folder of images say --dataset folder") from error
        raise
    return loaded


def _holds_class_folders(data: object) -> bool:
    """Whether a directory looks like what the reader ``folder`` reads: images in folders, perhaps of a part."""
    if not isinstance(data, str):
        return False
    found = (path for pattern in ("*/*.*", "train/*/*.*") for path in Path(local_path(data)).glob(pattern))
    return any((mimetypes.guess_type(path.name)[0] or "").startswith("image/") for path in found)


def _held_out(registry: Registry, asked: ComponentConfig, images: Images) -> Images:
    """The reader's test part, or the training images where there is none of the same kind."""
    try:
        found = _load(registry, attrs.evolve(asked, settings={**asked.settings, "part": "test"}))
    except EmnistDiffError as error:
        reason = str(error)
    else:
        if found.classes == images.classes and found.images.shape[1:] == images.images.shape[1:]:
            return found
        reason = "its classes or its image size are others"
    log.info("train.no_test_part", reason=reason, instead="the training images")
    return images


def _warn(config: TrainConfig, images: Images) -> None:
    """Say what will not be learnt."""
    counts = np.bincount(images.labels, minlength=len(images.classes))
    if missing := [name for name, count in zip(images.classes, counts, strict=True) if not count]:
        more = len(missing) - _MOST_NAMED
        some = missing if more <= 0 else [*missing[:_MOST_NAMED], f"and {more} more"]
        log.warning("train.classes_without_images", classes=some, effect="they will not be learnt")
    if config.label_dropout == 0:
        log.warning("train.no_label_dropout", effect="'no class' will not be learnt, so guidance will mislead")


def _start_from(
    start: tuple[CheckpointHeader, Mapping[str, Tensor]], header: CheckpointHeader, network: nn.Module
) -> None:
    """Load a checkpoint's weights; it must be of the same network and classes."""
    was, weights = start
    for name in ("network", "classes"):
        if (theirs := unstructure(getattr(was, name))) != (ours := unstructure(getattr(header, name))):
            raise ConfigError(f"init_from: the checkpoint has {name} = {shown(theirs)}, the training {shown(ours)}")
    for name in ("prediction", "schedule"):
        if (theirs := unstructure(getattr(was, name))) != (ours := unstructure(getattr(header, name))):
            log.warning("train.init_from_differs", setting=name, checkpoint=theirs, training=ours)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"init_from: the checkpoint's weights do not fit its header: {error}") from error


def _method(config: TrainConfig, origin: Mapping[str, Any] | None) -> dict[str, Any]:
    """How the weights come to be, as checkpoints record it; no paths."""
    said = ("epochs", "batch_size", "lr", "lr_schedule", "warmup_steps", "weight_decay", "betas", "clip_norm",
            "label_dropout", "ema_decay", "weighting", "precision", "seed")  # fmt: skip
    everything = to_dict(config)
    method = {"emnist_diff": __version__, "torch": torch.__version__, **{name: everything[name] for name in said}}
    return method if origin is None else {**method, "init_from": dict(origin)}
