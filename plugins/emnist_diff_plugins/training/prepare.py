"""What a training needs before its first step: images, a network, and what checkpoints will say of both."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor

from emnist_diff import __version__
from emnist_diff.components import Component, make
from emnist_diff.config import ComponentConfig
from emnist_diff.errors import ConfigError, UnknownName, unknown
from emnist_diff.events import get_logger
from emnist_diff.plugins import Registry
from emnist_diff.protocols import offers
from emnist_diff.records import DenoiserSpec
from emnist_diff.shown import shown
from emnist_diff.structuring import structure
from emnist_diff_plugins.capacity import require_memory
from emnist_diff_plugins.containers import checkpoint, codecs
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader, CodecHeader
from emnist_diff_plugins.containers.codecs import Codec
from emnist_diff_plugins.containers.families import CodecFamily, TrainableFamily
from emnist_diff_plugins.containers.recommended import require_walkable
from emnist_diff_plugins.contract import CodecSpec, ObjectiveSpec, RecipeSpec
from emnist_diff_plugins.datasets.images import Images
from emnist_diff_plugins.training import data, starting
from emnist_diff_plugins.training.batches import key, to_image, to_state
from emnist_diff_plugins.training.codectask import CodecTask
from emnist_diff_plugins.training.config import TrainConfig, to_dict
from emnist_diff_plugins.training.denoisertask import DenoiserTask
from emnist_diff_plugins.training.evaluate import Probe, reconstruction
from emnist_diff_plugins.training.state import Facts
from emnist_diff_plugins.training.task import Task
from emnist_diff_trajectory import files

log = get_logger()

_HELD_OUT = 1024
"""Held-out images whose reconstructions are measured."""

Before = tuple[Facts, Mapping[str, Tensor]]
"""The state of the training to go on with."""


@attrs.frozen(eq=False)
class Beginning:
    """What the network begins as.

    spec: whether it is a denoiser or a codec.  family: its component and settings, the data's left out.
    start: header and weights of the checkpoint to start from, with `origin`, its file and hash.
    """

    spec: type[DenoiserSpec] | type[CodecSpec]
    family: ComponentConfig
    start: tuple[CheckpointHeader, Mapping[str, Tensor]] | None
    origin: dict[str, Any] | None


def prepare(config: TrainConfig, registry: Registry, before: Before | None, device: torch.device) -> Task:
    """Data decoded, network initialised.

    before: of the training to go on with. It knows its network in full, so that neither another version's defaults
    nor a missing `init_from` matter.

    Raises `DatasetError`, `CheckpointError` and `ConfigError`; the latter when the data is not what it was, too.
    """
    beginning = _beginning(config, registry, before)
    _trainable(registry, beginning.spec, beginning.family)  # a mistake in the settings is found before data is decoded
    if beginning.spec is DenoiserSpec:
        make(registry, ObjectiveSpec, config.objective)
    elif config.codec is not None or config.objective is not None:
        raise ConfigError(f"codec and objective are a denoiser's, and {beginning.family.name!r} is itself a codec")
    codec = _codec(config, registry, before, str(device))
    images = data.load(registry, config.dataset)
    provenance = json.loads(json.dumps(dict(images.provenance)))
    if before is not None and before[0].data != provenance:
        raise ConfigError("cannot resume: the dataset's files are not those that the training began with")
    shape = tuple(images.images.shape[1:])
    if codec is not None and config.codec is not None and before is None and codec.header.image_shape != shape:
        codec = codecs.read(registry, config.codec, str(device), shape)[0]  # diffusers' autoencoder takes any size
    if beginning.spec is CodecSpec:
        return _codec_task(config, registry, beginning, images, provenance)
    return _denoiser_task(config, registry, beginning, images, provenance, codec)


def _beginning(config: TrainConfig, registry: Registry, before: Before | None) -> Beginning:
    """The family with the settings that a resumed training, or the checkpoint to start from, gives it."""
    spec, family = _spec_of(registry, config.family.name), config.family
    if before is not None and before[0].network is not None:
        return Beginning(spec, attrs.evolve(family, settings=before[0].network), None, before[0].origin)
    if config.init_from is None:
        return Beginning(spec, family, None, None)
    path = checkpoint.discover(Path(config.init_from))
    start = checkpoint.load(path)
    if start[0].family != family.name:
        raise ConfigError(
            f"init_from: the checkpoint is of family {start[0].family!r}, the training of {family.name!r}"
        )
    family = attrs.evolve(family, settings={**start[0].network, **family.settings})
    return Beginning(spec, family, start, {"file": path.name, "sha256": files.sha256(path)})


def _spec_of(registry: Registry, name: str) -> type[DenoiserSpec] | type[CodecSpec]:
    """Whether a denoiser or a codec has this name. Raises `UnknownName` with the nearest of both where neither does."""
    for spec in (DenoiserSpec, CodecSpec):
        with suppress(UnknownName):
            registry.resolve(spec, name)
            return spec
    names = [entry.spec.name for spec in (RecipeSpec, DenoiserSpec, CodecSpec) for entry in registry.of(spec)]
    raise unknown("recipe, denoiser or codec", name, names, "see emnist-diff recipes, or emnist-diff plugins list")


def _trainable(registry: Registry, spec: type[DenoiserSpec] | type[CodecSpec], family: ComponentConfig) -> Component:
    component = make(registry, spec, family)
    trainable = CodecFamily if spec is CodecSpec else TrainableFamily
    if not offers(component.object, trainable):
        raise ConfigError(f"{spec.kind} {family.name!r} cannot be trained")
    return component


def _codec(config: TrainConfig, registry: Registry, before: Before | None, device: str) -> Codec | None:
    """The codec whose latents are learnt: of the training to go on with, whose state holds it, or of a file. Raises
    `ConfigError` where both are named and differ."""
    if before is None:
        return None if config.codec is None else codecs.read(registry, config.codec, device)[0]
    facts, tensors = before
    was = None if facts.codec is None else structure(facts.codec, CodecHeader, "the training state's codec")
    if config.codec is not None and config.codec != facts.config.get("codec"):
        named, file = codecs.read(registry, config.codec, "cpu", None if was is None else was.image_shape)
        if was is None or named.header.sha256 != was.sha256:
            raise ConfigError(
                f"cannot resume: the codec in {file} is not the one that the training began with — leave --codec out "
                "to keep that"
            )
    return None if was is None else codecs.loaded(registry, was, tensors, device, "the training state")


def _codec_task(
    config: TrainConfig, registry: Registry, beginning: Beginning, images: Images, provenance: dict[str, Any]
) -> CodecTask:
    shape = tuple(images.images.shape[1:])
    component = _fitted(registry, beginning, dict(registry.load(CodecSpec, beginning.family.name).fitted(shape)))
    settings = ComponentConfig(component.name, settings=component.settings)
    family: CodecFamily = component.object
    header = CheckpointHeader(
        role="codec",
        family=component.name,
        network=component.settings,
        classes=images.classes,
        merged=dict(images.merged),
        codec=codecs.described(family, settings, {}),
        provenance={**config.provenance, "data": provenance, "trained_with": _method(config, beginning.origin)},
    )
    _require_memory(config, family, shape)
    network = starting.network(config.seed, family, header, beginning.start)
    held_out = data.held_out(registry, config.dataset, images)
    of_data = (torch.from_numpy(images.images), *_some(held_out, config.seed))
    return CodecTask(config, registry, family, settings, network, header, *of_data, beginning.origin)


def _denoiser_task(
    config: TrainConfig,
    registry: Registry,
    beginning: Beginning,
    images: Images,
    provenance: dict[str, Any],
    codec: Codec | None,
) -> DenoiserTask:
    data.warn(config, images)
    shape = tuple(images.images.shape[1:])
    if codec is not None:
        if shape != codec.header.image_shape:
            raise ConfigError(
                f"the codec takes images of shape {codec.header.image_shape}, and the data's are {shape} — "
                "train a codec on this data"
            )
        shape = codec.header.shape
    fitted = dict(registry.load(DenoiserSpec, beginning.family.name).fitted(shape, len(images.classes)))
    component = _fitted(registry, beginning, fitted)
    header, objective = _denoiser_header(config, registry, beginning, component, images, codec)
    require_walkable(header)
    _require_memory(config, component.object, shape)
    network = starting.network(config.seed, component.object, header, beginning.start)
    held_out = data.held_out(registry, config.dataset, images)
    pixels = torch.from_numpy(images.images)
    encode = to_state if codec is None else _encoder(codec)
    provenance = {**header.provenance, "data": provenance, **_floor(codec, held_out, config.seed)}
    header = attrs.evolve(header, provenance=provenance)
    return DenoiserTask(
        config,
        registry,
        component.object,
        network,
        header,
        objective.object,
        pixels if codec is None else encode(pixels),
        torch.from_numpy(images.labels),
        Probe.of(held_out, config.seed, encode, objective.object),
        codec,
        beginning.origin,
    )


def _denoiser_header(
    config: TrainConfig,
    registry: Registry,
    beginning: Beginning,
    component: Component,
    images: Images,
    codec: Codec | None,
) -> tuple[CheckpointHeader, Component]:
    """What every checkpoint of a denoiser says, the data left out, and the objective."""
    objective = make(registry, ObjectiveSpec, config.objective)
    recommended = {**objective.object.recommended, **config.recommended}
    if config.label_dropout == 0 and "guidance_scale" not in config.recommended:
        recommended["guidance_scale"] = 1.0  # "no class" is not learnt
    header = CheckpointHeader(
        family=component.name,
        network=component.settings,
        classes=images.classes,
        null_index=len(images.classes),
        merged=dict(images.merged),
        schedule=objective.object.process(1.0 if codec is None else None),
        prediction=objective.object.prediction_type,
        objective={"name": objective.name, "settings": objective.settings},
        codec=None if codec is None else codec.header,
        recommended=recommended,
        provenance={**config.provenance, "trained_with": _method(config, beginning.origin)},
    )
    return header, objective


def _some(held_out: Images, seed: int) -> tuple[Tensor, Tensor]:
    """Up to 1,024 of the held-out images, drawn with `seed`, and their labels."""
    order = torch.randperm(len(held_out.images), generator=torch.Generator().manual_seed(key(seed, 3)))
    chosen = order[:_HELD_OUT].numpy()
    return torch.from_numpy(held_out.images[chosen]), torch.from_numpy(held_out.labels[chosen])


def _floor(codec: Codec | None, held_out: Images, seed: int) -> dict[str, Any]:
    """What the codec alone loses of held-out images, below which no model of its latents comes."""
    if codec is None:
        return {}
    images, _ = _some(held_out, seed)
    mse = round(reconstruction(codec, images)["mse"], 5)
    log.info("train.codec_floor", mse=mse, images=len(images), codec=codec.header.name)
    return {"codec_floor": {"mse": mse, "images": len(images)}}


def _encoder(codec: Codec) -> Any:
    """What makes states of uint8 images, a part at a time: all of them as float32 would take four times the memory."""

    def encode(images: Tensor) -> Tensor:
        device = codec.mean.device
        return torch.cat([codec.encode(to_image(part).to(device)).cpu() for part in images.split(64 * codec.rows)])

    return encode


def _fitted(registry: Registry, beginning: Beginning, fitted: Mapping[str, Any]) -> Component:
    """The family with the settings that the data decides."""
    family = beginning.family
    for name in fitted.keys() & family.settings.keys():
        if fitted[name] != unstructured(family.settings[name]):
            raise ConfigError(
                f"{name} = {shown(family.settings[name])} does not fit the data, which needs {shown(fitted[name])}"
            )
    return _trainable(registry, beginning.spec, attrs.evolve(family, settings={**family.settings, **fitted}))


def unstructured(value: Any) -> Any:
    """A setting as `fitted` says it: a list of JSON is a tuple there."""
    return tuple(value) if isinstance(value, list) else value


def _require_memory(config: TrainConfig, family: Any, shape: tuple[int, ...]) -> None:
    """Raise `ConfigError` where network and batch do not fit into memory: weights, gradients, two averages of AdamW and
    the averaged weights; and the samples of a batch, noised, with their noise and the network's answer."""
    with torch.device("meta"):  # shapes alone; unet2d bounds how many layers there are
        weights = sum(parameter.numel() for parameter in family.network().parameters())
    require_memory(4.0 * 5 * weights, f"a network of {weights} weights in training", "make it smaller")
    one = math.prod(shape)
    require_memory(
        4.0 * 4 * config.batch_size * one,
        f"a batch of {config.batch_size} images of {one} numbers in training",
        "use a smaller --batch-size",
    )


def _method(config: TrainConfig, origin: Mapping[str, Any] | None) -> dict[str, Any]:
    """How the weights come to be, as checkpoints record it; no paths."""
    names = ("epochs", "batch_size", "lr", "lr_schedule", "warmup_steps", "weight_decay", "betas", "clip_norm",
            "label_dropout", "ema_decay", "precision", "seed")  # fmt: skip
    everything = to_dict(config)
    method = {"emnist_diff": __version__, "torch": torch.__version__, **{name: everything[name] for name in names}}
    method |= {} if config.recipe is None else {"recipe": config.recipe}
    return method if origin is None else {**method, "init_from": dict(origin)}
