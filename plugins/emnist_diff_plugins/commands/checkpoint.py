"""``emnist-diff checkpoint``."""

from __future__ import annotations

import json
import math
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from emnist_diff.printable import printable
from emnist_diff_trajectory import files
from emnist_diff_trajectory.printing import echo

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
        help="A .safetensors checkpoint, or a directory, for its newest epoch. [default: the shipped one]",
        show_default=False,
    ),
    epoch: int | None = typer.Option(None, help="Take this epoch of the directory."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Show what a checkpoint holds: network, class names, noise schedule, size, the run settings it recommends, and
    where it comes from. Reads the file without loading the network."""
    from emnist_diff.errors import ConfigError
    from emnist_diff.structuring import unstructure
    from emnist_diff_plugins.containers import checkpoint

    if path is None and epoch is not None:
        raise ConfigError(f"--epoch {epoch} of what? — name the directory that holds the epochs")
    file = checkpoint.located(path, epoch)
    header = checkpoint.read_header(file)
    tensors = checkpoint.tensors_of(file).values()
    data: dict[str, Any] = {
        "file": str(file),
        "bytes": file.stat().st_size,
        "sha256": files.sha256(file),
        "parameters": sum(math.prod(t.shape) for t in tensors),
        "dtypes": sorted({t.dtype for t in tensors}),
        **unstructure(header),
    }
    if as_json:
        typer.echo(json.dumps(data, indent=2))
        return
    for line in _lines(data):
        echo(line)


def _lines(data: dict[str, Any]) -> list[str]:
    """The same for a reader: one aligned line a fact."""
    codec, objective = data["codec"], data["objective"]
    rows = {
        "role": data["role"],
        "family": data["family"],
        "parameters": f"{data['parameters']:,}, stored as {', '.join(data['dtypes'])}",
        "classes": f"{len(data['classes'])}: {' '.join(data['classes'])}",
        "merged": ", ".join(f"{a} → {b}" for a, b in data["merged"].items()) or "none",
        "null class": "none" if data["null_index"] is None else f"index {data['null_index']}",
        "prediction": data["prediction"],
        "epoch": "not recorded" if data["epoch"] is None else str(data["epoch"]),
        "sha256": data["sha256"],
    }
    if codec is not None:
        shapes = ("×".join(map(str, codec[name])) for name in ("shape", "image_shape"))
        rows["codec"] = f"{codec['name']}, {' from '.join(shapes)}, {codec['sha256']}"
    if data["role"] == "codec":  # which predicts nothing
        del rows["prediction"], rows["null class"]
        data = {**data, "schedule": {}}
    elif objective is not None:
        settings = ",".join(f"{key}={json.dumps(value)}" for key, value in objective["settings"].items())
        rows["objective"] = f"{objective['name']}:{settings}"
    lines = [f"{printable(data['file'])}  ({data['bytes'] / 1e6:.1f} MB)"]
    for key, value in rows.items():
        lines += textwrap.wrap(f"  {key:<11} {printable(value)}", 100, subsequent_indent=" " * 14)
    for title, key in (
        ("noise schedule", "schedule"),
        ("network", "network"),
        ("recommended run settings", "recommended"),
        ("provenance", "provenance"),
    ):
        lines.append(f"  {title}" + ("" if data[key] else ": none"))
        lines += [f"    {printable(name)} = {printable(value)}" for name, value in _flat(data[key])]
    return lines


def _flat(table: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Every setting of a table with its value as JSON; those of a table within it under ``outer.inner``."""
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{above}{key}.")
        else:
            yield above + key, json.dumps(value, ensure_ascii=False)


@app.command(short_help="Convert a legacy .pt checkpoint")
def convert(
    source: Path = typer.Argument(help="A legacy .pt checkpoint."),
    destination: Path | None = typer.Argument(
        None,
        help="The .safetensors file to write, or a directory for it. [default: beside SOURCE]",
        show_default=False,
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the destination if it exists."),
) -> None:
    """Convert a legacy .pt checkpoint to .safetensors. The .pt file stays as it is.

    A .pt file is a pickle, and loading a pickle can run any program. This command runs nothing from the file: it reads
    tensors, text and numbers, and when the file asks for anything else, it stops and says what that was.
    """
    from emnist_diff_plugins.containers import checkpoint
    from emnist_diff_plugins.denoisers import legacy

    written = legacy.convert(source, destination, overwrite=overwrite)
    classes = checkpoint.read_header(written).classes
    echo(f"wrote {written}  ({written.stat().st_size / 1e6:.1f} MB, {len(classes)} classes)")
    character = "A" if "A" in classes else classes[0]
    echo(f"run it: emnist-diff run --checkpoint {shlex.quote(str(written))} --character {shlex.quote(character)}")
