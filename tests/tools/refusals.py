"""Let the system refuse what commands write, at any moment, and check what is left.

    python tests/tools/refusals.py --each 1000

Every command that writes files is run again and again, with a library preloaded (``refusing.c``) that refuses the n-th
call that would change a file, for n from 1 to the number of calls of an undisturbed command (at most ``--each`` of
them, drawn at random): EIO, ENOSPC or EDQUOT, that call alone or every one after it as well, at once or after half of
a write. Runs are refused once more when they resume, and by a limit on the size of files that comes at any moment.

Then the command must have ended with 7, in one line, with no traceback and nothing under a temporary name; whatever is
there must be whole, every committed sample bit for bit an undisturbed run's, and what was read as it was. Repeated with
``--resume`` or ``--overwrite``, the command must make what an undisturbed one makes.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import attrs
import numpy as np
from forked import Forked
from safetensors.numpy import load_file

from emnist_diff.errors import TrajectoryError
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.verify import verify

RUN = [
    "run", "--denoiser", "gaussian-mixture:shape=[1,8,8],classes=AB", "--total-videos", "6", "--steps", "4",
    "--batch-size", "2", "--force", "attract_class:target=B,weight=0.5",
]  # fmt: skip
SINKS = [word for sink in ("hdf5", "grid", "frames:every=3", "npz", "metadata", "metrics") for word in ("--sink", sink)]
LONG = [*RUN, "--total-videos", "60", "--sink", "hdf5"]

FILE = "trajectory.h5"
NOT_THE_SAME_TWICE = ("metadata.json", "index.json", "metrics_unet2d", "state.safetensors", "lock", "video_metrics.csv",
                      "step_metrics.csv", "inference_metrics.json")  # fmt: skip
"""Starts of the names of files that hold times."""


@attrs.frozen
class Command:
    """A command that writes under WORK, and what it reads from there.

    again: what is added to repeat it.  given: files that are put under WORK before.
    forks: whether it can do without the threads that a fork leaves behind.
    """

    name: str
    words: tuple[str, ...]
    again: str = "--overwrite"
    given: tuple[str, ...] = ()
    forks: bool = True


def commands(given: Path) -> list[Command]:
    """Everything that writes files; `given` holds what it reads."""
    full, old = f"{given}/{FILE}", f"{given}/old_epoch001.pt"
    workers = ("trajectory-0000-of-0002.h5", "trajectory-0001-of-0002.h5")
    beside = tuple(f"WORK/{name}" for name in workers)
    network = ("block_out_channels=[8]", "attention=[false]", "norm_num_groups=4", "attention_head_dim=8")
    train = [word for setting in network for word in ("--network", setting)]
    train += ["--data", str(given / "images"), "--dataset", "folder", "--epochs", "2", "--batch-size", "8"]
    train += ["--train-timesteps", "50", "--sample-every", "1", "--no-tensorboard", "--device", "cpu"]
    return [
        Command("run", (*RUN, *SINKS, "--output", "WORK"), "--resume"),
        Command("run --no-fsync", (*RUN, *SINKS, "--no-fsync", "--output", "WORK"), "--resume"),
        Command("merge", ("merge", *beside, "-o", "WORK/all.h5"), given=workers),
        Command("merge --copy", ("merge", *beside, "-o", "WORK/all.h5", "--copy"), given=workers),
        Command("pack", ("pack", full, "-o", "WORK/packed.h5", "--codec", "gzip")),
        Command("pack --replace", ("pack", "WORK/trajectory.h5", "--replace", "--codec", "gzip"), "", (FILE,)),
        Command("select", ("select", full, "WORK/some.h5", "--sample", "1-3")),
        Command("split", ("split", full, "WORK/parts")),
        Command("export", ("export", full, "--output", "WORK", "--strip", "--sink", "video:format=gif", "--latents")),
        Command("metrics", ("metrics", full, "--output", "WORK", "--scorers", "none")),
        Command("inspect", ("inspect", full, "--sample", "1", "--png", "WORK/strip.png"), ""),
        Command("plot", ("plot", full, "--output", "WORK"), ""),
        Command("train", ("train", *train, "--output", "WORK"), "--resume", forks=False),
        Command("checkpoint convert", ("checkpoint", "convert", old, "WORK/new.safetensors"), forks=False),
        Command("plugins new", ("plugins", "new", "late-pull", "--kind", "force", "--directory", "WORK"), ""),
    ]  # fmt: skip


def make_given(forked: Forked, given: Path) -> None:
    """What the commands read."""
    import torch
    from diffusers import DDPMScheduler, UNet2DModel
    from PIL import Image

    for more in ([], ["--rank", "0", "--world-size", "2"], ["--rank", "1", "--world-size", "2"]):
        forked.command([*RUN, "--sink", "hdf5", "--output", given / f"of{len(more)}", *more])
        assert forked.wait() == 0, forked.errors
    for file in given.glob("of*/A/*"):
        file.rename(given / file.name)
    for number in range(16):
        folder = given / "images" / "AB"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), number * 15, np.uint8)).save(folder / f"{number}.png")
    unet = {
        "sample_size": 8, "in_channels": 1, "out_channels": 1, "layers_per_block": 1, "block_out_channels": [8],
        "down_block_types": ["DownBlock2D"], "up_block_types": ["UpBlock2D"], "num_class_embeds": 3,
        "norm_num_groups": 4, "attention_head_dim": 8,
    }  # fmt: skip
    layout = {
        "unet": UNet2DModel(**unet).state_dict(), "classes": ["A", "B"], "scheduler": DDPMScheduler().config, "size": 8,
        "channels": (8,), "epoch": 1, "null_class_index": 2, "num_class_embeds": 3, "unet_config": unet,
    }  # fmt: skip
    torch.save(layout, given / "old_epoch001.pt")


class Storm:
    """The folders of a storm, and what it has seen."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.library = library = folder / "refusing.so"
        source = Path(__file__).with_name("refusing.c")
        subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        self.given, self.work, self.count = folder / "given", folder / "work", folder / "count"
        self.references = folder / "references"
        self.given.mkdir()
        self.forked = Forked(folder, [*RUN, "--output", str(folder / "first")], {"LD_PRELOAD": str(library)})
        self.rng, self.seen = random.Random(seed), Counter[str]()
        make_given(self.forked, self.given)

    def command(self, command: Command, again: bool = False, at: int = 0, **environment: str) -> int:
        """Run a command under WORK, refused at the `at`-th call; returns its exit code."""
        words = [word.replace("WORK", str(self.work)) for word in command.words]
        if again and command.again:
            words.append(command.again)
        how = {
            "REFUSE_AT": at,
            "REFUSE_ERRNO": self.rng.choice((errno.EIO, errno.ENOSPC, errno.EDQUOT)),
            "REFUSE_EVER": self.rng.randint(0, 1),
            "REFUSE_SHORT": self.rng.randint(0, 1),
        }
        self.count.unlink(missing_ok=True)
        environment |= {"REFUSE_UNDER": str(self.work), "REFUSE_COUNT": str(self.count)}
        environment |= {name: str(value) for name, value in how.items()}
        if command.forks:
            self.forked.command(words, **environment)
            return self.forked.wait()
        with self.forked.errors_at.open("w") as errors:
            alone = [sys.executable, "-m", "emnist_diff", *words]
            environment |= {"LD_PRELOAD": str(self.library), "OMP_NUM_THREADS": "1"}
            return subprocess.run(
                alone, stdout=subprocess.DEVNULL, stderr=errors, env={**os.environ, **environment}, check=False
            ).returncode

    def start_over(self, command: Command) -> None:
        """What a command finds before it has ever been run."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        for name in command.given:
            shutil.copy(self.given / name, self.work / name)

    def refuse(self, command: Command, each: int) -> None:
        """Refuse each call of a command in turn, `each` of them at most."""
        self.start_over(command)
        assert self.command(command) == 0, self.forked.errors
        calls = int(self.count.read_text())
        reference = self.references / command.name
        shutil.copytree(self.work, reference)
        for at in sorted(self.rng.sample(range(1, calls + 1), min(each, calls))):
            what = f"{command.name}, call {at} of {calls} refused"
            self.start_over(command)
            self.ended(self.command(command, at=at), what, reference, command)
            if command.again == "--resume" and self.rng.random() < 0.5:
                once_more = self.command(command, again=True, at=self.rng.randint(1, calls))
                if once_more:
                    self.ended(once_more, f"{what}, and once more", reference, command)
            self.repeated(command, what, reference)
        self.seen[f"{command.name}: {calls} calls"] += 0

    def ended(self, code: int, what: str, reference: Path, command: Command) -> None:
        """Check what a refused command leaves."""
        self.seen[f"refused: {command.name}"] += 1
        errors = self.forked.errors
        assert code == 7, f"{what}: exit code {code}: {errors}"
        assert "Traceback" not in errors, f"{what}: {errors}"
        assert "Exception ignored" not in errors, f"{what}: {errors}"
        assert errors.splitlines()[-1].startswith("emnist-diff: cannot write "), f"{what}: {errors}"
        for file in self.work.rglob("*"):
            assert file.suffix != ".tmp", f"{what}: {file.name} is left"
            known = reference / file.relative_to(self.work)
            if file.name in command.given and file.read_bytes() == (self.given / file.name).read_bytes():
                continue
            if file.suffix == ".h5":
                check_trajectory(file, known, what)
            elif file.is_file() and not file.name.startswith((*NOT_THE_SAME_TWICE, ".")):
                whole = same(file, known) or of_fewer_epochs(file, known)
                assert whole, f"{what}: {file.name} is neither absent nor whole"

    def repeated(self, command: Command, what: str, reference: Path) -> None:
        """Repeat a refused command, and check that it makes what an undisturbed one makes."""
        replaced = command.name == "pack --replace" and same(self.work / "trajectory.h5", reference / "trajectory.h5")
        if command.name == "plugins new":
            shutil.rmtree(self.work / "late-pull", ignore_errors=True)
        code = self.command(command, again=True)
        assert code == 0 or replaced, f"{what}, then repeated: exit code {code}: {self.forked.errors}"
        found = {file.relative_to(self.work) for file in self.work.rglob("*")}
        expected = {file.relative_to(reference) for file in reference.rglob("*")}
        assert found == expected, f"{what}, then repeated: {found ^ expected}"
        for name in found:
            if name.name == "all.h5" and command.name == "merge":  # HDF5 notes when it makes a virtual dataset
                check_trajectory(self.work / name, reference / name, f"{what}, then repeated")
            elif (self.work / name).is_file() and not name.name.startswith(NOT_THE_SAME_TWICE):
                assert same(self.work / name, reference / name), f"{what}, then repeated: {name} differs"
        self.seen["repeated, and the same"] += 1

    def limit(self, times: int) -> None:
        """Let a limit on the size of files come at any moment of a run, from its start on or in the middle."""
        command = Command("run, limited", (*LONG, "--output", "WORK"), "--resume")
        self.start_over(command)
        began = time.perf_counter()
        assert self.command(command) == 0, self.forked.errors
        longest = time.perf_counter() - began
        reference = self.references / command.name
        shutil.copytree(self.work, reference)
        largest = (reference / "A" / "trajectory.h5").stat().st_size
        for number in range(times):
            size = self.rng.randint(20_000, largest - 1)  # less would leave no room for the log
            what = f"{command.name} to {size} of {largest} bytes"
            self.start_over(command)
            if number % 2:
                code = self.command(command, LARGEST_FILE=str(size))
                assert code == 7, f"{what} from the start: exit code {code}: {self.forked.errors}"
            else:
                code = self.limited_amid(command, size, self.rng.uniform(0, longest))
            if code:
                self.ended(code, what, reference, command)
            self.repeated(command, what, reference)

    def limited_amid(self, command: Command, size: int, after: float) -> int:
        """Run a command whose files may have no more than `size` bytes from some moment on, soon after its file has
        its name."""
        words = [word.replace("WORK", str(self.work)) for word in command.words]
        process = self.forked.command(words)
        path, began = self.work / "A" / "trajectory.h5", time.perf_counter()
        while not path.exists() and time.perf_counter() - began < 10:
            time.sleep(0.001)
        time.sleep(after / 4)
        resource.prlimit(process, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        return self.forked.wait()


def check_trajectory(path: Path, reference: Path, what: str) -> None:
    """Raise AssertionError unless a file is whole, and every committed sample the reference's."""
    try:
        assert verify(path) == [], what
        with Trajectory(path) as found, Trajectory(reference) as expected:
            done = found.committed if "repeated" not in what else expected.committed
            assert expected.datasets().keys() == found.datasets().keys(), what
            for name in found.datasets():
                a, b = found.field(name)[...][done], expected.field(name)[...][done]
                assert a.tobytes() == b.tobytes(), f"{what}: {name} differs in a committed sample of {path.name}"
    except TrajectoryError as error:
        raise AssertionError(f"{what}: {error}") from error


def same(one: Path, other: Path) -> bool:
    """Whether two files hold the same, times left out."""
    if one.suffix != ".safetensors":
        return one.read_bytes() == other.read_bytes()
    a, b = load_file(one), load_file(other)
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def of_fewer_epochs(one: Path, other: Path) -> bool:
    """Whether a table of a training is the other's after fewer epochs, each of them whole."""
    if one.suffix != ".csv" or not other.read_bytes().startswith(one.read_bytes()):
        return False
    rows, expected = (file.read_text().splitlines(keepends=True) for file in (one, other))
    return rows == expected[: len(rows)] and rows[-1].split(",")[0] != expected[len(rows)].split(",")[0]


def storm(each: int, seed: int, folder: Path, only: Callable[[Command], bool] = lambda _: True) -> Counter[str]:
    """Refuse `each` calls of every command, or of some; returns what was seen. Raises AssertionError."""
    made = Storm(folder, seed)
    try:
        for command in filter(only, commands(made.given)):
            made.refuse(command, each)
        made.limit(min(each, 100))
        return made.seen
    finally:
        made.forked.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=100, help="calls refused of every command, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="commands whose names begin so")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        chosen = storm(asked.each, asked.seed, Path(folder), lambda c: c.name.startswith(asked.only))
    print(json.dumps(chosen, indent=1))


if __name__ == "__main__":
    main()
