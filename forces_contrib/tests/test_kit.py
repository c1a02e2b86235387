"""Every force of the package holds the rules of the conformance kit."""

from __future__ import annotations

import pytest
from emnist_diff.records import ForceSpec
from emnist_diff.testing import check_force

from emnist_diff_forces_contrib import emnist_diff_forces

SPECS = {spec.name: spec for spec in emnist_diff_forces()}
# and, or, not act on classes that a user names; the examples in their docstrings name some


@pytest.mark.parametrize("name", SPECS)
def test_a_force_holds_the_rules(registry, name):
    check_force(registry.load(ForceSpec, name))
