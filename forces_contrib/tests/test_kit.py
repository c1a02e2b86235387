"""Every force of the package holds the rules of the conformance kit."""

from __future__ import annotations

import pytest
from emnist_diff.records import ForceSpec
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture
from emnist_diff_testing import check_force
from emnist_diff_testing.forces import bench, idle

from emnist_diff_forces_contrib import emnist_diff_forces
from emnist_diff_forces_contrib.autoguidance import Autoguidance
from emnist_diff_forces_contrib.energy import Energy, brightness
from emnist_diff_forces_contrib.logical_and import And
from emnist_diff_forces_contrib.logical_not import Not
from emnist_diff_forces_contrib.logical_or import Or
from emnist_diff_forces_contrib.perturbed_attention import PerturbedAttention
from emnist_diff_forces_contrib.rescale import Rescale

SPECS = {spec.name: spec for spec in emnist_diff_forces()}
# and, or, not act on classes that a user names; the examples in their docstrings name some


@pytest.mark.parametrize("name", SPECS)
def test_a_force_holds_the_rules(registry, name):
    check_force(registry.load(ForceSpec, name))


def test_forces_whose_settings_change_nothing_say_so():
    """And hold to it: where `idle` says so, nothing is added."""
    at = StepInfo(2, 6, 500.0, 0.4, 0.6)
    for force in (
        Autoguidance(scale=1),
        PerturbedAttention(strength=0),
        Energy(energy=brightness, strength=0),
        Rescale(phi=0),
        And(["A", "B"], strength=0),
        And(["A", "B"], weights=[0, 0]),
        Or(["A", "B"], strength=0),
        Not("A", strength=0),
    ):
        assert force.idle(at), force
        watched = bench(force, models=[GaussianMixture(shape=(1, 8, 8), classes="AB").denoiser()])
        assert watched.calls
        assert list(idle(watched)) == []
    assert not Not("A").idle(at)
