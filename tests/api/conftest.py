"""A checkpoint that needs no weights, and what is loaded from it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from emnist_diff import CheckpointInfo, LoadedDenoiser, load_checkpoint, load_unet
from emnist_diff.timeline import NoiseSchedule
from emnist_diff_plugins.containers import checkpoint


@pytest.fixture(scope="session")
def mixture_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An analytic mixture of three classes as a checkpoint; lower case is merged into upper."""
    path = tmp_path_factory.mktemp("checkpoints") / "mixture_epoch004.safetensors"
    header = checkpoint.CheckpointHeader(
        family="gaussian-mixture",
        network={"shape": [1, 6, 6], "classes": "ABC"},
        classes=("A", "B", "C"),
        null_index=3,
        merged={"b": "B"},
        schedule=NoiseSchedule(beta_schedule="linear", clip_sample=None),
        recommended={"num_inference_steps": 6, "guidance_scale": 1.5, "scheduler": {"name": "ddim", "eta": 0.25}},
        epoch=4,
    )
    checkpoint.save(path, header, {"nothing": torch.zeros(1)})
    return path


@pytest.fixture(scope="session")
def mixture(mixture_file: Path) -> CheckpointInfo:
    return load_checkpoint(mixture_file)


@pytest.fixture(scope="session")
def model(mixture: CheckpointInfo) -> LoadedDenoiser:
    return load_unet(mixture)
