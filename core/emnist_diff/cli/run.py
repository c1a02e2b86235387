"""``emnist-diff run``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import attrs
import typer

from emnist_diff import parse
from emnist_diff.cli import run_options
from emnist_diff.cli.log_options import choices
from emnist_diff.cli.run_page import RunCommand
from emnist_diff.cli.sink_switches import displays_asked, layers_left_out, switches
from emnist_diff.errors import ConfigError
from emnist_diff.printable import echo

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(cls=RunCommand)
def run(
    ctx: typer.Context,
    config: Path | None = typer.Option(
        None, "--config", "-c", help="TOML or JSON file of settings; options on the command line win over it."
    ),
    checkpoint: str | None = typer.Option(
        None, help="Checkpoint file, or a directory whose newest epoch is taken. [default: the shipped one]"
    ),
    epoch: int | None = typer.Option(None, help="Which epoch of a checkpoint directory."),
    denoiser: str | None = typer.Option(
        None, help='A denoiser that needs no weights, e.g. "gaussian-mixture:shape=[2],classes=ABC".'
    ),
    guide: list[str] = typer.Option(
        [], "--guide", help="A further network that forces can name, as NAME=FILE; may be repeated."
    ),
    character: str | None = typer.Option(
        None,
        "--character",
        "--class",
        help="The class to generate, several as A,B,k or as a JSON list, or all. [default: A, or the model's first]",
    ),
    total_videos: int | None = typer.Option(
        None, help="How many samples in all, dealt to the classes in turn. [default: 10]"
    ),
    per_character: int | None = typer.Option(None, help="How many samples of each class, in place of the total."),
    seed: str | None = typer.Option(None, help="Seed of the run, or random for one that is drawn. [default: 1000]"),
    steps: int | None = typer.Option(
        None, "--steps", "--num-inference-steps", help="Denoising steps. [default: the checkpoint's, else 50]"
    ),
    scheduler: str | None = typer.Option(
        None, help='What moves the state, e.g. ddpm or "ddim:eta=0.5". [default: the checkpoint\'s, else ddim]'
    ),
    base: str | None = typer.Option(None, help="What forces are added to: cfg, cond or uncond. [default: cfg]"),
    guidance_scale: float | None = typer.Option(
        None, help="Scale of classifier-free guidance. [default: the checkpoint's, else 3]"
    ),
    preset: list[str] = typer.Option(
        [],
        "--preset",
        help='A named stack of forces, e.g. "attract_class:target=B", or a TOML or JSON file of one; may be repeated.',
    ),
    preset_args: str | None = typer.Option(
        None, help='Settings of the preset as JSON, or @FILE, e.g. \'{"positive": "E", "negative": "F"}\'.'
    ),
    force: list[str] = typer.Option(
        [], "--force", help='A force, e.g. "repel_class:target=O,weight=0.5"; may be repeated.'
    ),
    force_stack: str | None = typer.Option(None, help="Forces as a JSON list, or @FILE that holds one."),
    clip_abs: float | None = typer.Option(
        None, help="Largest absolute value of what all forces add together. [default: no bound]"
    ),
    clip_norm: float | None = typer.Option(
        None, help="Largest L2 norm, a sample, of what all forces add together. [default: no bound]"
    ),
    drift: list[str] = typer.Option([], "--drift", help='A drift, e.g. "default:noise_scale=0.03"; may be repeated.'),
    drift_scale: float | None = typer.Option(
        None, help="noise_scale of every drift that has one and was given none; alone, of the drift default."
    ),
    sink: list[str] = typer.Option(
        [], "--sink", help='A sink, e.g. "hdf5:dtype=float16"; may be repeated. [default: hdf5 and grid]'
    ),
    output: str | None = typer.Option(
        None, "--output", "--output-dir", help="Directory that receives a folder per character. [default: output]"
    ),
    save: list[str] = typer.Option(
        [],
        "--save",
        help="What else to write: all, or sinks that have a --save option below, e.g. latents,video; may be repeated.",
    ),
    fps: int | None = typer.Option(None, help="Frames a second of videos. [default: 30]"),
    upscale: int | None = typer.Option(
        None, help="Pixels of frames and videos become squares of this size. [default: each sink's]"
    ),
    resume: bool = typer.Option(False, "--resume", help="Continue what the same command left, or add samples to it."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace what is there."),
    batch_size: int | None = typer.Option(
        None, help="Samples walked together; changes no result. [default: 16, or 256 on a GPU]"
    ),
    micro_batch: int | None = typer.Option(None, help="Rows of one network call. [default: chosen from the plan]"),
    backend: str | None = typer.Option(
        None, help='What evaluates the network: auto, eager, compile, "openvino:cache=false", … [default: auto]'
    ),
    precision: str | None = typer.Option(
        None, help="What the network computes in: fp32, bf16, fp16 or auto, which is fp32. [default: auto]"
    ),
    device: str | None = typer.Option(None, help="auto, cpu, cuda, … [default: auto]"),
    threads: int | None = typer.Option(None, help="CPU threads. [default: the cores that it can count on]"),
    distributed: bool = typer.Option(
        False,
        "--distributed",
        help="Make this worker's share of the samples, as sbatch --array, srun, torchrun or mpirun numbers it.",
    ),
    rank: int | None = typer.Option(
        None, help="Which worker this is, 0 … world size - 1; it makes every world-size-th sample, into its own file."
    ),
    world_size: int | None = typer.Option(None, help="How many workers share the samples. [default: 1]"),
    fsync: bool | None = typer.Option(
        None,
        "--fsync/--no-fsync",
        help="Wait at each commit until the disk has it; without, a power cut may cost committed samples. "
        "[default: fsync]",
    ),
    dry_run: bool = typer.Option(
        False, "--dry-run", help="Print the resolved configuration and the plan as JSON and stop."
    ),
    plot_schedules: Path | None = typer.Option(
        None, help="Draw the weights of forces and drifts over the run into this PNG, and stop."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the result as JSON."),
    progress: bool = typer.Option(True, "--progress/--no-progress", help="Show a progress bar on a terminal."),
    plugin_file: list[Path] = typer.Option(
        [], "--plugin-file", help="A Python file with plugins of your own; may be repeated."
    ),
    strict_plugins: bool = typer.Option(False, "--strict-plugins", help="Stop when any plugin is broken."),
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
    if force and force_stack is not None:
        raise ConfigError("--force and --force-stack exclude each other — put every force in one of them")
    if distributed:
        from emnist_diff.machine.workers import chosen

        rank, world_size = chosen(rank, world_size, os.environ)
    layer: dict[str, Any] = {
        "checkpoint": checkpoint,
        "epoch": epoch,
        "guides": parse.named_files(guide, "--guide") or None,
        "character": character,
        "total_videos": total_videos,
        "per_character": per_character,
        "seed": run_options.seed(seed),
        "steps": steps,
        "base": base,
        "guidance_scale": guidance_scale,
        "clip_abs": clip_abs,
        "clip_norm": clip_norm,
        "output": output,
        "batch_size": batch_size,
        "micro_batch": micro_batch,
        "backend": None if backend is None else parse.component(backend, "--backend"),
        "precision": precision,
        "device": device,
        "threads": threads,
        "rank": rank,
        "world_size": world_size,
        "fsync": fsync,
        "denoiser": None if denoiser is None else parse.component(denoiser, "--denoiser"),
        "scheduler": None if scheduler is None else parse.component(scheduler, "--scheduler"),
        "forces": [parse.component(f, "--force") for f in force] or None,
        "drifts": [parse.component(d, "--drift") for d in drift] or None,
        "sinks": [parse.component(s, "--sink") for s in sink] or None,
    }
    if force_stack is not None:
        layer["forces"] = parse.json_or_file(force_stack, "--force-stack")
    layer["preset"] = run_options.presets(preset, preset_args) or None
    layer = {key: value for key, value in layer.items() if value is not None}

    from emnist_diff import config as configuration
    from emnist_diff.cli import displays, layers
    from emnist_diff.cli.logging import configure as configure_logging
    from emnist_diff.discovery import installed
    from emnist_diff.documents import read_layer
    from emnist_diff.plugins import require_healthy

    log = choices(ctx)
    registry = installed(tuple(plugin_file))
    asked_display = () if dry_run or plot_schedules is not None else displays_asked(ctx)
    display = displays.chosen(registry, progress and not log.quiet, asked_display)
    if display is not None and (tap := display.log()) is not None:
        configure_logging(attrs.evolve(log, tap=tap))
    if strict_plugins:
        require_healthy(registry)
    file_layer = {} if config is None else read_layer(config, registry, checkpoint)

    from emnist_diff.assembly.assemble import assemble
    from emnist_diff.assembly.layers import configure
    from emnist_diff.machine.threads import default_threads
    from emnist_diff.running.interrupts import OF_COMMANDS
    from emnist_diff.running.run import execute
    from emnist_diff.seeds import DrawnSeed
    from emnist_diff.shorthands import flags, switched, with_noise, with_settings

    said = {key: value for key, value in (("fps", fps), ("upscale", upscale)) if value is not None}
    switched_on = run_options.saved(save, flags(registry)) | switches(ctx)
    if said or switched_on:
        asked = layer.get("sinks", configuration.normalised(file_layer).get("sinks"))
        layer["sinks"] = with_settings(registry, switched(registry, asked, switched_on), said)
    settings, _ = configure(registry, *layers.beneath(registry, layers_left_out(ctx)), file_layer, layer)
    if drift_scale is not None:
        settings = attrs.evolve(settings, drifts=with_noise(registry, settings.drifts, drift_scale))
    if settings.threads is None:
        settings = attrs.evolve(settings, threads=default_threads().count)
    if plot_schedules is not None:
        _plot_schedules(registry, settings, plot_schedules)
        if not dry_run:
            return
    assembly = assemble(registry, settings, resume=resume)
    if dry_run:
        from emnist_diff.assembly.forecast import forecast

        data = {"config": configuration.to_dict(assembly.config), "plan": forecast(assembly)}
        typer.echo(json.dumps(data, indent=2))
        return
    with displays.showing(display, len(assembly.header.labels)) as shown:
        assembly = attrs.evolve(assembly, sinks=(*assembly.sinks, *shown.sinks))
        result = execute(assembly, resume=resume, overwrite=overwrite, on_commit=shown.on_commit, signals=OF_COMMANDS)
    if as_json:
        summary = {
            "output": str(result.output),
            "samples": result.samples,
            "resumed": result.resumed,
            "seed": result.seed,
            "conditioned": assembly.header.conditioned,
            "seconds": round(result.seconds, 3),
            "network_rows": result.rows,
            "micro_batch": result.micro_batch,
        }
        typer.echo(json.dumps(summary))
        return
    if log.quiet:
        return
    if not result.samples and not result.resumed:
        echo(f"no samples for worker {assembly.config.rank} of {assembly.config.world_size}")
        return
    again = f" ({result.resumed} were already there)" if result.resumed else ""
    drawn = f", seed {result.seed}" if isinstance(settings.seed, DrawnSeed) else ""
    named = _classes(assembly.config.character or assembly.header.config["character"])
    of = f" of {named}" if assembly.header.conditioned else ""
    echo(f"{result.samples} samples{of} in {result.seconds:.1f} s{drawn}{again}")
    if not of:
        echo(f"  no base or force reads the class {named}, which only names the folder")
    there = result.output.iterdir() if result.output.is_dir() else ()  # not every sink makes files
    for path in sorted(p for p in there if not p.name.startswith(".")):
        echo(f"  {path}" if path.is_file() else f"  {path}{os.sep}  ({_count(path)} files)")


def _count(folder: Path) -> int:
    return sum(1 for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _plot_schedules(registry: Any, settings: Any, path: Path) -> None:
    """Have the weights over time drawn; neither loads nor runs a network."""
    from emnist_diff.assembly.assemble import preview
    from emnist_diff.components import make
    from emnist_diff.config import ComponentConfig
    from emnist_diff.files import write_bytes
    from emnist_diff.records import PlotSpec

    plot = make(registry, PlotSpec, ComponentConfig("schedules")).object
    write_bytes(path, plot.png(preview(registry, settings)))
    echo(f"  {path}", err=True)


def _classes(asked: str | tuple[str, ...]) -> str:
    """The classes that a run was asked for, in a message."""
    return repr(asked) if isinstance(asked, str) else ", ".join(map(repr, asked))
