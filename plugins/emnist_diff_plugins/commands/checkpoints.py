"""``emnist-diff checkpoints``."""

from __future__ import annotations

import json
import math
from typing import Any

import typer

from emnist_diff_trajectory.printing import echo

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_HEADS = ("checkpoint", "classes", "states", "process", "network", "parameters", "MB", "recommended")


@app.command()
def checkpoints(as_json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """List the checkpoints that come with this package; run --checkpoint NAME takes one by its name.

    Example:  emnist-diff run --checkpoint mnist-latent-rf --character 7
    """
    from emnist_diff_plugins.containers.shipped import DEFAULT, models

    rows = [_row(name, path) for name, path in models().items()]
    if as_json:
        typer.echo(json.dumps([{**row, "default": row["checkpoint"] == DEFAULT} for row in rows], indent=2))
        return
    table = [_HEADS, *(tuple(str(row[head]) for head in _HEADS) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        echo("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
    echo(f"run takes {DEFAULT} where none is named; docs/model-card.md shows samples of each")


def _row(name: str, path: Any) -> dict[str, Any]:
    from emnist_diff.timeline import FlowSchedule
    from emnist_diff_plugins.containers import checkpoint

    header = checkpoint.read_header(path)
    settings = header.recommended
    scheduler = settings.get("scheduler", "")
    steps = settings.get("steps", "")
    codec = header.codec
    states = "pixels" if codec is None else f"{'×'.join(map(str, codec.shape))} latents of {codec.name}"
    return {
        "checkpoint": name,
        "classes": len(header.classes),
        "states": states,
        "process": "flow" if isinstance(header.schedule, FlowSchedule) else "diffusion",
        "network": header.family,
        "parameters": sum(math.prod(tensor.shape) for tensor in checkpoint.tensors_of(path).values()),
        "MB": round(path.stat().st_size / 1e6, 2),
        "recommended": f"{scheduler if isinstance(scheduler, str) else scheduler.get('name')}, {steps} steps",
        "file": str(path),
    }
