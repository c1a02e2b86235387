"""Stopping and going on: nothing lost, nothing done twice, the same bits."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
import torch

from emnist_diff.errors import ConfigError, Interrupted
from emnist_diff_plugins.containers import checkpoint
from emnist_diff_plugins.training import state, trainer
from emnist_diff_plugins.training.config import to_dict
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


@pytest.mark.parametrize(("step", "number"), [(1, signal.SIGTERM), (4, signal.SIGINT), (6, signal.SIGUSR1)])
def test_an_interrupted_training_resumes_to_the_same_bits(config, step, number):
    more = {"network": {"dropout": 0.2}, "sample_every": 1}  # the network's own randomness must resume too
    whole = train(config("whole", **more))
    with pytest.raises(Interrupted, match=r"of 2 epochs are in .*half — repeat the command with --resume"):
        train(config("half", **more), on_progress=StopAt(step, number))
    rest = StopAt(0)
    half = train(config("half", **more), resume=True, on_progress=rest)
    assert rest.seen == list(range(step + 1, 9))
    assert same(weights(whole), weights(half))
    first, second = (state.load(state.path_in(r.output)) for r in (whole, half))
    assert same(first[1], second[1])
    kept = ("loss_mean", "loss_std", "grad_norm", "ema_delta_norm", "cumulative_samples", "num_batches")
    for a, b in zip(first[0].rows, second[0].rows, strict=True):
        assert [a[k] for k in kept] == [b[k] for k in kept]


def test_a_killed_training_resumes_from_its_last_save(config, tmp_path):
    whole = train(config("whole"))
    path = tmp_path / "c.json"
    path.write_text(json.dumps(to_dict(config("killed", save_minutes=0))))
    code = (
        "import os, signal, sys\n"
        "from emnist_diff_plugins.documents import read_file\n"
        "from pathlib import Path\n"
        "from emnist_diff_plugins.training import trainer\n"
        "from emnist_diff_plugins.training.config import resolve\n"
        "import torch; torch.set_num_threads(int(sys.argv[2]))\n"
        "trainer._CHECK_EVERY = 1\n"
        "kill = lambda step, total, loss: step == 6 and os.kill(os.getpid(), signal.SIGKILL)\n"
        "trainer.train(resolve(read_file(Path(sys.argv[1]))), on_progress=kill)\n"
    )
    threads = str(torch.get_num_threads())
    done = subprocess.run([sys.executable, "-c", code, str(path), threads], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    saved = state.read_facts(state.path_in(tmp_path / "killed")).step
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


@pytest.mark.parametrize(
    ("name", "value"), [("lr", 0.5), ("seed", 9), ("batch_size", 8), ("objective", {"prediction": "epsilon"})]
)
def test_another_configuration_is_not_resumed(config, name, value):
    wanted = value["prediction"] if isinstance(value, dict) else value
    train(config(epochs=1))
    with pytest.raises(ConfigError, match=f"cannot resume: {name} was .* and is now .*{wanted}"):
        train(config(epochs=1, **{name: value}), resume=True)


def test_other_data_is_not_resumed(config, data, tmp_path):
    settings = config(epochs=2)
    with pytest.raises(Interrupted):
        train(settings, on_progress=StopAt(1))
    path = state.path_in(Path(settings.output))
    facts, tensors = state.load(path)
    facts.data["images"] = 1
    state.save(path, facts, tensors)
    with pytest.raises(ConfigError, match="the dataset's files are not those"):
        train(settings, resume=True)


@pytest.mark.parametrize("saves", [1, 2])
def test_a_kill_between_an_epochs_files_and_its_state_does_not_count_the_epoch_twice(config, monkeypatch, saves):
    whole = train(config("whole"))
    write, left = state.save, [1 + saves]  # one more than epochs: a training saves before its first step

    def last(*arguments):
        left[0] -= 1
        if not left[0]:
            raise SystemExit("killed")
        write(*arguments)

    monkeypatch.setattr(state, "save", last)
    with pytest.raises(SystemExit):
        train(config("killed"))
    monkeypatch.undo()
    assert (Path(config("killed").output) / f"unet2d_epoch{saves:03d}.safetensors").exists()
    killed = train(config("killed"), resume=True)
    assert same(weights(whole), weights(killed))
    rows = list(csv.DictReader((killed.output / "metrics_unet2d.csv").open()))
    assert [r["epoch"] for r in rows] == ["1", "2"]
    assert rows[-1]["cumulative_samples"] == "128"
    assert len((killed.output / "x0_error_unet2d.csv").read_text().splitlines()) == 1 + 2 * 6


def test_a_finished_training_has_nothing_to_go_on_with(config):
    done = train(config())
    before = done.checkpoint.stat().st_mtime_ns
    seen = StopAt(0)
    assert train(config(), resume=True, on_progress=seen) == done
    assert not seen.seen
    assert done.checkpoint.stat().st_mtime_ns == before
    done.checkpoint.unlink()
    assert train(config(), resume=True) == attrs.evolve(done, checkpoint=None)


def test_the_loss_scale_is_part_of_the_state(config, monkeypatch):
    """In fp16 the first steps overflow, are skipped, and lower the scale."""
    scaler = torch.amp.GradScaler
    monkeypatch.setattr(torch.amp, "GradScaler", lambda *a, **k: scaler(*a, init_scale=2.0**30, growth_interval=3, **k))
    whole = train(config("whole", precision="fp16", epochs=4))
    with pytest.raises(Interrupted):
        train(config("half", precision="fp16", epochs=4), on_progress=StopAt(5))
    path = state.path_in(Path(config("half").output))
    scale = state.read_facts(path).scaler["scale"]
    assert scale < 2.0**30
    half = train(config("half", precision="fp16", epochs=4), resume=True)
    assert same(weights(whole), weights(half))
    one, other = (state.load(state.path_in(r.output)) for r in (whole, half))
    assert one[0].scaler == other[0].scaler
    assert same(one[1], other[1])
    assert all(row["grad_norm"] is None or 0 < row["grad_norm"] < 1e6 for row in one[0].rows)
    assert one[0].rows[-1]["grad_norm"] is not None


def test_what_a_training_began_with_need_not_be_there_any_more(config, data, tmp_path):
    """The network to start from, and where the data was."""
    first = train(config("first", epochs=1, network={"layers_per_block": 2}))
    moved = tmp_path / "moved"
    shutil.copytree(data, moved)
    more = {"init_from": str(first.output), "lr": 1e-4}
    network = {"network": {"layers_per_block": 2}}
    whole = train(config("whole", **more, **network))
    with pytest.raises(Interrupted):
        train(config("half", **more, **network), on_progress=StopAt(3))
    shutil.rmtree(first.output)
    settings = config("half", **more, **network)
    there = attrs.evolve(settings.dataset, settings={**settings.dataset.settings, "data": str(moved)})
    half = train(attrs.evolve(settings, dataset=there), resume=True)
    assert same(weights(whole), weights(half))
    origin = checkpoint.read_header(half.checkpoint).provenance["trained_with"]["init_from"]
    assert origin["file"] == "unet2d_epoch001.safetensors"
    assert len(origin["sha256"]) == 64


def test_other_defaults_of_the_network_do_not_touch_a_resumed_training(config):
    """A state knows its network in full, whatever a later version takes for granted."""
    settings = config()
    with pytest.raises(Interrupted):
        train(settings, on_progress=StopAt(2))
    path = state.path_in(Path(settings.output))
    facts, tensors = state.load(path)
    assert facts.network["layers_per_block"] == 1
    assert "layers_per_block" not in facts.config["family"]["settings"]
    facts.network["dropout"] = 0.3  # as if that had been the default
    state.save(path, facts, tensors)
    assert checkpoint.read_header(train(settings, resume=True).checkpoint).network["dropout"] == 0.3


def test_a_state_without_the_later_facts_resumes(config):
    """Trainings of the first days did not write down their network."""
    whole = train(config("whole"))
    with pytest.raises(Interrupted):
        train(config("half"), on_progress=StopAt(3))
    path = state.path_in(Path(config("half").output))
    facts, tensors = state.load(path)
    state.save(path, attrs.evolve(facts, network=None, origin=None), tensors)
    assert same(weights(whole), weights(train(config("half"), resume=True)))


def test_settings_that_decide_no_weight_may_change(config):
    whole = train(config("whole"))
    with pytest.raises(Interrupted):
        train(config("half"), on_progress=StopAt(5))
    half = train(config("half", half=True, keep=1, recommended={"steps": 3}, provenance={"licence": "x"}), resume=True)
    header, tensors = checkpoint.load(half.checkpoint)
    assert (header.recommended["steps"], header.provenance["licence"]) == (3, "x")
    assert same({name: t.half().float() for name, t in weights(whole).items()}, tensors)
    assert not (half.output / "unet2d_epoch001.safetensors").exists()


def test_time_counts_while_training_and_not_between(config, monkeypatch):
    """Each step takes a second by this clock; evaluating, saving and stops take none."""
    clock = [1000.0]
    advance = trainer.Training.advance

    def tick(self):
        advance(self)
        clock[0] += 1.0

    monkeypatch.setattr(trainer.Training, "advance", tick)
    monkeypatch.setattr(trainer.time, "monotonic", lambda: clock[0])
    with pytest.raises(Interrupted):
        train(config(), on_progress=StopAt(3))
    clock[0] += 5000.0
    result = train(config(), resume=True)
    rows = state.read_facts(state.path_in(result.output)).rows
    assert [r["epoch_time_sec"] for r in rows] == [4.0, 4.0]
    assert rows[-1]["cumulative_time_sec"] == 8.0
    assert rows[0]["samples_per_sec"] == 16.0


@pytest.mark.parametrize(("seconds", "seen"), [(0.5, [1, 2, 3, 4, 5, 6, 7, 8]), (2.0, [1, 3, 4, 6, 8]),
                                               (1e9, [1, 4, 8])])  # fmt: skip
def test_looks_are_as_far_apart_as_steps_are_quick(config, monkeypatch, seconds, seen):
    """A look waits for the device, so quick steps are looked at seldom; slow ones often, so that stopping is quick.
    An epoch's end is always looked at."""
    monkeypatch.setattr(trainer, "_CHECK_EVERY", 20)
    monkeypatch.setattr(trainer, "_CHECK_SECONDS", seconds)
    clock = [0.0]
    advance = trainer.Training.advance

    def tick(self):
        advance(self)
        clock[0] += 1.0

    monkeypatch.setattr(trainer.Training, "advance", tick)
    monkeypatch.setattr(trainer.time, "monotonic", lambda: clock[0])
    progress = StopAt(0)
    train(config(), on_progress=progress)
    assert progress.seen == seen


def test_curves_go_on_without_holes_or_doubles(config):
    """Stopped at an epoch's end, then killed with events on disk that the state knows nothing of."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = config(tensorboard=True, epochs=3)
    with pytest.raises(Interrupted):
        train(settings, on_progress=StopAt(4))

    def crash(step, total, loss):
        if step == 7:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(settings, resume=True, on_progress=crash)
    result = train(settings, resume=True)
    events = EventAccumulator(str(result.output / "tensorboard")).Reload()
    assert [e.step for e in events.Scalars("train/loss")] == list(range(1, 13))
    assert [e.step for e in events.Scalars("epoch/loss_mean")] == [4, 8, 12]
