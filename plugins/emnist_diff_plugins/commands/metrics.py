"""``emnist-diff metrics``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from emnist_diff.errors import ConfigError, OutputError
from emnist_diff.paths import local_path
from emnist_diff.plugins import Registry
from emnist_diff_plugins.pluginfiles import with_files
from emnist_diff_trajectory.printing import echo

if TYPE_CHECKING:  # what these import is not needed for --help
    from emnist_diff_plugins.metrics.join import Measured
    from emnist_diff_plugins.metrics.tables import Table

_FORMATS = ("csv", "json", "parquet")
_GROUPS = ("character", "stack", "run")

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def metrics(
    files: list[Path] = typer.Argument(
        help="Trajectory files; or one directory, to join the tables that workers' metrics sinks wrote there."
    ),
    output: Path | None = typer.Option(
        None, "--output", "--output-dir", help="Directory to write into. [default: metrics, beside the first file]"
    ),
    format: str = typer.Option("csv", help="Of the tables: csv, json or parquet."),
    scorers: str = typer.Option("all", help="How alike states and finished sample are: all, none, or names by commas."),
    by: str = typer.Option("character", help="Groups of step_groups: character, stack (forces and drifts) or run."),
    basin: str | None = typer.Option(
        None,
        help="Which class estimates lean to at each step. Classes are where the 'model' says, or where the samples of "
        "a trajectory file are, or this file's 'own'.",
    ),
    checkpoint: str | None = typer.Option(
        None,
        help="The checkpoint that made the files, for --basin model and where states are no pictures. "
        "[default: the one with the recorded hash, if it is near]",
    ),
    trace: bool = typer.Option(
        False, "--trace", help="Also JSON lines of each step, with layers and tokens: trace_metrics.jsonl."
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace what is there."),
    as_json: bool = typer.Option(False, "--json", help="Print the result as JSON."),
    plugin_file: list[Path] = typer.Option(
        [], "--plugin-file", help="A Python file with plugins that made the files; may be repeated."
    ),
) -> None:
    """Measure every step and every sample of trajectory files.

    Writes video_metrics, step_metrics, step_groups (mean, deviation and quantiles by group and step), scores, and
    inference_metrics.json. The metrics sink of a run writes the same numbers while it goes on.

    Example:  emnist-diff metrics output/A/trajectory.h5
    """
    if format not in _FORMATS:
        raise ConfigError(f"--format {format!r}: it is one of {', '.join(_FORMATS)}")
    if by not in _GROUPS:
        raise ConfigError(f"--by {by!r}: it is one of {', '.join(_GROUPS)}")
    from emnist_diff_plugins.metrics import tables

    tables.check_format(format)
    joined = len(files) == 1 and files[0].is_dir()
    folder = output or (files[0] if joined else files[0].parent / "metrics")
    for option, value in (("--basin", basin), ("--trace", trace)):
        if joined and value:
            raise ConfigError(f"{option} needs trajectory files, not the tables of workers")
    from emnist_diff_plugins.metrics import join
    from emnist_diff_plugins.metrics.scorers import SCORERS

    registry = with_files(plugin_file)
    names = list(SCORERS) if scorers == "all" else [] if scorers == "none" else scorers.split(",")
    lines: list[str] | None = [] if trace else None
    take = None if lines is None else lines.extend
    found = join.join(files[0]) if joined else join.measure(files, registry, checkpoint, names, take)
    out = _tables(found, by)
    if basin:
        out["basin_trace"] = _basin(files, registry, basin, checkpoint)
    written = _write(folder, format, out, found, overwrite, lines)
    for line in found.lacking:
        echo(f"note: {line}", err=True)
    if as_json:
        data = {"output": str(folder), "samples": tables.length(found.videos), "files": written}
        typer.echo(json.dumps(data))
    else:
        count = tables.length(found.videos)
        echo(f"metrics of {count} sample{'s'[: count != 1]} in {folder}: {', '.join(written)}")


def _tables(found: Measured, by: str) -> dict[str, Table]:
    from emnist_diff_plugins.metrics.summary import by_step

    group_of = dict(zip(_keys(found.videos), found.videos[by], strict=True))
    groups = [group_of[key] for key in _keys(found.steps)]
    out = {
        "video_metrics": found.videos,
        "step_metrics": found.steps,
        "step_groups": by_step(found.steps, groups),
    }
    if found.scores is not None:
        out["scores"] = found.scores
    return out


def _basin(files: list[Path], registry: Registry, source: str, checkpoint: str | None) -> Table:
    from emnist_diff_plugins.metrics.basin import measure

    if source == "own":
        return measure(files, registry, "own")
    return measure(files, registry, "model" if source == "model" else Path(local_path(source)), checkpoint)


def _keys(table: Table) -> list[tuple[str, int]]:
    return list(zip(table["run"], table["vid_id"].tolist(), strict=True))


def _write(
    folder: Path, format: str, out: dict[str, Table], found: Measured, overwrite: bool, lines: list[str] | None
) -> list[str]:
    """Write everything; refuses before it writes anything. Returns the names."""
    from emnist_diff_plugins.metrics.growing import LINES
    from emnist_diff_plugins.metrics.summary import report
    from emnist_diff_plugins.metrics.tables import json_bytes, write_table
    from emnist_diff_trajectory.files import write_bytes

    summary = folder / "inference_metrics.json"
    paths = {name: folder / f"{name}.{format}" for name in out}
    traced = {} if lines is None else {folder / LINES: "".join(lines).encode()}
    for path in (*paths.values(), *traced, summary):
        if path.exists() and not overwrite:
            raise OutputError(f"{path} already exists — use --overwrite to replace it, or --output for another place")
    for name, table in out.items():
        write_table(paths[name], table)
    for path, data in traced.items():
        write_bytes(path, data)
    write_bytes(summary, json_bytes(report(found.config, found.videos, found.wall_seconds)))
    return [path.name for path in (*paths.values(), *traced, summary)]
