"""Symmetry: the groups as permutations of pixels, and the average over them as a projection."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from emnist_diff.errors import ConfigError

from emnist_diff_drifts_contrib.symmetry import GROUPS, Symmetry, average

PIXELS = torch.arange(16).reshape(1, 1, 4, 4)
MOVES = {
    "mirror_lr": [lambda i, j: (i, 3 - j)],
    "mirror_ud": [lambda i, j: (3 - i, j)],
    "rot180": [lambda i, j: (3 - i, 3 - j)],
    "rot90": [lambda i, j: (j, 3 - i), lambda i, j: (3 - i, 3 - j), lambda i, j: (3 - j, i)],
    "d4": [
        lambda i, j: (j, 3 - i),
        lambda i, j: (3 - i, 3 - j),
        lambda i, j: (3 - j, i),
        lambda i, j: (i, 3 - j),
        lambda i, j: (3 - i, j),
        lambda i, j: (j, i),
        lambda i, j: (3 - j, 3 - i),
    ],
}
groups = pytest.mark.parametrize("group", GROUPS)


def permutation(move) -> tuple[int, ...]:
    return tuple(move(PIXELS).flatten().tolist())


@groups
def test_a_group_is_a_group(group):
    elements = {permutation(move) for move in GROUPS[group]}
    assert tuple(range(16)) in elements
    assert len(elements) == len(GROUPS[group]) == 1 + len(MOVES[group])
    assert {tuple(a[i] for i in b) for a, b in itertools.product(elements, repeat=2)} == elements


@groups
def test_the_average_is_over_its_motions(given, group):
    there = given(shape=(2, 4, 4))
    x = there.after
    sums = x.copy()
    for move in MOVES[group]:
        for i, j in itertools.product(range(4), repeat=2):
            sums[..., i, j] += x[(..., *move(i, j))]
    mean = sums / (1 + len(MOVES[group]))
    np.testing.assert_allclose(there.by(Symmetry(group)), mean, atol=1e-6)
    np.testing.assert_allclose(there.by(Symmetry(group, strength=0.25)), 0.75 * x + 0.25 * mean, atol=1e-6)


@groups
def test_the_average_is_symmetric_and_stays(group):
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 1, 6, 6)))
    once = average(x, group)
    for move in GROUPS[group]:
        torch.testing.assert_close(move(once), once)
    torch.testing.assert_close(average(once, group), once)


def test_quarter_turns_need_squares():
    Symmetry("mirror_lr").require_shape((1, 4, 6))
    with pytest.raises(ConfigError, match=r"group 'rot90' needs square images, and states have shape \(1, 4, 6\)"):
        Symmetry("rot90").require_shape((1, 4, 6))
    with pytest.raises(ConfigError, match="are no images"):
        Symmetry().require_shape((16,))
