"""The benchmark of forces over strengths runs, on a flow of latents, and finds that they steer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "strengths.py"


def test_a_class_is_recognised_more_often_the_stronger_it_attracts_and_less_often_the_stronger_it_repels():
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--checkpoint", "mnist-latent-rf", "--quick", "--check"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
    )
    assert done.returncode == 0, done.stderr
    _, attract, repel = (line.split() for line in done.stdout.splitlines() if not line.startswith("20"))
    assert attract[:2] == ["mnist-latent-rf", "attract_class"]
    assert float(attract[-1]) > float(attract[2]) + 0.5
    assert repel[1] == "repel_class"
    assert float(repel[-1]) < float(repel[2]) - 0.5
