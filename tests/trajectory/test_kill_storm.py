"""Nothing committed is ever lost: a short form of tests/tools/kill_storm.py."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

STORM = Path(__file__).parents[1] / "tools" / "kill_storm.py"


@pytest.mark.skipif(os.name != "posix", reason="forks")
def test_killed_runs_reopen_and_resume_to_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(STORM.parent)
    spec = importlib.util.spec_from_file_location("kill_storm", STORM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    seen = module.storm(kills=50, seed=1, folder=tmp_path)

    assert seen["kills"] == 50
    assert seen["runs that got to their end, byte for byte the same"] >= 1
