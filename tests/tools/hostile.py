"""Give damaged and malicious files to the commands that read trajectories, and see that nothing bad happens.

    python tests/tools/hostile.py --files 500

Each file is a good one (a worker's, a packed one, or an index of merged ones) with something done to it: bits flipped,
cut short, or parts replaced by others of wrong type, shape or size, by links that lead in circles or out of the
directory, by chunks that unpack to gigabytes, by text that is no JSON. Each is given to inspect, verify, merge, diff,
select, pack and export, in processes of their own that may not use more than 1 GiB.

A command must end with a documented exit code, and with one line on stderr unless it succeeded; without a traceback, a
signal, a MemoryError, or a wait. Outside the directory stands a named pipe, to which links and indexes point: whoever
opens it waits.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import h5py
import numpy as np

LIMIT = 1 << 30
SECONDS = 10.0
COMMANDS: dict[str, Callable[[Path, Path], list[str]]] = {
    "inspect": lambda file, good: ["inspect", str(file), "--json"],
    "inspect --sample": lambda file, good: ["inspect", str(file), "--sample", "0"],
    "select": lambda file, good: [
        "select", str(file), str(file.with_name("some.h5")), "--sample", "0-2", "--overwrite",
    ],
    "verify": lambda file, good: ["verify", str(file)],
    "merge": lambda file, good: ["merge", str(file), str(good), "-o", str(file.with_name("merged.h5")), "--overwrite"],
    "merge --copy": lambda file, good: [
        "merge", str(file), str(good), "--copy", "-o", str(file.with_name("merged.h5")), "--overwrite",
    ],
    "diff": lambda file, good: ["diff", str(file), str(good)],
    "pack": lambda file, good: ["pack", str(file), "--codec", "gzip", "--level", "1", "--overwrite"],
}  # fmt: skip
EXPORT: dict[str, Callable[[Path, Path], list[str]]] = {
    "export": lambda file, good: [
        "export", str(file), "--npz", "--frames", "--strip", "--grid", "--metadata", "--sink", "video:format=gif",
        "--output", str(file.parent / "x"), "--overwrite",
    ],
}  # fmt: skip
ENDINGS = {0, 1, 2, 3, 4, 5, 6, 7}
"""Of an export also those of what it runs: a plugin, a checkpoint, a decoder."""


def good_files(folder: Path) -> dict[str, Path]:
    """A worker's file, another worker's, an index of both, and a packed copy, in one directory."""
    from emnist_diff.assembly import configure
    from emnist_diff.plugins import installed
    from emnist_diff.run import run
    from emnist_diff.trajectory.merge import merge
    from emnist_diff.trajectory.pack import Packing, pack

    for rank in range(2):
        settings, _ = configure(
            installed(),
            {
                "denoiser": {"name": "gaussian-mixture", "shape": [1, 8, 8], "classes": "AB"},
                "forces": [{"name": "attract_class", "target": "B", "weight": 0.5}],
                "character": "A,B", "total_videos": 6, "steps": 5, "sinks": ["hdf5"],
                "output": str(folder / "run"), "rank": rank, "world_size": 2,
            },
        )  # fmt: skip
        run(settings)
    inside = folder / "run" / "A+B"
    first, second = (inside / f"trajectory-000{rank}-of-0002.h5" for rank in range(2))
    merge([first, second], inside / "index.h5")
    pack(first, inside / "packed.h5", Packing("gzip", 1))
    return {"plain": first, "index": inside / "index.h5", "packed": inside / "packed.h5", "other": second}


def flip_bits(path: Path, rng: random.Random, outside: Path) -> None:
    data = bytearray(path.read_bytes())
    # half of them where the file says what it is, not what the states are
    top = min(len(data), 8192) if rng.random() < 0.5 else len(data)
    for _ in range(rng.choice((1, 4, 40))):
        data[rng.randrange(top)] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def scramble(path: Path, rng: random.Random, outside: Path) -> None:
    data = bytearray(path.read_bytes())
    start = rng.randrange(min(len(data), 20_000))
    count = rng.choice((2, 8, 64))
    data[start : start + count] = rng.choice((rng.randbytes(count), b"\xff" * count, b"\x00" * count))
    path.write_bytes(data)


def truncate(path: Path, rng: random.Random, outside: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: rng.choice((0, 8, 96, rng.randrange(len(data)), len(data) - 1))])


def _replaced(file: Any, name: str, **how: Any) -> None:
    if name in file:
        del file[name]
    file.create_dataset(name, **how)


def swap_dtype(path: Path, rng: random.Random, outside: Path) -> None:
    with h5py.File(path, "r+") as file:
        name = rng.choice(_datasets(file))
        shape = file[name].shape
        kind: Any = rng.choice(
            ("i1", "u8", "f2", "f8", "c8", "S3", "S1000000", h5py.string_dtype(), h5py.ref_dtype, h5py.regionref_dtype,
             np.dtype([("a", "f4"), ("b", "S5")]), h5py.vlen_dtype("f4"), h5py.enum_dtype({"a": 1}), "?", "V7")
        )  # fmt: skip
        _replaced(file, name, shape=shape, dtype=kind)


def swap_shape(path: Path, rng: random.Random, outside: Path) -> None:
    with h5py.File(path, "r+") as file:
        name = rng.choice(_datasets(file))
        kind, shape = file[name].dtype, list(file[name].shape)
        shape = rng.choice((shape[::-1], shape[:-1], [*shape, 2], [0, *shape[1:]], [3], [], [1] * 30))
        _replaced(file, name, shape=tuple(shape), dtype=kind)


def absurd_size(path: Path, rng: random.Random, outside: Path) -> None:
    with h5py.File(path, "r+") as file:
        name = rng.choice(_datasets(file))
        kind, shape = file[name].dtype, list(file[name].shape) or [1]
        axis = rng.randrange(len(shape))
        shape[axis] = rng.choice((1 << 20, 1 << 31, 1 << 40, (1 << 62) - 1))
        chunks = tuple(1 for _ in shape)
        if rng.random() < 0.5:  # chunks that claim as much as they may
            chunks = tuple(min(n, 1 << 28) if i == axis else 1 for i, n in enumerate(shape))
        if np.prod([float(n) for n in chunks]) * kind.itemsize >= 1 << 32:
            chunks = tuple(1 for _ in shape)
        _replaced(file, name, shape=tuple(shape), dtype=kind, chunks=chunks)


def bomb(path: Path, rng: random.Random, outside: Path) -> None:
    """Zeros that take kilobytes in the file and gigabytes out of it."""
    with h5py.File(path, "r+") as file:
        name = rng.choice(("trajectory/x", "trajectory/base", "images", "samples/id", "schedule/sigma"))
        kind = file[name].dtype
        shape = (rng.choice((3, 6)), 6, 1 << 12, 1 << 12) if "/" in name and "traj" in name else (1 << 27,)
        chunks = (1, 1, 1 << 12, 1 << 12)[: len(shape)] if len(shape) > 1 else (1 << 27,)
        _replaced(file, name, shape=shape, dtype=kind, chunks=chunks, compression="gzip")
        file[name].id.write_direct_chunk((0,) * len(shape), _zeros())


_ZEROS: list[bytes] = []


def _zeros() -> bytes:
    import zlib

    if not _ZEROS:
        packer, out = zlib.compressobj(9), []
        for _ in range(1024):
            out.append(packer.compress(bytes(1 << 20)))
        _ZEROS.append(b"".join([*out, packer.flush()]))
    return _ZEROS[0]


def links(path: Path, rng: random.Random, outside: Path) -> None:
    with h5py.File(path, "r+") as file:
        name = rng.choice([*_datasets(file), "trajectory", "samples", "schedule", "plugins"])
        how: Any = rng.choice(
            (h5py.ExternalLink(str(outside), "x"), h5py.ExternalLink("../outside.h5", "/"), h5py.SoftLink("/" + name),
             h5py.SoftLink("/nothing"), file["/"], file["trajectory"])
        )  # fmt: skip
        if rng.random() < 0.5 and not isinstance(how, h5py.Group):
            del file[name]
            file[name] = how
        else:
            file[f"trajectory/more{rng.randrange(9)}"] = how


def far_data(path: Path, rng: random.Random, outside: Path) -> None:
    """Data said to be in another file: external storage, or virtual."""
    with h5py.File(path, "r+") as file:
        name = rng.choice([n for n in _datasets(file) if file[n].shape])
        kind, shape = file[name].dtype, file[name].shape
        if kind.hasobject:
            kind = np.dtype("S4")
        where = rng.choice((str(outside), "../outside.h5", "/dev/zero", "/etc/passwd"))
        if rng.random() < 0.5:
            size = max(1, int(np.prod(shape)) * kind.itemsize)
            _replaced(file, name, shape=shape, dtype=kind, external=[(where, 0, size)])
            return
        layout = h5py.VirtualLayout(shape, kind)
        layout[...] = h5py.VirtualSource(where, name, shape, kind)
        del file[name]
        file.create_virtual_dataset(name, layout)


def crooked_index(path: Path, rng: random.Random, outside: Path) -> None:
    """An index that points where it must not, or says of its files what is not so."""
    said = [
        {"file": rng.choice(("../outside.h5", str(outside), "index.h5", path.name, ".", "", "nothing.h5", "link.h5",
                             "trajectory-0001-of-0002.h5", "a/b.h5", "\x1b[2J", 7)),
         "samples": rng.choice((3, 6, 1 << 40, "x"))}
    ]  # fmt: skip
    text = rng.choice((json.dumps(said[0]), "[" * 50_000, "{", "null", json.dumps(said)))
    with h5py.File(path, "r+") as file:
        name = "trajectory/x"
        shape = file[name].shape
        _replaced(file, "sources", data=[text] * rng.choice((1, 2)), dtype=h5py.string_dtype())
        target = said[0]["file"]
        layout = h5py.VirtualLayout(shape, "f4")
        layout[...] = h5py.VirtualSource(target if isinstance(target, str) and target else "nothing.h5", name, shape)
        del file[name]
        file.create_virtual_dataset(name, layout)


def attributes(path: Path, rng: random.Random, outside: Path) -> None:
    with h5py.File(path, "r+", libver=rng.choice((None, "latest"))) as file:
        owner = rng.choice([file, file["config"], file["schedule"]])
        name = rng.choice(("format", "format_version", "sha256", "path", "creator", "more"))
        value: Any = rng.choice(
            (np.zeros(8000), "x" * 60_000, file["config"].ref, np.float64(np.nan), np.array([1, 0, 0]),
             h5py.Empty("f4"), np.array([1 << 62, 0]), ["a"] * 1000, np.zeros((2, 2)))
        )  # fmt: skip
        owner.attrs[name] = value


def wrong_json(path: Path, rng: random.Random, outside: Path) -> None:
    with h5py.File(path, "r+") as file:
        name = rng.choice(("config", "environment"))
        text = rng.choice(
            ("", "{", "[]", "null", "[" * 200_000, "1e999", '{"total_videos": 1e999}', '{"a": NaN}', "{}" * 9,
             '{"total_videos": ' + "9" * 5000 + "}", '{"\\ud800": "\\u0000"}', '{"a":' * 3000 + "1" + "}" * 3000,
             json.dumps({"forces": {"a": [1] * 10_000}}))
        )  # fmt: skip
        _replaced(file, name, data=text, dtype=h5py.string_dtype())


def wrong_values(path: Path, rng: random.Random, outside: Path) -> None:
    with h5py.File(path, "r+") as file:
        name = rng.choice(
            ("samples/id", "samples/label", "samples/steps_done", "schedule/step", "schedule/timestep",
             "trajectory/step", "trajectory/sample", "schedule/alpha_bar", "schedule/evaluations",
             "trajectory/x", "trajectory/base")
        )  # fmt: skip
        if file[name].dtype.kind in "iu":
            shape = file[name].shape
            values = rng.choice((-1, 1 << 62, 0, 3))
            _replaced(file, name, data=np.full(shape, values, np.int64))
        elif not file[name].is_virtual and file[name].size:
            file[name][...] = rng.choice((np.nan, np.inf, 1e38, -0.0))


def classes(path: Path, rng: random.Random, outside: Path) -> None:
    """Names that are long, many, or a terminal's commands."""
    with h5py.File(path, "r+") as file:
        names: Any = rng.choice(
            (["x" * (1 << 22)] * 8, ["a"] * 70_000, ["\x1b[2J\n", "B"], [b"\xff\xfe", b"\x80"], [], ["A"], [""] * 5)
        )
        kind = h5py.string_dtype() if not names or isinstance(names[0], str) else "S2"
        _replaced(file, "samples/classes", data=names, dtype=kind)


def many_objects(path: Path, rng: random.Random, outside: Path) -> None:
    with h5py.File(path, "r+") as file:
        group = file[rng.choice(("forces", "drifts", "plugins", "trajectory"))]
        for number in range(rng.choice((50, 3000))):
            if rng.random() < 0.1:
                group.create_dataset(f"{number:02d}_\u202e{number}", data=number)
            else:
                group = group.create_group(f"{number}") if number < 200 and rng.random() < 0.5 else group


MUTATIONS = (
    flip_bits, flip_bits, scramble, scramble, truncate, swap_dtype, swap_dtype, swap_shape, absurd_size, absurd_size,
    bomb, links, far_data, crooked_index, attributes, wrong_json, wrong_values, classes, many_objects,
)  # fmt: skip


def _datasets(file: Any) -> list[str]:
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return names


def _call(arguments: list[str], report: Path) -> None:
    """In a forked process: run the command, and write down how it ended."""
    from emnist_diff.cli import main

    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.argv = ["emnist-diff", *arguments]
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as end:
        code = end.code or 0
    except BaseException as error:
        code = f"traceback: {type(error).__name__}: {str(error)[:200]}"
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    report.write_text(json.dumps({"code": code, "out": out.getvalue()[-300:], "err": err.getvalue(), "used": used}))
    os._exit(0)


def attempt(arguments: list[str], report: Path) -> tuple[str, int]:
    """Run a command in a process of its own: what is wrong with how it ended (nothing: ""), and the memory it used."""
    report.unlink(missing_ok=True)
    child = os.fork()
    if not child:
        _call(arguments, report)
    began = time.monotonic()
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        if time.monotonic() - began > SECONDS:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "endless", 0
        time.sleep(0.002)
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}", 0
    data = json.loads(report.read_text())
    code, err = data["code"], data["err"]
    if code not in ENDINGS:
        return f"exit code {code}: {err[:300]}", data["used"]
    if "MemoryError" in err or "Unable to allocate" in err:
        return f"wanted more than 1 GiB: {err[:300]}", data["used"]
    lines = [line for line in err.splitlines() if not line.startswith("{")]
    if code > 1 and len(lines) != 1:
        return f"{len(lines)} lines for exit code {code}: {err[:300]}", data["used"]
    if "\x1b" in data["out"] + err or "root:" in data["out"] + err:
        return "a file's text reached the terminal as it was, or another file's did", data["used"]
    return "", data["used"]


def siege(
    files: int, seed: int, folder: Path, commands: Mapping[str, Callable[[Path, Path], list[str]]]
) -> tuple[Counter[str], list[str]]:
    """Make `files` bad files and give each to every command; how the commands ended, and what went wrong."""
    rng = random.Random(seed)
    good = good_files(folder)
    outside = folder / "run" / "outside.h5"
    os.mkfifo(outside)
    inside = good["plain"].parent
    (inside / "link.h5").symlink_to(outside)
    seen: Counter[str] = Counter()
    wrong: list[str] = []
    most = 0
    for number in range(files):
        mutate = MUTATIONS[number % len(MUTATIONS)]
        base = rng.choice(("plain", "plain", "packed", "index")) if mutate is not crooked_index else "index"
        bad = inside / "bad.h5"
        state = rng.getstate()
        for _ in range(20):
            shutil.copy(good[base], bad)
            try:
                mutate(bad, rng, outside)
                break
            except Exception:  # not every part can be replaced by every other
                continue
        else:
            seen["mutations that HDF5 would not write"] += 1
            rng.setstate(state)
            rng.random()
            continue
        seen["files"] += 1
        for name, arguments in commands.items():
            problem, used = attempt(arguments(bad, good["other"]), folder / "report.json")
            most = max(most, used)
            if problem == "endless" and mutate in (flip_bits, scramble):
                seen["commands in which HDF5 itself did not end"] += 1
            elif problem:
                wrong.append(f"file {number}, {mutate.__name__} of {base}, {name}: {problem}")
                kept = folder.parent / f"hostile-{seed}-{number}.h5" if os.environ.get("KEEP_HOSTILE") else None
                if kept:
                    shutil.copy(bad, kept)
            seen["commands"] += 1
    seen["most memory of a command, MB"] = most // 1_000_000
    return seen, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=500, help="0: one for each kind of damage")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", choices=("readers", "export", "all"), default="all")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is imported, below; a fork leaves threads behind
    commands = {"readers": COMMANDS, "export": EXPORT, "all": COMMANDS | EXPORT}[arguments.commands]
    with tempfile.TemporaryDirectory() as folder:
        seen, wrong = siege(arguments.files or len(MUTATIONS), arguments.seed, Path(folder), commands)
    if arguments.json:
        print(json.dumps({"damages": len(MUTATIONS), "per_file": len(commands), "seen": seen, "wrong": wrong}))
    else:
        for what, count in seen.items():
            print(f"{count:6d}  {what}")
        print(f"{len(wrong):6d}  things wrong")
        for line in wrong:
            print(line)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
