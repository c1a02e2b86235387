"""Make the pictures of the gallery anew: ``python docs/generate_gallery.py [NAME …]``, from the root of the repository.

The page is the recipe: each picture, ``![…](gallery/NAME.png)``, is followed by the command that makes it. Its upper
row shows the samples of the same command without forces, drifts and presets, on the same base; the lower row shows
those of the command. Without names, all pictures are made. The checkpoint is the shipped one.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import sys
import tempfile
from pathlib import Path
from unittest import mock

import attrs
import h5py
import numpy as np

from emnist_diff.cli import main as emnist_diff
from emnist_diff_plugins.pictures import save_png, table

HERE = Path(__file__).parent
PAGE = HERE / "gallery.md"
ENTRY = re.compile(r"^!\[[^\]]*\]\(gallery/(?P<name>[\w-]+)\.png\)\n\n```bash\n(?P<command>.*?)\n```$", re.M | re.S)
STEERING = ("--force", "--force-stack", "--drift", "--drift-scale", "--preset", "--preset-args", "--clip-abs",
            "--clip-norm", "--plugin-file")  # fmt: skip
"""Options with one value each that the unsteered samples go without."""
SCALE = 3


@attrs.frozen
class Entry:
    """One picture: its name, and the words of its command after ``emnist-diff run``."""

    name: str
    words: tuple[str, ...]

    @property
    def plain(self) -> tuple[str, ...]:
        """The same without steering. Presets start from base ``uncond``."""
        out: list[str] = []
        words = iter(self.words)
        for word in words:
            if word in STEERING:
                next(words)
            else:
                out.append(word)
        return (*out, "--base", "uncond") if "--preset" in self.words and "--base" not in out else tuple(out)


def entries(page: str) -> list[Entry]:
    """The pictures of the page, in order. Raises `ValueError` for a command that is no ``emnist-diff run``."""
    out = []
    for match in ENTRY.finditer(page):
        program, command, *words = shlex.split(match["command"].replace("\\\n", " "))
        if (program, command) != ("emnist-diff", "run"):
            raise ValueError(f"{match['name']}: expected emnist-diff run, got {program} {command}")
        out.append(Entry(match["name"], tuple(words)))
    return out


def samples(words: tuple[str, ...]) -> list[np.ndarray]:
    """The images of a run with these options, uint8 (H, W) each."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["emnist-diff", "run", *words, "--output", folder, "--sink", "hdf5", "--no-progress"]
        with mock.patch.object(sys, "argv", arguments), contextlib.redirect_stdout(io.StringIO()):
            try:
                emnist_diff()
            except SystemExit as stop:
                if stop.code:
                    raise
        (file,) = Path(folder).glob("*/trajectory.h5")
        with h5py.File(file) as held:
            return list(held["images"][:])


def main(names: list[str]) -> int:
    found = entries(PAGE.read_text(encoding="utf-8"))
    if unknown := set(names) - {entry.name for entry in found}:
        print(f"no picture called {', '.join(sorted(unknown))} in {PAGE.name}", file=sys.stderr)
        return 1
    unsteered: dict[tuple[str, ...], list[np.ndarray]] = {}
    for entry in found:
        if names and entry.name not in names:
            continue
        if entry.plain not in unsteered:
            unsteered[entry.plain] = samples(entry.plain)
        upper = unsteered[entry.plain]
        path = HERE / "gallery" / f"{entry.name}.png"
        save_png(table([*upper, *samples(entry.words)], len(upper)), path, SCALE)
        print(f"{path.relative_to(HERE)}  {path.stat().st_size / 1000:.1f} kB", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
