"""``emnist-diff distribution``."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from emnist_diff.discovery import installed
from emnist_diff.errors import ConfigError
from emnist_diff_plugins.commands._dataset import DATASET
from emnist_diff_trajectory.printing import echo

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def distribution(
    file: Path = typer.Argument(help="A trajectory file."),
    data: str = typer.Option(..., help="Directory of the real images."),
    dataset: str | None = DATASET,
    method: str = typer.Option("pca", help="How points are laid out: umap, tsne or pca."),
    space: str = typer.Option("pixels", "--in", help="What is compared: pixels, or the model's latents."),
    checkpoint: str | None = typer.Option(
        None, help="The checkpoint that made the file, for --in latents. [default: the one found for its hash]"
    ),
    most: int = typer.Option(1000, "--samples", min=2, help="Real and generated samples each, at most."),
    seed: int = typer.Option(0, min=0, help="Seed of the layout, and of which real images are taken."),
    output: Path | None = typer.Option(None, help="The picture. [default: distribution-METHOD.png, beside the file]"),
    as_json: bool = typer.Option(False, "--json", help="Print points and figures as JSON."),
) -> None:
    """Lay generated and real samples of the same classes out on one map.

    Where real points stand alone the model leaves something out; where generated ones do, it invents. umap needs
    umap-learn, tsne scikit-learn, pca nothing. With scikit-learn the silhouette says how well the two can be told
    apart, 0 for not at all.

    Example:  emnist-diff distribution output/A/trajectory.h5 --data data/emnist
    """
    from emnist_diff_plugins.analysis.compared import Choice, vectors
    from emnist_diff_plugins.analysis.distribution import METHODS, mapped, picture
    from emnist_diff_plugins.judging.report import read_data
    from emnist_diff_trajectory.files import write_bytes

    if method not in METHODS:
        raise ConfigError(f"--method {method!r}: use one of {', '.join(METHODS)}")
    registry = installed()
    images = read_data(registry, dataset, data, "test")
    found = vectors(registry, file, images, Choice(space, most, seed), checkpoint)
    plane = mapped(method, found.real, found.generated, found.labels, found.classes, seed)
    path = output or file.parent / f"distribution-{method}.png"
    write_bytes(path, picture(plane))
    if as_json:
        points = {"real": plane.real.tolist(), "generated": plane.generated.tolist()}
        typer.echo(json.dumps({"picture": str(path), "silhouette": plane.silhouette, **points}))
        return
    apart = "not measured, for it needs scikit-learn" if plane.silhouette is None else f"{plane.silhouette:.3f}"
    echo(f"{path}: {len(plane.generated)} generated, {len(plane.real)} real; silhouette {apart}")
