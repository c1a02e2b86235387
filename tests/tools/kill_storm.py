"""Kill a recording run at random moments, again and again, and check what is left.

    python tests/tools/kill_storm.py --kills 300

A round starts ``emnist-diff run`` on the analytic mixture, kills it with SIGKILL after a random delay, and checks
that the file, if there is one under its own name, reopens, and that every committed sample equals the
uninterrupted run's, bit for bit. The next round resumes what the last one left. Whenever a run gets to its end, the
whole file is compared and the storm starts over on a new one.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import h5py
import numpy as np

COMMAND = [
    sys.executable, "-m", "emnist_diff", "run", "--denoiser", "gaussian-mixture:shape=[1,16,16]",
    "--total-videos", "24", "--steps", "40", "--batch-size", "2", "--sink", "hdf5",
    "--force", "attract_class:target=B,weight=0.5", "--drift", "default:noise_scale=0.01",
]  # fmt: skip


def start(output: Path, *more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, "--output", str(output), *more], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def datasets(path: Path) -> dict[str, np.ndarray]:
    """Every dataset that has one row a sample."""
    out: dict[str, np.ndarray] = {}
    with h5py.File(path, "r") as file:
        count = file["samples/id"].shape[0]

        def visit(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset) and item.shape[:1] == (count,) and not name.startswith("schedule"):
                out[name] = item[...]

        file.visititems(visit)
    return out


def check(path: Path, reference: dict[str, np.ndarray], complete: bool) -> int:
    """Compare committed samples with the reference; returns how many there are. Raises AssertionError."""
    found = datasets(path)
    assert found.keys() == reference.keys(), sorted(found.keys() ^ reference.keys())
    done = found["samples/steps_done"] == reference["samples/steps_done"]
    assert set(np.unique(found["samples/steps_done"][~done])) <= {0}, "a commit marker is neither 0 nor complete"
    assert not complete or done.all(), "the run ended, but samples are missing"
    for name, expected in reference.items():
        assert np.array_equal(found[name][done], expected[done]), f"{name} differs in a committed sample"
    return int(done.sum())


def storm(kills: int, seed: int, folder: Path) -> Counter[str]:
    """`kills` SIGKILLs; returns what was seen. Raises AssertionError on the first wrong file."""
    rng = random.Random(seed)
    began = time.perf_counter()
    assert start(folder / "reference").wait() == 0
    longest = (time.perf_counter() - began) * 1.1
    reference = datasets(folder / "reference" / "A" / "trajectory.h5")
    seen: Counter[str] = Counter()
    output = folder / "storm"
    while seen["kills"] < kills:
        path = output / "A" / "trajectory.h5"
        process = start(output, "--resume")
        # half of the kills fall anywhere, half of them late, where the files are created and written
        try:
            _, message = process.communicate(timeout=rng.uniform(0, longest) if rng.random() < 0.5 else longest * 0.8)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            seen["kills"] += 1
            if path.exists():
                committed = check(path, reference, complete=False)
                seen["files reopened"] += 1
                seen["partly committed"] += 0 < committed < len(reference["samples/id"])
            else:
                seen["killed before the file had its name"] += 1
        else:
            assert process.returncode == 0, message.decode()
            check(path, reference, complete=True)
            seen["resumed to the end, all equal"] += 1
            shutil.rmtree(output)
    assert start(output, "--resume").wait() == 0
    check(output / "A" / "trajectory.h5", reference, complete=True)
    seen["resumed to the end, all equal"] += 1
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for what, count in sorted(storm(arguments.kills, arguments.seed, Path(folder)).items()):
            print(f"{count:5d}  {what}")


if __name__ == "__main__":
    main()
