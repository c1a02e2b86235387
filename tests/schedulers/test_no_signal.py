"""UniPC from a level without signal, beside the exact solution and beside the paper's formulas in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest

from emnist_diff_plugins.schedulers.unipc import UniPc

SPREAD = 0.5
STEPS = (3, 20)


@pytest.fixture(scope="module")
def world(make_world):
    return make_world(shape=(3,), spread=SPREAD, prediction="v_prediction", zero_terminal_snr=True)


def image(world, x, signal, noise):
    """E[x0 | x] of the first class, (B, 3)."""
    means = world.family.mean_array()[0]
    away = x[:, None] - signal * means
    variance = signal**2 * SPREAD**2 + noise**2
    share = np.exp(-0.5 * (away**2).sum(-1) / variance)
    share /= share.sum(1, keepdims=True)
    return (share[..., None] * (means + signal * SPREAD**2 / variance * away)).sum(1)


def exact(world, x, begin, end, count=400):
    """The probability-flow ODE from alpha_bar `begin` to `end`: dx/dφ = v with signal cos φ and noise sin φ, by the
    classic Runge-Kutta method."""
    angle, last = math.acos(begin**0.5), math.acos(end**0.5)
    h = (last - angle) / count

    def v(x, angle):
        signal, noise = math.cos(angle), math.sin(angle)
        x0 = image(world, x, signal, noise)
        return signal * (x - signal * x0) / noise - noise * x0

    for i in range(count):
        at = angle + i * h
        k1 = v(x, at)
        k2 = v(x + h / 2 * k1, at + h / 2)
        k3 = v(x + h / 2 * k2, at + h / 2)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + v(x + h * k3, at + h))
    return x


def paper(world, x, alpha_bar):
    """UniPC-2 with B(h) = e^h − 1 in data prediction (arXiv:2302.04867, section 3.2), from λ = −∞: a step that has only
    the estimate without signal before it takes first order, and a = 1/2 for its correction. All states, (steps + 1)."""
    levels = [(a**0.5, (1.0 - a) ** 0.5) for a in alpha_bar]
    lam = [math.log(signal / noise) if signal > 0 else -math.inf for signal, noise in levels]
    images, arrived, last, corrected = [], x, None, []
    for i, (signal, noise) in enumerate(levels):
        images.append(image(world, arrived, signal, noise))
        if last is not None:
            change = images[i] - images[i - 1]
            h = lam[i] - lam[i - 1]
            b = -math.expm1(-h)
            if i >= 2 and math.isfinite(lam[i - 2]):
                r = (lam[i - 2] - lam[i - 1]) / h
                phi = 1.0 - b / h
                rho = np.linalg.solve(np.array([[1.0, 1.0], [r, 1.0]]), np.array([phi, 1.0 - 2.0 * phi / h]) / b)
                before = (images[i - 2] - images[i - 1]) / r
                x = last + signal * b * (rho[0] * before + rho[1] * change)
            else:
                x = last + signal * b * 0.5 * change
        corrected.append(x)
        if i + 1 == len(levels):
            return [*corrected, images[i]]
        (to_signal, to_noise), h = levels[i + 1], lam[i + 1] - lam[i]
        b = -math.expm1(-h)
        last = to_noise / noise * x + to_signal * b * images[i]
        arrived = last
        if i >= 1 and math.isfinite(lam[i - 1]):
            arrived = last + to_signal * b * 0.5 / ((lam[i - 1] - lam[i]) / h) * (images[i - 1] - images[i])
    raise AssertionError


def corrected_states(path):
    """The states that steps went on from."""
    return [path.states[0].numpy(), *(move.memory["start"].numpy() for move in path.moves[1:-1])]


@pytest.mark.parametrize("steps", STEPS)
def test_unipc_is_the_papers(world, drawn, steps):
    path = world.walk(UniPc(spacing="trailing"), steps, drawn(50, 3))
    wanted = paper(world, drawn(50, 3).numpy(), path.timeline.alpha_bar.tolist())
    for got, want in zip(corrected_states(path), wanted, strict=False):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)
    np.testing.assert_allclose(path.end, wanted[-1], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("steps", "tolerance"), [(3, 1e-3), (20, 1e-8)])
def test_the_first_stride_is_right_with_half_the_change(world, drawn, steps, tolerance):
    """Near no signal the image estimate is linear in signal / noise, and half the change is the trapezoidal rule there.
    The limit of the weight for an infinite stride in λ, which is 1, would leave as much error as no correction."""
    x = drawn(50, 3)
    path = world.walk(UniPc(spacing="trailing"), steps, x)
    a = path.timeline.alpha_bar.tolist()
    signal, noise = a[1] ** 0.5, (1.0 - a[1]) ** 0.5
    want = exact(world, x.numpy(), 0.0, a[1])
    first, arrived = image(world, x.numpy(), 0.0, 1.0), path.states[1].numpy()
    change = signal * (image(world, arrived, signal, noise) - first)
    np.testing.assert_allclose(arrived, noise * x.numpy() + signal * first, rtol=0, atol=1e-12)
    errors = [np.abs(arrived + weight * change - want).max() for weight in (0.0, 0.5, 1.0)]
    assert errors[1] < tolerance
    assert min(errors[0], errors[2]) > 30 * errors[1]
    np.testing.assert_allclose(path.moves[1].memory["start"].numpy(), arrived + 0.5 * change, rtol=0, atol=1e-12)
