"""Nothing committed is ever lost: a short form of tests/tools/kill_storm.py."""

from __future__ import annotations

import importlib.util
from pathlib import Path

STORM = Path(__file__).parents[1] / "tools" / "kill_storm.py"


def test_killed_runs_reopen_and_resume_to_the_same_bytes(tmp_path):
    spec = importlib.util.spec_from_file_location("kill_storm", STORM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    seen = module.storm(kills=8, seed=1, folder=tmp_path)

    assert seen["kills"] == 8
    assert seen["resumed to the end, all equal"] >= 1
