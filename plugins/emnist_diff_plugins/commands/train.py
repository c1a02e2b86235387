"""``emnist-diff train``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import typer

from emnist_diff_plugins import parse
from emnist_diff_plugins.terminal.program import log_choices
from emnist_diff_plugins.training.page import TrainCommand
from emnist_diff_trajectory.printing import echo

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(cls=TrainCommand)
def train(
    ctx: typer.Context,
    family: str | None = typer.Argument(
        None,
        help="What to train: a recipe, e.g. ddpm (see emnist-diff recipes), a denoiser, e.g. unet2d, or a codec, e.g. "
        "conv_ae. [default: the resumed training's]",
        show_default=False,
    ),
    data: str | None = typer.Option(None, help="Directory of the dataset's files."),
    dataset: str | None = typer.Option(
        None, help='Dataset reader: emnist, mnist, folder, or e.g. "folder:size=64". [default: emnist]'
    ),
    split: str | None = typer.Option(
        None, help="EMNIST split: byclass, bymerge, balanced, letters, digits, mnist. [default: byclass]"
    ),
    only: str | None = typer.Option(None, help="Classes to learn, e.g. 5 or 1,7. [default: all]"),
    codec: str | None = typer.Option(
        None, help="Checkpoint of a codec, whose latents a denoiser learns. [default: none; pixels]"
    ),
    objective: str | None = typer.Option(
        None,
        help='What a denoiser learns: diffusion, flow, or e.g. "diffusion:prediction=epsilon" or '
        '"flow:time_sampling=uniform". [default: diffusion]',
    ),
    output: str | None = typer.Option(
        None, help="Directory for checkpoints, metrics and the state to resume from. [default: training]"
    ),
    experiment: str | None = typer.Option(
        None,
        metavar="[NAME]",
        help="Write into experiments/DATE_TIME-NAME, in folders, with settings, log, curves and pictures of the end. "
        "[default of NAME: what is trained]",
    ),
    resume: bool = typer.Option(
        False, "--resume", help="Continue the training in --output, or start it if there is none."
    ),
    config: Path | None = typer.Option(
        None, "--config", "-c", help="TOML or JSON file of settings; options on the command line win over it."
    ),
    network: list[str] = typer.Option(
        [], "--network", help='A setting of the network, e.g. "block_out_channels=[64,128,256]"; may be repeated.'
    ),
    init_from: str | None = typer.Option(None, help="Checkpoint whose weights to start from."),
    epochs: int | None = typer.Option(None, help="Passes over the training images. [default: 10]"),
    batch_size: int | None = typer.Option(None, help="Images of one step, over all workers together. [default: 128]"),
    lr: float | None = typer.Option(None, help="Peak learning rate of AdamW. [default: 0.001]"),
    lr_schedule: str | None = typer.Option(None, help="cosine (to zero at the end) or constant. [default: cosine]"),
    warmup_steps: int | None = typer.Option(None, help="Steps over which the rate rises. [default: 200]"),
    weight_decay: float | None = typer.Option(None, help="Decoupled weight decay. [default: 0.01]"),
    clip_norm: float | None = typer.Option(None, help="Largest L2 norm of the gradient; 0: any. [default: 1]"),
    label_dropout: float | None = typer.Option(None, help="Share of images shown as 'no class'. [default: 0.1]"),
    ema_decay: float | None = typer.Option(None, help="Decay of the averaged weights. [default: 0.9995]"),
    precision: str | None = typer.Option(None, help="fp32, bf16 or fp16; on a CPU fp32 is fastest. [default: fp32]"),
    seed: int | None = typer.Option(None, help="Seed of weights, order, noise and dropout. [default: 0]"),
    recommend: list[str] = typer.Option(
        [], "--recommend", help="A run setting that the checkpoints recommend, e.g. steps=50; may be repeated."
    ),
    provenance: list[str] = typer.Option(
        [], "--provenance", help='What checkpoints say of their origin, e.g. "licence=…"; may be repeated.'
    ),
    half: bool | None = typer.Option(None, "--half/--full", help="Store checkpoints in float16. [default: full]"),
    keep: int | None = typer.Option(None, help="Checkpoints to keep; 0 keeps all. [default: 0]"),
    save_minutes: float | None = typer.Option(None, help="Minutes between saves of the state. [default: 5]"),
    sample_every: int | None = typer.Option(None, help="Epochs between grids of samples; 0: none. [default: 1]"),
    sample_every_steps: int | None = typer.Option(
        None, help="Steps between grids of samples and held-out losses; 0: none. [default: 0]"
    ),
    tensorboard: bool | None = typer.Option(
        None, "--tensorboard/--no-tensorboard", help="Write TensorBoard files. [default: if it is installed]"
    ),
    max_minutes: float | None = typer.Option(None, help="Stop, ready to resume, after so many minutes."),
    device: str | None = typer.Option(None, help="auto, cpu, cuda, … [default: auto]"),
    threads: int | None = typer.Option(None, help="CPU threads. [default: torch's choice]"),
    dry_run: bool = typer.Option(False, "--dry-run", help="Print the resolved configuration as JSON and stop."),
    as_json: bool = typer.Option(False, "--json", help="Print the result as JSON."),
    progress: bool = typer.Option(True, "--progress/--no-progress", help="Show a progress bar on a terminal."),
) -> None:
    """Train a denoiser, or the codec of a latent one, on labelled images.

    Writes into --output: a checkpoint an epoch (FAMILY_epochNNN.safetensors, for emnist-diff run --checkpoint),
    metrics, sample grids, and the state to resume from. SIGINT, SIGTERM, SIGUSR1 and --max-minutes stop it with the
    state saved; --resume goes on to the same weights, bit for bit, as if it had never been stopped.

    \b
    Examples:
      emnist-diff train unet2d --data DIR --split balanced     EMNIST's files
      emnist-diff train unet2d --dataset folder --data DIR     images in folders named by their classes
      emnist-diff train vae --data DIR --output vae            MNIST by a recipe: a codec, and a model of its latents
      emnist-diff train ldm-cross --codec vae --data DIR --output latent
      emnist-diff train rf --data DIR --experiment first       experiments/20260314_150926-first
    """
    layer: dict[str, Any] = {
        "output": output,
        "codec": codec,
        "init_from": init_from,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "lr_schedule": lr_schedule,
        "warmup_steps": warmup_steps,
        "weight_decay": weight_decay,
        "clip_norm": clip_norm,
        "label_dropout": label_dropout,
        "ema_decay": ema_decay,
        "precision": precision,
        "seed": seed,
        "recommended": _settings(recommend, "--recommend") or None,
        "provenance": {k: str(v) for k, v in _settings(provenance, "--provenance").items()} or None,
        "half": half,
        "keep": keep,
        "save_minutes": save_minutes,
        "sample_every": sample_every,
        "sample_every_steps": sample_every_steps,
        "tensorboard": tensorboard,
        "max_minutes": max_minutes,
        "device": device,
        "threads": threads,
    }
    layer = {name: value for name, value in layer.items() if value is not None}

    from emnist_diff.paths import local_path
    from emnist_diff_plugins.documents import read_file
    from emnist_diff_plugins.training.config import resolve, to_dict

    file_layer = {} if config is None else read_file(config)
    layer |= _experiment(experiment, family, {**file_layer, **layer}, resume)
    folder = Path(local_path(str(layer.get("output", file_layer.get("output", "training")))))
    before: dict[str, Any] = {}
    if resume:
        from emnist_diff_plugins.training.folder import saved_config

        before = saved_config(folder)
    lowest = _recipe(family, file_layer)
    below = {**lowest, **before, **file_layer}
    if "recommended" in layer:
        layer["recommended"] = {**lowest.get("recommended", {}), **layer["recommended"]}
    if (chosen := _family(lowest["family"]["name"] if lowest else family, network, below)) is not None:
        layer["family"] = chosen
    if (reader := _dataset(dataset, below, data=data, split=split, only=only)) is not None:
        layer["dataset"] = reader
    if objective is not None:
        layer["objective"] = parse.component(objective, "--objective")
    settings = resolve(lowest, before, file_layer, layer)
    if dry_run:
        typer.echo(json.dumps(to_dict(settings), indent=2))
        return

    from emnist_diff_plugins.training.progress import Progress
    from emnist_diff_plugins.training.trainer import train as run_training

    with Progress(progress and not log_choices(ctx).quiet and sys.stderr.isatty(), settings.batch_size) as shown:
        result = run_training(settings, resume=resume, on_progress=shown.update)
    if result.rank:
        return  # the first worker speaks for all
    if as_json:
        summary = {
            "output": str(result.output),
            "checkpoint": None if result.checkpoint is None else str(result.checkpoint),
            "steps": result.steps,
            "finished": result.finished,
        }
        typer.echo(json.dumps(summary))
    elif result.finished:
        where = "is no longer there" if result.checkpoint is None else f"is {result.checkpoint}"
        echo(f"trained {settings.epochs} epochs; the newest checkpoint {where}")
    else:
        echo(f"stopped after step {result.steps}, state saved — repeat the command with --resume to go on")


def _settings(items: list[str], option: str) -> dict[str, Any]:
    """``key=value`` items as a table."""
    from emnist_diff.errors import ConfigError

    out: dict[str, Any] = {}
    for item in items:
        table = parse.settings(item, option)
        if twice := out.keys() & table.keys():
            raise ConfigError(f"{option}: {min(twice)!r} is given twice")
        out.update(table)
    return out


def _experiment(name: str | None, family: str | None, chosen: dict[str, Any], resume: bool) -> dict[str, Any]:
    """Name and directory of the experiment that the command line or a file asks for; a directory that is named, in
    either, is kept."""
    if name is None and (name := chosen.get("experiment")) is None:
        return {}
    name = name or (family or "training").partition(":")[0]
    if "output" in chosen:
        return {"experiment": name}
    from emnist_diff_plugins.training.experiment import directory

    return {"experiment": name, "output": directory(name, resume=resume)}


def _recipe(name: str | None, file_layer: dict[str, Any]) -> dict[str, Any]:
    """The settings of the recipe that the command line, or else the file, names; none where it names a network."""
    from emnist_diff.discovery import installed
    from emnist_diff_plugins.training.recipes import layer

    named = name or file_layer.get("recipe")
    return (layer(installed(), named) if isinstance(named, str) else None) or {}


def _family(name: str | None, network: list[str], below: dict[str, Any]) -> dict[str, Any] | None:
    """The family as the command line asks for it, over what a file or a resumed training says."""
    from emnist_diff_plugins.runconfig import component

    if name is None and not network:
        return None
    lower = component(below["family"], "family")["name"] if "family" in below else "unet2d"
    return {"name": name or lower, "settings": _settings(network, "--network")}


def _dataset(requested: str | None, below: dict[str, Any], **options: str | None) -> dict[str, Any] | None:
    """The dataset as the command line asks for it, over what a file or a resumed training says.

    options: settings of the reader that have an option of their own.
    """
    from emnist_diff_plugins.runconfig import component

    more = {key: value for key, value in options.items() if value is not None}
    if requested is None and not more:
        return None
    if requested is not None:
        out = component(parse.component(requested, "--dataset"), "--dataset")
    else:
        out = {"name": component(below["dataset"], "dataset")["name"] if "dataset" in below else "emnist"}
    return {**out, "settings": {**out.get("settings", {}), **more}}
