"""Files that mean harm: a short form of tests/tools/hostile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HOSTILE = Path(__file__).parents[1] / "tools" / "hostile"


@pytest.mark.skipif(os.name != "posix", reason="forks, and limits on memory")
@pytest.mark.parametrize("words", [("--files", "readers"), ("--files", "export"), ("--inputs", "60")], ids=" ".join)
def test_nothing_brings_a_command_down(words, tmp_path):
    # in a process of its own: it forks, which leaves the threads of this one's torch behind
    done = subprocess.run(
        [sys.executable, str(HOSTILE), *words, "--seed", "4", "--json"], capture_output=True, text=True, cwd=tmp_path
    )
    report = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, report["wrong"]) == (0, [])
    assert report["seen"]["inputs"] >= (54 if words[0] == "--inputs" else 18)
    assert report["seen"]["commands"] >= report["seen"]["inputs"]
