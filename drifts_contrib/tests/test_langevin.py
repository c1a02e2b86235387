"""The Langevin corrector, against NumPy in float64 on a Gaussian mixture whose score and density are known."""

from __future__ import annotations

import math

import attrs
import numpy as np
import pytest
import torch
from emnist_diff.timeline import StepInfo

from emnist_diff_drifts_contrib._metropolis import log_density_difference, uniform
from emnist_diff_drifts_contrib.langevin import Langevin

MEANS = np.array([[-1.0, 0.4], [0.9, 1.0], [0.2, -0.8]])
SPREAD = 0.3
A = 0.7  # alpha_bar where the step ends
NOISE = math.sqrt(1 - A)
VARIANCE = A * SPREAD**2 + 1 - A
CENTRES = math.sqrt(A) * MEANS


def log_density(x: np.ndarray) -> np.ndarray:
    """ln p of states (B, 2), (B,)."""
    squares = ((x[:, None] - CENTRES[None]) ** 2).sum(2)
    return np.log(np.exp(-squares / (2 * VARIANCE)).mean(1)) - math.log(2 * math.pi * VARIANCE)


def score(x: np.ndarray) -> np.ndarray:
    """Its gradient, (B, 2)."""
    away = CENTRES[None] - x[:, None]
    squares = (away**2).sum(2)
    weight = np.exp((squares.min(1, keepdims=True) - squares) / (2 * VARIANCE))
    return (weight[:, :, None] * away).sum(1) / weight.sum(1, keepdims=True) / VARIANCE


def drawn(count: int, seed: int = 0) -> np.ndarray:
    """Exact samples of p, (count, 2)."""
    random = np.random.default_rng(seed)
    return CENTRES[random.integers(0, 3, count)] + math.sqrt(VARIANCE) * random.normal(size=(count, 2))


@attrs.define
class Looking:
    """The exact prediction of noise, and how often it was asked for."""

    times: int = 0

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        self.times += 1
        return torch.from_numpy(-NOISE * score(x.numpy().astype(np.float64)))


@pytest.fixture
def corrected(given):
    """What the drift makes of states x (B, 2), float64, and the step that it was given."""

    def make(drift, x):
        # float64 throughout, so that what is compared with NumPy is the rule and not its rounding
        there = given(shape=(2,), alpha_bar_next=A, samples=len(x))
        looking, source = Looking(), there.step.noise
        step = attrs.evolve(there.step, evaluate=looking, noise=lambda stream="": source(stream).double())
        there = attrs.evolve(there, step=step)
        out = drift(torch.from_numpy(x), there.step).numpy()
        assert looking.times == drift.evaluations(there.step.at)
        return out, there

    return make


def test_each_step_is_algorithm_4(corrected):
    x = drawn(64)
    out, there = corrected(Langevin(r=0.3, steps=3), x)
    for number in range(3):
        z, s = there.noise(f"proposal.{number}"), score(x)
        size = 2 * (0.3 * np.linalg.norm(z, axis=1) / np.linalg.norm(s, axis=1)) ** 2
        x = x + size[:, None] * s + np.sqrt(2 * size)[:, None] * z
    np.testing.assert_allclose(out, x, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("points", [2, 3, 5])
def test_the_test_of_each_step_is_metropolis(corrected, points):
    x = drawn(256)
    out, there = corrected(Langevin(r=0.9, steps=2, acceptance=True, points=points), x)
    size, rejected = 2 * (0.9 * NOISE) ** 2, 0
    for number in range(2):
        z = there.noise(f"proposal.{number}")
        proposed = x + size * score(x) + math.sqrt(2 * size) * z
        line = [((proposed - x) * score(x + tau * (proposed - x))).sum(1) for tau in np.linspace(0, 1, points)]
        gain = np.trapezoid(line, dx=1 / (points - 1), axis=0)
        forth = ((proposed - x - size * score(x)) ** 2).sum(1)
        back = ((x - proposed - size * score(proposed)) ** 2).sum(1)
        below = np.array([0.5 * (1 + math.erf(v / math.sqrt(2))) for v in there.noise(f"accept.{number}")[:, 0]])
        taken = below < np.exp(gain + (forth - back) / (4 * size))
        rejected += int((~taken).sum())
        x = np.where(taken[:, None], proposed, x)
    assert 20 < rejected < 492  # of 512, or nothing would be tested
    np.testing.assert_allclose(out, x, rtol=1e-6, atol=1e-6)


def test_the_line_integral_of_the_score_is_the_difference_of_the_log_densities():
    x, y = drawn(50, 1), drawn(50, 2)
    exact = log_density(y) - log_density(x)

    def found(points):
        scores = [torch.from_numpy(score(x + tau * (y - x))) for tau in np.linspace(0, 1, points)]
        return log_density_difference(scores, torch.from_numpy(y - x)).numpy()

    np.testing.assert_allclose(found(401), exact, atol=1e-3)
    errors = [abs(found(points) - exact).max() for points in (3, 9, 33)]
    assert errors[0] > 4 * errors[1] > 16 * errors[2]


COUNT = 10_000


def deviations(x: np.ndarray) -> np.ndarray:
    """How far mean and second moments of samples are from those of p, in standard errors of as many exact ones."""
    mean = CENTRES.mean(0)
    second = VARIANCE * np.eye(2) + CENTRES.T @ CENTRES / 3
    values = np.stack([x[:, 0], x[:, 1], x[:, 0] ** 2, x[:, 1] ** 2, x[:, 0] * x[:, 1]])
    exact = np.array([*mean, second[0, 0], second[1, 1], second[0, 1]])
    return abs(values.mean(1) - exact) / (values.std(1) / math.sqrt(values.shape[1]))


def test_with_the_test_the_distribution_stays_and_without_it_does_not(corrected):
    x = drawn(COUNT)
    assert deviations(x).max() < 3
    kept, _ = corrected(Langevin(r=0.5, steps=12, acceptance=True, points=9), x)
    assert abs(kept - x).mean() > 0.5  # it has moved far
    assert deviations(kept).max() < 3.5
    moved, _ = corrected(Langevin(r=0.3, steps=12), x)
    assert (moved**2).mean() > 1.2 * (x**2).mean()  # the bias of finite steps


def test_with_the_test_a_wrong_start_comes_right(corrected):
    start = drawn(COUNT) * 0.3
    assert deviations(start).max() > 30
    out, _ = corrected(Langevin(r=0.5, steps=25, acceptance=True, points=5), start)
    assert deviations(out).max() < 4


def test_small_steps_without_the_test_are_nearly_right(corrected):
    out, _ = corrected(Langevin(r=0.05, steps=20, acceptance=True, points=2), drawn(COUNT))
    assert deviations(out).max() < 4


def test_uniform_numbers_are_uniform():
    values = np.sort(uniform(torch.from_numpy(np.random.default_rng(0).normal(size=(5000, 3)))).numpy())
    assert abs(values - (np.arange(5000) + 0.5) / 5000).max() < 1.6 / math.sqrt(5000)  # Kolmogorov-Smirnov at 1 %
    assert uniform(torch.tensor([[-50.0], [50.0]])).log().isfinite().all()


def test_the_image_is_left_alone(given):
    there = given(index=10, alpha_bar_next=1.0)
    assert np.array_equal(there.by(Langevin()), there.after.astype(np.float32))


@pytest.mark.parametrize(("drift", "looks"), [(Langevin(steps=4), 4), (Langevin(steps=4, acceptance=True), 9)])
def test_looks_are_counted(drift, looks):
    assert drift.evaluations(StepInfo(0, 5, 999.0, 0.1, 0.2)) == looks


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction", "flow"])
def test_the_score_is_that_of_every_prediction_type(given, kind):
    from emnist_diff_drifts_contrib.langevin import score_at

    path = "flow" if kind == "flow" else "diffusion"
    there = given(shape=(2,), kind=kind, path=path, alpha_bar_next=A)
    x, epsilon = there.after, there.epsilon
    x0 = (x - there.rest * epsilon) / there.signal
    said = {
        "epsilon": epsilon,
        "sample": x0,
        "v_prediction": there.signal * epsilon - there.rest * x0,
        "flow": epsilon - x0,
    }[kind]
    step = attrs.evolve(there.step, evaluate=lambda asked: torch.from_numpy(said))
    np.testing.assert_allclose(score_at(torch.from_numpy(x), step).numpy(), -epsilon / there.rest, atol=1e-9)
