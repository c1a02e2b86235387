"""Names of files that no system takes, or that are no files: for every argument of every command that names one."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path

from siege import Input

MIXTURE = (
    "--denoiser",
    "gaussian-mixture:shape=[2],classes=AB",
    "--total-videos",
    "1",
    "--steps",
    "1",
    "--no-progress",
)
COMMANDS = (
    ("inspect", "NAME"),
    ("verify", "NAME"),
    ("merge", "NAME", "NAME", "-o", "NAME"),
    ("select", "NAME", "NAME", "--sample", "0"),
    ("split", "NAME", "NAME"),
    ("pack", "NAME", "-o", "NAME"),
    ("diff", "NAME", "NAME"),
    ("replay", "NAME"),
    ("export", "NAME", "--npz", "--output", "NAME"),
    ("metrics", "NAME", "--output", "NAME"),
    ("plot", "NAME", "--output", "NAME"),
    ("report", "NAME", "--output", "NAME"),
    ("compare", "NAME", "NAME", "--output", "NAME"),
    ("attribution", "NAME", "--output", "NAME"),
    ("whatif", "NAME", "--without", "x", "--checkpoint", "NAME"),
    ("checkpoint", "inspect", "NAME"),
    ("checkpoint", "convert", "NAME", "NAME"),
    ("bench", "--checkpoint", "NAME", "--quick"),
    ("run", "--checkpoint", "NAME", "--no-progress"),
    ("run", "--config", "NAME", "--no-progress"),
    ("run", *MIXTURE, "--sink", "npz", "--output", "NAME"),
    ("run", *MIXTURE, "--sink", "hdf5", "--output", "NAME"),
    ("run", *MIXTURE, "--guide", "other=NAME", "--output", "o"),
    ("run", *MIXTURE, "--preset", "NAME", "--output", "o"),
    ("run", *MIXTURE, "--plugin-file", "NAME", "--output", "o"),
    ("train", "unet2d", "--data", "NAME", "--output", "o", "--no-progress"),
    ("train", "unet2d", "--data", "NAME", "--dataset", "folder", "--output", "NAME", "--no-progress"),
    ("train", "--resume", "--output", "NAME", "--no-progress"),
    ("train", "unet2d", "--data", ".", "--init-from", "NAME", "--no-progress"),
    ("plugins", "list", "--plugin-file", "NAME"),
    ("plugins", "check", "NAME"),
    ("plugins", "show", "NAME"),
    ("plugins", "new", "NAME", "--kind", "force"),
)
NAMES = (
    *("x" * 300, "x" * 5000, "a/" * 3000, "", " ", ".", "..", "/", "-", "~nobody-of-this-name/x", "$HOME"),
    *("/dev/zero", "/dev/null", "/dev/null/x", "/dev/full", "/proc/self/mem", "/proc/self/fd/0", "/etc/passwd"),
    *("pipe", "loop", "folder", "socket", "empty", "folder/" + "y" * 250, "pipe.h5", "pipe.safetensors", "pipe.pt"),
    *("loop.h5", "folder.h5", "empty.h5", "zero.h5", "zero.safetensors", "folder.safetensors", "empty.pt", "\x1b[2J"),
    *(
        "\x1b[2J.h5",
        "\udcff.h5",
        "a\nb.h5",
        "é.safetensors",
        "x" * 300 + ".h5",
        "x" * 300 + ".safetensors",
        "\u202e.pt",
    ),
)


def inputs(folder: Path, rng: random.Random, count: int) -> Iterator[Input]:
    for ending in ("", ".h5", ".safetensors", ".pt"):
        os.mkfifo(folder / f"pipe{ending}")
        (folder / f"loop{ending}").symlink_to(f"loop{ending}")
        (folder / f"folder{ending}").mkdir()
        (folder / f"empty{ending}").touch()
        (folder / f"zero{ending}").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as file:
        file.bind(str(folder / "socket"))
    pairs = [(words, name) for words in COMMANDS for name in NAMES]
    for words, name in rng.sample(pairs, min(count, len(pairs))):
        said = tuple(word.replace("NAME", name) for word in words)
        yield Input(f"the name {name[:40]!r}", ((" ".join(words[:2]), said),), before=lambda: os.chdir(folder))
