"""The package offers its names without paying for them."""

from __future__ import annotations

import subprocess
import sys

import pytest

import emnist_diff


def test_every_name_is_there():
    for name in emnist_diff.__all__:
        assert getattr(emnist_diff, name) is not None
    assert set(emnist_diff.__all__) == set(dir(emnist_diff))


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="has no attribute 'generate_smaple'"):
        emnist_diff.generate_smaple  # noqa: B018  # looking is the test


def test_importing_costs_no_torch():
    code = "import sys, emnist_diff; dir(emnist_diff); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
