"""``emnist-diff verify``."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from emnist_diff_trajectory.printing import echo


def verify(
    file: Path = typer.Argument(help="A trajectory file."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Check a trajectory file: structure, shapes, commit markers, hashes, finite values, and the ledger.

    Exit code 0 when nothing is wrong, 1 when something is, 5 when the file is no trajectory at all.
    """
    from emnist_diff_trajectory.verify import unchecked
    from emnist_diff_trajectory.verify import verify as check

    problems, notes = check(file), unchecked(file)
    if as_json:
        found = [{"where": p.where, "what": p.what} for p in problems]
        typer.echo(json.dumps({"file": str(file), "problems": found, "notes": notes}))
    else:
        for p in problems:
            echo(f"{file}: {p.where}: {p.what}")
        if not problems:
            echo(f"{file}: ok")
        for note in notes:
            echo(f"  {note}")
    if problems:
        raise typer.Exit(1)
