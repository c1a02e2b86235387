"""What the trainings of each document share."""

from __future__ import annotations

from typing import Any

from emnist_diff_plugins.fields import between, setting

_ADAMW = [0.9, 0.999]


def width(default: int) -> Any:
    """The field of a UNet's first level."""
    return setting(default, "channels of the first level, a multiple of 32", between(32, 4096))


def document_001(**more: Any) -> dict[str, Any]:
    """A training of document 001; `more` is laid over it."""
    return {
        "dataset": {"name": "mnist"},
        "epochs": 100,
        "batch_size": 512,
        "lr": 1e-3,
        "warmup_steps": 0,
        "weight_decay": 1e-4,
        "betas": _ADAMW,
        "ema_decay": 0.995,
        "sample_every": 10,
        **more,
    }


def document_004(**more: Any) -> dict[str, Any]:
    """A training of document 004, which has no averaged weights; a short average costs nothing. `more` is laid over
    it."""
    return {
        "dataset": {"name": "mnist"},
        "batch_size": 128,
        "lr": 2e-4,
        "warmup_steps": 0,
        "weight_decay": 0.01,
        "betas": _ADAMW,
        "ema_decay": 0.999,
        **more,
    }


def unet(widths: list[int], **more: Any) -> dict[str, Any]:
    """The UNet of document 001: attention at the deepest level alone, of heads of 32 channels, where the document has
    one channel a head."""
    settings = {
        "block_out_channels": widths,
        "layers_per_block": 1,
        "attention": [False] * (len(widths) - 1) + [True],
        "resnet_time_scale_shift": "default",
        "norm_num_groups": 32,
        "attention_head_dim": 32,
        **more,
    }
    return {"name": "unet2d", "settings": settings}


def component(name: str, **settings: Any) -> dict[str, Any]:
    """A component with its settings, as configurations say it."""
    return {"name": name, "settings": settings}
