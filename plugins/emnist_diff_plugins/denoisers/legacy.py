"""Legacy ``.pt`` checkpoints, read without executing anything from them.

The layout: a pickled dictionary of ``unet`` (state of a diffusers `UNet2DModel`), ``classes``, ``size``,
``channels``, ``scheduler`` (a diffusers scheduler's configuration), ``num_class_embeds``, ``null_class_index``, and,
where the network is not the layout's default one, ``unet_config`` (the keyword arguments of `UNet2DModel`).
"""

from __future__ import annotations

import contextlib
import inspect
import re
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor
from torch.torch_version import TorchVersion

from emnist_diff.errors import CheckpointError, ConfigError, OutputError
from emnist_diff.shown import shown
from emnist_diff.structuring import structure, unstructure
from emnist_diff_plugins.containers import checkpoint, foreign
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader
from emnist_diff_plugins.denoisers import _pickles
from emnist_diff_plugins.denoisers._plain import PlainCopy
from emnist_diff_plugins.denoisers.unet2d import UNet2D
from emnist_diff_trajectory import files

REQUIRED = ("classes", "size", "channels", "unet", "scheduler", "num_class_embeds", "null_class_index")

_SAFE_TORCH = "2.10"
"""Before it, ``torch.load(weights_only=True)`` could be made to run code (CVE-2025-32434, CVE-2026-24747)."""

_SUBSTITUTES: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (OrderedDict, "diffusers.configuration_utils.FrozenDict")
]
"""Beyond torch's own: a `FrozenDict` is read as the plain dictionary that it extends."""

_MERGED_SPLITS = ("balanced", "bymerge", "letters")
"""EMNIST splits that fold some lower-case letters into their capitals."""

_WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Words that wrappers of torch put anywhere into the names of weights."""

_EPOCH = re.compile(r"epoch[_-]?(\d+)$")


def convert(source: Path, destination: Path | None = None, *, overwrite: bool = False) -> Path:
    """Write a legacy checkpoint in this project's format, next to it unless told where; returns where.

    Raises `CheckpointError` when the file is missing, damaged, not in the layout, or names anything beyond tensors
    and plain data, and `OutputError` when the destination exists and is not to be overwritten.
    """
    data = read(source)
    target = _destination(source, destination)
    if target.exists() and not overwrite:
        raise OutputError(f"{target} exists — use --overwrite to replace it, or name another file")
    header, tensors = translate(source, data)
    checkpoint.save(target, header, tensors)
    return target


def _destination(source: Path, destination: Path | None) -> Path:
    """Where to write: a path that ends in .safetensors is the file, any other one the directory for it."""
    name = source.with_suffix(".safetensors").name
    if destination is None:
        return source.with_name(name)
    if destination.suffix == ".safetensors" and not destination.is_dir():
        return destination
    if destination.is_file():
        raise OutputError(f"{destination} is no directory, and its name does not end in .safetensors — name another")
    return destination / name


def read(path: Path) -> dict[str, Any]:
    """The dictionary of a legacy file: tensors and plain data, nothing executed. Raises as `convert`."""
    if not path.exists():
        raise checkpoint.missing(path)
    if path.is_dir():
        what: str | None = foreign.folder(path) or "a directory — name the .pt file in it"
        raise CheckpointError(f"{str(path)!r} is {what}")
    if not path.is_file():
        raise CheckpointError(f"{str(path)!r} is no ordinary file")
    if path.suffix == ".safetensors":
        raise CheckpointError(f"{path} is a .safetensors file already — only legacy .pt files are converted")
    if TorchVersion(torch.__version__) < _SAFE_TORCH:
        raise CheckpointError(
            f"{path} is not read: before torch {_SAFE_TORCH}, reading a .pt file can run what is in it, and this is "
            f"torch {torch.__version__} — upgrade torch, or convert the file elsewhere"
        )
    try:
        vetted = _pickles.vetted(path)
        with warnings.catch_warnings(), torch.serialization.safe_globals(_SUBSTITUTES):
            warnings.simplefilter("ignore")  # torch's remarks on old layouts are for those who write them
            data = torch.load(vetted, map_location="cpu", weights_only=True)
    except _pickles.Unwelcome as error:
        raise CheckpointError(
            f"{path} is refused: its pickle wants to call {str(error)!r}, and a checkpoint needs only tensors and "
            "plain data — nothing in it was run"
        ) from error
    except OSError as error:
        raise CheckpointError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    except Exception as error:  # `Damaged`, or whatever damaged bytes provoke in torch: it is the file's fault
        what = None if path.read_bytes()[:2] in (b"PK", b"\x80\x02") else foreign.file(path)
        raise CheckpointError(f"{path} is {what or f'no legacy checkpoint, or is damaged: {_line(error)}'}") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} is no legacy checkpoint: it holds a {type(data).__name__}, not a dictionary")
    return data


def translate(path: Path, data: dict[str, Any]) -> tuple[CheckpointHeader, dict[str, Tensor]]:
    """Header and weights from the dictionary of a legacy file, checked to make a network; `path` names them.

    Raises `CheckpointError` naming what is missing or what this project cannot represent.
    """
    absent = [key for key in REQUIRED if key not in data]
    if absent and data and all(isinstance(data[name], Tensor) for name in data):
        raise CheckpointError(f"{path} holds {foreign.weights([str(name) for name in data])}")
    if absent and "state_dict" in data:
        raise CheckpointError(f"{path} is the state of a training ('state_dict') — {foreign.FROM_DIFFUSERS}")
    if absent:
        raise CheckpointError(f"{path} is no legacy checkpoint: it lacks {', '.join(absent)}")
    try:
        content = _content(data)
        scheduler = _table("scheduler", content["scheduler"])
        names = [str(name) for name in _sequence("classes", content["classes"])]
        family = structure(_network(content), UNet2D, "network")
        header = structure(
            {
                "family": "unet2d",
                "network": unstructure(family),
                "classes": names,
                "null_index": content["null_class_index"],
                "merged": _merged(content.get("split"), names),
                "schedule": _schedule(scheduler),
                "prediction": scheduler.get("prediction_type", "epsilon"),
                "recommended": {"scheduler": {"name": "ddpm"}},  # what the layout's own sampler used
                "provenance": _provenance(path, content),
                "epoch": int(m[1]) if (m := _EPOCH.search(path.stem)) else content.get("epoch"),
            },
            CheckpointHeader,
            "header",
        )
        tensors = _tensors(_table("unet", data["unet"]), path.stat().st_size)
        family.with_weights(tensors, header, "cpu")  # names a tensor that does not fit, before anything is written
    except (ConfigError, CheckpointError) as error:
        raise CheckpointError(f"{path} cannot be converted: {_line(error)}") from error
    return header, tensors


def _content(data: dict[Any, Any]) -> dict[str, Any]:
    """All of the file but its weights, as plain data; of what the layout does not know, the single values."""
    copy = PlainCopy()
    content: dict[str, Any] = {}
    for key in (*REQUIRED, "unet_config"):
        if key == "unet" or key not in data:
            continue
        try:
            content[key] = copy(data[key])
        except ValueError as error:
            raise CheckpointError(f"{key!r} is no plain data") from error
    for key, value in dict.items(data):
        if isinstance(key, str) and key != "unet" and key not in content:
            with contextlib.suppress(ValueError):
                content[copy(key)] = copy(value, depth=0)
    return content


def _network(data: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of `UNet2D` that make the network of the file."""
    common = {"num_class_embeds": data["num_class_embeds"], "resnet_time_scale_shift": "default"}
    if data.get("unet_config") is None:
        channels = _sequence("channels", data["channels"])
        return common | {
            "sample_size": data["size"],
            "block_out_channels": channels,
            "layers_per_block": 2,
            "attention": [False] * len(channels),
            "norm_num_groups": 32,
            "attention_head_dim": 8,
        }
    given = {key: value for key, value in _table("unet_config", data["unet_config"]).items() if not key.startswith("_")}
    defaults = {name: p.default for name, p in inspect.signature(UNet2DModel.__init__).parameters.items()}
    full = {"sample_size": data["size"], "in_channels": 1, "out_channels": 1} | given
    kept = ("sample_size", "layers_per_block", "norm_num_groups", "attention_head_dim", "dropout",
            "resnet_time_scale_shift", "num_class_embeds")  # fmt: skip
    known = {key: full.get(key, defaults[key]) for key in kept}
    if known["num_class_embeds"] is None:
        known["num_class_embeds"] = data["num_class_embeds"]
    if full["in_channels"] != full["out_channels"]:
        raise _unsupported("unet_config", "out_channels", full["out_channels"])
    names = ("down_block_types", "up_block_types")
    down, up = (_sequence(name, full.get(name, defaults[name])) for name in names)
    attention = [block == "AttnDownBlock2D" for block in down]
    if down != ["AttnDownBlock2D" if a else "DownBlock2D" for a in attention]:
        raise _unsupported("unet_config", "down_block_types", down)
    if up != ["AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attention)]:
        raise _unsupported("unet_config", "up_block_types", up)
    expressed = {*kept, "in_channels", "out_channels", "block_out_channels", "down_block_types", "up_block_types"}
    for key, value in full.items():
        # an argument that this project does not know may only say what diffusers would do without it
        if key not in expressed and (key not in defaults or value != defaults[key]):
            raise _unsupported("unet_config", key, value)
    widths = _sequence("block_out_channels", full.get("block_out_channels", data["channels"]))
    return known | {"channels": full["in_channels"], "block_out_channels": widths, "attention": attention}


def _schedule(scheduler: Mapping[str, Any]) -> dict[str, Any]:
    """The forward process; diffusers' own defaults (of `DDPMScheduler`) where the configuration is silent."""
    for key, plain in (("trained_betas", None), ("rescale_betas_zero_snr", False), ("thresholding", False)):
        if scheduler.get(key, plain) != plain:
            raise _unsupported("scheduler", key, scheduler[key])
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


def _provenance(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Everything else that the file says of itself, its scheduler, and which file it was."""
    own = {key: value for key, value in content.items() if key not in (*REQUIRED, "unet_config", "epoch")}
    scheduler = {key: value for key, value in content["scheduler"].items() if not key.startswith("_")}
    source = {"format": "legacy .pt", "file": path.name, "sha256": files.sha256(path)}
    return own | {"scheduler": scheduler, "source": source}


def _tensors(state: dict[Any, Any], room: int) -> dict[str, Tensor]:
    """The network's weights as plain dense tensors that share no memory, in the type they were stored in; at most
    `room` bytes, because a few stored bytes can be viewed as a tensor of any size."""
    out = {}
    for name, value in dict.items(state):
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"unet[{name!r}] is a {type(value).__name__}, not a tensor")
        if value.layout is not torch.strided or value.device.type != "cpu" or not value.is_floating_point():
            raise CheckpointError(f"unet[{name!r}] is no dense tensor of floating-point numbers")
        room -= value.numel() * value.element_size()
        if room < 0:
            raise CheckpointError(f"unet[{name!r}] is larger than what the file stores")
        out[name] = value.detach().clone(memory_format=torch.contiguous_format)
    return _unwrapped(out)


def _unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the network's own names, without what wrappers of torch put into them: ``_orig_mod.`` of
    ``torch.compile``, ``module.`` of ``DataParallel``, or any other word that all names begin with.

    Raises `CheckpointError` when two tensors would get the same name.
    """
    names = {name: [word for word in name.split(".") if word not in _WRAPPERS] for name in tensors}
    while len({words[0] for words in names.values() if words}) == 1 and all(len(w) > 2 for w in names.values()):
        names = {name: words[1:] for name, words in names.items()}
    out = {".".join(words): tensors[name] for name, words in names.items()}
    if len(out) < len(tensors):
        raise CheckpointError("unet holds two tensors of one name once the names of wrappers are taken off")
    return out


def _table(key: str, value: Any) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise CheckpointError(f"{key!r} is a {type(value).__name__}, not a dictionary")
    return value


def _sequence(key: str, value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise CheckpointError(f"{key!r} is {shown(value)}, not a list")
    return list(value)


def _unsupported(table: str, key: str, value: Any) -> CheckpointError:
    return CheckpointError(f"{table} says {key} = {shown(value)}, which denoiser 'unet2d' cannot represent")


def _line(error: BaseException) -> str:
    """What an error says, on one line of bounded length; of torch's advice to load unsafely, only the cause."""
    text = " ".join(str(error).split()).rpartition("WeightsUnpickler error: ")[2]
    text = text.partition(" Check the documentation of torch.load")[0]
    if " " not in text:
        text = f"{type(error).__name__} {text}".rstrip()
    return text if len(text) <= 200 else text[:199] + "…"
