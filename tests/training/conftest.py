"""A dataset small enough to train on in a test: bars across or down, in EMNIST's files."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emnist_diff_plugins.training import trainer
from emnist_diff_plugins.training.config import TrainConfig, resolve


def write_idx(path: Path, array: np.ndarray) -> None:
    head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.write_bytes(gzip.compress(head + array.astype(np.uint8).tobytes(), 1))


def bars(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 8, 8) of one bright bar; class 0 across, class 1 down, upright."""
    draw = np.random.default_rng(seed)
    labels, places = draw.integers(0, 2, count), draw.integers(1, 7, count)
    images = np.zeros((count, 8, 8), np.uint8)
    for image, label, place in zip(images, labels, places, strict=True):
        if label:
            image[:, place] = 255
        else:
            image[place] = 255
    return images, labels


@pytest.fixture(autouse=True)
def _check_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "_CHECK_EVERY", 1)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bars")
    for part, count in (("train", 68), ("test", 20)):
        images, labels = bars(count, seed=count)
        write_idx(folder / f"bars-digits-{part}-images-idx3-ubyte.gz", images.transpose(0, 2, 1))
        write_idx(folder / f"bars-digits-{part}-labels-idx1-ubyte.gz", labels)
    (folder / "bars-digits-mapping.txt").write_text("0 65\n1 68\n")  # A for across, D for down
    return folder


def aim(name: str = "diffusion", **settings: Any) -> dict[str, Any]:
    """An objective; a diffusion's has 50 timesteps."""
    return {"name": name, **({"train_timesteps": 50} if name == "diffusion" else {}), **settings}


@pytest.fixture
def config(data: Path, tmp_path: Path) -> Any:
    """Makes a small training configuration: 4 steps an epoch."""

    def make(output: str = "out", **more: Any) -> TrainConfig:
        network = {"block_out_channels": [8], "attention": [False], "norm_num_groups": 4,
                   "attention_head_dim": 8, **more.pop("network", {})}  # fmt: skip
        return resolve(
            {
                "family": {"name": "unet2d", "settings": network},
                "dataset": {"name": "emnist", "data": str(data), "split": "digits"},
                "output": str(tmp_path / output),
                "epochs": 2,
                "batch_size": 16,
                "warmup_steps": 2,
                "sample_every": 0,
                "tensorboard": False,
                "device": "cpu",
                "objective": None if (chosen := more.pop("objective", {})) is None else aim(**chosen),
                **more,
            }
        )

    return make
