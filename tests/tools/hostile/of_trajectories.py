"""Trajectory files with something done to them: bits flipped, cut short, or parts replaced by others of wrong type,
shape, size or chunking, by links that lead in circles or out of the directory, by chunks that unpack to gigabytes, by
text that is no JSON. Outside the directory stands a named pipe, to which links and indexes point: whoever opens it
waits.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from damage import MUTATIONS, crooked_index, flip_bits, scramble
from siege import Input, in_child

Command = Callable[[Path, Path], list[str]]
READERS: dict[str, Command] = {
    "inspect": lambda file, good: ["inspect", str(file), "--json"],
    "inspect --sample": lambda file, good: ["inspect", str(file), "--sample", "0"],
    "select": lambda file, good: [
        "select",
        str(file),
        str(file.with_name("some.h5")),
        "--sample",
        "0-2",
        "--overwrite",
    ],
    "verify": lambda file, good: ["verify", str(file)],
    "view": lambda file, good: [
        "view",
        str(file),
        "--save",
        str(file.with_name("page.html")),
        "--embed",
        "--overwrite",
    ],
    "merge": lambda file, good: ["merge", str(file), str(good), "-o", str(file.with_name("merged.h5")), "--overwrite"],
    "merge --copy": lambda file, good: [
        "merge",
        str(file),
        str(good),
        "--copy",
        "-o",
        str(file.with_name("merged.h5")),
        "--overwrite",
    ],
    "diff": lambda file, good: ["diff", str(file), str(good)],
    "pack": lambda file, good: ["pack", str(file), "--codec", "gzip", "--level", "1", "--overwrite"],
}
EXPORT: dict[str, Command] = {
    "export": lambda file, good: [
        "export",
        str(file),
        "--npz",
        "--frames",
        "--strip",
        "--grid",
        "--metadata",
        "--sink",
        "video:format=gif",
        "--output",
        str(file.parent / "x"),
        "--overwrite",
    ],
}
LOOKERS: dict[str, Command] = {
    "pack --replace": lambda file, good: ["pack", str(file), "--codec", "gzip", "--level", "1", "--replace"],
    "split": lambda file, good: ["split", str(file), str(file.parent / "parts"), "--by", "sample", "--overwrite"],
    "metrics --json": lambda file, good: [
        "metrics",
        str(file),
        "--json",
        "--output",
        str(file.parent / "m"),
        "--overwrite",
    ],
    "metrics": lambda file, good: [
        "metrics",
        str(file),
        str(good),
        "--scorers",
        "mean",
        "--output",
        str(file.parent / "m"),
        "--overwrite",
    ],
    "replay": lambda file, good: ["replay", str(file), "--json"],
    "attribution": lambda file, good: ["attribution", str(file), "--overwrite", "--output", str(file.parent / "at")],
    "whatif": lambda file, good: [
        "whatif",
        str(file),
        "--without",
        "attract_class",
        "--overwrite",
        "--output",
        str(file.parent / "wi"),
    ],
    "plot": lambda file, good: ["plot", str(file), "--output", str(file.parent / "p")],
    "plot --list": lambda file, good: ["plot", str(file), "--list", "--json"],
    "report": lambda file, good: ["report", str(file), "--no-video", "--output", str(file.parent / "r.html")],
    "compare": lambda file, good: ["compare", str(file), str(good), "--output", str(file.parent / "c.html")],
}
HEAVY = ("whatif", "plot", "report", "compare", "attribution")
"""That draw, which takes seconds where the file can be read: asked less often."""


def good_files(folder: Path) -> dict[str, Path]:
    """A worker's file, another worker's, an index of both, and a packed copy, in one directory."""
    in_child(lambda: _make(folder))  # threads of a run would not survive the forks to come
    inside = folder / "run" / "A+B"
    first, second = (inside / f"trajectory-000{rank}-of-0002.h5" for rank in range(2))
    return {"plain": first, "index": inside / "index.h5", "packed": inside / "packed.h5", "other": second}


def _make(folder: Path) -> None:
    from emnist_diff.discovery import installed
    from emnist_diff.running.run import run
    from emnist_diff_plugins.layers import configure
    from emnist_diff_trajectory.merge import merge
    from emnist_diff_trajectory.pack import Packing, pack

    for rank in range(2):
        settings, _ = configure(
            installed(),
            {
                "denoiser": {"name": "gaussian-mixture", "shape": [1, 8, 8], "classes": "AB"},
                "forces": [{"name": "attract_class", "target": "B", "weight": 0.5}],
                "character": "A,B",
                "total_videos": 6,
                "steps": 5,
                "sinks": ["hdf5"],
                "output": str(folder / "run"),
                "rank": rank,
                "world_size": 2,
            },
        )
        run(settings)
    inside = folder / "run" / "A+B"
    first, second = (inside / f"trajectory-000{rank}-of-0002.h5" for rank in range(2))
    merge([first, second], inside / "index.h5")
    pack(first, inside / "packed.h5", Packing("gzip", 1))


def inputs(folder: Path, rng: random.Random, count: int, commands: str) -> Iterator[Input]:
    """`count` damaged files (0: one for each kind of damage), each for all commands of a family, or for some of all."""
    good = good_files(folder)
    outside = folder / "run" / "outside.h5"
    os.mkfifo(outside)
    inside = good["plain"].parent
    (inside / "link.h5").symlink_to(outside)
    everything = READERS | EXPORT | LOOKERS
    light = [name for name in everything if name not in HEAVY]
    for number in range(count or len(MUTATIONS)):
        mutate = MUTATIONS[number % len(MUTATIONS)]
        bad, base = _damaged(good, inside, mutate, rng, outside)
        if bad is None:
            continue
        if commands == "some":
            names = [*rng.sample(light, 2), *([rng.choice(HEAVY)] if rng.random() < 0.15 else [])]
        else:
            names = list({"readers": READERS, "export": EXPORT}[commands])
        file = inside / "bad.h5"
        yield Input(
            what=f"{mutate.__name__} of {base}",
            commands=tuple((name, tuple(everything[name](file, good["other"]))) for name in names),
            before=lambda bad=bad, file=file: shutil.copy(bad, file),
            may_hang=mutate in (flip_bits, scramble),  # HDF5's own readers have loops without end
        )


def _damaged(
    good: dict[str, Path], inside: Path, mutate: Any, rng: random.Random, outside: Path
) -> tuple[Path | None, str]:
    base = rng.choice(("plain", "plain", "packed", "index")) if mutate is not crooked_index else "index"
    bad = inside / "made.h5"
    for _ in range(20):
        shutil.copy(good[base], bad)
        try:
            mutate(bad, rng, outside)
            return bad, base
        except Exception:  # not every part can be replaced by every other
            continue
    return None, base
