"""Semantic guidance: the paper's formula, written once more in float64 with NumPy's quantiles."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch
from emnist_diff.conditions import NULL, named
from emnist_diff.engine.state import Batch
from emnist_diff.engine.walk import walk
from emnist_diff.errors import UnknownName

from emnist_diff_forces_contrib.semantic import Semantic, largest

SETTINGS = {"targets": ["B", "C"], "weights": [1, -0.5], "threshold": 0.7, "strength": 4, "warmup": 0.3}


def forces(**settings):
    return [{"name": "semantic", **SETTINGS, **settings}]


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 4, 4), (16,), (6, 8)])
@pytest.mark.parametrize(("momentum", "beta"), [(0.0, 0.4), (0.5, 0.6)])
def test_each_concept_acts_where_it_differs_most(walked, assembled, ask, shape, momentum, beta):
    run = {
        "mixture": {"shape": list(shape)},
        "base": "cond",
        "forces": forces(momentum=momentum, momentum_beta=beta),
    }
    denoiser = assembled(**run).engine.denoisers[""]
    past = np.zeros((3, *shape))
    for frame in walked(**run).frames:
        none, *concepts = (
            ask(denoiser, frame["x"].numpy(), frame.at.timestep, (row,) * 3).astype(np.float64) for row in (3, 1, 2)
        )
        got = frame.group("forces")[0].numpy()
        for i in range(3):
            edit = momentum * past[i]
            for weight, concept in zip((1, -0.5), concepts, strict=True):
                psi = concept[i] - none[i]
                planes = psi if len(shape) == 3 else psi[None]
                bounds = np.stack([np.full_like(plane, np.quantile(np.abs(plane), 0.7)) for plane in planes])
                edit = edit + weight * np.where(np.abs(psi) >= bounds.reshape(psi.shape), psi, 0)
            past[i] = beta * past[i] + (1 - beta) * edit
            expected = 4 * edit if frame.at.index >= 0.3 * 6 else np.zeros(shape)
            np.testing.assert_allclose(got[i], expected, rtol=0, atol=2e-5)


def test_a_share_of_the_elements_is_left_alone():
    delta = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 10, 10))).float()
    kept = largest(delta, 0.9)
    assert bool(((kept != 0).flatten(2).sum(2) == 10).all())
    assert torch.equal(largest(delta, 0.0), delta)


def test_nothing_is_evaluated_while_it_warms_up_without_momentum(given):
    early, late = (given(index=index, steps=10).step.at for index in (1, 2))
    force = Semantic(["B"], momentum=0)
    assert force.idle(early)
    assert list(force.conditions(early)) == []
    assert list(force.conditions(late)) == list(Semantic(["B"]).conditions(early)) == [named("B"), NULL]
    assert list(Semantic(["B"], strength=0).conditions(late)) == []


def test_a_walk_that_stopped_goes_on_to_the_same_bits(assembled):
    """Also behind steps of strength 0, which keep the momentum as it was."""
    window = {"kind": "window", "from": 0, "to": 0.5}
    run = assembled(base="cond", forces=forces(momentum=0.9, strength=[4, window]))
    batch = Batch((0, 1), (0, 1), (0, 1), (5, 5))
    places = []
    *_, last = walk(run.engine, batch, lambda at: frozenset({"x"}), after_step=places.append)
    assert all(any(name.endswith("/momentum") for name in place.memory) for place in places[:-1])
    for place in places[:-1]:
        *_, again = walk(run.engine, batch, lambda at: frozenset(), start=place)
        assert torch.equal(again.x, last.x)
    *_, other = walk(run.engine, batch, lambda at: frozenset(), start=attrs.evolve(places[1], memory={}))
    assert not torch.equal(other.x, last.x)


@pytest.mark.parametrize("settings", [{"threshold": 1}, {"threshold": -0.1}, {"momentum": 1.5}, {"momentum_beta": 1}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Semantic(["B"], **settings)


def test_unknown_concepts_are_refused(assembled):
    with pytest.raises(UnknownName, match="unknown class 'Q'"):
        assembled(forces=forces(targets=["Q", "B"]))
