"""``emnist-diff merge``."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from emnist_diff_trajectory.printing import echo


def merge(
    files: list[Path] = typer.Argument(help="Files of one run, or the directory that its workers wrote into."),
    output: Path | None = typer.Option(
        None, "--output", "-o", help="The joined file. [default: trajectory.h5 beside the first]"
    ),
    copy: bool = typer.Option(
        False, "--copy", help="Write one file that needs no other, in place of an index that points to them."
    ),
    allow_holes: bool = typer.Option(False, "--allow-holes", help="Join them though samples are missing."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace what is there."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Join the files that the workers of a run left (emnist-diff run --rank R --world-size W), samples in order.

    The joined file is an index: it takes no room, and goes with the workers' files, beside which it must stay. Every
    reader takes it for one file. With --copy it is a file of its own.
    """
    from emnist_diff_trajectory.merge import merge as join
    from emnist_diff_trajectory.merge import worker_files

    found = worker_files(files[0]) if len(files) == 1 and files[0].is_dir() else files
    target = output or found[0].with_name("trajectory.h5")
    count = join(found, target, copy=copy, allow_holes=allow_holes, overwrite=overwrite)
    if as_json:
        typer.echo(json.dumps({"file": str(target), "files": [str(f) for f in found], "samples": count}))
    else:
        echo(f"{target}: {count} samples of {len(found)} files")
