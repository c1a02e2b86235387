"""Kill runs, merges and packs at random moments, again and again, and check what is left.

    python tests/tools/kill_storm.py --kills 1000

A run starts as ``emnist-diff run --resume`` on the analytic mixture and is killed with SIGKILL: anywhere in its life,
just after its file begins to be laid out, just after bytes of a commit reach the file, just after a marker does, or
in its last commits. Then, if there is a file under its own name, it must reopen for reading and writing, hold at least
what was committed before, verify, and equal the uninterrupted run's bits in every committed sample. The next one
resumes what the last one left, and is killed like it, often several in a row. Whenever a run gets to its end, all
bytes of the file must be the uninterrupted run's, with nothing beside it, and the storm starts over on a new one.

``merge``, ``merge --copy`` and ``pack --replace`` are killed anywhere in their lives. What they read must be there as
it was, and what they write must be there whole, as an undisturbed one writes it, or not at all; the next one that gets
to its end must leave nothing else.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from forked import Forked

from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.verify import verify

COMMAND = [
    "run", "--denoiser", "gaussian-mixture:shape=[1,32,32],classes=AB",
    "--total-videos", "24", "--steps", "12", "--batch-size", "2", "--sink", "hdf5",
    "--force", "attract_class:target=B,weight=0.5", "--drift", "default:noise_scale=0.01",
]  # fmt: skip


class Runs(Forked):
    """Runs of ``emnist-diff``, forked from a process that has finished one: else most kills would hit the imports."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, [*COMMAND, "--output", str(folder / "first")])

    def start(self, output: Path) -> int:
        """Start a run that resumes what is in `output`; returns its process id, which stays its own until `end`."""
        return self.command([*COMMAND, "--output", str(output), "--resume"])

    def end(self) -> int:
        """Wait for the run's end; returns its exit code, or minus the signal that ended it."""
        code = self.wait()
        assert code in (0, -signal.SIGKILL), f"exit code {code}: {self.errors}"
        return code


class Checker:
    """What a file must be, known from an uninterrupted run's."""

    def __init__(self, reference: Path) -> None:
        assert verify(reference) == []
        self.bytes = reference.read_bytes()
        with Trajectory(reference) as trajectory:
            assert trajectory.committed == list(range(24))
            self.markers = trajectory.field("samples/steps_done").offset()
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

    def marked(self, path: Path) -> bytes:
        """The commit markers as they are now; they stand where they stand in every file of this run."""
        if not path.exists():
            return b""
        with path.open("rb") as file:
            file.seek(self.markers)
            return file.read(8 * 24)

    def complete(self, path: Path) -> None:
        """Raises AssertionError unless the file is the uninterrupted run's and alone."""
        assert path.read_bytes() == self.bytes, "the bytes of a finished file are not the uninterrupted run's"
        assert sorted(path.parent.iterdir()) == [path], "something is left beside the finished file"


def storm(kills: int, seed: int, folder: Path) -> Counter[str]:
    """`kills` SIGKILLs, three of four at runs; returns what was seen. Raises AssertionError on the first wrong file."""
    runs = Runs(folder)
    rng = random.Random(seed)
    rewrites = [kills // 12] * 3
    try:
        seen = _storm(runs, kills - sum(rewrites), rng, folder)
        for share, what in zip(rewrites, ("merge", "merge --copy", "pack --replace"), strict=True):
            seen += _rewrites(runs, share, rng, folder, what)
        return seen
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
    in_a_row = 0

    while True:
        was_there = path.exists()
        process = runs.start(folder / "storm")
        if seen["kills"] < kills and (len(before) < 24 or rng.random() < 0.5):
            way = rng.random()
            if way < 0.3:
                time.sleep(rng.uniform(0, longest))
            elif not was_there and way < 0.6:
                _wait_for_changes(1, lambda: path.parent.exists() and any(path.parent.iterdir()), longest)
                time.sleep(rng.uniform(0, 0.010))
            elif way < 0.7:
                _wait_for_changes(rng.randint(1, 30), lambda: path.exists() and path.stat().st_mtime_ns, longest)
                time.sleep(rng.uniform(0, 0.0005))
            elif way < 0.85:
                _wait_for_changes(rng.randint(1, 3), lambda: checker.marked(path), longest)
            else:
                _wait_for_changes(max(1, 12 - len(before) // 2), lambda: checker.marked(path), longest)
                time.sleep(rng.uniform(0, 0.002))
            os.kill(process, signal.SIGKILL)
        if runs.end() == 0:
            checker.complete(path)
            seen["runs that got to their end, byte for byte the same"] += 1
            if seen["kills"] >= kills:
                return seen
            shutil.rmtree(folder / "storm")
            before, in_a_row = set(), 0
            continue
        seen["kills"] += 1
        in_a_row += 1
        seen["  at resumed runs of which the one before was killed, too"] += in_a_row == 2
        seen["  at the third or a later run of those killed in a row"] += in_a_row > 2
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
        seen["  of them with all samples committed"] += len(done) == 24
        seen["samples found committed after a kill"] += len(done - before)
        before = done


def _rewrites(runs: Runs, kills: int, rng: random.Random, folder: Path, what: str) -> Counter[str]:
    """Kill a command that makes a file of others."""
    home = folder / what.replace(" ", "")
    for rank in range(2):
        runs.command([*COMMAND, "--output", home, "--rank", str(rank), "--world-size", "2"])
        assert runs.end() == 0
    inside = home / "A"
    workers = sorted(inside.iterdir())
    made = inside / "trajectory.h5"
    command: list[str | Path] = ["merge", *workers, "-o", made, "--overwrite"]
    if what == "pack --replace":
        runs.command(["merge", *workers, "-o", made, "--copy"])
        assert runs.end() == 0
        workers = [*workers, made]
        command = ["pack", made, "--replace", "--codec", "gzip", "--level", "1"]
    elif what == "merge --copy":
        command.append("--copy")
    originals = {file: file.read_bytes() for file in workers}
    with Trajectory(made if made in originals else workers[0]) as trajectory:
        fields = list(trajectory.datasets())
    with Trajectory(folder / "reference" / "A" / "trajectory.h5") as trajectory:
        expected = {name: trajectory.field(name)[...] for name in fields}

    def start_over() -> None:
        made.unlink(missing_ok=True)
        if made in originals:
            made.write_bytes(originals[made])

    start_over()
    began = time.perf_counter()
    runs.command(command)
    assert runs.end() == 0
    longest = time.perf_counter() - began
    seen: Counter[str] = Counter()
    while True:
        start_over()
        process = runs.command(command)
        kill = seen["kills"] < kills
        if kill:
            if rng.random() < 0.5:
                _wait_for_changes(1, lambda: any(file.suffix == ".tmp" for file in inside.iterdir()), longest)
            time.sleep(rng.uniform(0, longest))
            os.kill(process, signal.SIGKILL)
        ended = runs.end() == 0
        for file, content in originals.items():
            assert file == made or file.read_bytes() == content, f"{what} has changed {file}"
        left = [file for file in inside.iterdir() if file.suffix == ".tmp"]
        if not ended:
            seen["kills"] += 1
            seen[f"kills at {what}"] += 1
            seen[f"  of them with a part of the file under a temporary name ({what})"] += bool(left)
        else:
            assert not left, f"{what} has left {left}"
        whole = made.exists() and made.read_bytes() != originals.get(made)
        assert whole or not ended, f"{what} has ended, and made nothing"
        if whole:
            assert verify(made) == []
            with Trajectory(made) as trajectory:
                for name, values in expected.items():
                    assert trajectory.field(name)[...].tobytes() == values.tobytes(), f"{name} is not as it was"
            seen["files made by merge and pack, whole and right"] += 1
        if not kill:
            return seen


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
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for what, count in storm(arguments.kills, arguments.seed, Path(folder)).items():
            print(f"{count:5d}  {what}")


if __name__ == "__main__":
    main()
