"""``emnist-diff select`` and ``emnist-diff split``."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from emnist_diff_trajectory.printing import echo
from emnist_diff_trajectory.sample_ids import sample_ids


def select(
    file: Path = typer.Argument(help="A trajectory file."),
    output: Path = typer.Argument(help="The file to write."),
    character: list[str] = typer.Option([], "--character", "--class", help="Samples of this class; may be repeated."),
    sample: str | None = typer.Option(None, help="Samples with these ids, e.g. 3 or 0-9,12."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace what is there."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Copy samples of a trajectory file into another, by class, by id, or by both."""
    from emnist_diff.errors import ConfigError
    from emnist_diff_trajectory.reader import Trajectory
    from emnist_diff_trajectory.select import chosen
    from emnist_diff_trajectory.select import select as copy

    if not character and sample is None:
        raise ConfigError("no samples are chosen — use --character NAME or --sample IDS")
    with Trajectory(file) as trajectory:
        positions = chosen(trajectory, character, sample_ids(sample))
        count = copy(trajectory, positions, output, overwrite=overwrite)
    echo(json.dumps({"file": str(output), "samples": count}) if as_json else f"{output}: {count} samples")


def split(
    file: Path = typer.Argument(help="A trajectory file."),
    folder: Path = typer.Argument(help="The directory to write into."),
    by: str = typer.Option("class", help="class or sample."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace what is there."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Split a trajectory file into one file a class (class-A.h5) or a sample (sample-000007.h5)."""
    from emnist_diff_trajectory.reader import Trajectory
    from emnist_diff_trajectory.select import split as cut

    with Trajectory(file) as trajectory:
        written = cut(trajectory, folder, by, overwrite=overwrite)
    if as_json:
        typer.echo(json.dumps({"files": [str(path) for path in written]}))
        return
    for path in written:
        echo(str(path))
