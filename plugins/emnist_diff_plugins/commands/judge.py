"""``emnist-diff judge`` and ``train-judge``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from emnist_diff.discovery import installed
from emnist_diff.errors import ConfigError, OutputError
from emnist_diff_plugins.commands._dataset import DATASET
from emnist_diff_trajectory.printing import echo

if TYPE_CHECKING:  # what these import is not needed for --help
    from emnist_diff_plugins.judging.file import Judge
    from emnist_diff_plugins.judging.scores import Score

app = typer.Typer(add_completion=False, rich_markup_mode=None)
train_app = typer.Typer(add_completion=False, rich_markup_mode=None)

_JSON = typer.Option(False, "--json", help="Print the result as JSON.")


@app.command()
def judge(
    files: list[Path] = typer.Argument(help="Trajectory files."),
    judge: str | None = typer.Option(
        None, help="A judge that is shipped, mnist or handwritten, or a file of train-judge. [default: what fits]"
    ),
    data: str | None = typer.Option(
        None, help="Directory of the training images, to find the nearest one of each sample."
    ),
    dataset: str | None = DATASET,
    output: Path | None = typer.Option(
        None, help="Picture of samples beside their nearest training images. [default: nearest.png, beside the file]"
    ),
    as_json: bool = _JSON,
) -> None:
    """Say how finished samples compare with real images of their classes.

    A judge is a small classifier. It says which share of the samples it recognises as their own class, how far their
    features lie from those of real images (the Fréchet distance), and how much they vary (the spread, 1 for as much as
    real images). With --data it looks for copies: the nearest training image of each sample.

    Example:  emnist-diff judge output/A/trajectory.h5
    """
    from emnist_diff_plugins.judging.report import Nearest, judged, nearest_of

    scores: list[dict[str, Any]] = []
    for file in files:
        samples, score = judged(file, judge)
        found: Nearest | None = None
        if data is not None:
            found = nearest_of(samples, installed(), dataset, data)
            picture = output or file.parent / "nearest.png"
            found.save(picture)
        if as_json:
            more = {} if found is None else {"nearest": found.as_data(), "picture": str(picture)}
            scores.append({"file": str(file), "judge": samples.judge.name, **score.as_data(), **more})
            continue
        _print(file, samples.judge, score)
        if found is not None:
            echo(f"  {found.line}; {picture} shows those nearest")
    if as_json:
        typer.echo(json.dumps(scores))


def _print(file: Path, judge: Judge, score: Score) -> None:
    echo(f"{file}: {score.count} sample{'s'[: score.count != 1]}, judge {judge.name!r}")
    echo(f"  recognised  {score.recognised:.3f}  (real images {score.real:.3f})")
    real = judge.facts.get("real") or {}
    best = f"  ({real['count']:,} real images {real['frechet']:.3f})" if real.get("frechet") else ""
    echo("  Fréchet     " + ("needs two samples" if score.frechet is None else f"{score.frechet:.3f}") + best)
    echo("  spread      " + ("needs two samples of a class" if score.spread is None else f"{score.spread:.2f}"))
    if len(score.classes) > 1:
        for part in score.classes:
            spread = "     " if part.spread is None else f"{part.spread:5.2f}"
            echo(f"    {part.name:<12} {part.count:>6}  {part.recognised:.3f}  ({part.real:.3f})  {spread}")


@train_app.command()
def train_judge(
    data: str = typer.Option(..., help="Directory of the dataset's files."),
    dataset: str | None = DATASET,
    output: Path = typer.Option(Path("judge.safetensors"), help="The file to write."),
    epochs: int = typer.Option(4, min=1, help="Passes over the images."),
    batch_size: int = typer.Option(128, min=2, help="Images of an update."),
    seed: int = typer.Option(0, min=0, help="Seed of weights, order and shifts."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace what is there."),
    as_json: bool = _JSON,
) -> None:
    """Train a judge on labelled images, for emnist-diff judge --judge FILE.

    The reader's test part says how many real images the judge recognises.

    Example:  emnist-diff train-judge --dataset mnist --data data/mnist
    """
    if output.suffix != ".safetensors":
        raise ConfigError(f"--output {str(output)!r}: name a file that ends in .safetensors")
    if output.exists() and not overwrite:
        raise OutputError(f"{output} already exists — use --overwrite to replace it, or --output for another place")
    from emnist_diff_plugins.judging.file import save
    from emnist_diff_plugins.judging.report import read_data
    from emnist_diff_plugins.judging.training import Exercise, train

    registry = installed()
    images, held_out = (read_data(registry, dataset, data, part) for part in ("train", "test"))
    exercise = Exercise(epochs, batch_size, seed)
    trained = train(
        output.stem, images, held_out, exercise, lambda n, loss: echo(f"epoch {n}: loss {loss:.3f}", err=True)
    )
    save(output, trained)
    if as_json:
        typer.echo(json.dumps({"file": str(output), "classes": len(trained.classes), **trained.facts}))
    else:
        echo(f"{output}: recognises {trained.facts['accuracy']:.4f} of {len(held_out.images)} held-out images")
