"""``emnist-diff run``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import typer

from emnist_diff import parse
from emnist_diff.cli.app import app
from emnist_diff.errors import ConfigError

_MODEL, _SAMPLES, _STEER, _OUTPUT, _MACHINE = "Model", "Samples", "Steering", "Output", "Machine"


@app.command(short_help="Generate samples and record their trajectories")
def run(
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
    character: str | None = typer.Option(None, "--character", help="The class to generate. [default: A]"),
    total_videos: int | None = typer.Option(None, help="How many samples. [default: 10]"),
    seed: int | None = typer.Option(None, help="Seed of the run. [default: 1000]"),
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
    force: list[str] = typer.Option(
        [], "--force", help='A force, e.g. "repel_class:target=O,weight=0.5"; may be repeated.'
    ),
    force_stack: str | None = typer.Option(None, help="Forces as a JSON list, or @FILE that holds one."),
    drift: list[str] = typer.Option([], "--drift", help='A drift, e.g. "default:noise_scale=0.03"; may be repeated.'),
    sink: list[str] = typer.Option(
        [], "--sink", help='A sink, e.g. "hdf5:dtype=float16"; may be repeated. [default: hdf5 and grid]'
    ),
    output: str | None = typer.Option(
        None, "--output", "--output-dir", help="Directory that receives a folder per character. [default: output]"
    ),
    resume: bool = typer.Option(False, "--resume", help="Continue what the same command left unfinished."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace what is there."),
    batch_size: int | None = typer.Option(None, help="Samples walked together; changes no result. [default: 16]"),
    micro_batch: int | None = typer.Option(None, help="Rows of one network call. [default: chosen from the plan]"),
    device: str | None = typer.Option(None, help="auto, cpu, cuda, … [default: auto]"),
    threads: int | None = typer.Option(None, help="CPU threads. [default: torch's choice]"),
    dry_run: bool = typer.Option(False, "--dry-run", help="Print the resolved configuration as JSON and stop."),
    as_json: bool = typer.Option(False, "--json", help="Print the result as JSON."),
    progress: bool = typer.Option(True, "--progress/--no-progress", help="Show a progress bar on a terminal."),
    strict_plugins: bool = typer.Option(False, "--strict-plugins", help="Stop when any plugin is broken."),
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Log debug events too."),
) -> None:
    """Generate samples of a character and record their trajectories.

    Writes OUTPUT/CHARACTER/trajectory.h5 (every step of every sample), samples.png (the results side by side) and
    strips.png (some samples from noise to image). Settings come from, strongest first: the command line, the file
    given with --config, the checkpoint's recommendation, the defaults.
    """
    if resume and overwrite:
        raise ConfigError("--resume and --overwrite exclude each other — resume keeps what overwrite would replace")
    if force and force_stack is not None:
        raise ConfigError("--force and --force-stack exclude each other — put every force in one of them")
    layer: dict[str, Any] = {
        "checkpoint": checkpoint,
        "epoch": epoch,
        "character": character,
        "total_videos": total_videos,
        "seed": seed,
        "steps": steps,
        "base": base,
        "guidance_scale": guidance_scale,
        "output": output,
        "batch_size": batch_size,
        "micro_batch": micro_batch,
        "device": device,
        "threads": threads,
        "denoiser": None if denoiser is None else parse.component(denoiser, "--denoiser"),
        "scheduler": None if scheduler is None else parse.component(scheduler, "--scheduler"),
        "forces": [parse.component(f, "--force") for f in force] or None,
        "drifts": [parse.component(d, "--drift") for d in drift] or None,
        "sinks": [parse.component(s, "--sink") for s in sink] or None,
    }
    if force_stack is not None:
        layer["forces"] = parse.json_or_file(force_stack, "--force-stack")
    layer = {key: value for key, value in layer.items() if value is not None}

    from emnist_diff import config as configuration
    from emnist_diff.cli.logging import configure as configure_logging
    from emnist_diff.plugins import installed, require_healthy

    configure_logging(verbose)
    registry = installed()
    if strict_plugins:
        require_healthy(registry)
    file_layer = {} if config is None else configuration.read_file(config)

    from emnist_diff.assembly import assemble, configure
    from emnist_diff.run import execute

    settings, _ = configure(registry, file_layer, layer)
    if dry_run:
        typer.echo(json.dumps(configuration.to_dict(settings), indent=2, ensure_ascii=False))
        return
    assembly = assemble(registry, settings)
    with _progress(progress and sys.stderr.isatty(), settings.total_videos) as on_commit:
        result = execute(assembly, resume=resume, overwrite=overwrite, on_commit=on_commit)
    if as_json:
        summary = {
            "output": str(result.output),
            "samples": result.samples,
            "resumed": result.resumed,
            "seconds": round(result.seconds, 3),
            "network_rows": result.rows,
            "micro_batch": result.micro_batch,
        }
        typer.echo(json.dumps(summary))
        return
    again = f" ({result.resumed} were already there)" if result.resumed else ""
    typer.echo(f"{result.samples} samples of {assembly.config.character!r} in {result.seconds:.1f} s{again}")
    for path in sorted(p for p in result.output.iterdir() if p.is_file()):
        typer.echo(f"  {path}")


class _progress:
    """A progress bar on a terminal, or one log line a commit."""

    def __init__(self, bar: bool, total: int) -> None:
        self.bar, self.total = bar, total

    def __enter__(self) -> Any:
        if not self.bar:
            import structlog

            log = structlog.get_logger()
            return lambda done, total: log.info("run.committed", done=done, total=total)
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("sampling"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._progress.start()
        task = self._progress.add_task("sampling", total=self.total)
        return lambda done, total: self._progress.update(task, completed=done)

    def __exit__(self, *exc: object) -> None:
        if self.bar:
            self._progress.stop()
