"""``emnist-diff cfg-grid``."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import typer

from emnist_diff.discovery import installed
from emnist_diff.errors import ConfigError
from emnist_diff_trajectory.printing import echo

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def cfg_grid(
    checkpoint: list[str] = typer.Option(
        [], help="A model; may be repeated, to draw several side by side. [default: the shipped one]"
    ),
    scales: str = typer.Option("0,.5,1,2,3,5,7,10", help="Guidance scales, by commas."),
    samples: int = typer.Option(10, min=1, help="Samples of a class at a scale."),
    character: str = typer.Option("all", "--character", "--class", help="Classes, as for run."),
    steps: int | None = typer.Option(None, min=1, help="Denoising steps. [default: what the checkpoint recommends]"),
    scheduler: str | None = typer.Option(None, help="As for run. [default: what the checkpoint recommends]"),
    seed: int = typer.Option(1000, min=0, help="Seed of the noise, the same at every scale."),
    judge: str | None = typer.Option(
        None, help="Who recognises: mnist, handwritten, a file of train-judge, or none. [default: what fits]"
    ),
    output: Path = typer.Option(Path("cfg-grid"), help="Directory to write into."),
    as_json: bool = typer.Option(False, "--json", help="Print the result as JSON."),
) -> None:
    """Draw what the scale of guidance does: a grid of samples, and how varied and how recognisable they are.

    Each model gets a grid: rows are classes, columns scales, cells strips of samples, whose noise is the same at every
    scale. Beside it are curves.png and cells.csv. Scale 0 ignores the class, 1 is the plain conditional model.

    Example:  emnist-diff cfg-grid --character 0,1,2 --scales 0,1,3,7 --samples 5
    """
    from emnist_diff_plugins.analysis.guidance import guidance_grid, write
    from emnist_diff_plugins.figures import new_figure

    try:
        numbers = [float(part) for part in scales.split(",")]
    except ValueError as error:
        raise ConfigError(f"--scales {scales!r}: write numbers with commas between, such as 0,1,3") from error
    new_figure(1, 1)  # a missing library is said before the work
    registry = installed()
    layer: dict[str, Any] = {"character": character, "per_character": samples, "seed": seed}
    layer |= {key: value for key, value in (("steps", steps), ("scheduler", scheduler)) if value is not None}
    labels = _labels(checkpoint)
    grids = []
    for path, label in zip(checkpoint or [""], labels, strict=True):
        of_model = {**layer, "checkpoint": path} if path else layer
        on_scale = partial(_print_scale, label)
        grids.append(guidance_grid(registry, label, of_model, numbers, judge, on_scale))
    written = write(grids, output)
    if as_json:
        typer.echo(json.dumps({"written": [str(path) for path in written]}))
    for file in () if as_json else written:
        echo(str(file))


def _print_scale(label: str, scale: float) -> None:
    echo(f"{label}: scale {scale:g}", err=True)


def _labels(paths: list[str]) -> list[str]:
    """A name for each model, which is also that of its file."""
    names = [Path(path).stem for path in paths] or ["shipped"]
    return [f"{name}-{number}" if names.count(name) > 1 else name for number, name in enumerate(names, 1)]
