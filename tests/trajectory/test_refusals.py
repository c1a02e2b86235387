"""What the system refuses is said, and marked nowhere as written: a short form of tests/tools/refusals.py."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[1] / "tools" / "refusals.py"


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("gcc") is None, reason="preloads a library made by gcc")
def test_refused_commands_say_so_and_leave_nothing_wrong(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(TOOL.parent)
    spec = importlib.util.spec_from_file_location("refusals", TOOL)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "refusals", module)
    spec.loader.exec_module(module)

    chosen = ("run", "pack --replace")
    seen = module.storm(each=3, seed=1, folder=tmp_path, only=lambda command: command.name in chosen)

    assert all(seen[f"refused: {name}"] >= 3 for name in chosen)
    assert seen["refused: run, limited"] >= 1
    assert seen["repeated, and the same"] == 3 * len(chosen) + 3
