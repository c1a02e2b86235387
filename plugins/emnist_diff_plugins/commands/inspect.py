"""``emnist-diff inspect``."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from emnist_diff.errors import UnknownName
from emnist_diff_trajectory.printing import echo

_MOST_WORKERS = 8


def inspect(
    file: Path = typer.Argument(help="A trajectory file."),
    sample: int | None = typer.Option(None, help="Show the sample with this id, from noise to image, as a strip."),
    moments: int = typer.Option(8, min=2, help="Pictures in the strip."),
    png: Path | None = typer.Option(None, help="Write the strip into this PNG file too."),
    decode: bool = typer.Option(
        False,
        "--decode",
        help="Show states through the codec of the model that the file names, which is run: for files that you trust.",
    ),
    checkpoint: str | None = typer.Option(
        None,
        help="The checkpoint of that model; implies --decode. [default: the one with the recorded hash, if it is near]",
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Show what a trajectory file holds: samples, commit state, schedule, size and figures of each field,
    configuration and environment.

    Figures (mean, standard deviation, range) are taken from a few samples and steps, however large the file is.
    """
    from emnist_diff.errors import ConfigError
    from emnist_diff_trajectory.reader import Trajectory
    from emnist_diff_trajectory.summary import summary

    if png is not None and sample is None:
        raise ConfigError("--png needs --sample ID, the sample to be drawn")
    with Trajectory(file) as trajectory:
        if sample is not None:
            decoded = decode or checkpoint is not None
            _show_sample(trajectory, sample, moments, png, decoded, checkpoint, as_json)
            return
        data = summary(trajectory)
    if as_json:
        typer.echo(json.dumps(data, indent=2))  # ASCII: nothing in it can upset a terminal
        return
    for line in _lines(data):
        echo(line)


def _lines(data: dict[str, Any]) -> list[str]:
    classes = ", ".join(f"{name} × {count}" for name, count in data["class_counts"].items())
    out = [
        f"{data['file']}  ({_size(data['bytes'])})",
        f"  samples    {data['committed']} committed of {data['samples']}, class {classes}",
        f"  ids        {data['ids'][0]} … {data['ids'][1]}",
        f"  steps      {data['steps']}, timestep {data['timesteps'][0]:g} → {data['timesteps'][1]:g}",
    ]
    if data["kept_steps"] < data["steps"] or data["kept_samples"] < data["samples"]:
        kept = f"{data['kept_steps']} of {data['steps']} steps, {data['kept_samples']} of {data['samples']} samples"
        out.append(f"  kept       states of {kept}")
    if data["sources"]:
        out.append(f"  index of   {', '.join(data['sources'][:4])}{', …' if len(data['sources']) > 4 else ''}")
    out.append(f"  schedule   {data['schedule']['forward_process']}")
    out.append(f"  predicts   {data['prediction_type']}")
    out.append("    step  timestep  alpha_bar       sigma  evaluations")
    for row in data["schedule"]["table"]:
        sigma = "∞" if row["sigma"] is None else f"{row['sigma']:.4g}"
        level = f"{row['timestep']:8g}  {row['alpha_bar']:9.6f}  {sigma:>10}"
        out.append(f"    {row['step']:4d}  {level}  {row['evaluations']:11d}")
    out.append("  fields")
    width = max(map(len, data["fields"]))
    for name, f in data["fields"].items():
        figures = ""
        if "mean" in f:
            figures = f"  {f['mean']:.3g} ± {f['std']:.3g}, {f['min']:.3g} … {f['max']:.3g}"
        if "unreadable" in f:
            figures = f"  {f['unreadable']}"
        if "not_finite" in f:
            figures += f", {f['not_finite']} of {f['seen']} not finite"
        packed = f" packed to {_size(f['stored_bytes'])}" if "stored_bytes" in f else ""
        shape = "×".join(map(str, f["shape"]))
        out.append(f"    {name:<{width}}  {f['dtype']:<8} {shape:<18} {_size(f['bytes']):>9}{packed}{figures}")
    for part, title in (("config", "configuration"), ("environment", "environment")):
        out.append(f"  {title}")
        for key, value in data[part].items():
            out += _workers(value) if key == "workers" else [f"    {key} = {json.dumps(value, ensure_ascii=False)}"]
    return out


def _workers(workers: Any) -> list[str]:
    """What differs between the workers of a merged file, one on each line, as many as fit on a screen."""
    if not isinstance(workers, list):
        return [f"    workers = {json.dumps(workers, ensure_ascii=False)}"]
    out = [f"    workers = {len(workers)}, which differ in"]
    for differing in workers[:_MOST_WORKERS]:
        facts = dict(differing) if isinstance(differing, dict) else {"worker": differing}
        worker = facts.pop("worker", None)
        if isinstance(worker, dict) and {"rank", "world_size"} <= worker.keys():
            worker = f"rank {worker['rank']} of {worker['world_size']}"
        others = ", ".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in facts.items())
        out.append(f"      {worker or 'one'}" + (f": {others}" if others else ""))
    if len(workers) > _MOST_WORKERS:
        out.append(f"      and {len(workers) - _MOST_WORKERS} more; --json lists all")
    return out


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.2f} MB"


def _show_sample(
    trajectory: Any,
    number: int,
    moments: int,
    png: Path | None,
    decoded: bool,
    checkpoint: str | None,
    as_json: bool,
) -> None:
    """One sample: who it is, and its pictures."""
    import numpy as np

    from emnist_diff_plugins.pictures import save_png

    position = _position(trajectory, number)
    decode = None
    if decoded:
        from emnist_diff.discovery import installed
        from emnist_diff_plugins.rebuild import decoder

        decode = decoder(trajectory, installed(), checkpoint)
    kept = [*trajectory.kept_steps.tolist(), trajectory.steps]
    steps = [kept[i] for i in sorted(set(np.linspace(0, len(kept) - 1, min(moments, len(kept))).round().astype(int)))]
    images = trajectory.pictures(position, steps, decode)
    data = {
        "file": str(trajectory.path),
        "id": number,
        "position": position,
        "class": trajectory.classes[int(trajectory.labels[position])] if trajectory.conditioned else None,
        "seed": int(trajectory.seeds[position]),
        "steps": steps,
    }
    if png is not None:
        gap = np.full((images.shape[1], 2, *images.shape[3:]), 40, np.uint8)
        cells = [part for image in images for part in (gap, image)][1:]
        save_png(np.concatenate(cells, axis=1), png, scale=4)
        data["png"] = str(png)
    if as_json:
        typer.echo(json.dumps(data, indent=2))
        return
    _print_sample(data, images)


def _position(trajectory: Any, number: int) -> int:
    """Where the sample with this id is. Raises `UnknownName` where it is not."""
    places = (trajectory.ids == number).nonzero()[0]
    if not len(places):
        span = f"{int(trajectory.ids.min())} … {int(trajectory.ids.max())}"
        raise UnknownName(f"sample {number} is not in {trajectory.path}, which has ids {span}")
    return int(places[0])


def _print_sample(data: Mapping[str, Any], images: Any) -> None:
    """The sample in words, and its pictures as a strip as wide as the terminal."""
    from emnist_diff_plugins.commands.strip import strip

    of = "no class" if data["class"] is None else f"class {data['class']}"
    echo(f"sample {data['id']}, {of}, steps {', '.join(map(str, data['steps']))}")
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for line in strip(images, shutil.get_terminal_size((100, 24)).columns, colour):
        typer.echo(line)
    if "png" in data:
        echo(f"  {data['png']}")
