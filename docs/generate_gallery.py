"""Make the pictures of the gallery anew: ``python docs/generate_gallery.py [NAME …]``, from the root of the repository.

The pages are the recipe: each picture, ``![…](gallery/NAME.png)``, is followed by the command that makes it. Its upper
row shows the samples of the same command without forces, drifts and presets, on the same base; the lower row shows
those of the command. Without names, all pictures of the gallery are made; those of pages about contributed packages,
``![…](contrib/NAME.png)``, where they are named, or all of them with ``--contrib``: the packages must be installed. The
checkpoint is the shipped one.
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

from emnist_diff import main as emnist_diff
from emnist_diff_plugins.pictures import save_png, table

HERE = Path(__file__).parent
PAGE = HERE / "gallery.md"
CONTRIB = (HERE / "contrib-forces.md", HERE / "contrib-drifts.md")
ENTRY = re.compile(
    r"^!\[[^\]]*\]\((?P<folder>gallery|contrib)/(?P<name>[\w-]+)\.png\)\n\n```bash\n(?P<command>.*?)\n```$", re.M | re.S
)
STEERING = ("--force", "--force-stack", "--drift", "--drift-scale", "--preset", "--preset-args", "--clip-abs",
            "--clip-norm", "--plugin-file", "--guide")  # fmt: skip
"""Options with one value each that the unsteered samples go without."""
SCALE = 3


@attrs.frozen
class Entry:
    """One picture: its name, the words of its command after ``emnist-diff run``, and the folder that it is in."""

    name: str
    words: tuple[str, ...]
    folder: str = "gallery"

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
        out.append(Entry(match["name"], tuple(words), match["folder"]))
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
    contrib = "--contrib" in names
    names = [name for name in names if name != "--contrib"]
    pages = [PAGE, *(page for page in CONTRIB if page.exists())]
    found = [entry for page in pages for entry in entries(page.read_text(encoding="utf-8"))]
    if unknown := set(names) - {entry.name for entry in found}:
        print(f"no picture called {', '.join(sorted(unknown))} in {', '.join(p.name for p in pages)}", file=sys.stderr)
        return 1
    unsteered: dict[tuple[str, ...], list[np.ndarray]] = {}
    for entry in found:
        if entry.name not in names and (names or contrib != (entry.folder == "contrib")):
            continue
        if entry.plain not in unsteered:
            unsteered[entry.plain] = samples(entry.plain)
        upper = unsteered[entry.plain]
        path = HERE / entry.folder / f"{entry.name}.png"
        path.parent.mkdir(exist_ok=True)
        save_png(table([*upper, *samples(entry.words)], len(upper)), path, SCALE)
        print(f"{path.relative_to(HERE)}  {path.stat().st_size / 1000:.1f} kB", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
