"""Checkpoints, and what is built from them."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from emnist_diff import CheckpointInfo, build_scheduler, load_checkpoint, load_unet
from emnist_diff.errors import CheckpointError, ConfigError, UnknownName
from emnist_diff_plugins.containers.shipped import shipped


def test_a_checkpoint_says_what_it_is(mixture: CheckpointInfo, mixture_file: Path):
    data = mixture_file.read_bytes()
    assert mixture.path == mixture_file
    assert mixture.file_size_bytes == len(data)
    assert mixture.sha256 == hashlib.sha256(data).hexdigest()
    assert mixture.epoch == 4
    assert mixture.classes == ("A", "B", "C")
    assert (mixture.null_class_index, mixture.num_class_embeds) == (3, 4)
    assert mixture.merged == {"b": "B"}
    assert mixture.family == "gaussian-mixture"
    assert mixture.network["shape"] == [1, 6, 6]
    assert (mixture.size, mixture.channels) == (None, None)
    assert mixture.recommended["guidance_scale"] == 1.5
    assert mixture.scheduler_config["beta_schedule"] == "linear"
    assert mixture.scheduler_config["prediction_type"] == "epsilon"


def test_label_indices(mixture: CheckpointInfo):
    assert [mixture.get_label_index(c) for c in "ABCb"] == [0, 1, 2, 1]
    with pytest.raises(UnknownName, match="unknown class 'c' — did you mean 'C'"):
        mixture.get_label_index("c")


def test_the_shipped_checkpoint_is_the_default():
    ckpt = load_checkpoint()
    assert ckpt.path == shipped()
    assert (ckpt.size, ckpt.channels) == (28, 1)
    assert len(ckpt.classes) == 62
    assert load_unet(ckpt).shape == (1, 28, 28)


def test_a_directory_means_its_newest_epoch(mixture_file: Path, tmp_path: Path):
    for epoch in (2, 10, 9):
        shutil.copy(mixture_file, tmp_path / f"mixture_epoch{epoch:03}.safetensors")
    assert load_checkpoint(tmp_path).path.name == "mixture_epoch010.safetensors"
    assert load_checkpoint(tmp_path, epoch=9).path.name == "mixture_epoch009.safetensors"


@pytest.mark.parametrize(
    ("path", "epoch", "message"),
    [
        ("nothing.safetensors", None, "does not exist"),
        (".", None, "no checkpoint"),
        (None, 3, "epoch 3 was requested without a directory"),
    ],
)
def test_bad_paths(path: str | None, epoch: int | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path, epoch)


def test_a_file_that_changed_is_noticed(mixture_file: Path, tmp_path: Path):
    path = Path(shutil.copy(mixture_file, tmp_path))
    ckpt = load_checkpoint(path)
    with path.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(CheckpointError, match=r"has changed|damaged"):
        load_unet(ckpt)


def test_schedulers(mixture: CheckpointInfo):
    recommended = build_scheduler(mixture)
    assert (recommended.name, recommended.settings["eta"]) == ("ddim", 0.25)
    assert recommended.schedule == mixture.header.schedule
    other = build_scheduler(mixture, spacing="leading")
    assert (other.settings["eta"], other.settings["spacing"]) == (0.25, "leading")
    assert build_scheduler(mixture, "ddim").settings["eta"] == 0
    assert build_scheduler(mixture, "ddpm").name == "ddpm"


def test_bad_schedulers_and_devices(mixture: CheckpointInfo):
    with pytest.raises(UnknownName, match="unknown scheduler 'ddmp' — did you mean 'ddpm'"):
        build_scheduler(mixture, "ddmp")
    with pytest.raises(UnknownName, match="'ets' — did you mean 'eta'"):
        build_scheduler(mixture, ets=1)
    with pytest.raises(ConfigError, match="device 'abacus' cannot be used"):
        load_unet(mixture, "abacus")
