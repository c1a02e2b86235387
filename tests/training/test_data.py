"""Unusual data: what trains, what is said, what is refused."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import attrs
import numpy as np
import pytest
import structlog
from PIL import Image

from emnist_diff.config import ComponentConfig
from emnist_diff.errors import ConfigError, DatasetError
from emnist_diff_plugins.containers import checkpoint
from emnist_diff_plugins.training.trainer import train


def pictures(folder: Path, count: int) -> Path:
    draw = np.random.default_rng(3)
    folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(draw.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / f"{number}.png")
    return folder.parent


def test_colours_one_class_and_epochs_of_one_step(config, tmp_path):
    """As many images as a batch holds, none of them held out."""
    data = pictures(tmp_path / "data" / "only", 4)
    dataset = ComponentConfig("folder", settings={"data": str(data), "size": 8, "channels": 3})

    def settings(output):
        return attrs.evolve(config(output, batch_size=4, epochs=3, sample_every=1), dataset=dataset)

    def stop(step, total, loss):
        if step == 2:
            raise KeyboardInterrupt

    whole = train(settings("whole"))
    assert (whole.steps, whole.finished) == (3, True)
    with pytest.raises(KeyboardInterrupt):
        train(settings("half"), on_progress=stop)
    half = train(settings("half"), resume=True)
    assert whole.checkpoint.name == half.checkpoint.name == "unet2d_epoch003.safetensors"
    header, tensors = checkpoint.load(half.checkpoint)
    assert (header.classes, header.network["channels"], header.network["num_class_embeds"]) == (("only",), 3, 2)
    for name, tensor in checkpoint.load(whole.checkpoint)[1].items():
        assert tensors[name].equal(tensor)
    with Image.open(half.output / "samples" / "epoch003.png") as grid:
        assert grid.mode == "RGB"


def test_what_will_not_be_learnt_is_said(config, data, tmp_path):
    more = tmp_path / "more"
    shutil.copytree(data, more)
    (more / "bars-digits-mapping.txt").write_text("0 65\n1 68\n2 90\n")  # and Z, of which there is no image
    settings = config(epochs=1, label_dropout=0.0)
    settings = attrs.evolve(
        settings, dataset=ComponentConfig("emnist", settings={"data": str(more), "split": "digits"})
    )
    with structlog.testing.capture_logs() as logs:
        result = train(settings)
    said = {entry["event"]: entry for entry in logs if entry["log_level"] == "warning"}
    assert said["train.classes_without_images"]["classes"] == ["Z"]
    assert "guidance will mislead" in said["train.no_label_dropout"]["effect"]
    assert checkpoint.read_header(result.checkpoint).classes == ("A", "D", "Z")
    with structlog.testing.capture_logs() as logs:
        train(config("usual", epochs=1))
    assert not [entry for entry in logs if entry["log_level"] == "warning"]


def test_images_that_are_not_square_are_refused(config, data, tmp_path):
    flat = tmp_path / "flat"
    shutil.copytree(data, flat)
    head = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (68, 8, 6))
    (flat / "bars-digits-train-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + bytes(68 * 8 * 6)))
    settings = attrs.evolve(
        config(), dataset=ComponentConfig("emnist", settings={"data": str(flat), "split": "digits"})
    )
    with pytest.raises(ConfigError, match=r"images must be square, \(C, H, H\), got \(1, 6, 8\)"):
        train(settings)


def test_a_class_dropped_from_every_image_trains(config):
    assert train(config(epochs=1, label_dropout=1.0)).finished


def test_a_folder_of_images_that_is_read_as_another_dataset_is_recognised(config, data, tmp_path):
    for name in ("A", "train/A"):
        top = tmp_path / name.replace("/", "-")
        pictures(top / name, 1)
        settings = attrs.evolve(config(), dataset=ComponentConfig("emnist", settings={"data": str(top)}))
        with pytest.raises(DatasetError, match=r"holds no .*; for a folder of images use --dataset folder$"):
            train(settings)
    lacking = attrs.evolve(
        config(), dataset=ComponentConfig("emnist", settings={"data": str(data), "split": "letters"})
    )
    with pytest.raises(DatasetError, match="splits there") as failed:
        train(lacking)
    assert "folder" not in str(failed.value)
