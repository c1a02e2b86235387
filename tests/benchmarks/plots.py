"""What do plots cost? All of them of 1,000 samples × 50 steps of 28×28 with a force, each theme once, and the report.

Run it from anywhere: ``python tests/benchmarks/plots.py [--samples 1000] [--steps 50] [--threads 2]``. The run that is
drawn is made first, by the exact denoiser of a Gaussian mixture, and is not counted. Each command is a process of its
own, whose seconds and peak memory are the system's figures, imports included.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NINE = (
    "latent_l2_per_step",
    "pixel_l2_per_step",
    "schedule_overlay",
    "final_image_stats",
    "cumulative_l2",
    "l2_velocity",
    "video_summary",
    "inference_dashboard",
)
"""But for the ninth, generation_times, which asks for a run with the metrics sink and is one bar a sample."""


def command(*words: str, threads: int) -> tuple[float, float, float]:
    """Run ``emnist-diff``: wall seconds, CPU seconds, and the largest resident size in MiB."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "emnist_diff", *words],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"emnist-diff {' '.join(words)} failed")
    return time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--file", type=Path, help="draw this trajectory file instead of making one")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = chosen.file
        if file is None:
            make_run(Path(folder), chosen.samples, chosen.steps)
            (file,) = Path(folder).rglob("trajectory.h5")
        print(f"{file.stat().st_size / 1e6:.0f} MB of trajectory, {chosen.threads} threads")
        asked = [word for name in NINE for word in ("--plot", name)]
        jobs = {
            "list": ["plot", str(file), "--list"],
            "eight of the nine": ["plot", str(file), *asked, "--output", folder],
            **{f"all, {t}": ["plot", str(file), "--theme", t, "--output", folder] for t in ("dark", "light", "paper")},
            "all, as PDF": ["plot", str(file), "--format", "pdf", "--output", folder],
            "report": ["report", str(file), "--output", f"{folder}/report.html"],
        }
        for name, words in jobs.items():
            wall, spent, peak = command(*words, threads=chosen.threads)
            print(f"{name:24} {wall:6.1f} s wall {spent:6.1f} s CPU   peak {peak:6.0f} MiB", flush=True)


def make_run(folder: Path, samples: int, steps: int) -> None:
    """The run to be drawn."""
    words = ["--character", "A,B,C,D,E", "--total-videos", str(samples), "--steps", str(steps), "--scheduler", "ddim"]
    words += ["--denoiser", "gaussian-mixture:shape=[1,28,28],classes=ABCDE", "--output", str(folder / "run")]
    words += ["--force", "attract_class:target=B,strength=0.6", "--sink", "hdf5", "--no-progress"]
    command("run", *words, threads=2)


if __name__ == "__main__":
    main()
