"""Cut the power of runs at random moments, again and again, and check what is on the disk.

    python tests/tools/power_cut.py --cuts 40

A run writes into an ext4 file system that is mounted from an image. At a random moment it is held still, and the image
is copied: what was on the disk just then, without what the system still kept in memory. The copy is mounted, and every
sample that is committed in it must be, bit for bit, that of an undisturbed run; a run resumed from it must end with the
undisturbed run's bytes. With ``--no-fsync`` runs do not wait for the disk, and wrong samples are counted.

Mounting needs root. Where it is not allowed, `storm` raises `NotAllowed`.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from os import kill
from pathlib import Path

from forked import Forked

from emnist_diff_trajectory.reader import Trajectory

RUN = [
    "run", "--denoiser", "gaussian-mixture:shape=[1,16,16],classes=AB", "--total-videos", "64", "--steps", "20",
    "--batch-size", "2", "--sink", "hdf5",
]  # fmt: skip


class NotAllowed(Exception):
    """This system lets nobody mount an image."""


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    """The file system of an image, under `folder`. Raises `NotAllowed`."""
    folder.mkdir(exist_ok=True)
    if subprocess.run(["mount", "-o", "loop", image, folder], capture_output=True, check=False).returncode:
        raise NotAllowed
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def copy_still(image: Path, target: Path) -> None:
    """Copy an image that nothing changes meanwhile: two copies in a row are the same."""
    before = None
    while (now := image.read_bytes()) != before:
        before = now
    target.write_bytes(now)


def storm(cuts: int, seed: int, folder: Path, fsync: bool = True) -> Counter[str]:
    """Cut the power `cuts` times; returns what was seen. Raises AssertionError for a committed sample that is wrong,
    unless runs do not wait for the disk, and `NotAllowed`."""
    if shutil.which("mkfs.ext4") is None or shutil.which("mount") is None:
        raise NotAllowed
    rng, seen = random.Random(seed), Counter[str]()
    run = RUN if fsync else [*RUN, "--no-fsync"]
    forked = Forked(folder, [*RUN, "--output", str(folder / "first")])
    try:
        began = time.perf_counter()
        forked.command([*run, "--output", folder / "reference"])
        assert forked.wait() == 0, forked.errors
        longest = time.perf_counter() - began
        while seen["cuts"] < cuts:
            image, copy = folder / "image", folder / "copy"
            with image.open("wb") as file:
                file.truncate(64 << 20)
            subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
            with mounted(image, folder / "disk") as disk:
                process, started = forked.command([*run, "--output", disk]), time.perf_counter()
                path = disk / "A" / "trajectory.h5"
                while not path.exists() and time.perf_counter() - started < 60:
                    time.sleep(0.001)
                time.sleep(rng.uniform(0, longest))
                kill(process, signal.SIGSTOP)
                copy_still(image, copy)
                kill(process, signal.SIGCONT)
                assert forked.wait() == 0, forked.errors
            seen["cuts"] += 1
            with mounted(copy, folder / "after") as disk:
                _look(forked, run, disk, folder, fsync, seen)
        return seen
    finally:
        forked.close()


def _look(forked: Forked, run: list[str], disk: Path, folder: Path, fsync: bool, seen: Counter[str]) -> None:
    """What a power cut has left on a disk."""
    path, reference = disk / "A" / "trajectory.h5", folder / "reference" / "A" / "trajectory.h5"
    if path.exists():
        with Trajectory(path) as found, Trajectory(reference) as expected:
            done = found.committed
            wrong = {
                position
                for name in expected.datasets()
                for position in done
                if found.field(name)[position].tobytes() != expected.field(name)[position].tobytes()
            }
        seen["files"] += 1
        seen["files with some samples committed"] += 0 < len(done) < len(expected.ids)
        seen["samples committed"] += len(done)
        seen["samples committed and wrong"] += len(wrong)
        assert not (fsync and wrong), f"samples {sorted(wrong)} are committed, and not what they should be"
    if fsync:
        forked.command([*run, "--output", disk, "--resume"])
        assert forked.wait() == 0, forked.errors
        assert path.read_bytes() == reference.read_bytes(), "a resumed run differs"
        seen["resumed, and the same"] += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-fsync", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for what, count in storm(asked.cuts, asked.seed, Path(folder), not asked.no_fsync).items():
            print(f"{count:5d}  {what}")


if __name__ == "__main__":
    main()
