"""A page that needs nothing else: the viewer, with or without the files that it shows in it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import attrs
import h5py

from emnist_diff.errors import ConfigError, EmnistDiffError, OutputError
from emnist_diff_plugins.capacity import size
from emnist_diff_plugins.viewer.page import Embedded, page
from emnist_diff_plugins.viewer.shown import Shown
from emnist_diff_trajectory.files import write_bytes
from emnist_diff_trajectory.pack import Packing, pack
from emnist_diff_trajectory.reader import Trajectory

MOST = 50_000_000
"""Bytes of a page, unless more is requested: browsers take text of some hundred MB, and people send pages by mail."""

_NEVER = 8
"""A file of so many times the most that a page may have is not packed to see whether it fits."""


@attrs.frozen
class Page:
    """A page that can be written: its text, and what is in it, as (name, bytes in the run's folder, bytes in the
    page before base64)."""

    html: bytes
    contents: tuple[tuple[str, int, int], ...]

    def lines(self) -> list[str]:
        """What is in it, for people."""
        packed = ((name, size(before), size(after), after < before) for name, before, after in self.contents)
        files = [
            f"  {name}  {before}" + (f", packed to {after}" if smaller else "")
            for name, before, after, smaller in packed
        ]
        return [*files, f"  the page takes {size(len(self.html))}"]

    def write(self, path: Path, *, overwrite: bool = False) -> None:
        """Write it, whole or not at all. Raises `OutputError`."""
        check_target(path, overwrite)
        write_bytes(path, self.html)


def check_target(path: Path, overwrite: bool) -> None:
    """Raise `OutputError` for a page that would take the place of something; before the work and not after it."""
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a directory — name a file in it, such as {path / 'page.html'}")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} already exists — use --overwrite to replace it, or name another")
    if h5py.is_hdf5(path):  # also one that is put into the page, under whatever name
        raise OutputError(f"{path} is an HDF5 file, and is not replaced by a page — name another file")


def saved(files: Sequence[Shown] = (), most: int = MOST) -> Page:
    """The page with these files in it, packed by gzip where that makes them smaller.

    most: how many bytes it may have. Raises `ConfigError` where it has more.
    """
    every = [file for shown in files for file in (shown, shown.sidecar) if file is not None]
    before = [file.bytes for file in every]
    if sum(before) > _NEVER * most:
        raise _too_large(every, sum(before), most)
    with tempfile.TemporaryDirectory(prefix="emnist-diff-view-") as folder:
        data = [_smallest(file.path, Path(folder) / f"{number}.h5") for number, file in enumerate(every)]
    html = page((), map(Embedded, (file.name for file in every), data), policy=True).encode()
    if len(html) > most:
        raise _too_large(every, len(html), most)
    return Page(html, tuple(zip((file.name for file in every), before, map(len, data), strict=True)))


def _smallest(path: Path, packed: Path) -> bytes:
    """The bytes of a file, or of a packed copy if that is smaller."""
    data = path.read_bytes()
    with Trajectory(path) as trajectory:
        done = len(trajectory.committed) == len(trajectory)
        chunked = any(values.chunks is not None for values in trajectory.datasets().values())
    if not done or chunked:  # a run that goes on cannot be packed, and what is packed is so already
        return data
    try:
        pack(path, packed, Packing("gzip", 9))
    except EmnistDiffError:  # data of plugins that packing does not carry over
        return data
    copy = packed.read_bytes()
    return copy if len(copy) < len(data) else data


def _too_large(files: Sequence[Shown], needed: int, most: int) -> ConfigError:
    what = files[0].name if len(files) == 1 else f"{len(files)} files"
    return ConfigError(
        f"a page with {what} in it takes about {size(needed)}, which is more than {size(most)} — copy some samples "
        "with emnist-diff select, record less (fewer fields, float16), or allow more with --max-size"
    )
