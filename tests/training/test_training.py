"""Training as a whole: it learns, stops without loss, and goes on to the same bits."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import attrs
import pytest
import torch

from emnist_diff import checkpoint
from emnist_diff.errors import CheckpointError, ConfigError, DatasetError, Interrupted, OutputError, RunFailed
from emnist_diff_plugins.training import state, trainer
from emnist_diff_plugins.training.config import resolve, to_dict
from emnist_diff_plugins.training.trainer import train


def weights(result) -> dict[str, torch.Tensor]:
    return checkpoint.load(result.checkpoint)[1]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


class StopAt:
    """Sends a signal when training has done so many steps."""

    def __init__(self, step: int, number: int = signal.SIGTERM) -> None:
        self.step, self.number = step, number
        self.seen: list[int] = []

    def __call__(self, step: int, total: int, loss: float) -> None:
        self.seen.append(step)
        if step == self.step:
            os.kill(os.getpid(), self.number)


@pytest.fixture(autouse=True)
def _look_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "_LOOK_EVERY", 1)


def test_it_learns_what_a_class_looks_like(config, tmp_path):
    settings = config(epochs=60, lr=4e-3, network={"block_out_channels": [16, 16]}, keep=1, ema_decay=0.97)
    result = train(settings)
    assert result.finished
    assert result.steps == 240
    assert [p.name for p in result.output.glob("*.safetensors")] == ["unet2d_epoch060.safetensors"]
    rows = list(csv.DictReader((result.output / "x0_error_unet2d.csv").open()))
    last = next(r for r in rows if r["epoch"] == "60" and r["timestep"] == "25")
    assert float(last["right"]) < 0.8 * float(last["wrong"])
    metric = list(csv.DictReader((result.output / "metrics_unet2d.csv").open()))
    assert len(metric) == 60
    assert float(metric[-1]["loss_mean"]) < 0.5 * float(metric[0]["loss_mean"])
    assert int(metric[-1]["cumulative_samples"]) == 60 * 64


def test_a_checkpoint_says_all_that_a_run_needs(config):
    header = checkpoint.read_header(
        train(config(epochs=1, provenance={"licence": "own work"}, recommended={"steps": 7})).checkpoint
    )
    assert (header.family, header.classes, header.null_index, header.epoch) == ("unet2d", ("A", "D"), 2, 1)
    assert (header.prediction, header.schedule.train_timesteps) == ("v_prediction", 50)
    assert header.recommended == {"steps": 7}
    assert header.network["num_class_embeds"] == 3
    assert header.network["sample_size"] == 8
    assert header.provenance["licence"] == "own work"
    assert header.provenance["data"]["split"] == "digits"
    assert header.provenance["trained_with"]["images_seen"] == 64
    assert len(header.provenance["x0_error"]) == 6
    assert "/" not in json.dumps(header.provenance["data"])  # file names, not whose disk they were on


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
@pytest.mark.parametrize("step", [1, 4, 6])
def test_an_interrupted_training_resumes_to_the_same_bits(config, step, number):
    network = {"dropout": 0.2}  # the network's own randomness must resume too
    whole = train(config("whole", network=network))
    with pytest.raises(Interrupted, match=r"of 2 epochs are in .*half — repeat the command with --resume"):
        train(config("half", network=network), on_progress=StopAt(step, number))
    rest = StopAt(0)
    half = train(config("half", network=network), resume=True, on_progress=rest)
    assert rest.seen == list(range(step + 1, 9))
    assert same(weights(whole), weights(half))
    first, second = (state.load(state.path_in(r.output)) for r in (whole, half))
    assert same(first[1], second[1])
    kept = ("loss_mean", "loss_std", "grad_norm", "ema_delta_norm", "cumulative_samples", "num_batches")
    for a, b in zip(first[0]["rows"], second[0]["rows"], strict=True):
        assert [a[k] for k in kept] == [b[k] for k in kept]


def test_a_killed_training_resumes_from_its_last_save(config, tmp_path):
    whole = train(config("whole"))
    path = tmp_path / "c.json"
    path.write_text(json.dumps(to_dict(config("killed", save_minutes=0))))
    code = (
        "import os, signal, sys\n"
        "from emnist_diff.config import read_file\n"
        "from pathlib import Path\n"
        "from emnist_diff_plugins.training import trainer\n"
        "from emnist_diff_plugins.training.config import resolve\n"
        "import torch; torch.set_num_threads(int(sys.argv[2]))\n"
        "trainer._LOOK_EVERY = 1\n"
        "kill = lambda step, total, loss: step == 6 and os.kill(os.getpid(), signal.SIGKILL)\n"
        "trainer.train(resolve(read_file(Path(sys.argv[1]))), on_progress=kill)\n"
    )
    threads = str(torch.get_num_threads())
    done = subprocess.run([sys.executable, "-c", code, str(path), threads], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    saved = state.load(state.path_in(tmp_path / "killed"))[0]["step"]
    assert saved == 5
    assert same(weights(whole), weights(train(config("killed"), resume=True)))


def test_a_time_budget_stops_and_resumes(config):
    settings = config(max_minutes=1e-6)
    stopped = train(settings)
    assert not stopped.finished
    assert stopped.steps < 8
    done = train(attrs.evolve(settings, max_minutes=None), resume=True)
    assert done.finished
    assert same(weights(done), weights(train(config("whole"))))


def test_what_is_there_is_not_overwritten(config):
    train(config(epochs=1))
    with pytest.raises(OutputError, match="holds a training — say --resume"):
        train(config(epochs=1))
    state.path_in(Path(config().output)).unlink()
    with pytest.raises(OutputError, match="holds checkpoints of another training"):
        train(config(epochs=1))


def test_resume_with_nothing_there_starts(config):
    assert train(config(epochs=1), resume=True).finished


@pytest.mark.parametrize(("name", "value"), [("lr", 0.5), ("seed", 9), ("batch_size", 8), ("prediction", "epsilon")])
def test_another_configuration_is_not_resumed(config, name, value):
    train(config(epochs=1))
    with pytest.raises(ConfigError, match=rf"cannot resume: {name} was .* and is now {value!r}"):
        train(config(epochs=1, **{name: value}), resume=True)


def test_other_data_is_not_resumed(config, data, tmp_path):
    settings = config(epochs=2)
    with pytest.raises(Interrupted):
        train(settings, on_progress=StopAt(1))
    path = state.path_in(Path(settings.output))
    facts, tensors = state.load(path)
    facts["data"]["images"] = 1
    state.save(path, facts, tensors)
    with pytest.raises(ConfigError, match="the dataset's files are not those"):
        train(settings, resume=True)


def test_a_damaged_state_is_named(config):
    settings = config(epochs=1)
    train(settings)
    path = state.path_in(Path(settings.output))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"state\.safetensors is damaged"):
        train(settings, resume=True)


def test_a_loss_that_is_not_finite_stops_before_it_is_saved(config, tmp_path):
    settings = config(epochs=4, lr=1e12, clip_norm=None, save_minutes=0)
    with pytest.raises(RunFailed, match=r"the loss is (nan|inf) at step \d+ — lower --lr"):
        train(settings)
    _, tensors = state.load(state.path_in(Path(settings.output)))
    assert all(torch.isfinite(t).all() for name, t in tensors.items() if name == "epoch/losses")


@pytest.mark.parametrize("more", [{"weighting": "min-snr"}, {"prediction": "epsilon"}, {"prediction": "sample"},
                                  {"precision": "bf16"}, {"beta_schedule": "linear", "lr_schedule": "constant"},
                                  {"clip_norm": None, "half": True}])  # fmt: skip
def test_the_other_ways_to_train_train(config, more):
    result = train(config(**more))
    assert result.finished
    header, tensors = checkpoint.load(result.checkpoint)
    assert header.prediction == more.get("prediction", "v_prediction")
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
    assert events.Tags()["images"] == ["samples"]
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


@pytest.mark.parametrize("tensorboard", [False, None])
def test_an_output_that_cannot_be_written_fails_at_once(config, tmp_path, tensorboard):
    (tmp_path / "file").write_text("in the way")
    steps = StopAt(0)
    with pytest.raises(OutputError, match=r"cannot write .*state\.safetensors"):
        train(attrs.evolve(config(tensorboard=tensorboard), output=str(tmp_path / "file" / "out")), on_progress=steps)
    assert not steps.seen


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


@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        (["unet2d"], 2, ["lacks dataset", "--data DIR"]),
        (["unet3d", "--data", "."], 2, ["unknown denoiser 'unet3d'", "did you mean 'unet2d'"]),
        (["unet2d", "--data", "nowhere"], 8, ["nowhere"]),
        (["unet2d", "--data", ".", "--split", "byclas"], 2, ["split", "byclas"]),
        (["unet2d", "--data", ".", "--network", "chanels=3"], 2, ["'chanels'", "did you mean 'channels'"]),
        (["unet2d", "--data", ".", "--network", "channels"], 2, ["--network", "'channels' is not key=value"]),
        (["unet2d", "--data", ".", "--lr", "-1"], 2, ["lr"]),
        (["unet2d", "--data", ".", "--prediction", "noise"], 2, ["prediction", "noise"]),
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


# ------------------------------------------------------------------ several workers


def test_two_workers_reach_the_weights_of_one(config, tmp_path):
    """Gradients are averaged, so the weights agree up to the order of a sum."""
    pytest.importorskip("accelerate")
    alone = train(config("alone", epochs=1))
    path = tmp_path / "c.json"
    path.write_text(json.dumps(to_dict(config("both", epochs=1))))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {**os.environ, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
              "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}  # fmt: skip
    command = [sys.executable, "-m", "emnist_diff", "train", "--config", str(path), "--no-progress"]
    workers = [
        subprocess.Popen(command, env={**common, "RANK": r, "LOCAL_RANK": r}, stderr=subprocess.PIPE, text=True)
        for r in ("0", "1")
    ]
    errors = [w.communicate(timeout=240)[1] for w in workers]
    assert [w.returncode for w in workers] == [0, 0], errors
    theirs = checkpoint.load(tmp_path / "both" / "unet2d_epoch001.safetensors")[1]
    for name, tensor in weights(alone).items():
        torch.testing.assert_close(theirs[name], tensor, rtol=1e-3, atol=1e-5)


def test_threads_other_than_the_main_one_can_train(config):
    """Signals belong to the main thread; a caller's thread must still be able to train."""
    results: list = []
    worker = threading.Thread(target=lambda: results.append(train(config(epochs=1))))
    worker.start()
    while worker.is_alive():
        time.sleep(0.05)
    assert results[0].finished
