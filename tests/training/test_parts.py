"""The parts of training against their formulas."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import structlog
import torch

from emnist_diff.errors import ConfigError
from emnist_diff_plugins.objectives.diffusion import DiffusionObjective
from emnist_diff_plugins.training import metrics, objective, progress, state
from emnist_diff_plugins.training.batches import Batches, Draw, to_state
from emnist_diff_plugins.training.ema import Ema, decay_at
from emnist_diff_plugins.training.learner import Learner
from emnist_diff_plugins.training.workers import Workers


def batches(count: int = 20, **more: object) -> Batches:
    settings: dict = {
        "images": torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous(),
        "labels": torch.arange(count) % 3,
        "null_index": 3,
        "batch_size": 6,
        "timesteps": DiffusionObjective(train_timesteps=100).timesteps,
        "label_dropout": 0.25,
        "seed": 5,
    }
    return Batches(**{**settings, **more})


def shown(draw) -> list[int]:
    return ((draw.x0[:, 0, 0, 0] + 1) * 127.5).round().int().tolist()


def test_an_epoch_shows_each_image_at_most_once_and_epochs_differ():
    one = batches()
    assert one.steps_per_epoch == 3
    first, second = ([i for s in range(3) for i in shown(one.draw(s + 3 * e))] for e in range(2))
    assert len(first) == len(set(first)) == 18
    assert first != second


def test_a_step_depends_on_seed_and_step_alone():
    one, other = batches(), batches()
    for step in (7, 2, 2, 0):  # in any order, as after a resume
        a, b = one.draw(step), other.draw(step)
        for field in ("x0", "index", "timestep", "noise"):
            assert torch.equal(getattr(a, field), getattr(b, field))
    assert not torch.equal(batches(seed=6).draw(2).noise, one.draw(2).noise)
    assert not torch.equal(one.draw(1).noise, one.draw(2).noise)


def test_workers_share_a_step():
    whole = batches().draw(4)
    parts = [batches(rank=rank, workers=3).draw(4) for rank in range(3)]
    for rank, part in enumerate(parts):
        for field in ("x0", "index", "timestep", "noise"):
            assert torch.equal(getattr(part, field), getattr(whole, field)[rank::3])


def test_labels_are_dropped_at_the_rate_asked_for():
    many = batches(count=200, batch_size=200)
    for rate in (0.0, 0.25, 1.0):
        many.label_dropout = rate
        index = torch.cat([many.draw(step).index for step in range(40)])
        share = float((index == 3).double().mean())
        assert abs(share - rate) <= 4 * math.sqrt(rate * (1 - rate) / 8000)
    many.label_dropout = 0.5
    draw = many.draw(3)
    kept = draw.index != 3
    assert torch.equal(draw.index[kept], many.labels[torch.tensor(shown(draw))][kept])


def test_impossible_batches_are_refused():
    with pytest.raises(ConfigError, match="batch_size = 6 is more than the 5 training images"):
        batches(count=5)
    with pytest.raises(ConfigError, match="batch_size = 6 does not divide among 4 workers"):
        batches(workers=4)


def test_states_span_the_range():
    assert to_state(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1.0, 1.0]


def test_the_loss_is_a_mean_of_weighted_sample_errors():
    answer, wanted = torch.zeros(2, 1, 2, 2), torch.tensor([1.0, 3.0]).view(2, 1, 1, 1).expand(2, 1, 2, 2)
    assert float(objective.loss(answer, wanted, None)) == 5.0
    assert float(objective.loss(answer, wanted, torch.tensor([1.0, 0.0]))) == 0.5


def test_the_rate_rises_and_falls():
    rate = [objective.learning_rate(s, 100, 2.0, "cosine", 10) for s in range(100)]
    assert rate[0] == pytest.approx(0.2)
    assert rate[4] == pytest.approx(1.0 * (1 + math.cos(math.pi * 0.04)) / 2)
    assert rate[50] == pytest.approx(1.0)
    assert 0 < rate[99] < 1e-3
    assert max(rate) <= 2.0
    flat = [objective.learning_rate(s, 100, 2.0, "constant", 0) for s in range(100)]
    assert set(flat) == {2.0}


def test_ema_warms_up_and_then_remembers():
    assert decay_at(0, 0.99) == 0.1
    assert decay_at(1, 0.99) == pytest.approx(2 / 11)
    assert decay_at(10_000, 0.99) == 0.99
    weights = [torch.zeros(3), torch.zeros(2, 2)]
    ema = Ema.of(weights, 0.9)
    expected = 0.0
    for step in range(1, 30):
        for w in weights:
            w.fill_(float(step))
        ema.update(weights, step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    for average in ema.averages:
        torch.testing.assert_close(average, torch.full_like(average, expected))
    assert ema.distance(weights) == pytest.approx(math.sqrt(7) * (29 - expected), rel=1e-5)


def test_an_epoch_row_has_the_documented_columns():
    losses = np.array([4.0, 1.0, 2.0, 5.0])
    common = {
        "images": 40,
        "lr": 0.1,
        "held_out_loss": 0.4,
        "ema_distance": 0.5,
        "gpu_memory": (1.0, 2.0, 3.0),
        "wall_clock": 9.0,
    }
    first = metrics.Epoch(epoch=1, losses=losses, grad_norms=losses / 2, seconds=2.0, **common).row(None)
    second = metrics.Epoch(epoch=2, losses=losses, grad_norms=losses, seconds=3.0, **common).row(first)
    columns = (
        "epoch loss_mean loss_std loss_min loss_max loss_median held_out_loss lr grad_norm epoch_time_sec "
        "samples_per_sec batches_per_sec num_batches num_samples gpu_mem_allocated_mb gpu_mem_reserved_mb "
        "gpu_mem_peak_mb ema_delta_norm wall_clock_sec cumulative_time_sec cumulative_samples"
    )
    assert " ".join(first) == columns
    assert (first["loss_mean"], first["loss_min"], first["loss_max"], first["loss_median"]) == (3.0, 1.0, 5.0, 3.0)
    assert first["loss_std"] == pytest.approx(math.sqrt(2.5))
    assert (first["samples_per_sec"], first["batches_per_sec"]) == (20.0, 2.0)
    assert (second["cumulative_time_sec"], second["cumulative_samples"]) == (5.0, 80)


def test_steps_that_the_loss_scale_skipped_have_no_gradient_norm():
    common = {"epoch": 1, "losses": np.ones(3), "lr": 0.1, "seconds": 1.0, "images": 3, "ema_distance": 0.0,
              "held_out_loss": 0.0, "gpu_memory": (0.0, 0.0, 0.0), "wall_clock": 0.0}  # fmt: skip
    assert metrics.Epoch(grad_norms=np.array([np.inf, 2.0, 4.0]), **common).row(None)["grad_norm"] == 3.0
    assert metrics.Epoch(grad_norms=np.array([np.inf, np.nan, np.inf]), **common).row(None)["grad_norm"] is None


def test_progress_counts_this_sitting_alone(monkeypatch):
    """500 of 1000 steps were done before, by a quicker machine perhaps."""
    clock = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    with structlog.testing.capture_logs() as logs, progress.Progress(False, batch_size=10) as shown:
        for step in (500, 510, 520):
            shown.update(step, 1000, 0.25)
            clock[0] += 20.0
    assert logs == [{"event": "train.progress", "log_level": "info", "step": 520, "steps": 1000, "loss": 0.25,
                     "images_per_second": 5.0, "minutes_left": 16.0}]  # fmt: skip


class Tied(torch.nn.Module):
    """One weight under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.one = torch.nn.Linear(4, 4)
        self.other = torch.nn.Linear(4, 4)
        self.other.weight = self.one.weight

    def forward(self, x):
        return self.other(self.one(x))


class TiedTask:
    def __init__(self):
        self.network = Tied()

    def loss(self, network, draw):
        return objective.loss(network(draw.x0 + draw.noise), draw.noise, None)


def test_a_weight_with_two_names_is_averaged_and_restored_under_both(config, tmp_path):
    def learner():
        torch.manual_seed(0)
        workers = Workers(0, 1, torch.device("cpu"))
        return Learner.of(config(ema_decay=0.5), TiedTask(), workers)

    first, zeros = learner(), torch.zeros(3, dtype=torch.int64)
    draw = Draw(torch.ones(3, 4), zeros, zeros + 30, torch.full((3, 4), 0.5))
    for step in range(3):
        first.advance(draw, seed=step, rate=0.1, step=step)
    averaged = first.averaged()
    assert averaged.keys() == first.network.state_dict().keys()
    assert torch.equal(averaged["one.weight"], averaged["other.weight"])
    assert not torch.equal(averaged["one.weight"], first.network.one.weight)
    facts = state.Facts(config={}, data={}, workers=1, step=3, rows=[], errors=[], epoch_seconds=0.0, scaler={})
    state.save(tmp_path / "s", facts, first.tensors())
    second = learner()
    second.restore(state.load(tmp_path / "s")[1], {})
    for each in (first, second):
        each.advance(draw, seed=3, rate=0.1, step=3)
    for name, tensor in first.averaged().items():
        assert torch.equal(second.averaged()[name], tensor)
        assert torch.equal(second.network.state_dict()[name], first.network.state_dict()[name])


def test_a_quiet_training_shows_no_bar(cli, monkeypatch, tmp_path):
    bars = []

    def shown(bar: bool, batch_size: int) -> None:
        bars.append(bar)
        raise ConfigError("far enough")

    monkeypatch.setattr("emnist_diff_plugins.training.progress.Progress", shown)
    monkeypatch.setattr(
        "emnist_diff_plugins.commands.train.sys", SimpleNamespace(stderr=SimpleNamespace(isatty=lambda: True))
    )
    for more in ((), ("--quiet",), ("--no-progress",)):
        assert "far enough" in cli("train", "unet2d", "--data", tmp_path, *more).err
    assert bars == [True, False, False]
