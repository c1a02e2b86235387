"""Data consistency: pseudo-inverses against NumPy's, the rule against DDNM written down, and the promise A x = y."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from emnist_diff.errors import ConfigError

from emnist_diff_drifts_contrib._masks import Mask
from emnist_diff_drifts_contrib._operators import Averaged, Blurred, Masked, Matrix
from emnist_diff_drifts_contrib.data_consistency import DataConsistency
from emnist_diff_drifts_contrib.inpaint import Inpaint

SHAPE = (1, 8, 8)
RANDOM = np.random.default_rng(2)
IMAGE = RANDOM.uniform(-1, 1, SHAPE)
WIDE = RANDOM.normal(size=(20, 64))


def blur(size: int, sigma: float) -> np.ndarray:
    """A Gaussian blur along one axis, written down pixel by pixel."""
    out = np.array([[np.exp(-((i - j) ** 2) / (2 * sigma**2)) for j in range(size)] for i in range(size)])
    return out / out.sum(1)[:, None]


def averages(size: int, factor: int) -> np.ndarray:
    """Means of squares of an image (size, size), as a matrix over its flattened pixels."""
    rows = []
    for top in range(0, size, factor):
        for left in range(0, size, factor):
            square = np.zeros((size, size))
            square[top : top + factor, left : left + factor] = 1 / factor**2
            rows.append(square.ravel())
    return np.array(rows)


def seen() -> np.ndarray:
    return np.diag((np.arange(64) % 8 < 4).astype(np.float64))


CASES = {
    "mask": (lambda: Masked(Mask.read("left")), seen()),
    "down": (lambda: Averaged(4), averages(8, 4)),
    "blur": (lambda: Blurred(0.6, 0.0), np.kron(blur(8, 0.6), blur(8, 0.6))),
    "matrix": (lambda: Matrix.of("a.npy", WIDE, 1e-10), WIDE),
}


@pytest.mark.parametrize("name", CASES)
def test_operators_are_their_matrices_and_pseudo_inverses(name):
    make, matrix = CASES[name]
    operator, x = make(), RANDOM.normal(size=(3, *SHAPE))
    y = operator.apply(torch.from_numpy(x)).numpy()
    assert y.shape[1:] == operator.out_shape(SHAPE)
    np.testing.assert_allclose(y.reshape(3, -1), x.reshape(3, -1) @ matrix.T, atol=1e-10)
    other = RANDOM.normal(size=y.shape)
    back = operator.pinv(torch.from_numpy(other), SHAPE).numpy()
    np.testing.assert_allclose(back.reshape(3, -1), other.reshape(3, -1) @ np.linalg.pinv(matrix).T, atol=1e-7)


@pytest.mark.parametrize("rcond", [0.0, 0.01, 0.2])
def test_a_blur_drops_what_it_has_all_but_erased(rcond):
    operator = Blurred(1.5, rcond)
    x = torch.from_numpy(RANDOM.normal(size=(1, *SHAPE)))
    y = operator.apply(x)
    projected = operator.pinv(y, SHAPE)
    torch.testing.assert_close(operator.apply(projected), y, rtol=1e-6, atol=1e-6)  # A A⁺ A = A
    u, s, vt = np.linalg.svd(blur(8, 1.5))
    kept = s >= rcond * s[0]
    assert kept.all() == (rcond == 0.0)
    axis = vt[kept].T @ vt[kept]
    np.testing.assert_allclose(projected[0, 0].numpy(), axis @ x[0, 0].numpy() @ axis.T, atol=1e-5)
    assert u.shape == (8, 8)


@pytest.fixture
def drifts(save):
    """A drift for each operator, on the same image, float64 matrices beside."""
    image = save("image.npy", IMAGE.astype(np.float32))
    save("a.npy", WIDE)
    path = image.replace("image.npy", "a.npy")

    def make(name, **more):
        said = {"mask": {"mask": "left"}, "down": {"factor": 4}, "blur": {"sigma": 0.6, "rcond": 0.0},
                "matrix": {"matrix": path, "rcond": 1e-10}}[name]  # fmt: skip
        return DataConsistency(operator=name, image=image, **said, **more), CASES[name][1]

    return make


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample", "flow"])
def test_behind_ddim_it_is_ddnm(given, drifts, name, kind):
    """x0' = A⁺ y + (1 − A⁺ A) x0 with the predicted noise kept: DDNM, equation 13, in a step of DDIM with eta = 0."""
    drift, matrix = drifts(name)
    path = "flow" if kind == "flow" else "diffusion"
    there = given(path=path, kind=kind)
    x0 = RANDOM.uniform(-1, 1, (3, 64))
    epsilon, inverse = there.epsilon.reshape(3, 64), np.linalg.pinv(matrix)
    ddim = there.signal * x0 + there.rest * epsilon
    y = matrix @ IMAGE.ravel()
    right = inverse @ y + x0 @ (np.eye(64) - inverse @ matrix).T
    expected = there.signal * right + there.rest * epsilon
    moved = given(path=path, kind=kind, after=ddim.reshape(3, *SHAPE))
    np.testing.assert_allclose(moved.by(drift).reshape(3, 64), expected, atol=2e-5)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("noise", ["predicted", "drawn"])
def test_in_the_image_it_agrees_exactly(given, drifts, name, noise):
    drift, matrix = drifts(name, noise=noise)
    there = given(index=10, alpha_bar_next=1.0)
    out = there.by(drift).reshape(3, 64)
    np.testing.assert_allclose(out @ matrix.T, np.stack([matrix @ IMAGE.ravel()] * 3), atol=2e-5)
    null = np.eye(64) - np.linalg.pinv(matrix) @ matrix
    np.testing.assert_allclose(out @ null.T, there.after.reshape(3, 64) @ null.T, atol=2e-5)


def test_strength_is_the_share_of_the_way(given, drifts):
    there = given()
    whole, half = (there.by(drifts("down", strength=strength)[0]) for strength in (1.0, 0.5))
    np.testing.assert_allclose(half, (whole + there.after) / 2, atol=1e-6)


def test_with_a_mask_and_drawn_noise_it_is_inpaint(given, save, drifts):
    there = given()
    other = Inpaint(save("image.npy", IMAGE.astype(np.float32)), "left")
    np.testing.assert_allclose(there.by(drifts("mask", noise="drawn")[0]), there.by(other), atol=1e-6)


def test_a_measurement_may_be_given(given, save, drifts):
    there = given()
    y = averages(8, 4) @ IMAGE.ravel()
    drift = DataConsistency(factor=4, measurement=save("y.npy", y.reshape(1, 2, 2).astype(np.float32)))
    np.testing.assert_allclose(there.by(drift), there.by(drifts("down")[0]), atol=1e-5)
    gray = save("y.png", np.array([[0, 255], [51, 102]], np.uint8))
    there = given(index=10, alpha_bar_next=1.0)
    out = there.by(DataConsistency(factor=4, measurement=gray))
    means = out.reshape(3, 2, 4, 2, 4).mean((2, 4))
    np.testing.assert_allclose(means, np.stack([[[-1, 1], [-0.6, -0.2]]] * 3), atol=1e-5)


def test_samples_do_not_see_each_other_to_the_bit(given, drifts):
    for name in CASES:
        drift, _ = drifts(name)
        there = given()
        x = torch.from_numpy(there.after.astype(np.float32))
        together = drift._operator.apply(x)
        alone = torch.cat([drift._operator.apply(one[None]) for one in x])
        assert torch.equal(together, alone), name


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({}, "name an image to be measured, or a measurement"),
        ({"image": "example:letter.png", "measurement": "example:letter.png"}, "one of the two"),
        ({"image": "example:letter.png", "operator": "matrix"}, "operator matrix needs matrix"),
    ],
)
def test_what_is_missing_is_said(said, reason):
    with pytest.raises(ConfigError, match=reason):
        DataConsistency(**said)


def test_a_matrix_must_fit_the_state(save):
    drift = DataConsistency(operator="matrix", matrix=save("a.npy", WIDE), image=save("i.npy", np.zeros((1, 9, 9))))
    with pytest.raises(ConfigError, match=r"measures states of 64 elements, and a state of shape \(1, 9, 9\) has 81"):
        drift.require_shape((1, 9, 9))
