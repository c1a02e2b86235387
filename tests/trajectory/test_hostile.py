"""Files that mean harm: a short form of tests/tools/hostile.py."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

HOSTILE = Path(__file__).parents[1] / "tools" / "hostile.py"


@pytest.mark.skipif(os.name != "posix", reason="forks, and limits on memory")
def test_no_file_brings_a_command_down(tmp_path):
    spec = importlib.util.spec_from_file_location("hostile", HOSTILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    seen, wrong = module.siege(len(module.MUTATIONS), 4, tmp_path, module.COMMANDS)

    assert wrong == []
    assert seen["files"] >= len(module.MUTATIONS) - 3
    assert seen["commands"] == seen["files"] * len(module.COMMANDS)
