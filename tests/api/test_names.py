"""The package offers its names without paying for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import emnist_diff


def test_every_name_is_there():
    for name in emnist_diff.__all__:
        assert getattr(emnist_diff, name) is not None
    assert set(emnist_diff.__all__) == set(dir(emnist_diff))


def test_the_pages_and_the_examples_come_in_by_the_front_door():
    root = Path(__file__).parents[2]
    deep = {
        f"from {getattr(emnist_diff, name).__module__} import {name}\n" for name in ("run", "resolve", "Trajectory")
    }
    assert "from emnist_diff.running.run import run\n" in deep
    for page in (root / "README.md", *root.glob("docs/*.md"), *root.glob("examples/*.py")):
        found = [line for line in deep if line in page.read_text(encoding="utf-8")]
        assert not found, f"{page.name}: {found}"


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="has no attribute 'generate_smaple'"):
        emnist_diff.generate_smaple  # noqa: B018  # looking is the test


def test_importing_costs_no_torch():
    code = "import sys, emnist_diff; dir(emnist_diff); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
