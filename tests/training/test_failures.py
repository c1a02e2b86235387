"""What goes wrong on the way: said in one line, the state of before intact."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import attrs
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from emnist_diff.errors import CheckpointError, ConfigError, OutputError, RunFailed
from emnist_diff_plugins import capacity
from emnist_diff_plugins.containers import checkpoint
from emnist_diff_plugins.training import evaluate, state, trainer
from emnist_diff_plugins.training.config import resolve, to_dict
from emnist_diff_plugins.training.learner import Learner
from emnist_diff_plugins.training.trainer import train
from emnist_diff_trajectory.temporary import host


def test_a_loss_that_is_not_finite_stops_before_it_is_saved(config, tmp_path):
    settings = config(epochs=4, lr=1e12, clip_norm=None, save_minutes=0)
    with pytest.raises(RunFailed, match=r"the loss is (nan|inf) at step \d+ — lower --lr"):
        train(settings)
    _, tensors = state.load(state.path_in(Path(settings.output)))
    assert all(torch.isfinite(t).all() for name, t in tensors.items() if name == "epoch/losses")


@pytest.mark.parametrize("tensorboard", [False, None])
def test_an_output_that_cannot_be_written_fails_at_once(config, tmp_path, tensorboard):
    (tmp_path / "file").write_text("in the way")
    steps: list[int] = []
    with pytest.raises(OutputError, match=r"cannot write .*resume"):
        train(
            attrs.evolve(config(tensorboard=tensorboard), output=str(tmp_path / "file" / "out")),
            on_progress=lambda step, total, loss: steps.append(step),
        )
    assert not steps


@pytest.mark.parametrize("figure", [0, 1], ids=["loss", "gradient"])
def test_a_step_that_spoils_the_weights_is_never_saved(config, monkeypatch, figure):
    """Not even when a later loss looks well, or when the spoilt weights have not shown in a loss yet."""
    advance = Learner.advance

    def spoilt(self, draw, seed, rate, step):
        out = list(advance(self, draw, seed, rate, step))
        if step == 5:
            out[figure] = torch.tensor(float("nan"))
        return tuple(out)

    monkeypatch.setattr(Learner, "advance", spoilt)
    what = ("loss", "gradient")[figure]
    with pytest.raises(RunFailed, match=f"the {what} is nan at step 6 — lower --lr"):
        train(config(save_minutes=0))
    assert state.read_facts(state.path_in(Path(config().output))).step == 5
    monkeypatch.undo()
    assert train(config(), resume=True).finished


def test_a_bad_loss_between_two_looks_is_found_before_it_is_saved(config, monkeypatch):
    """Else no resumed training could ever end that epoch."""
    monkeypatch.setattr(trainer, "_CHECK_EVERY", 20)
    monkeypatch.setattr(trainer, "_CHECK_SECONDS", 1e9)
    advance = Learner.advance

    def spoilt(self, draw, seed, rate, step):
        loss, norm = advance(self, draw, seed, rate, step)
        return (loss / 0 if step == 5 else loss), norm

    monkeypatch.setattr(Learner, "advance", spoilt)
    with pytest.raises(RunFailed, match="the loss is inf at step 8"):
        train(config())
    assert state.read_facts(state.path_in(Path(config().output))).step == 4


def test_answers_that_are_not_finite_make_no_checkpoint(config, monkeypatch):
    """The last step of an epoch may spoil weights whose loss was still well."""
    monkeypatch.setattr(evaluate, "to_x0", lambda answer, *rest: answer / 0)
    with pytest.raises(RunFailed, match="the network's answers are not finite after epoch 1 — lower --lr"):
        train(config())
    assert not list(Path(config().output).glob("*.safetensors"))


def test_a_disk_that_fills_leaves_the_state_of_before(config, monkeypatch):
    full: list[bool] = []
    sync = os.fsync

    def fsync(handle):
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(handle)

    for name in {"fsync", "fdatasync"} & {*dir(os)}:
        monkeypatch.setattr(os, name, fsync)
    settings = config(save_minutes=0)
    path = state.path_in(Path(settings.output))
    before: list[bytes] = []

    def fill(step, total, loss):
        if step == 3:
            before.append(path.read_bytes())
            full.append(True)

    with pytest.raises(OutputError, match=r"cannot write .*state\.safetensors: No space left on device"):
        train(settings, on_progress=fill)
    assert path.read_bytes() == before[0]
    assert sorted(f.name for f in path.parent.iterdir()) == ["lock", path.name]
    full.clear()
    one, other = train(settings, resume=True), train(config("whole"))
    assert checkpoint.load(one.checkpoint)[1].keys() == checkpoint.load(other.checkpoint)[1].keys()
    for name, tensor in checkpoint.load(other.checkpoint)[1].items():
        assert torch.equal(checkpoint.load(one.checkpoint)[1][name], tensor)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_curves_that_cannot_be_written_do_not_cost_the_training(config, monkeypatch):
    pytest.importorskip("tensorboard")
    from tensorboard.summary.writer.record_writer import RecordWriter

    def write(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(RecordWriter, "write", write)
    assert train(config(tensorboard=True)).finished


def test_only_its_own_checkpoints_are_removed(config, tmp_path):
    theirs = tmp_path / "out" / "unet2d_epoch001_best.safetensors"
    also = tmp_path / "out" / "unet2d_epoch000.safetensors"

    def leave(step, total, loss):
        theirs.write_text("mine")
        also.write_text("mine")

    result = train(config(epochs=3, keep=1), on_progress=leave)
    names = {p.name for p in result.output.glob("*.safetensors")}
    assert names == {"unet2d_epoch003.safetensors", theirs.name, also.name}
    assert result.checkpoint.name == "unet2d_epoch003.safetensors"


def test_a_damaged_state_is_named(config):
    settings = config(epochs=1)
    train(settings)
    path = state.path_in(Path(settings.output))
    whole, (facts, tensors) = path.read_bytes(), state.load(path)
    with safe_open(path, "pt") as file:
        raw = json.loads(file.metadata()["emnist_diff_training"])

    def refused(match):
        with pytest.raises(CheckpointError, match=match) as caught:
            train(settings, resume=True)
        assert "\n" not in str(caught.value)

    path.write_bytes(whole[:-100])
    refused(r"state\.safetensors is truncated: .* name another --output")
    for text, match in (
        ("{", "is damaged"),
        ("[]", "is damaged"),
        (json.dumps({**raw, "step": "one"}), "is damaged: .*step"),
        (json.dumps({k: v for k, v in raw.items() if k != "rows"}), "is damaged: .*rows"),
        (json.dumps({**raw, "format_version": 2, "new": 1}), "has state format 2, this emnist-diff reads 1 — upgrade"),
    ):
        save_file(tensors, path, {"emnist_diff_training": text})
        refused(match)
    save_file(tensors, path)
    refused("is no training state of emnist-diff")
    for changed in ({"step": 5}, {"step": 3}, {"step": -4}):
        state.save(path, attrs.evolve(facts, **changed), tensors)
        refused(r"the training state is damaged: its figures do not fit step")
    lost = dict(list(tensors.items())[1:])
    name = next(iter(tensors))
    state.save(path, facts, lost)
    refused(name.rpartition("/")[2])


def test_another_number_of_workers_is_refused(config):
    settings = config(epochs=1)
    train(settings)
    path = state.path_in(Path(settings.output))
    facts, tensors = state.load(path)
    state.save(path, attrs.evolve(facts, workers=4), tensors)
    with pytest.raises(ConfigError, match="cannot resume with 1 workers: the training began with 4"):
        train(settings, resume=True)


def test_a_start_that_does_not_fit_is_refused(config):
    first = train(config("first", epochs=1))
    spoilt = load_file(first.checkpoint)
    spoilt.pop(next(iter(spoilt)))
    checkpoint.save(first.checkpoint, checkpoint.read_header(first.checkpoint), spoilt)
    with pytest.raises(CheckpointError, match="init_from: the checkpoint's weights do not fit its header"):
        train(config("second", init_from=str(first.checkpoint)))


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"max_minutes": 0.0}, "max_minutes"),
        ({"lr": float("inf")}, "lr"),
        ({"lr": float("nan")}, "lr"),
        ({"objective": {"beta_schedule": "cosine"}}, "beta_schedule"),
        ({"recommended": {"steps": 51}}, "steps = 51 is more than the 50 timesteps"),
        ({"recommended": {"stepz": 5}}, "recommended does not suit a run: .*stepz"),
        ({"network": {"attention_head_dim": 32}}, "attention_head_dim = 32 is more than a level's 8 channels"),
        ({"network": {"block_out_channels": [], "attention": []}}, "block_out_channels names no level"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_impossible_settings_are_refused_before_any_work(config, more, match):
    with pytest.raises(ConfigError, match=match):
        train(config(**more))
    assert not Path(resolve(to_dict(config())).output).exists()


def test_a_network_that_memory_does_not_hold_is_refused(config, monkeypatch):
    monkeypatch.setattr(capacity, "available_memory", lambda: 10**8)
    with pytest.raises(
        ConfigError, match=r"a network of \d+ weights in training needs .* GB of memory, 100 MB are free"
    ):
        train(config(network={"block_out_channels": [1024]}))
    with pytest.raises(ConfigError, match="'train_timesteps' must be <= 100000"):
        train(config(objective={"train_timesteps": 10**9}))


def test_two_trainings_do_not_share_a_directory(config):
    settings = config()
    second: list[str] = []

    def meanwhile(step, total, loss):
        with pytest.raises(OutputError, match=r"lock is in use by another run or program") as caught:
            train(settings, resume=True)
        second.append(str(caught.value))

    assert train(settings, on_progress=meanwhile).finished
    assert len(second) == 8
    assert train(settings, resume=True).finished


def test_what_a_killed_training_was_about_to_write_is_tidied_up(config):
    result = train(config(epochs=1))
    owner = f"{host()}.999999999.0-0.tmp"
    left = [
        result.output / f".unet2d_epoch002.safetensors.{owner}",
        result.output / f"resume/.state.safetensors.{owner}",
    ]
    for path in left:
        path.write_bytes(b"half")
    train(config(epochs=1), resume=True)
    assert not any(path.exists() for path in left)
