"""The configuration of a training run."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Literal

import attrs
from attrs import validators as v

from emnist_diff.config import MOST_THREADS, ComponentConfig
from emnist_diff.errors import ConfigError
from emnist_diff.paths import local_path
from emnist_diff.shown import shown
from emnist_diff.structuring import structure, unstructure
from emnist_diff_plugins import runconfig
from emnist_diff_plugins.fields import setting
from emnist_diff_plugins.runconfig import component

_FRACTION: Any = v.and_(v.ge(0), v.lt(1))  # attrs infers no type from two comparisons
_POSITIVE: Any = v.and_(v.gt(0), v.lt(math.inf))
_AT_LEAST_0: Any = v.and_(v.ge(0), v.lt(math.inf))


def _name_of_a_folder(instance: object, attribute: Any, value: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", value):
        raise ValueError(
            f"{attribute.name} = {shown(value)} must be up to 100 letters, digits, '.', '_' and '-' of ASCII, "
            "the first a letter or digit"
        )


@attrs.frozen(kw_only=True)
class TrainConfig:
    """What a training run does. Every field is a key of the configuration file and, with dashes, an option."""

    family: ComponentConfig = attrs.field(metadata={"help": "the denoiser family, with its network settings"})
    dataset: ComponentConfig = attrs.field(metadata={"help": "the dataset reader, with its settings"})
    objective: ComponentConfig | None = attrs.field(
        default=None, metadata={"help": "what a denoiser learns to predict, on which process; diffusion when null"}
    )
    recipe: str | None = setting(None, "the recipe whose settings lie under these, if there is one")
    codec: str | None = setting(
        None,
        "checkpoint of the codec whose latents a denoiser learns, or a diffusers AutoencoderKL; pixels when null",
        converter=attrs.converters.optional(local_path),
    )
    output: str = setting(
        "training", "directory for checkpoints, metrics and the state to resume from", converter=local_path
    )
    experiment: str | None = setting(
        None,
        "name of an experiment, whose files have folders of their own in `output`; flat when null",
        v.optional(_name_of_a_folder),
    )
    init_from: str | None = setting(
        None, "checkpoint whose weights to start from", converter=attrs.converters.optional(local_path)
    )
    epochs: int = setting(10, "passes over the training images", v.ge(1))
    batch_size: int = setting(128, "images of one step, over all workers together", v.ge(1))
    lr: float = setting(1e-3, "peak learning rate of AdamW", _POSITIVE)
    lr_schedule: Literal["cosine", "constant"] = setting("cosine", "cosine (to zero at the last step) or constant")
    warmup_steps: int = setting(200, "steps over which the rate rises linearly from zero", v.ge(0))
    weight_decay: float = setting(0.01, "decoupled weight decay", _AT_LEAST_0)
    betas: tuple[float, float] = setting((0.9, 0.99), "AdamW's averaging rates", v.deep_iterable(_FRACTION))
    clip_norm: float | None = setting(1.0, "largest L2 norm of the gradient; none when 0", v.optional(_AT_LEAST_0))
    label_dropout: float = setting(0.1, "share of images that are shown as 'no class'", v.and_(v.ge(0), v.le(1)))
    ema_decay: float = setting(0.9995, "decay of the averaged weights, reached after a warm-up", _FRACTION)
    precision: Literal["fp32", "bf16", "fp16"] = setting("fp32", "arithmetic of the network")
    seed: int = setting(0, "seed of weights, order, noise and dropout", v.and_(v.ge(0), v.lt(2**63)))
    recommended: Mapping[str, Any] = attrs.field(
        factory=dict,
        metadata={"help": "run settings that the checkpoints recommend, over those of the objective"},
    )
    provenance: Mapping[str, str] = attrs.field(
        factory=dict, metadata={"help": "what the checkpoints say of their origin, e.g. the data's licence"}
    )
    half: bool = setting(False, "store checkpoints in float16: half the size")
    keep: int = setting(0, "checkpoints to keep, newest first; 0 keeps all", v.ge(0))
    save_minutes: float = setting(5.0, "minutes between saves of the state to resume from", _AT_LEAST_0)
    sample_every: int = setting(1, "epochs between grids of samples; 0 draws none", v.ge(0))
    sample_every_steps: int = setting(0, "steps between grids of samples and held-out losses; 0: none", v.ge(0))
    tensorboard: bool | None = setting(None, "write TensorBoard files; when null, if tensorboard is installed")
    max_minutes: float | None = setting(None, "stop, ready to resume, after so many minutes", v.optional(_POSITIVE))
    device: str = setting("auto", "auto, cpu, cuda, …")
    threads: int | None = setting(
        None, "CPU threads; torch's choice when null", v.optional(v.and_(v.ge(1), v.le(MOST_THREADS)))
    )

    def __attrs_post_init__(self) -> None:
        try:
            json.dumps(
                [self.provenance, *map(unstructure, (self.family, self.dataset, self.objective))], allow_nan=False
            )
            runconfig.resolve(self.recommended)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"a setting cannot be written as JSON: {error}") from error
        except ConfigError as error:
            raise ConfigError(f"recommended does not suit a run: {error}") from error


FREE_ON_RESUME = ("output", "recipe", "codec", "recommended", "provenance", "half", "keep", "save_minutes",
                  "sample_every", "sample_every_steps", "tensorboard", "max_minutes", "device",
                  "threads")  # fmt: skip
"""Settings that a resumed run may change, because they decide nothing of the weights. So may the directory of the
data and the file of the codec: what is in them is compared when it has been read."""


def resolve(*layers: Mapping[str, Any]) -> TrainConfig:
    """The configuration from layers of plain data, weakest first; within `family` and `dataset`, settings of the
    same component are laid over each other, everything else is replaced as a whole.

    Raises `ConfigError` for unknown keys, wrong types and impossible values.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        for spelling, value in layer.items():
            key = spelling.replace("-", "_")
            if key in ("family", "dataset", "objective") and value is not None:
                value = component(value, key)
                below = merged.get(key)
                if below is not None and below["name"] == value["name"]:
                    value["settings"] = {**below.get("settings", {}), **value.get("settings", {})}
            merged[key] = value
    for key, option in (("family", "FAMILY, e.g. unet2d"), ("dataset", "--data DIR")):
        if key not in merged:
            raise ConfigError(f"the training configuration lacks {key} — use {option}")
    if merged.get("codec") == "":
        raise ConfigError(f"{merged.get('recipe') or 'this training'} learns latents — name their codec: --codec FILE")
    return structure(merged, TrainConfig, "the training configuration")


def to_dict(config: TrainConfig) -> dict[str, Any]:
    """JSON-ready data that `resolve` turns back into an equal configuration."""
    return dict(unstructure(config))


def check_resumable(before: TrainConfig, now: TrainConfig) -> None:
    """Raises `ConfigError` naming the first setting that decides the weights and differs from the run to resume."""
    old, new = _deciding(before), _deciding(now)
    for name, was in old.items():
        if was != new[name]:
            raise ConfigError(
                f"cannot resume: {name} was {shown(was)} and is now {shown(new[name])} — "
                "leave it out to keep what was, or name another --output"
            )


def _deciding(config: TrainConfig) -> dict[str, Any]:
    """What decides the weights, as JSON would say it."""
    data = json.loads(json.dumps({k: value for k, value in to_dict(config).items() if k not in FREE_ON_RESUME}))
    for name in ("family", "dataset", "objective"):  # which have neither weight nor bounds
        data[name] = data[name] and {key: data[name][key] for key in ("name", "settings")}
    data["dataset"]["settings"].pop("data", None)
    return dict(data)
