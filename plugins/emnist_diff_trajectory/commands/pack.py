"""``emnist-diff pack``."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from emnist_diff_trajectory.printing import echo


def pack(
    file: Path = typer.Argument(help="A trajectory file whose run is finished."),
    output: Path | None = typer.Option(None, "--output", "-o", help="The packed file. [default: NAME.packed.h5]"),
    codec: str = typer.Option("zstd", help="zstd, blosc (fast) or gzip (read by any HDF5)."),
    level: int | None = typer.Option(None, help="zstd 1 … 22, blosc and gzip 1 … 9. [default: 3, 5, 4]"),
    replace: bool = typer.Option(False, "--replace", help="Put the packed file in the place of the original."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace an earlier packed file."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Compress a finished trajectory file without loss, for the archive.

    The packed file is compared with the original before it gets its name, and the original stays unless --replace is
    given. It is read like any other, but cannot be memory-mapped or continued; zstd and blosc need hdf5plugin
    (pip install 'emnist-diff[pack]'), also to be read.
    """
    from emnist_diff.errors import ConfigError, unknown
    from emnist_diff_trajectory.pack import LEVELS, Packing
    from emnist_diff_trajectory.pack import pack as pack_file

    if codec not in LEVELS:
        raise unknown("codec", codec, LEVELS)
    if replace and output is not None:
        raise ConfigError("--replace and --output exclude each other — the packed file has one name")
    done = pack_file(file, output, Packing(codec, level), overwrite=overwrite, replace=replace)
    if as_json:
        data = {"file": str(done.path), "before": done.before, "after": done.after, "ratio": round(done.ratio, 4)}
        data["written"] = done.written
        typer.echo(json.dumps(data))
    else:
        sizes = f"{done.before / 1e6:.2f} → {done.after / 1e6:.2f} MB"
        kept = "" if done.written else "; the original is kept"
        echo(f"{done.path}: {sizes}, {done}{kept}")
