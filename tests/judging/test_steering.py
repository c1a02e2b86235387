"""Forces on the shipped flow of latents, before the judge."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "steering_families.py"


def test_recognition_rises_with_attraction_and_falls_with_repulsion():
    done = subprocess.run(
        [sys.executable, SCRIPT, "--checkpoint", "mnist-latent-rf", "--quick", "--check"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines()[1:]] == ["attract", "repel"]


def test_what_is_not_in_order_is_not_passed():
    monotone = runpy.run_path(str(SCRIPT))["monotone"]
    assert monotone((0.1, 0.9, 1.0, 1.0), 1, 0.02, 0.4)
    assert monotone((0.9, 0.1, 0.11, 0.0), -1, 0.02, 0.4)
    assert not monotone((0.9, 0.1, 0.2, 0.0), -1, 0.02, 0.4)
    assert not monotone((0.9, 0.9, 0.9, 0.9), 1, 0.02, 0.4)
    assert not monotone((0.9, 0.1, 0.0, 0.0), 1, 0.02, 0.4)
