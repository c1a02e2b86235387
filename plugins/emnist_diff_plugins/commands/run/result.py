"""What ``emnist-diff run`` prints: the plan of a run, its schedules, what it made."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from emnist_diff.errors import ConfigError
from emnist_diff.events import get_logger
from emnist_diff.plugins import Registry
from emnist_diff.shown import shortened
from emnist_diff_trajectory.printing import echo

if TYPE_CHECKING:
    from emnist_diff.assembly.assemble import Assembly
    from emnist_diff.config import RunConfig
    from emnist_diff.running.run import RunResult
    from emnist_diff_plugins.terminal.logging import Choices
    from emnist_diff_trajectory.schema import Array

log = get_logger()

_NAMED = 12
"""Classes or prompts that the last line names at most, and how many more there are."""


def show_plan(assembly: Assembly, choices: Choices) -> None:
    """Print the resolved configuration, the plan and what files will hold as JSON, and log the last."""
    from emnist_diff_plugins import filesize
    from emnist_diff_plugins.forecast import forecast
    from emnist_diff_plugins.runconfig import to_dict

    found = filesize.files(assembly.sinks, assembly.header)
    files = {
        str(path): {a.name: {"dtype": a.dtype, "shape": a.shape, "bytes": a.size} for a in held}
        for path, held in found.items()
    }
    _log_sizes(found, choices)
    data = {"config": to_dict(assembly.config), "plan": forecast(assembly), "files": files}
    typer.echo(json.dumps(data, indent=2))


def _log_sizes(found: Mapping[Path, Sequence[Array]], choices: Choices) -> None:
    """Say what takes how much in each file: as a table for people, else as events."""
    from emnist_diff_plugins import filesize

    if choices.human and not choices.quiet:
        for line in filesize.table(found):
            echo(line, err=True)
        return
    for path, held in found.items():
        log.info("file.planned", file=str(path), bytes={array.name: array.size for array in held})


def within(assembly: Assembly, max_size: str | None, fit: bool, choices: Choices) -> Assembly:
    """The run within the size that was allowed, if any was. What was given up for that is logged.

    Raises `ConfigError` for a run that is larger, when it has logged what takes how much.
    """
    from emnist_diff_plugins import filesize, parse

    if max_size is None:
        return assembly
    most = parse.bytes_of(max_size, "--max-size")
    try:
        smaller, given_up = filesize.within(assembly, most, fit)
    except ConfigError:
        _log_sizes(filesize.files(assembly.sinks, assembly.header), choices)
        raise
    if given_up:
        log.warning("file.fitted", given_up=", ".join(given_up))
    return smaller


def plot_schedules(registry: Registry, settings: RunConfig, path: Path) -> None:
    """Have the weights over time drawn into a PNG; neither loads nor runs a network."""
    from emnist_diff.components import make
    from emnist_diff_plugins.contract import PlotSpec
    from emnist_diff_plugins.forecast import preview
    from emnist_diff_trajectory.files import write_bytes

    write_bytes(path, make(registry, PlotSpec, None).object.png(preview(registry, settings)))
    echo(f"  {path}", err=True)


def show(assembly: Assembly, result: RunResult, drawn: bool, as_json: bool, quiet: bool) -> None:
    """Print what a run made.  drawn: whether its seed was drawn."""
    if as_json:
        typer.echo(json.dumps(_summary(assembly, result)))
    elif not quiet:
        _tell(assembly, result, drawn)


def _summary(assembly: Assembly, result: RunResult) -> dict[str, object]:
    return {
        "output": str(result.output),
        "samples": result.samples,
        "resumed": result.resumed,
        "seed": result.seed,
        "conditioned": assembly.header.conditioned,
        "seconds": round(result.seconds, 3),
        "network_rows": result.rows,
        "micro_batch": result.micro_batch,
    }


def _tell(assembly: Assembly, result: RunResult, drawn: bool) -> None:
    if not result.samples and not result.resumed:
        echo(f"no samples for worker {assembly.config.rank} of {assembly.config.world_size}")
        return
    resumed = f" ({result.resumed} were already there)" if result.resumed else ""
    seed = f", seed {result.seed}" if drawn else ""
    requested = assembly.config.character or assembly.header.config["character"]
    classes = repr(requested) if isinstance(requested, str) else _listed(requested)
    of = f" of {classes}" if assembly.header.conditioned else ""
    echo(f"{result.samples} samples{of} in {result.seconds:.1f} s{seed}{resumed}")
    if not of:
        echo(f"  no base or force reads the class {classes}, which only names the folder")
    for path in _visible(result.output):
        echo(f"  {path}" if path.is_file() else f"  {path}{os.sep}  ({sum(p.is_file() for p in _visible(path))} files)")


def _listed(names: Sequence[str]) -> str:
    """Names, the first of them where there are many: a line is to be read."""
    first = ", ".join(repr(shortened(name, 80)) for name in names[:_NAMED])
    return f"{first} and {len(names) - _NAMED} more" if len(names) > _NAMED else first


def _visible(folder: Path) -> list[Path]:
    """What a directory holds but for hidden files; not every sink makes a directory."""
    return sorted(p for p in folder.iterdir() if not p.name.startswith(".")) if folder.is_dir() else []
