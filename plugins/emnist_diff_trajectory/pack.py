"""Packing a finished file for the archive: the same data, chunked and compressed without loss."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
from attrs import validators as v

from emnist_diff.errors import ConfigError, OutputError, TrajectoryError
from emnist_diff_trajectory.compose import Create, NotSmaller, compose
from emnist_diff_trajectory.parts import Part, Rows
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.schema import Array

LEVELS = {"zstd": (1, 22, 3), "blosc": (1, 9, 5), "gzip": (1, 9, 4)}
"""Of each codec the lowest and highest level, and the one that is used unless one is asked for."""

_CHUNK = 1 << 19
"""Bytes of a chunk at most, and about as many where rows are smaller: a sample is unpacked without its neighbours, or
with few."""
_SMALL = 1 << 16


@attrs.frozen
class Packing:
    """How data is compressed. zstd and blosc (lz4 of bit-shuffled values: fast) need hdf5plugin, also to be read; gzip
    is read by any HDF5.

    Raises `ConfigError` for a level that the codec has not, and when hdf5plugin is not installed.
    """

    codec: str = attrs.field(default="zstd", validator=v.in_(tuple(LEVELS)))
    level: int | None = None

    def create(self) -> Create:
        """How compressed datasets are made."""
        low, high, usual = LEVELS[self.codec]
        level = usual if self.level is None else self.level
        if not low <= level <= high:
            raise ConfigError(f"level {level}: {self.codec} has {low} … {high}")
        how: dict[str, Any] = {"compression": "gzip", "compression_opts": level, "shuffle": True}
        if self.codec != "gzip":
            try:
                plugin: Any = importlib.import_module("hdf5plugin")
            except ImportError as error:
                raise ConfigError(
                    f"codec {self.codec!r} needs hdf5plugin — pip install 'emnist-diff[pack]', or use --codec gzip"
                ) from error
            how = {"compression": plugin.Zstd(clevel=level), "shuffle": True}
            if self.codec == "blosc":
                how = {"compression": plugin.Blosc(cname="lz4", clevel=level, shuffle=plugin.Blosc.BITSHUFFLE)}

        def make(group: Any, array: Array, rows: Sequence[Rows]) -> bool:
            group.create_dataset(array.name, array.shape, array.dtype, chunks=chunks(array), **how)
            return False

        return make


def chunks(array: Array) -> tuple[int, ...]:
    """The shape of a chunk: whole rows as far as they are small, parts of one where it is large."""
    out = [1, *array.shape[1:]]
    width = array.size // max(1, math.prod(array.shape))
    out[0] = max(1, min(array.shape[0], _SMALL // max(1, math.prod(out) * width)))
    for axis in range(1, len(out)):
        rest = math.prod(out) * width // out[axis]
        if rest * out[axis] > _CHUNK:
            out[axis] = max(1, _CHUNK // rest)
    return tuple(out)


@attrs.frozen
class Packed:
    """What packing did: bytes before and after.

    written: whether there is a packed file; where it was to replace the original and is not smaller, there is none.
    """

    path: Path
    before: int
    after: int
    written: bool = True

    @property
    def ratio(self) -> float:
        """How many times smaller the file has become; below 1 where it has grown."""
        return self.before / self.after

    def __str__(self) -> str:
        if self.after > self.before:
            return f"{self.after / self.before:.2f} times larger"
        return f"{self.ratio:.2f} times smaller" if self.after < self.before else "no smaller"


def pack(
    path: Path,
    target: Path | None = None,
    packing: Packing | None = None,
    *,
    overwrite: bool = False,
    replace: bool = False,
) -> Packed:
    """Write a compressed copy of a file, compared with it before it gets its name; ``NAME.packed.h5`` unless `target`
    says otherwise.

    overwrite: whether another file at `target` is replaced.  replace: the copy takes the place of the file itself,
    if it is smaller.

    Raises `TrajectoryError` when the file is damaged or not finished; `OutputError` when the copy cannot be written.
    """
    target = path if replace else target or path.with_name(f"{path.stem}.packed.h5")
    create = (packing or Packing()).create()
    with Trajectory(path) as trajectory:
        if len(trajectory.committed) < len(trajectory):
            raise TrajectoryError(
                f"{path} holds {len(trajectory.committed)} of {len(trajectory)} samples, and a packed file cannot be "
                "continued — finish the run with --resume first"
            )
        if trajectory.extras:
            raise OutputError(f"{path} holds {trajectory.extras[0]}, which packing does not know how to carry over")
        before = path.stat().st_size
        if trajectory.sources:
            before += sum((path.parent / source.file).stat().st_size for source in trajectory.sources)
        below = before if replace else None
        try:
            compose(target, [Part.of(trajectory)], create, overwrite=overwrite, replace=replace, below=below)
        except NotSmaller as larger:
            return Packed(path, before, larger.size, written=False)
    return Packed(target, before, target.stat().st_size)
