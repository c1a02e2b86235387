"""``emnist-diff export``: what a sink makes during a run, made from its trajectory file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from emnist_diff.discovery import installed
from emnist_diff.errors import ConfigError
from emnist_diff.records import SinkSpec
from emnist_diff_plugins import parse
from emnist_diff_plugins.commands.datasets import Requested, bytes_of_option, write_dataset
from emnist_diff_plugins.commands.switches import Switch, switch_options
from emnist_diff_plugins.pluginfiles import with_files
from emnist_diff_trajectory.printing import echo

_RECORDER = "hdf5"
"""The sink whose file is read here, and which therefore makes nothing of it."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class _OptionPerSink(TyperCommand):
    """``--frames``, ``--video``, …: an option for every sink that is installed."""

    def get_params(self, ctx: Any) -> list[Any]:
        specs = [entry.spec for entry in installed().of(SinkSpec) if entry.spec.name != _RECORDER]
        own = super().get_params(ctx)
        switches = [
            Switch(s.name, f"--{s.name}", s.summary + ".", also=(f"--{s.flag}",) if s.flag not in ("", s.name) else ())
            for s in specs
        ]
        return [*own, *switch_options(own, switches, __name__)]


@app.command(cls=_OptionPerSink)
def export(
    ctx: typer.Context,
    file: Path = typer.Argument(help="A trajectory file; of merged ones their index."),
    sink: list[str] = typer.Option(
        [], "--sink", help='A sink with settings, e.g. "video:fps=20,format=gif"; may be repeated.'
    ),
    output: Path | None = typer.Option(
        None, "--output", "--output-dir", help="Directory to write into. [default: that of the file]"
    ),
    fps: int | None = typer.Option(None, help="Frames a second of videos."),
    upscale: int | None = typer.Option(None, help="Pixels become squares of this size."),
    checkpoint: str | None = typer.Option(
        None,
        help="The checkpoint that made the file, if its states are no pictures. "
        "[default: the one with the recorded hash, if it is near]",
    ),
    resume: bool = typer.Option(False, "--resume", help="Keep what is there, and make the rest."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace what is there."),
    as_json: bool = typer.Option(False, "--json", help="Print the result as JSON."),
    plugin_file: list[Path] = typer.Option(
        [], "--plugin-file", help="A Python file with plugins of your own; may be repeated."
    ),
    dataset: Path | None = typer.Option(
        None,
        metavar="DIR",
        help="Make Diffulizer's dataset of a sample in this folder: pictures, attention and metrics by step.",
    ),
    sample: str | None = typer.Option(
        None,
        help="With --dataset: ids such as 3 or 0-9, several each in a folder of its own. [default: the first]",
    ),
    attention: Path | None = typer.Option(
        None, help="With --dataset: the file with attention. [default: the file, or NAME.attention.h5 beside it]"
    ),
    condition: str | None = typer.Option(None, help="With --dataset: of which attention is. [default: own]"),
    arrays: bool | None = typer.Option(
        None,
        "--arrays/--no-arrays",
        help="With --dataset: whether states and predicted noise are written too. [default: yes]",
    ),
    max_size: str | None = typer.Option(None, help="With --dataset: refuse to write more than this, e.g. 200MB."),
    progress_file: Path | None = typer.Option(
        None, help="With --dataset: a file of JSON that says how far the export is."
    ),
) -> None:
    """Make pictures, videos and arrays of the samples in a trajectory file, as a run makes them: the same files, by
    the same code. Name what to make by its option, or by --sink with settings. With --dataset, make a folder with the
    pictures, attention and metrics of a sample.

    Examples:  emnist-diff export output/A/trajectory.h5 --video    emnist-diff export FILE --sink "frames:every=10"
       emnist-diff export FILE --dataset dataset --sample 3
    """
    if resume and overwrite:
        raise ConfigError("--resume and --overwrite exclude each other — resume keeps what overwrite would replace")
    options = {
        "--sample": sample,
        "--attention": attention,
        "--condition": condition,
        "--arrays": arrays,
        "--max-size": max_size,
        "--progress-file": progress_file,
    }
    if dataset is not None:
        others = {"--output": output, "--fps": fps, "--upscale": upscale, "--sink": sink or None}
        others |= {f"--{name}": on or None for name, on in ctx.meta.get(__name__, {}).items()}
        if used := [name for name, value in others.items() if value is not None]:
            raise ConfigError(f"--dataset and {used[0]} exclude each other — a dataset is made alone")
        write_dataset(
            Requested(file, dataset, attention, condition or "own", sample, progress_file),
            bytes_of_option(max_size),
            arrays is not False,
            (resume, overwrite),
            (with_files(plugin_file), checkpoint),
            as_json,
        )
        return
    if used := [name for name, value in options.items() if value is not None]:
        raise ConfigError(f"{used[0]} is an option of --dataset — name its folder, e.g. --dataset dataset")
    requested = [{"name": name} for name, on in ctx.meta.get(__name__, {}).items() if on]
    requested += [parse.component(text, "--sink") for text in sink]
    if not requested:
        names = ", ".join(f"--{e.spec.name}" for e in installed().of(SinkSpec) if e.spec.name != _RECORDER)
        raise ConfigError(f"export: nothing to make — use one or more of {names}")
    from emnist_diff.components import make
    from emnist_diff_plugins.exporting.decoder import FileDecoder
    from emnist_diff_plugins.exporting.feeding import feed
    from emnist_diff_plugins.runconfig import normalised, resolve
    from emnist_diff_plugins.shorthands import with_settings
    from emnist_diff_plugins.sinks._recorded import Recorded
    from emnist_diff_trajectory.reader import Trajectory

    registry = with_files(plugin_file)
    sinks_requested = normalised({"sinks": requested})["sinks"]
    components = resolve({"sinks": with_settings(registry, sinks_requested, _given(fps, upscale))})
    sinks = {}
    for item in components.sinks or ():
        component = make(registry, SinkSpec, item)
        if component.name == _RECORDER:
            raise ConfigError(
                f"export: {file} is a trajectory file already — to copy or shrink it, see emnist-diff pack"
            )
        if component.name in sinks:
            raise ConfigError(f"export: {component.name!r} is given twice")
        sinks[component.name] = component.object
    folder = file.parent if output is None else output
    with Trajectory(file) as trajectory:
        recorded = Recorded(trajectory, FileDecoder(trajectory, registry, checkpoint))
        count = feed(recorded, sinks, folder, resume=resume, overwrite=overwrite)
    if as_json:
        typer.echo(json.dumps({"output": str(folder), "samples": count, "sinks": list(sinks)}))
    else:
        echo(f"{', '.join(sinks)} of {count} samples in {folder}")


def _given(fps: int | None, upscale: int | None) -> dict[str, int]:
    return {key: value for key, value in (("fps", fps), ("upscale", upscale)) if value is not None}
