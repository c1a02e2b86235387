"""Forces that differentiate the network, against what the analytic model's gradient is."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch

from emnist_diff.conditions import NULL, OWN
from emnist_diff.engine.base import Base
from emnist_diff.engine.gradients import Tape
from emnist_diff.engine.state import Batch
from emnist_diff.engine.walk import walk
from emnist_diff.frames import FIELDS
from emnist_diff.parameterization import to_x0
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture
from emnist_diff_plugins.forces.attract_class import AttractClass
from emnist_diff_plugins.forecast import steps_with_gradients
from emnist_diff_plugins.schedulers.heun import Heun

MEAN, SPREAD = np.array([0.7, -0.4, 0.2]), 0.5
ONE = GaussianMixture(shape=(3,), classes="A", components=1, spread=SPREAD, means=((tuple(MEAN),),))
TARGET = torch.tensor([1.0, 0.0, -1.0])


@attrs.frozen
class Toward:
    """∇ₓ ½ |x0(x) − target|², x0 being the estimate that `reads` makes."""

    reads: str = "own"

    gradient = True

    def conditions(self, at):
        return (OWN,)

    def __call__(self, predictions, step):
        assert step.x.requires_grad
        assert not torch.is_inference_mode_enabled()
        prediction = {"own": predictions[OWN], "base": step.base, "sum": step.sum}[self.reads]
        x0 = to_x0(prediction, step.x, step.at.rates, step.prediction_type)
        energy = 0.5 * (x0 - TARGET).square().sum()
        return torch.autograd.grad(energy, step.x)[0]


@attrs.frozen
class Plain:
    """A force that only inference can bear: it takes predictions out of torch."""

    def conditions(self, at):
        return (OWN, NULL)

    def __call__(self, predictions, step):
        assert torch.is_inference_mode_enabled()
        return torch.from_numpy(predictions[OWN].numpy() - step.x.numpy())


def exact(frame):
    """The gradient for one Gaussian, where x0 is linear in x: x0 = μ + m s² (x − m μ) / d."""
    m, n = frame.at.rates
    slope = m * SPREAD**2 / (m**2 * SPREAD**2 + n**2)
    x0 = MEAN + slope * (frame["x"].numpy().astype(np.float64) - m * MEAN)
    return slope * (x0 - TARGET.numpy())


@pytest.mark.parametrize("reads", ["own", "base", "sum"])
def test_the_gradient_is_the_exact_one(make_engine, walk_all, reads):
    engine = make_engine(ONE, base=Base("cond"), forces=[(Toward(reads), 0.5)])
    for frame in walk_all(engine).frames:
        np.testing.assert_allclose(frame.group("forces")[0].numpy(), 0.5 * exact(frame), rtol=2e-5, atol=2e-6)
        assert not any(t.requires_grad for t in frame.values())
        assert torch.equal(frame["base"] + frame.group("forces")[0], frame["prediction"])


def test_earlier_forces_are_constants_and_their_values_are_there(make_engine, walk_all):
    seen = []

    class Watching(Toward):
        def __call__(self, predictions, step):
            seen.append((step.sum.detach().clone(), step.base.detach().clone()))
            return super().__call__(predictions, step)

    engine = make_engine(ONE, base=Base("cond"), forces=[(Plain(), 0.1), (Watching("sum"), 0.5)], steps=3)
    for frame, (score, base) in zip(walk_all(engine).frames, seen, strict=True):
        assert torch.equal(score, frame["base"] + frame.group("forces")[0])
        assert torch.equal(base, frame["base"])
        m, n = frame.at.rates
        slope = m * SPREAD**2 / (m**2 * SPREAD**2 + n**2)
        x0 = (frame["x"] - n * score) / m
        np.testing.assert_allclose(
            frame.group("forces")[1].numpy(), 0.5 * slope * (x0 - TARGET).numpy(), rtol=1e-4, atol=1e-5
        )


def test_several_forces_differentiate_one_evaluation(make_engine, walk_all):
    """Each frees its graph, as ``autograd.grad`` does, and the next has one all the same."""
    calls = []
    denoiser = GaussianMixture(shape=(3,), classes="ABC").denoiser()

    class Counting:
        def __getattr__(self, name):
            return getattr(denoiser, name)

        def predict(self, x, t, conds):
            calls.append(x.requires_grad)
            return denoiser.predict(x, t, conds)

    forces = [(Toward(), 0.3), (Plain(), 0.2), (Toward("sum"), 0.3)]
    frames = walk_all(make_engine(denoiser=Counting(), forces=forces, steps=4)).frames
    assert calls == [True] * 4
    alone = walk_all(make_engine(denoiser=denoiser, forces=forces[:1], steps=4)).frames
    assert torch.equal(frames[0].group("forces")[0], alone[0].group("forces")[0])
    for frame in frames:
        total = frame["base"]
        for contribution in frame.group("forces"):
            total = total + contribution
        assert torch.equal(total, frame["prediction"])


def test_only_active_steps_are_differentiated(make_engine):
    engine = make_engine(forces=[(Toward(), 1.0), (Plain(), 1.0)])
    term = attrs.evolve(engine.forces[0], weight=lambda at: 0.5 if at.index in (2, 3) else 0.0)
    engine = attrs.evolve(engine, forces=[term, engine.forces[1]])
    assert steps_with_gradients(engine) == [2, 3]
    off = attrs.evolve(engine, forces=[attrs.evolve(term, weight=lambda at: 0.0), engine.forces[1]])
    batch = Batch((0, 1), (0, 1), (0, 0), (7, 7))
    one, other = (list(walk(e, batch, lambda at: frozenset(FIELDS))) for e in (engine, off))
    assert torch.equal(one[2]["x"], other[2]["x"])  # the same bits as without it, until it acts
    assert not torch.equal(one[3]["x"], other[3]["x"])


def test_second_looks_and_batches(make_engine, walk_all):
    engine = make_engine(scheduler=Heun(), forces=[(Toward(), 0.5), (AttractClass(target="B"), 0.5)], micro_batch=4)
    together = walk_all(engine, range(5), label=(0, 1, 2, 0, 1))
    for ids, labels in (((2,), (2,)), ((4, 0), (1, 0))):
        assert torch.equal(walk_all(engine, ids, label=labels).x, together.x[list(ids)])


def test_a_tape_gives_the_gradient_of_all_its_outputs_again_and_again():
    x = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    with torch.inference_mode():
        tape = Tape.of(x, lambda leaf: [leaf.pow(3), torch.ones(2), leaf.sin()])
        for _ in range(2):
            leaf, (cube, one, sine) = tape.fresh()
            with torch.inference_mode(False), torch.enable_grad():
                (gradient,) = torch.autograd.grad((cube + 2 * sine).sum() * one.sum(), leaf)
            torch.testing.assert_close(gradient, 2 * (3 * x**2 + 2 * x.cos()))
