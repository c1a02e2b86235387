"""``emnist-diff inspect``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from emnist_diff.cli.app import app
from emnist_diff.cli.printable import printable


@app.command(short_help="Show what a trajectory file holds")
def inspect(
    file: Path = typer.Argument(help="A trajectory file."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Show what a trajectory file holds: samples, commit state, schedule, configuration, and the size of each field."""
    from emnist_diff.trajectory.reader import Trajectory

    with Trajectory(file) as trajectory:
        data: dict[str, Any] = {
            "file": str(file),
            "bytes": file.stat().st_size,
            "samples": len(trajectory),
            "committed": len(trajectory.committed),
            "steps": trajectory.steps,
            "classes": sorted({trajectory.classes[int(label)] for label in trajectory.labels}),
            "timesteps": [float(trajectory.timestep[0]), float(trajectory.timestep[-1])],
            "fields": {
                name: {"shape": list(d.shape), "dtype": str(d.dtype), "bytes": int(d.size * d.dtype.itemsize)}
                for name, d in trajectory.datasets().items()
            },
            "config": trajectory.config,
            "environment": trajectory.environment,
        }
    if as_json:
        typer.echo(json.dumps(data, indent=2))  # ASCII: nothing in it can upset a terminal
        return

    def show(line: str) -> None:
        typer.echo(printable(line))

    show(f"{file}  ({data['bytes'] / 1e6:.1f} MB)")
    show(f"  samples    {data['committed']} committed of {data['samples']}, class {', '.join(data['classes'])}")
    show(f"  steps      {data['steps']}, timestep {data['timesteps'][0]:g} → {data['timesteps'][1]:g}")
    show("  fields")
    width = max(map(len, data["fields"]))
    for name, f in data["fields"].items():
        show(f"    {name:<{width}}  {f['dtype']:<8} {tuple(f['shape'])}  {f['bytes'] / 1e6:.2f} MB")
    show("  configuration")
    for key, value in data["config"].items():
        show(f"    {key} = {json.dumps(value, ensure_ascii=False)}")
    show("  environment")
    for key, value in data["environment"].items():
        show(f"    {key} = {json.dumps(value, ensure_ascii=False)}")
