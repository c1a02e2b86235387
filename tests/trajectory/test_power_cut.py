"""A power cut costs no committed sample: a short form of tests/tools/power_cut.py."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[1] / "tools" / "power_cut.py"


@pytest.mark.skipif(sys.platform != "linux", reason="mounts ext4")
def test_what_is_committed_on_the_disk_is_there(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(TOOL.parent)
    spec = importlib.util.spec_from_file_location("power_cut", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    try:
        seen = module.storm(cuts=2, seed=1, folder=tmp_path)
    except module.NotAllowed:
        pytest.skip("mounting is not allowed here")

    assert seen["resumed, and the same"] == 2
    assert seen["files"] >= 1
