"""Legacy ``.pt`` checkpoints, read without executing anything from them.

The layout: a pickled dictionary of ``unet`` (state of a diffusers `UNet2DModel`), ``classes``, ``size``,
``channels``, ``scheduler`` (a diffusers scheduler's configuration), ``num_class_embeds``, ``null_class_index``, and,
where the network is not the layout's default one, ``unet_config`` (the keyword arguments of `UNet2DModel`).
"""

from __future__ import annotations

import inspect
import math
import re
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor

from emnist_diff import checkpoint
from emnist_diff.checkpoint import CheckpointHeader
from emnist_diff.errors import CheckpointError, ConfigError, OutputError
from emnist_diff.structuring import structure, unstructure
from emnist_diff_plugins.denoisers import _pickles
from emnist_diff_plugins.denoisers.unet2d import UNet2D

REQUIRED = ("classes", "size", "channels", "unet", "scheduler", "num_class_embeds", "null_class_index")

_SUBSTITUTES = [(OrderedDict, "diffusers.configuration_utils.FrozenDict")]
"""Beyond torch's own: a `FrozenDict` is read as the plain dictionary that it extends."""

_MERGED_SPLITS = ("balanced", "bymerge", "letters")
"""EMNIST splits that fold some lower-case letters into their capitals."""

_EPOCH = re.compile(r"epoch[_-]?(\d+)$")


def convert(source: Path, destination: Path | None = None, *, overwrite: bool = False) -> Path:
    """Write a legacy checkpoint in this project's format, next to it unless told where; returns where.

    Raises `CheckpointError` when the file is missing, damaged, not in the layout, or names anything beyond tensors
    and plain data, and `OutputError` when the destination exists and is not to be overwritten.
    """
    destination = destination or source.with_suffix(".safetensors")
    if destination.is_dir():
        destination = destination / source.with_suffix(".safetensors").name
    if source.suffix == ".safetensors" and source.is_file():
        raise CheckpointError(f"{source} is a .safetensors file already — only legacy .pt files are converted")
    data = read(source)
    header, tensors = translate(source, data)
    if destination.exists() and not overwrite:
        raise OutputError(f"{destination} exists — say --overwrite to replace it, or name another file")
    checkpoint.save(destination, header, tensors)
    return destination


def read(path: Path) -> dict[str, Any]:
    """The dictionary of a legacy file: tensors and plain data, nothing executed. Raises as `convert`."""
    if path.is_dir():
        raise CheckpointError(f"{str(path)!r} is a directory — name the .pt file in it")
    if not path.exists():
        raise checkpoint.missing(path)
    try:
        name = _pickles.unwelcome(path)
    except OSError as error:
        raise CheckpointError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    except Exception as error:  # a damaged zip, in one of the many ways that zipfile reports it
        raise CheckpointError(f"{path} is damaged: {_line(error)}") from error
    if name is not None:
        raise _refused(path, name)
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_SUBSTITUTES):
            warnings.simplefilter("ignore")  # torch's remarks on old layouts are for those who write them
            data = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever hostile or damaged bytes provoke in torch, it is the file's fault
        if named := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise _refused(path, named[1]) from error
        raise CheckpointError(
            f"{path} is no legacy checkpoint, or is damaged: torch.load(weights_only=True) says {_line(error)!r}"
        ) from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} is no legacy checkpoint: it holds a {type(data).__name__}, not a dictionary")
    return data


def translate(path: Path, data: Mapping[str, Any]) -> tuple[CheckpointHeader, dict[str, Tensor]]:
    """Header and weights from the dictionary of a legacy file, checked to make a network; `path` names them.

    Raises `CheckpointError` naming what is missing or what this project cannot represent.
    """
    absent = [key for key in REQUIRED if key not in data]
    if absent:
        raise CheckpointError(f"{path} is no legacy checkpoint: it lacks {', '.join(absent)}")
    for key in (*REQUIRED, "unet_config"):
        if key != "unet" and not _is_plain(data.get(key)):
            raise CheckpointError(f"{path} is damaged: {key!r} is no plain data")
    scheduler = _table(path, data, "scheduler")
    names = [str(name) for name in _sequence(path, "classes", data["classes"])]
    try:
        family = structure(_network(path, data), UNet2D, "network")
        header = structure(
            {
                "family": "unet2d",
                "network": unstructure(family),
                "classes": names,
                "null_index": data["null_class_index"],
                "merged": _merged(data.get("split"), names),
                "schedule": _schedule(path, scheduler),
                "prediction": scheduler.get("prediction_type", "epsilon"),
                "recommended": {"scheduler": {"name": "ddpm"}},  # what the layout's own sampler used
                "provenance": _provenance(path, data),
                "epoch": int(m[1]) if (m := _EPOCH.search(path.stem)) else data.get("epoch"),
            },
            CheckpointHeader,
            "header",
        )
        tensors = _tensors(path, _table(path, data, "unet"))
        family.denoiser(tensors, header, "cpu")  # names a tensor that does not fit, before anything is written
    except (ConfigError, CheckpointError) as error:
        text = str(error)
        raise CheckpointError(text if str(path) in text else f"{path}: {text}") from error
    return header, tensors


def _network(path: Path, data: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of `UNet2D` that make the network of the file."""
    common = {"num_class_embeds": data["num_class_embeds"], "resnet_time_scale_shift": "default"}
    if "unet_config" not in data:
        channels = _sequence(path, "channels", data["channels"])
        return common | {
            "sample_size": data["size"],
            "block_out_channels": channels,
            "layers_per_block": 2,
            "attention": [False] * len(channels),
            "norm_num_groups": 32,
            "attention_head_dim": 8,
        }
    given = {str(k): v for k, v in _table(path, data, "unet_config").items() if not str(k).startswith("_")}
    defaults = {name: p.default for name, p in inspect.signature(UNet2DModel.__init__).parameters.items()}
    full = {"sample_size": data["size"], "in_channels": 1, "out_channels": 1} | given
    kept = ("sample_size", "layers_per_block", "norm_num_groups", "attention_head_dim", "dropout",
            "resnet_time_scale_shift", "num_class_embeds")  # fmt: skip
    known = {key: full.get(key, defaults[key]) for key in kept}
    if known["num_class_embeds"] is None:
        known["num_class_embeds"] = data["num_class_embeds"]
    if full["in_channels"] != full["out_channels"]:
        raise _unsupported(path, "unet_config", "out_channels", full["out_channels"])
    down, up = (_sequence(path, f"{way}_block_types", full.get(f"{way}_block_types", defaults[f"{way}_block_types"]))
                for way in ("down", "up"))  # fmt: skip
    attention = [block == "AttnDownBlock2D" for block in down]
    if down != ["AttnDownBlock2D" if a else "DownBlock2D" for a in attention]:
        raise _unsupported(path, "unet_config", "down_block_types", down)
    if up != ["AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attention)]:
        raise _unsupported(path, "unet_config", "up_block_types", up)
    expressed = {*kept, "in_channels", "out_channels", "block_out_channels", "down_block_types", "up_block_types"}
    for key, value in full.items():
        # an argument that this project does not know may only say what diffusers would do without it
        if key not in expressed and (key not in defaults or value != defaults[key]):
            raise _unsupported(path, "unet_config", key, value)
    widths = _sequence(path, "block_out_channels", full.get("block_out_channels", data["channels"]))
    return known | {"channels": full["in_channels"], "block_out_channels": widths, "attention": attention}


def _schedule(path: Path, scheduler: Mapping[str, Any]) -> dict[str, Any]:
    """The forward process; diffusers' own defaults (of `DDPMScheduler`) where the configuration is silent."""
    for key, plain in (("trained_betas", None), ("rescale_betas_zero_snr", False), ("thresholding", False)):
        if scheduler.get(key, plain) != plain:
            raise _unsupported(path, "scheduler", key, scheduler[key])
    clip = scheduler.get("clip_sample_range", 1.0) if scheduler.get("clip_sample", True) else None
    return {
        "train_timesteps": scheduler.get("num_train_timesteps", 1000),
        "beta_schedule": scheduler.get("beta_schedule", "linear"),
        "beta_start": scheduler.get("beta_start", 0.0001),
        "beta_end": scheduler.get("beta_end", 0.02),
        "clip_sample": clip,
    }


def _merged(split: Any, names: list[str]) -> dict[str, str]:
    """Letters without a class of their own → the class of their other case, for the splits that merge them."""
    if split not in _MERGED_SPLITS:
        return {}
    return {name.swapcase(): name for name in names if name.isalpha() and name.swapcase() not in names}


def _provenance(path: Path, data: Mapping[str, Any]) -> dict[str, Any]:
    """Everything else that the file says of itself in single values, its scheduler, and which file it was."""
    told = {str(k): v for k, v in data.items() if k not in REQUIRED and k != "epoch" and _is_plain(v, depth=0)}
    scheduler = {str(k): v for k, v in data["scheduler"].items() if not str(k).startswith("_")}
    source = {"format": "legacy .pt", "file": path.name, "sha256": checkpoint.sha256(path)}
    return told | {"scheduler": scheduler, "source": source}


def _is_plain(value: Any, depth: int = 4) -> bool:
    """Whether JSON can say it: text, finite numbers, and tables and lists of them, nested up to `depth`."""
    if value is None or isinstance(value, bool | int | str):
        return True
    if isinstance(value, float):
        return math.isfinite(value)
    if depth == 0:
        return False
    if isinstance(value, Mapping):
        return all(isinstance(k, str) and _is_plain(v, depth - 1) for k, v in value.items())
    return isinstance(value, list | tuple) and all(_is_plain(v, depth - 1) for v in value)


def _tensors(path: Path, state: Mapping[Any, Any]) -> dict[str, Tensor]:
    """The network's weights as plain dense tensors that share no memory, in the type they were stored in."""
    room = path.stat().st_size
    out = {}
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"{path} is damaged: unet[{name!r}] is a {type(value).__name__}, not a tensor")
        if value.layout is not torch.strided or value.device.type != "cpu" or not value.is_floating_point():
            raise CheckpointError(f"{path}: unet[{name!r}] is no dense tensor of floating-point numbers")
        # a few stored bytes can be viewed as a tensor of any size; copying that would eat the memory
        room -= value.numel() * value.element_size()
        if room < 0:
            raise CheckpointError(f"{path} is damaged: unet[{name!r}] is larger than what the file stores")
        out[name] = value.detach().clone(memory_format=torch.contiguous_format)
    return out


def _table(path: Path, data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    if not isinstance(data[key], Mapping):
        raise CheckpointError(f"{path} is damaged: {key!r} is a {type(data[key]).__name__}, not a dictionary")
    return data[key]


def _sequence(path: Path, key: str, value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise CheckpointError(f"{path} is damaged: {key!r} is {value!r}, not a list")
    return list(value)


def _unsupported(path: Path, table: str, key: str, value: Any) -> CheckpointError:
    return CheckpointError(f"{path}: {table} says {key} = {value!r}, which denoiser 'unet2d' cannot represent")


def _refused(path: Path, name: str) -> CheckpointError:
    return CheckpointError(
        f"{path} is refused: the pickle wants to call {name!r}, and a checkpoint needs only tensors and plain data — "
        "nothing in it was run"
    )


def _line(error: BaseException) -> str:
    """The first sentence of an error that others raised."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else text[:117] + "…"
