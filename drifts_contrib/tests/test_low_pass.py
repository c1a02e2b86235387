"""ILVR: its filter against one written down from the definition of antialiased resampling, and its rule."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from emnist_diff.errors import ConfigError

from emnist_diff_drifts_contrib.low_pass import LowPass, low_pass


def bilinear(t: np.ndarray) -> np.ndarray:
    return np.maximum(0.0, 1.0 - abs(t))


def bicubic(t: np.ndarray, a: float) -> np.ndarray:
    """Keys' cubic convolution kernel."""
    t = abs(t)
    near = (a + 2) * t**3 - (a + 3) * t**2 + 1
    far = a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a
    return np.where(t <= 1, near, np.where(t < 2, far, 0.0))


def down(size: int, factor: int, kernel: str) -> np.ndarray:
    """(size / factor, size): the kernel, `factor` times as wide, at the middle of each block, cut off at the borders
    and made to add up to 1 (Pillow's resampling, with a = −0.5)."""
    middle = (np.arange(size // factor) + 0.5) * factor
    t = (np.arange(size)[None] + 0.5 - middle[:, None]) / factor
    weight = bilinear(t) if kernel == "bilinear" else bicubic(t, -0.5)
    return weight / weight.sum(1, keepdims=True)


def up(size: int, factor: int, kernel: str) -> np.ndarray:
    """(size, size / factor): interpolation between the middles of blocks, the border repeated outside (torch's
    interpolation, with a = −0.75)."""
    small = size // factor
    place = (np.arange(size) + 0.5) / factor - 0.5
    out = np.zeros((size, small))
    for row, p in enumerate(place):
        for node in range(int(np.floor(p)) - 1, int(np.floor(p)) + 3):
            weight = bilinear(p - node) if kernel == "bilinear" else bicubic(p - node, -0.75)
            out[row, min(max(node, 0), small - 1)] += weight
    return out


def filtered(x: np.ndarray, factor: int, kernel: str) -> np.ndarray:
    height, width = (up(n, factor, kernel) @ down(n, factor, kernel) for n in x.shape[-2:])
    return height @ x @ width.T


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("shape", "factor"), [((1, 8, 8), 2), ((3, 28, 28), 4), ((1, 12, 20), 4), ((1, 28, 28), 14)])
def test_the_filter_is_down_and_up_again(kernel, shape, factor):
    x = np.random.default_rng(0).normal(size=(2, *shape))
    out = low_pass(torch.from_numpy(x), factor, kernel).numpy()
    np.testing.assert_allclose(out, filtered(x, factor, kernel), atol=1e-10)


@pytest.mark.parametrize(("path", "kind"), [("diffusion", "epsilon"), ("flow", "flow")])
def test_the_rule_is_that_of_algorithm_1(given, save, path, kind):
    reference = np.random.default_rng(1).uniform(-1, 1, (1, 8, 8))
    there = given(path=path, kind=kind)
    out = there.by(LowPass(save("reference.npy", reference), factor=2))
    noised = there.signal * reference + there.rest * there.noise()
    expected = there.after + filtered(noised, 2, "bicubic") - filtered(there.after, 2, "bicubic")
    np.testing.assert_allclose(out, expected, atol=1e-5)


def test_fine_content_is_left_alone(given, save):
    """A checkerboard of single pixels has no coarse content."""
    board = (-1.0) ** np.add.outer(np.arange(8), np.arange(8))[None]
    there = given(alpha_bar_next=1.0, after=np.stack([board] * 3))
    out = there.by(LowPass(save("zero.npy", np.zeros((1, 8, 8))), factor=4))
    assert abs(out - board)[..., 2:-2, 2:-2].max() < 0.05


def test_the_steps_are_bounded(given, save):
    drift = LowPass(save("reference.npy", np.ones((1, 8, 8))), factor=2, since=0.3, until=0.6)
    changed = []
    for index in range(11):
        there = given(index=index)
        changed.append(bool(abs(there.by(drift) - there.after).max() > 1e-3))
    assert changed == [3 <= index <= 6 for index in range(11)]


def test_bounds_in_order():
    with pytest.raises(ConfigError, match=r"since = 0\.6 comes after until = 0\.5"):
        LowPass("example:letter.png", since=0.6, until=0.5)
