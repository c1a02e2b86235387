"""``emnist-diff export``: what a sink makes during a run, made from its trajectory file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from emnist_diff.discovery import installed
from emnist_diff.errors import ConfigError
from emnist_diff.printable import echo
from emnist_diff.records import SinkSpec
from emnist_diff_plugins import parse
from emnist_diff_plugins.commands.switches import Switch, switch_options
from emnist_diff_plugins.pluginfiles import with_files

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
) -> None:
    """Make pictures, videos and arrays of the samples in a trajectory file, as a run makes them: the same files, by
    the same code. Name what to make by its option, or by --sink with settings.

    Examples:  emnist-diff export output/A/trajectory.h5 --video    emnist-diff export FILE --sink "frames:every=10"
    """
    if resume and overwrite:
        raise ConfigError("--resume and --overwrite exclude each other — resume keeps what overwrite would replace")
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
