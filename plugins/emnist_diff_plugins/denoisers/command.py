"""``emnist-diff checkpoint``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import typer

app = typer.Typer(
    help="Look into checkpoints (trained networks with all that is needed to run them), and convert legacy ones.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.command(short_help="Show what a checkpoint holds")
def inspect(
    path: Path | None = typer.Argument(
        None,
        help="A .safetensors checkpoint, or a directory whose newest epoch is taken. [default: the shipped one]",
        show_default=False,
    ),
    epoch: int | None = typer.Option(None, help="Which epoch of a directory."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Show what a checkpoint holds: network, class names, noise schedule, size, the run settings it recommends, and
    where it comes from. Reads the file without loading the network."""
    from emnist_diff import checkpoint
    from emnist_diff.assembly import shipped_checkpoint
    from emnist_diff.plugins import installed
    from emnist_diff.structuring import unstructure

    file = shipped_checkpoint(installed()) if path is None else checkpoint.discover(path, epoch)
    header = checkpoint.read_header(file)
    tensors = checkpoint.tensors_of(file).values()
    data: dict[str, Any] = {
        "file": str(file),
        "bytes": file.stat().st_size,
        "sha256": checkpoint.sha256(file),
        "parameters": sum(math.prod(t.shape) for t in tensors),
        "dtypes": sorted({t.dtype for t in tensors}),
        **unstructure(header),
    }
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False) if as_json else "\n".join(_lines(data)))


def _lines(data: dict[str, Any]) -> list[str]:
    """The same for a reader: one aligned line a fact."""
    rows = {
        "family": data["family"],
        "parameters": f"{data['parameters']:,} ({', '.join(data['dtypes'])})",
        "classes": f"{len(data['classes'])}: {' '.join(data['classes'])}",
        "merged": ", ".join(f"{a} → {b}" for a, b in data["merged"].items()) or "none",
        "null class": "none" if data["null_index"] is None else f"index {data['null_index']}",
        "prediction": data["prediction"],
        "epoch": "not recorded" if data["epoch"] is None else str(data["epoch"]),
        "sha256": data["sha256"],
    }
    lines = [f"{data['file']}  ({data['bytes'] / 1e6:.1f} MB)"]
    lines += [f"  {key:<11} {value}" for key, value in rows.items()]
    for title, key in (
        ("noise schedule", "schedule"),
        ("network", "network"),
        ("recommended run settings", "recommended"),
        ("provenance", "provenance"),
    ):
        lines.append(f"  {title}" + ("" if data[key] else ": none"))
        lines += [f"    {k} = {json.dumps(v, ensure_ascii=False)}" for k, v in data[key].items()]
    return lines


@app.command(short_help="Convert a legacy .pt checkpoint")
def convert(
    source: Path = typer.Argument(help="A legacy .pt checkpoint."),
    destination: Path | None = typer.Argument(
        None, help="The file to write. [default: SOURCE with the ending .safetensors]", show_default=False
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the destination if it exists."),
) -> None:
    """Convert a legacy .pt checkpoint to .safetensors.

    A .pt file is a pickle, which can run any program when it is loaded. This reads tensors and plain data only, runs
    nothing from the file, and refuses it by name if it asks for more.
    """
    from emnist_diff_plugins.denoisers import legacy

    written = legacy.convert(source, destination, overwrite=overwrite)
    typer.echo(f"wrote {written}  ({written.stat().st_size / 1e6:.1f} MB)")
