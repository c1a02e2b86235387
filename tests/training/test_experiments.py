"""Validation while training, and the folders of an experiment."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import structlog
import torch
from PIL import Image

from emnist_diff.errors import ConfigError, PluginError
from emnist_diff_plugins.containers import checkpoint
from emnist_diff_plugins.training import experiment, figures
from emnist_diff_plugins.training.config import resolve
from emnist_diff_plugins.training.trainer import train


def rows(path):
    return list(csv.DictReader(path.open()))


def test_held_out_images_are_asked_every_so_many_steps_and_nothing_is_learnt_of_it(config):
    often = train(config("often", sample_every_steps=3))
    never = train(config("never"))
    samples = sorted(p.name for p in (often.output / "samples").iterdir())
    assert samples == sorted(f"step00000{s}{g}.png" for s in (3, 6) for g in ("", "_guidance0", "_guidance1"))
    found = rows(often.output / "validation_unet2d.csv")
    assert [(row["epoch"], row["step"]) for row in found] == [("0.75", "3"), ("1.0", "4"), ("1.5", "6"), ("2.0", "8")]
    ends = [row["held_out_loss"] for row in found if row["step"] in ("4", "8")]
    assert ends == [row["held_out_loss"] for row in rows(often.output / "metrics_unet2d.csv")]
    assert ends == [row["held_out_loss"] for row in rows(never.output / "validation_unet2d.csv")]
    one, other = (checkpoint.load(result.checkpoint)[1] for result in (often, never))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_an_experiment_has_its_folders_and_goes_on_in_them(cli, config, data, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    codec = train(
        config(
            "codec", family={"name": "conv_ae", "settings": {"widths": [8], "hidden": 8, "latent": 4}}, objective=None
        )
    ).checkpoint
    monkeypatch.chdir(tmp_path)
    settings = ("--network", "hidden=16,blocks=1,time_width=8", "--epochs", 2, "--batch-size", 16, "--threads", 1)
    begun = cli("train", "film", "--codec", codec, "--data", data, "--split", "digits", *settings,
                "--max-minutes", "1e-9", "--sample-every-steps", 6, "--experiment")  # fmt: skip
    assert begun.code == 0, begun.err
    (folder,) = (tmp_path / "experiments").iterdir()
    assert re.fullmatch(r"\d{8}_\d{6}-film", folder.name)
    refused = cli("train", "--config", folder / "config.toml")
    assert refused.code
    assert "holds a training — use --resume" in refused.err
    done = cli("train", "--resume", "--output", folder.relative_to(tmp_path), "--quiet")
    assert done.code == 0, done.err
    assert "train." not in done.err

    frames = [f"denoising_steps/frame_{number:03d}.png" for number in range(11)]
    expected = {
        "checkpoints/film_epoch001.safetensors", "checkpoints/film_epoch002.safetensors", "config.toml",
        "denoising_steps/strips.png", *frames, "epoch_samples/epoch001.png", "epoch_samples/epoch001_guidance0.png",
        "epoch_samples/epoch001_guidance1.png", "epoch_samples/epoch002.png", "epoch_samples/step000006.png",
        "final_samples/samples.png", "final_samples/guidance0.png", "final_samples/guidance1.png",
        "latent_space/reconstructions.png", "latent_space/latents.png", "loss_curves.png", "metrics_film.csv",
        "performance.json", "resume/state.safetensors", "training.log", "validation_film.csv",
    }  # fmt: skip
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert expected <= found
    assert any(name.startswith("tensorboard/events") for name in found)
    log = (folder / "training.log").read_text()
    assert log.count("info train.started") == 2  # of which the second was not shown
    assert log.count("train.epoch") == 2
    assert "train.stopped" in log
    summary = json.loads((folder / "performance.json").read_text())
    assert (summary["finished"], summary["steps"], summary["checkpoint"]) == (True, 8, "film_epoch002.safetensors")
    assert summary["codec_floor"]["mse"] > 0
    noise, image = (np.asarray(Image.open(folder / "denoising_steps" / f"frame_{n:03d}.png")) for n in (0, 10))
    final = np.asarray(Image.open(folder / "epoch_samples" / "epoch002.png"))
    assert np.array_equal(image, final)  # from the same noise to the same images
    assert not np.array_equal(noise, image)
    assert checkpoint.discover(folder).name == "film_epoch002.safetensors"


def test_the_newest_experiment_of_a_name_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for stamp in ("20260101_000000-one", "20260201_000000-one", "20260301_000000-one-more"):
        (tmp_path / "experiments" / stamp / "resume").mkdir(parents=True)
        (tmp_path / "experiments" / stamp / "resume" / "state.safetensors").touch()
    assert experiment.directory("one", resume=True) == str(Path("experiments/20260201_000000-one"))
    assert not Path(experiment.directory("one", resume=False)).exists()
    for name in ("../elsewhere", "a/b"):
        with pytest.raises(ConfigError, match=r"experiment = .* must be up to 100 letters, digits"):
            resolve({"family": "film", "dataset": "mnist", "experiment": name})


def test_latents_are_drawn_along_their_principal_axes_and_not_at_all_without_matplotlib(monkeypatch):
    spread = torch.tensor([1.0, 30.0, 0.1, 3.0])  # of which the second and the fourth are seen
    states = torch.randn((40, 4), generator=torch.Generator().manual_seed(0)) * spread
    _, axes, shares = figures._principal(states.double())
    assert axes.abs().argmax(0).tolist() == [1, 3]
    assert (axes.gather(0, axes.abs().argmax(0, keepdim=True)) > 0).all()
    assert shares[0] > 0.9 > 0.1 > shares[1]
    labels = torch.arange(40) % 2
    (picture,) = figures.latents("latents", states.reshape(40, 2, 2), labels, ("A", "D"), (states[:1], labels[:1]))
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.shape[2] == 3
    (narrow,) = figures.latents("latents", states[:, :1], labels, ("A", "D"))
    assert narrow.pixels.std() > 0

    def missing(*size):
        raise PluginError("drawing needs matplotlib, which is not installed")

    monkeypatch.setattr(figures, "new_figure", missing)
    figures.undrawn.cache_clear()
    with structlog.testing.capture_logs() as logs:
        assert [figures.latents("latents", states, labels, ("A", "D")) for _ in range(2)] == [[], []]
    assert [entry["event"] for entry in logs] == ["train.no_figures"]
