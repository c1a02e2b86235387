"""Files that mean harm: a short form of tests/tools/hostile.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HOSTILE = Path(__file__).parents[1] / "tools" / "hostile.py"


@pytest.mark.skipif(os.name != "posix", reason="forks, and limits on memory")
@pytest.mark.parametrize("commands", ["readers", "export"])
def test_no_file_brings_a_command_down(commands, tmp_path):
    words = ["--files", "0", "--seed", "4", "--commands", commands, "--json"]
    # in a process of its own: it forks, which leaves the threads of this one's torch behind
    done = subprocess.run([sys.executable, str(HOSTILE), *words], capture_output=True, text=True, cwd=tmp_path)
    report = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, report["wrong"]) == (0, [])
    assert report["seen"]["files"] >= report["damages"] - 3
    assert report["seen"]["commands"] == report["seen"]["files"] * report["per_file"]
