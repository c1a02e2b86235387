"""``emnist-diff run``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import typer
from typer import Option

from emnist_diff.config import FORCES, OUTPUT, WORKERS, RunConfig
from emnist_diff.errors import ConfigError
from emnist_diff.seeds import DrawnSeed
from emnist_diff_plugins.commands.run import options
from emnist_diff_plugins.commands.run.page import SETTINGS, RunCommand, displays_requested, layers_left_out, switches
from emnist_diff_plugins.commands.run.settings import layer, takes
from emnist_diff_plugins.commands.run.texts import TextOptions
from emnist_diff_plugins.terminal.help import LAST
from emnist_diff_plugins.terminal.program import log_choices

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(cls=RunCommand)
@takes(TextOptions)
@takes(RunConfig)
def run(
    ctx: typer.Context,
    preset: list[str] = Option(
        [],
        "--preset",
        help='A named stack of forces, e.g. "attract_class:target=B", or a TOML or JSON file of one; may be repeated.',
        rich_help_panel=FORCES,
    ),
    preset_args: str | None = Option(
        None,
        help='Settings of the preset as JSON, or @FILE, e.g. \'{"positive": "E", "negative": "F"}\'.',
        rich_help_panel=FORCES,
    ),
    distributed: bool = Option(
        False,
        "--distributed",
        help="Make this worker's share of the samples, as sbatch --array, srun, torchrun or mpirun numbers it.",
        rich_help_panel=WORKERS,
    ),
    *,
    force_stack: str | None = Option(
        None, help="Forces as a JSON list, or @FILE that holds one.", rich_help_panel=FORCES
    ),
    drift_scale: float | None = Option(
        None,
        help="noise_scale of every drift that has one and was given none; alone, of the default drift.",
        rich_help_panel=FORCES,
    ),
    plot_schedules: Path | None = Option(
        None, help="Draw the weights of forces and drifts over the run into this PNG, and stop.", rich_help_panel=FORCES
    ),
    resume: bool = Option(
        False, "--resume", help="Continue what the same command left, or add samples to it.", rich_help_panel=OUTPUT
    ),
    overwrite: bool = Option(False, "--overwrite", help="Replace what is there.", rich_help_panel=OUTPUT),
    dry_run: bool = Option(
        False,
        "--dry-run",
        help="Print the resolved configuration, the plan and what files will hold as JSON and stop.",
        rich_help_panel=OUTPUT,
    ),
    as_json: bool = Option(False, "--json", help="Print the result as JSON.", rich_help_panel=OUTPUT),
    save: list[str] = Option(
        [],
        "--save",
        help="What else to write: all, or sinks that have a --save option below, e.g. latents,video; may be repeated.",
        rich_help_panel=OUTPUT,
    ),
    fps: int | None = Option(None, help="Frames a second of videos. [default: 30]", rich_help_panel=OUTPUT),
    record_attention: bool = Option(
        False,
        "--record-attention",
        help="Record what the layers of the network attend to, as hdf5:activations=attention does.",
        rich_help_panel=OUTPUT,
    ),
    max_size: str | None = Option(
        None, help="Refuse to write trajectory files larger than this in all, e.g. 200MB.", rich_help_panel=OUTPUT
    ),
    fit: bool = Option(
        False, "--fit", help="With --max-size: keep less instead, and say what was given up.", rich_help_panel=OUTPUT
    ),
    upscale: int | None = Option(
        None,
        help="Pixels of frames and videos become squares of this size. [default: each sink's]",
        rich_help_panel=OUTPUT,
    ),
    config: Path | None = Option(
        None,
        "--config",
        "-c",
        help="TOML or JSON file of settings; options on the command line win over it.",
        rich_help_panel=SETTINGS,
    ),
    plugin_file: list[Path] = Option(
        [], "--plugin-file", help="A Python file with plugins of your own; may be repeated.", rich_help_panel=SETTINGS
    ),
    strict_plugins: bool = Option(
        False, "--strict-plugins", help="Stop when any plugin is broken.", rich_help_panel=SETTINGS
    ),
    progress: bool = Option(
        True, "--progress/--no-progress", help="Show a progress bar on a terminal.", rich_help_panel=LAST
    ),
    **settings: Any,
) -> None:
    """Generate samples of a character and record their trajectories.

    \b
    Examples:
      emnist-diff run --character k --total-videos 50 --save-video
      emnist-diff run --character k --force "repel_class:target=K,weight=0.5"
      emnist-diff run --preset blend --preset-args '{"a": "A", "b": "E"}'

    What there is to name is listed by emnist-diff forces, presets, drifts and schedulers; the settings of each, with
    an example, by emnist-diff plugins show NAME.

    Writes OUTPUT/CHARACTER/trajectory.h5 (every step of every sample), samples.png (the results side by side) and
    strips.png (some samples from noise to image). Settings come from, strongest first: the command line, the file
    given with --config, what "emnist-diff bench --write" left for this machine, the checkpoint's recommendation, the
    defaults.
    """
    if resume and overwrite:
        raise ConfigError("--resume and --overwrite exclude each other — resume keeps what overwrite would replace")
    if settings["forces"] and force_stack is not None:
        raise ConfigError("--force and --force-stack exclude each other — put every force in one of them")
    if fit and max_size is None:
        raise ConfigError("--fit needs --max-size, such as --max-size 200MB")
    if distributed:
        settings |= options.this_worker(settings["rank"], settings["world_size"])
    given = layer(RunConfig, settings) | layer(TextOptions, settings)
    given |= options.forces(force_stack) | options.presets(preset, preset_args)

    from emnist_diff_plugins.commands.health import require_healthy
    from emnist_diff_plugins.commands.run import displays, result
    from emnist_diff_plugins.forms import read_layer
    from emnist_diff_plugins.pluginfiles import with_files
    from emnist_diff_plugins.terminal.logging import configure as configure_logging

    log = log_choices(ctx)
    registry = with_files(plugin_file)
    only_shows = dry_run or plot_schedules is not None
    display = displays.chosen(registry, progress and not log.quiet, () if only_shows else displays_requested(ctx))
    if display is not None and (tap := display.log()) is not None:
        configure_logging(attrs.evolve(log, tap=tap))
    if strict_plugins:
        require_healthy(registry)
    written = {} if config is None else read_layer(config, registry, given.get("checkpoint"))

    from emnist_diff.running.run import execute, prepare
    from emnist_diff_plugins.commands.run import signals
    from emnist_diff_plugins.layers import configure
    from emnist_diff_plugins.machine.processors import usable_cpus

    switched = options.saved(registry, save) | switches(ctx)
    given |= options.sinks(registry, given, written, switched, record_attention, fps=fps, upscale=upscale)
    beneath = options.layers_beneath(registry, layers_left_out(ctx))
    resolved, denoiser = configure(registry, *beneath, written, given)
    resolved = options.completed(registry, resolved, drift_scale)
    if plot_schedules is not None:
        result.plot_schedules(registry, resolved, plot_schedules)
        if not dry_run:
            return
    assembly = prepare(registry, resolved, resume=resume, denoiser=denoiser)
    assembly = result.within(assembly, max_size, fit, log)
    if dry_run:
        result.show_plan(assembly, log)
        return
    with displays.showing(display, len(assembly.header.labels)) as shown, signals.reports() as on_step:
        assembly = attrs.evolve(assembly, sinks=(*assembly.sinks, *shown.sinks))
        done = execute(
            assembly,
            resume=resume,
            overwrite=overwrite,
            on_commit=shown.on_commit,
            on_step=on_step,
            stop_signals=signals.STOPPING,
            cpus=usable_cpus(),
        )
    result.show(assembly, done, isinstance(resolved.seed, DrawnSeed), as_json, log.quiet)
