"""``emnist-diff diagnose``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from emnist_diff.discovery import installed
from emnist_diff_plugins.commands._dataset import DATASET
from emnist_diff_trajectory.printing import echo

if TYPE_CHECKING:  # what this imports is not needed for --help
    from emnist_diff_plugins.analysis.diagnosis import Diagnosis

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def diagnose(
    checkpoint: str | None = typer.Argument(None, help="The model. [default: the shipped one]", show_default=False),
    data: str = typer.Option(..., help="Directory of the dataset that it was trained on."),
    dataset: str | None = DATASET,
    samples: int = typer.Option(5, min=1, help="Samples of a class for each method of sampling."),
    character: str = typer.Option("all", "--character", "--class", help="Classes to sample, as for run."),
    steps: int = typer.Option(50, min=1, help="Denoising steps of each method."),
    seed: int = typer.Option(1000, min=0, help="Seed of the samples, the same for each method."),
    judge: str | None = typer.Option(
        None, help="Who recognises: mnist, handwritten, a file of train-judge, or none. [default: what fits]"
    ),
    output: Path = typer.Option(Path("diagnosis"), help="Directory to write into."),
    as_json: bool = typer.Option(False, "--json", help="Print what was found as JSON."),
) -> None:
    """Examine a trained model on held-out images: why are its samples as they are?

    Shows the error of its estimate of the image by noise level with the right class, with none and with a wrong one;
    how much the class changes the prediction; how alike the classes' embeddings are; the gradient of each part of the
    network; how deterministic and stochastic schedulers, and the conditional and the guided model, compare; and of
    latent models how latents spread, and what the codec alone loses. Writes overview.png, samples.png, diagnosis.json.

    Example:  emnist-diff diagnose --data data/emnist --character 0,1,A
    """
    from emnist_diff_plugins.analysis.diagnosis import diagnose as examine
    from emnist_diff_plugins.analysis.diagnosis_pictures import overview
    from emnist_diff_plugins.analysis.diagnosis_pictures import samples as strips
    from emnist_diff_plugins.figures import new_figure
    from emnist_diff_plugins.judging.report import read_data
    from emnist_diff_trajectory.files import write_bytes

    new_figure(1, 1)  # a missing library is said before the work
    registry = installed()
    layer = {"character": character, "per_character": samples, "steps": steps, "seed": seed}
    found = examine(registry, checkpoint, read_data(registry, dataset, data, "test"), judge, layer)
    text = json.dumps(found.as_data(), indent=1)
    write_bytes(output / "overview.png", overview(found))
    write_bytes(output / "samples.png", strips(found))
    write_bytes(output / "diagnosis.json", text.encode())
    if as_json:
        typer.echo(json.dumps(found.as_data()))
        return
    _print(found)
    echo(f"pictures and numbers are in {output}")


def _print(found: Diagnosis) -> None:
    echo("x0 error by noise power     right    null   wrong   ‖e_c − e_null‖/‖e_null‖")
    for level in found.levels:
        numbers = f"{level.right:.4f}  {level.null:.4f}  {level.wrong:.4f}   {level.guidance:.3f}"
        echo(f"  {level.noise:>20.3f}    {numbers}")
    states = found.states
    echo(f"states: mean {states['mean']:.3f}, deviation {states['deviation']:.3f}")
    if found.embedding is not None:
        norms, pairs = found.embedding.norms, found.embedding.cosines.copy()
        pairs[range(len(pairs)), range(len(pairs))] = -1.0
        echo(f"embeddings: norms {norms.min():.2f} … {norms.max():.2f}, largest cosine of a pair {pairs.max():.2f}")
    if found.gradients:
        largest = max(found.gradients, key=lambda part: (found.gradients or {})[part])
        least = min(found.gradients, key=lambda part: (found.gradients or {})[part])
        echo(f"gradients: largest in {largest}, {found.gradients[largest]:.3g}; least in {least}, "
             f"{found.gradients[least]:.3g}")  # fmt: skip
    if found.floor is not None:
        echo("codec alone: " + _figures(found.floor))
    for part in found.sampled:
        echo(f"{part.method:>12}: " + (_figures(part.scores) or "see samples.png"))


def _figures(scores: object) -> str:
    table = scores if isinstance(scores, dict) else {}
    return ", ".join(f"{name} {value:.3f}" for name, value in table.items() if value is not None)
