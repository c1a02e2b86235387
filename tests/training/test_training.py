"""Training as a whole, from Python and from the command line."""

from __future__ import annotations

import csv
import json
import threading
import time
from pathlib import Path

import attrs
import pytest
import torch

from emnist_diff.errors import ConfigError, DatasetError, OutputError
from emnist_diff_plugins.containers import checkpoint
from emnist_diff_plugins.training import state
from emnist_diff_plugins.training.config import resolve, to_dict
from emnist_diff_plugins.training.trainer import train


def weights(result) -> dict[str, torch.Tensor]:
    return checkpoint.load(result.checkpoint)[1]


def test_it_learns_what_a_class_looks_like(config, tmp_path):
    settings = config(
        epochs=10, lr=4e-3, network={"block_out_channels": [16, 16], "attention": [False, True]}, keep=1, ema_decay=0.97
    )
    result = train(settings)
    assert result.finished
    assert result.steps == 40
    assert [p.name for p in result.output.glob("*.safetensors")] == ["unet2d_epoch010.safetensors"]
    rows = list(csv.DictReader((result.output / "x0_error_unet2d.csv").open()))
    last = next(r for r in rows if r["epoch"] == "10" and r["timestep"] == "25")
    assert float(last["right"]) < 0.6 * float(last["wrong"])
    metric = list(csv.DictReader((result.output / "metrics_unet2d.csv").open()))
    assert len(metric) == 10
    assert float(metric[-1]["loss_mean"]) < 0.6 * float(metric[0]["loss_mean"])
    assert int(metric[-1]["cumulative_samples"]) == 10 * 64


def test_a_checkpoint_says_all_that_a_run_needs(config):
    header = checkpoint.read_header(
        train(config(epochs=1, provenance={"licence": "own work"}, recommended={"steps": 7})).checkpoint
    )
    assert (header.family, header.classes, header.null_index, header.epoch) == ("unet2d", ("A", "D"), 2, 1)
    assert (header.prediction, header.schedule.train_timesteps) == ("v_prediction", 50)
    assert header.recommended["steps"] == 7
    assert header.network["num_class_embeds"] == 3
    assert header.network["sample_size"] == 8
    assert header.provenance["licence"] == "own work"
    assert header.provenance["data"]["split"] == "digits"
    assert header.provenance["trained_with"]["images_seen"] == 64
    assert len(header.provenance["x0_error"]) == 6
    assert "/" not in json.dumps(header.provenance["data"])  # file names, not whose disk they were on


def test_what_is_there_is_not_overwritten(config):
    train(config(epochs=1))
    with pytest.raises(OutputError, match="holds a training — use --resume"):
        train(config(epochs=1))
    state.path_in(Path(config().output)).unlink()
    with pytest.raises(OutputError, match="holds checkpoints of another training"):
        train(config(epochs=1))


def test_resume_with_nothing_there_starts(config):
    assert train(config(epochs=1), resume=True).finished


@pytest.mark.parametrize("more", [{"objective": {"weighting": "min-snr"}}, {"objective": {"prediction": "epsilon"}},
                                  {"objective": {"prediction": "sample"}},
                                  {"objective": {"beta_schedule": "linear"}, "lr_schedule": "constant"},
                                  {"precision": "bf16"}, {"objective": {"name": "flow"}},
                                  {"clip_norm": None, "half": True}])  # fmt: skip
def test_the_other_ways_to_train_train(config, more):
    result = train(config(**more))
    assert result.finished
    header, tensors = checkpoint.load(result.checkpoint)
    aim = more.get("objective", {})
    assert header.prediction == ("flow" if "name" in aim else aim.get("prediction", "v_prediction"))
    assert header.schedule.clip_sample == (None if "name" in aim else 1.0)
    assert all(torch.isfinite(t).all() for t in tensors.values())
    stored = {t.dtype for t in checkpoint.tensors_of(result.checkpoint).values()}
    assert stored == ({"F16"} if more.get("half") else {"F32"})


def test_starting_from_a_checkpoint(config):
    first = train(config("first", epochs=1))
    second = train(config("second", epochs=1, lr=1e-12, init_from=str(first.checkpoint), ema_decay=0.0))
    for name, tensor in weights(first).items():
        torch.testing.assert_close(weights(second)[name], tensor, rtol=0, atol=1e-6)
    with pytest.raises(ConfigError, match="init_from: the checkpoint has network"):
        train(config("third", init_from=str(first.checkpoint), network={"dropout": 0.5}))


def test_samples_and_tensorboard_are_written(config):
    pytest.importorskip("tensorboard")
    result = train(config(epochs=1, sample_every=1, tensorboard=True))
    assert (result.output / "samples" / "epoch001.png").read_bytes().startswith(b"\x89PNG")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(result.output / "tensorboard")).Reload()
    assert {"train/loss", "train/lr", "epoch/loss_mean", "x0_error/t25/right"} <= set(events.Tags()["scalars"])
    assert set(events.Tags()["images"]) == {"samples", "samples/guidance0", "samples/guidance1"}
    assert len(events.Scalars("train/loss")) == 4


def test_bad_data_and_settings_fail_before_any_work(config, tmp_path):
    settings = config()
    nowhere = attrs.evolve(settings.dataset, settings={**settings.dataset.settings, "data": str(tmp_path / "no")})
    with pytest.raises(DatasetError, match="no"):
        train(attrs.evolve(settings, dataset=nowhere))
    with pytest.raises(ConfigError, match="num_class_embeds = 9 does not fit the data, which needs 3"):
        train(config(network={"num_class_embeds": 9}))
    with pytest.raises(ConfigError, match="cannot be trained"):
        train(attrs.evolve(settings, family=attrs.evolve(settings.family, name="gaussian-mixture", settings={})))
    with pytest.raises(ConfigError, match="batch_size = 100 is more than the 68 training images"):
        train(config(batch_size=100))
    assert not Path(settings.output).exists()


def test_the_configuration_round_trips(config):
    settings = config(lr=3e-4, clip_norm=None, betas=[0.9, 0.999], recommended={"steps": 5})
    assert resolve(json.loads(json.dumps(to_dict(settings)))) == settings


# ------------------------------------------------------------------ the command


def test_the_command_trains_resumes_and_its_checkpoint_runs(cli, data, tmp_path):
    network = [
        "--network", "block_out_channels=[8,8]", "--network", "attention=[false,true]",
        "--network", "norm_num_groups=4,attention_head_dim=8",
    ]  # fmt: skip
    usual = ["--data", data, "--split", "digits", "--output", tmp_path / "t", "--batch-size", 16, "--sample-every", 0]
    started = cli("train", "unet2d", *usual, *network, "--epochs", 2, "--max-minutes", "0.000001", "--no-tensorboard")
    assert started.code == 0, started.err
    assert "repeat the command with --resume" in started.out
    done = cli("train", "--output", tmp_path / "t", "--resume", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["finished"] is True
    ran = cli("run", "--checkpoint", tmp_path / "t", "--character", "D", "--total-videos", 2, "--steps", 4,
              "--output", tmp_path / "o")  # fmt: skip
    assert ran.code == 0, ran.err
    assert (tmp_path / "o" / "D" / "trajectory.h5").exists()


def test_options_win_over_the_file_and_the_file_over_the_training_to_resume(cli, config, tmp_path):
    trained = train(config(epochs=1, keep=1, save_minutes=2.0, max_minutes=60.0))
    file = tmp_path / "c.toml"

    def resolved(text, *options):
        file.write_text(text)
        shown = cli("train", "--config", file, "--dry-run", *options)
        assert shown.code == 0, shown.err
        return json.loads(shown.out)

    resume = ("--resume", "--output", trained.output)
    both = resolved('keep = 2\nsave-minutes = 3\noutput = "elsewhere"\nfamily = "unet2d"', *resume, "--keep", 3)
    assert (both["keep"], both["save_minutes"], both["output"]) == (3, 3.0, str(trained.output))
    assert both["max_minutes"] is None  # a time budget is for one sitting
    assert both["epochs"] == 1
    assert both["dataset"]["settings"]["split"] == "digits"
    assert both["family"]["settings"]["norm_num_groups"] == 4
    assert resolved(f"output = '{trained.output}'\nmax_minutes = 5", "--resume")["max_minutes"] == 5.0

    file.write_text("lr = 0.5")
    refused = cli("train", "--config", file, *resume)
    assert refused.code == 2
    assert "cannot resume: lr was 0.001 and is now 0.5" in refused.error
    file.write_text("output = [1]")
    refused = cli("train", "unet2d", "--data", ".", "--config", file, "--resume")
    assert refused.code == 2
    assert "output" in refused.error


@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        (["unet2d"], 2, ["lacks dataset", "--data DIR"]),
        (["unet3d", "--data", "."], 2, ["unknown recipe, denoiser or codec 'unet3d'", "did you mean 'unet2d'"]),
        (["vea", "--data", "."], 2, ["unknown recipe, denoiser or codec 'vea'", "did you mean 'vae'"]),
        (["ldmcross", "--data", "."], 2, ["'ldmcross'", "did you mean 'ldm-cross'"]),
        (["ldm-cross", "--data", "."], 2, ["ldm-cross learns latents — name their codec: --codec FILE"]),
        (["ddpm:chanels=64", "--data", "."], 2, ["recipe 'ddpm'", "'chanels'"]),
        (["unet2d", "--data", "nowhere"], 8, ["nowhere"]),
        (["unet2d", "--data", ".", "--split", "byclas"], 2, ["split", "byclas"]),
        (["unet2d", "--data", ".", "--network", "chanels=3"], 2, ["'chanels'", "did you mean 'channels'"]),
        (["unet2d", "--data", ".", "--network", "channels"], 2, ["--network", "'channels' is not key=value"]),
        (["unet2d", "--data", ".", "--lr", "-1"], 2, ["lr"]),
        (["unet2d", "--data", ".", "--objective", "diffusion:prediction=noise"], 2, ["prediction", "noise"]),
        (["unet2d", "--data", ".", "--dataset", "mnits"], 2, ["unknown dataset 'mnits'", "did you mean 'mnist'"]),
    ],
    ids=lambda value: " ".join(map(str, value))[:40] if isinstance(value, list) else str(value),
)
def test_a_mistake_is_one_line_that_names_it(cli, data, tmp_path, monkeypatch, arguments, code, parts):
    monkeypatch.chdir(tmp_path if "nowhere" in arguments else data)
    finished = cli("train", *arguments)
    assert finished.code == code, finished.err
    for part in parts:
        assert part in finished.error


def test_threads_other_than_the_main_one_can_train(config):
    """Signals belong to the main thread; a caller's thread must still be able to train."""
    results: list = []
    worker = threading.Thread(target=lambda: results.append(train(config(epochs=1))))
    worker.start()
    while worker.is_alive():
        time.sleep(0.05)
    assert results[0].finished
