"""diffusers' folder of an `AutoencoderKL`, such as a public VAE, as a codec of this project."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from emnist_diff.errors import CheckpointError
from emnist_diff.shown import shown
from emnist_diff_trajectory.plaindata import from_json, read_text

NAME = "autoencoder_kl"
"""The codec component that such a folder is read as."""

_COLORS = 3
"""Channels of a network whose own images are of colors, and which gray ones are repeated to."""

_CLASS, _CONFIG = "AutoencoderKL", "config.json"
_SETTINGS = {
    "sample_size": "size",
    "in_channels": "channels",
    "block_out_channels": "block_out_channels",
    "layers_per_block": "layers_per_block",
    "latent_channels": "latent_channels",
    "norm_num_groups": "norm_num_groups",
    "use_quant_conv": "quant_conv",
    "mid_block_add_attention": "mid_attention",
}
"""diffusers' names of settings, and the codec's."""


def folder_of(path: Path) -> Path | None:
    """The folder of the autoencoder that a path means: itself, or that in a pipeline's; None where it is neither."""
    for folder in (path, path / "vae"):
        config = _config(folder)
        if config is not None and config.get("_class_name") == _CLASS:
            return folder
    return None


def read(folder: Path, images: tuple[int, ...] | None) -> tuple[dict[str, Any], dict[str, Tensor], tuple[Any, Any]]:
    """The codec's settings, its network's tensors, and (mean, deviation) of its latents, which are numbers or one
    number a channel.

    images: (C, H, W) of those to take, which are gray where its own are of colors; those that it was trained on when
    left out.
    Raises `CheckpointError` for a folder that is damaged, and for one that the codec cannot represent.
    """
    from diffusers import AutoencoderKL

    library: Any = AutoencoderKL  # which has no types here
    try:
        model = library.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, torch_dtype=torch.float32, low_cpu_mem_usage=False
        )
    except Exception as error:  # diffusers raises whatever it stumbles over
        raise CheckpointError(f"{folder} holds no {_CLASS} that diffusers can read: {error}") from error
    config: Mapping[str, Any] = dict(model.config)
    _require_representable(folder, config)
    settings = {own: config[name] for name, own in _SETTINGS.items()}
    settings |= {"block_out_channels": list(config["block_out_channels"])}
    if images is not None:
        gray = images[0] == 1 and config["in_channels"] == _COLORS
        settings |= {"size": images[1], **({"channels": 1, "repeats": _COLORS} if gray else {})}
    tensors = {f"model.{name}": tensor.clone() for name, tensor in model.state_dict().items()}
    return settings, tensors, _statistics(config)


def _require_representable(folder: Path, config: Mapping[str, Any]) -> None:
    levels = len(config["block_out_channels"])
    wanted = {
        "out_channels": config["in_channels"],
        "use_post_quant_conv": config["use_quant_conv"],
        "act_fn": "silu",
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
    }
    for name, value in wanted.items():
        found = list(config[name]) if isinstance(config[name], tuple) else config[name]
        if found != value:
            raise CheckpointError(f"{folder}: {name} is {shown(found)}, and codec {NAME!r} has {shown(value)} alone")


def _statistics(config: Mapping[str, Any]) -> tuple[Any, Any]:
    """diffusers' latents are (z - shift_factor) · scaling_factor, or (z - latents_mean) / latents_std ·
    scaling_factor."""
    scale = float(config["scaling_factor"])
    if config.get("latents_mean") is not None and config.get("latents_std") is not None:
        return list(config["latents_mean"]), [float(std) / scale for std in config["latents_std"]]
    return float(config.get("shift_factor") or 0.0), 1.0 / scale


def _config(folder: Path) -> Mapping[str, Any] | None:
    try:
        data = from_json(read_text(folder / _CONFIG))
    except (ValueError, OSError):
        return None
    return data if isinstance(data, dict) else None
