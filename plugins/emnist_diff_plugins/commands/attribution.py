"""``emnist-diff attribution``: where each force acts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from emnist_diff.discovery import installed
from emnist_diff.errors import OutputError
from emnist_diff_trajectory.printing import echo

if TYPE_CHECKING:  # not needed for --help
    from emnist_diff_plugins.analysis.attribution import ContributionMaps

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def attribution(
    file: Path = typer.Argument(help="A trajectory file of a run with forces."),
    output: Path | None = typer.Option(
        None, "--output", "--output-dir", help="Directory to write into. [default: that of the file]"
    ),
    character: list[str] = typer.Option(
        [], "--character", "--class", help="Only samples of this class; may be repeated."
    ),
    moments: int = typer.Option(8, min=1, max=40, help="How many steps the picture shows."),
    top: int = typer.Option(5, min=1, max=1000, help="How many of the most active places are listed."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace what is there."),
    as_json: bool = typer.Option(False, "--json", help="Print the result as JSON."),
) -> None:
    """Show where in the picture each force acts at each step, in the mean over samples.

    Writes attribution.png, a row for each part of the prediction from noise to image, and attribution.npz with the
    maps of all steps and the most active places. The lightest colour is a row's largest value, which stands beside it.

    Example:  emnist-diff attribution output/A/trajectory.h5
    """
    from emnist_diff_plugins.analysis.attribution import contribution_maps, top_places
    from emnist_diff_plugins.metrics.reading import BlockReader
    from emnist_diff_plugins.sinks._arrays import npz
    from emnist_diff_trajectory.files import write_bytes
    from emnist_diff_trajectory.reader import Trajectory
    from emnist_diff_trajectory.select import chosen

    folder = file.parent if output is None else output
    picture, arrays = folder / "attribution.png", folder / "attribution.npz"
    for path in (picture, arrays):
        if path.exists() and not overwrite:
            raise OutputError(f"{path} already exists — use --overwrite to replace it, or --output for another place")
    with Trajectory(file) as trajectory:
        reader = BlockReader(trajectory, installed())
        wanted = set(chosen(trajectory, character).tolist())
        found = contribution_maps(reader, [position for position in reader.positions if position in wanted])
        timestep = trajectory.timestep[found.steps]
    places = top_places(found.maps.sum(1), top)
    data = _png(found, timestep.tolist(), moments)
    write_bytes(
        arrays,
        npz(
            names=found.names,  # type: ignore[arg-type]  # numpy makes an array of them
            steps=found.steps,
            maps=found.maps,
            signed=found.signed,
            top_rows=places.rows,
            top_columns=places.columns,
            top_values=places.values,
        ),
    )
    write_bytes(picture, data)
    share = found.maps.sum((1, 2, 3)) / max(float(found.maps.sum()), 1e-300)
    if as_json:
        parts = {
            name: {
                "share": float(share[number]),
                "top": [
                    [int(row), int(column), float(value)]
                    for row, column, value in zip(
                        places.rows[number], places.columns[number], places.values[number], strict=True
                    )
                ],
            }
            for number, name in enumerate(found.names)
        }
        typer.echo(json.dumps({"output": str(folder), "samples": found.samples, "parts": parts}))
    else:
        echo(f"maps of {found.samples} samples: {picture.name} and {arrays.name} in {folder}")
        for number, name in enumerate(found.names):
            most = ", ".join(f"({r}, {c})" for r, c in zip(places.rows[number], places.columns[number], strict=True))
            echo(f"  {name}: {share[number]:.1%} of the activity, most at {most}")


def _png(found: ContributionMaps, timestep: list[float], count: int) -> bytes:
    from emnist_diff_plugins.figures import bare, moments, new_figure, png_of

    columns = moments(len(found.steps), count)
    rows = len(found.names) + (found.estimate is not None)
    figure = new_figure(1.7 + 1.0 * len(columns), 0.5 + 1.05 * rows)
    axes = figure.subplots(rows, len(columns), squeeze=False)
    for number, name in enumerate(found.names):
        largest = found.maps[number][columns].max()
        for axis, column in zip(axes[number], columns, strict=True):
            bare(axis, found.maps[number, column], cmap="magma", vmin=0.0, vmax=largest or 1.0)
        axes[number, 0].set_ylabel(f"{name}\n≤ {largest:.2g}", rotation=0, ha="right", va="center", fontsize=8)
    if found.estimate is not None:
        for axis, column in zip(axes[-1], columns, strict=True):
            bare(axis, found.estimate[column], cmap="gray", vmin=-1.0, vmax=1.0)
        axes[-1, 0].set_ylabel("mean x0", rotation=0, ha="right", va="center", fontsize=8)
    for axis, column in zip(axes[0], columns, strict=True):
        axis.set_title(f"step {found.steps[column]}\nt = {timestep[column]:.0f}", fontsize=8)
    return png_of(figure)
