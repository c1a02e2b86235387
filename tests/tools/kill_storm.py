"""Kill a recording run at random moments, again and again, and check what is left.

    python tests/tools/kill_storm.py --kills 300

A round starts ``emnist-diff run --resume`` on the analytic mixture and kills it with SIGKILL: anywhere in its life,
just after its file begins to be laid out, or just after bytes of a commit reach the file. Then, if there is a file
under its own name, it must reopen for reading and writing, hold at least what was committed before, verify, and
equal the uninterrupted run's bits in every committed sample. The next round resumes what the last one left. Whenever
a run gets to its end, all bytes of the file must be the uninterrupted run's, and the storm starts over on a new one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from emnist_diff.trajectory.reader import Trajectory
from emnist_diff.trajectory.verify import verify

COMMAND = [
    "run", "--denoiser", "gaussian-mixture:shape=[1,32,32],classes=AB",
    "--total-videos", "24", "--steps", "12", "--batch-size", "2", "--sink", "hdf5",
    "--force", "attract_class:target=B,weight=0.5", "--drift", "default:noise_scale=0.01",
]  # fmt: skip

SERVER = """
import contextlib, io, json, os, sys
from emnist_diff.cli import main

sys.argv = ["emnist-diff", *sys.argv[1:]]
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    with contextlib.suppress(SystemExit):
        main()
print(flush=True)
for line in sys.stdin:
    arguments, errors = json.loads(line)
    child = os.fork()
    if not child:
        for number, name, mode in ((0, os.devnull, os.O_RDONLY), (1, os.devnull, os.O_WRONLY),
                                   (2, errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)):
            os.dup2(os.open(name, mode, 0o644), number)
        sys.argv = ["emnist-diff", *arguments]
        try:
            main()
        except SystemExit as end:
            os._exit(end.code or 0)  # taking the interpreter down would take longer than the run
    print(child, flush=True)
    sys.stdin.readline()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Runs:
    """Runs of ``emnist-diff``, forked from a process that has finished one: else most kills would hit the imports."""

    def __init__(self, folder: Path) -> None:
        self._errors = folder / "stderr"
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER, *COMMAND, "--output", str(folder / "first")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},  # a fork leaves threads behind
        )
        assert self._server.stdout is not None
        self._server.stdout.readline()

    def start(self, output: Path) -> int:
        """Start a run that resumes what is in `output`; returns its process id, which stays its own until `end`."""
        return int(self._ask(json.dumps([[*COMMAND, "--output", str(output), "--resume"], str(self._errors)])))

    def end(self) -> int:
        """Wait for the run's end; returns its exit code, or minus the signal that ended it."""
        code = int(self._ask(""))
        assert code in (0, -signal.SIGKILL), f"exit code {code}: {self._errors.read_text()}"
        return code

    def close(self) -> None:
        self._server.communicate()

    def _ask(self, line: str) -> str:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(line, file=self._server.stdin, flush=True)
        return self._server.stdout.readline()


class Checker:
    """What a file must be, known from an uninterrupted run's."""

    def __init__(self, reference: Path) -> None:
        assert verify(reference) == []
        self.bytes = reference.read_bytes()
        with Trajectory(reference) as trajectory:
            assert trajectory.committed == list(range(24))
            self.data = {name: dataset[...] for name, dataset in trajectory.datasets().items()}
        assert len(self.data) == 7
        assert all(len(np.unique(values)) > 100 for values in self.data.values()), "a field with nothing in it"

    def committed(self, path: Path) -> tuple[set[int], bool]:
        """Positions of the samples committed in a file that somebody was killed at, each of them right; and whether
        bytes of others are there as well. Raises AssertionError."""
        copy = shutil.copy(path, path.with_suffix(".copy"))
        h5py.File(copy, "r+").close()  # of a copy, because a clean close repairs what a kill may have left
        os.unlink(copy)
        assert verify(path) == []
        with Trajectory(path) as trajectory:
            done = trajectory.committed
            rest = sorted(set(range(24)) - set(done))
            for name, expected in self.data.items():
                found = trajectory.field(name)[...]
                assert found.shape == expected.shape, name
                assert found[done].tobytes() == expected[done].tobytes(), f"{name} differs in a committed sample"
            return set(done), bool(trajectory.x[...][rest].any())

    def complete(self, path: Path) -> None:
        """Raises AssertionError unless the file is the uninterrupted run's and alone."""
        assert path.read_bytes() == self.bytes, "the bytes of a finished file are not the uninterrupted run's"
        assert sorted(path.parent.iterdir()) == [path], "something is left beside the finished file"


def storm(kills: int, seed: int, folder: Path) -> Counter[str]:
    """`kills` SIGKILLs; returns what was seen. Raises AssertionError on the first wrong file."""
    runs = Runs(folder)
    try:
        return _storm(runs, kills, random.Random(seed), folder)
    finally:
        runs.close()


def _storm(runs: Runs, kills: int, rng: random.Random, folder: Path) -> Counter[str]:
    began = time.perf_counter()
    runs.start(folder / "reference")
    assert runs.end() == 0
    longest = time.perf_counter() - began
    checker = Checker(folder / "reference" / "A" / "trajectory.h5")
    seen: Counter[str] = Counter()
    path = folder / "storm" / "A" / "trajectory.h5"
    before: set[int] = set()

    while True:
        was_there = path.exists()
        process = runs.start(folder / "storm")
        if seen["kills"] < kills and (len(before) < 24 or rng.random() < 0.5):
            if rng.random() < 0.3:
                time.sleep(rng.uniform(0, longest))
            elif was_there:
                _wait_for_changes(rng.randint(1, 30), lambda: path.stat().st_mtime_ns, longest)
                time.sleep(rng.uniform(0, 0.0005))
            else:
                _wait_for_changes(1, lambda: path.parent.exists() and any(path.parent.iterdir()), longest)
                time.sleep(rng.uniform(0, 0.010))
            os.kill(process, signal.SIGKILL)
        if runs.end() == 0:
            checker.complete(path)
            seen["runs that got to their end, byte for byte the same"] += 1
            if seen["kills"] >= kills:
                return seen
            shutil.rmtree(folder / "storm")
            before = set()
            continue
        seen["kills"] += 1
        if not path.exists():
            assert not was_there, "a file has vanished"
            begun = path.parent.exists() and any(path.parent.iterdir())
            seen["killed while the file was laid out" if begun else "killed before there was a file"] += 1
            continue
        done, more = checker.committed(path)
        assert done >= before, f"samples {before - done} are committed no more"
        seen["files reopened, every committed sample right"] += 1
        seen["  of them holding bytes of samples not committed"] += more
        seen["  of them with some samples committed"] += 0 < len(done) < 24
        seen["samples found committed after a kill"] += len(done - before)
        before = done


def _wait_for_changes(count: int, what: Callable[[], object], at_most: float) -> None:
    """Return right after what `what` returns has changed `count` times, or after `at_most` seconds."""
    last, began = what(), time.perf_counter()
    while count and time.perf_counter() - began < at_most:
        time.sleep(0.00002)
        now = what()
        count -= now != last
        last = now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for what, count in storm(arguments.kills, arguments.seed, Path(folder)).items():
            print(f"{count:5d}  {what}")


if __name__ == "__main__":
    main()
