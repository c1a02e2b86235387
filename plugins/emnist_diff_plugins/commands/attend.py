"""``emnist-diff attend``: what is inside the network at recorded states."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import typer

from emnist_diff.errors import ConfigError
from emnist_diff.events import get_logger
from emnist_diff_plugins import parse
from emnist_diff_plugins.capacity import size
from emnist_diff_trajectory.printing import echo
from emnist_diff_trajectory.sample_ids import sample_ids

if TYPE_CHECKING:  # not needed for --help
    from emnist_diff_plugins.analysis.attending import Afterwards
    from emnist_diff_trajectory.attention import AttentionRequest

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def attend(
    file: Path = typer.Argument(help="A trajectory file that keeps the states x."),
    output: Path | None = typer.Option(
        None, help="The file to write. [default: NAME.attention.h5 beside the trajectory file]"
    ),
    layer: list[str] = typer.Option(
        [], "--layer", help="Only layers of this path or pattern; may be repeated. [default: one of each kind a block]"
    ),
    kind: list[str] = typer.Option([], "--kind", help="cross or self; may be repeated. [default: both]"),
    heads: str = typer.Option("mean", help="mean of the heads of a layer, or all of them."),
    resolution: int = typer.Option(32, min=1, help="Longest side of a map of cross attention."),
    self_resolution: int = typer.Option(16, min=1, help="Longest side of a map of self attention."),
    hidden: list[str] = typer.Option(
        [],
        "--hidden",
        help="Also what this module hands on, e.g. mid_block.resnets.1, or all for all blocks; may be repeated.",
    ),
    pca: int | None = typer.Option(
        None, min=1, help="With --hidden: keep so many principal components in place of the channels."
    ),
    attention: bool = typer.Option(True, "--attention/--no-attention", help="Whether attention is captured."),
    condition: list[str] = typer.Option(
        [], "--condition", help="Only this condition, such as own or null; may be repeated. [default: all]"
    ),
    sample: str | None = typer.Option(None, help="Only samples with these ids, e.g. 3 or 0-9. [default: all]"),
    every: int | None = typer.Option(None, min=1, help="Only steps that this divides. [default: all that are kept]"),
    dtype: str = typer.Option("float16", help="float32, or float16 for half the size."),
    max_size: str | None = typer.Option(None, help="Refuse to write more than this, e.g. 200MB."),
    fit: bool = typer.Option(False, "--fit", help="With --max-size: keep less instead, and say what was given up."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Print what would take how much, and write nothing."),
    checkpoint: str | None = typer.Option(
        None, help="The checkpoint that made the file. [default: the one with the recorded hash, if it is near]"
    ),
    guide: list[str] = typer.Option([], "--guide", help="A guide that took part, as NAME=FILE."),
    plugin_file: list[Path] = typer.Option(
        [], "--plugin-file", help="A Python file with plugins that made it; may be repeated."
    ),
    resume: bool = typer.Option(False, "--resume", help="Go on with what an interrupted command left."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace what is there."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Capture attention and hidden states from a recorded run, without making it again.

    The network is evaluated once more at the recorded states, and what its layers attend to is written into a file of
    its own, which inspect, verify, select, merge, pack and Python read like the run's. Runs can record it themselves,
    with --sink hdf5:activations=attention. It runs the plugins that the file names: use it on files of people whom you
    trust.

    Example:  emnist-diff attend output/A/trajectory.h5 --every 5 --sample 0-3
    """
    from emnist_diff_plugins.analysis.attending import Attending
    from emnist_diff_plugins.pluginfiles import with_files
    from emnist_diff_trajectory.attention import beside
    from emnist_diff_trajectory.reader import Trajectory

    request = _request(layer, kind, heads, resolution, self_resolution) if attention else None
    modules = tuple("hidden" if name == "all" else f"hidden/{name}" for name in hidden)
    if fit and max_size is None:
        raise ConfigError("--fit needs --max-size, such as --max-size 200MB")
    if resume and overwrite:
        raise ConfigError("--resume and --overwrite exclude each other — resume keeps what overwrite would replace")
    path = output or beside(file)
    with Trajectory(file) as trajectory:
        stride = every or _kept_every(trajectory.kept_steps.tolist())
        wanted = attrs.evolve(_afterwards(request, modules, sample, stride, condition, dtype), pca=_pca(pca, hidden))
        work = Attending.of(
            trajectory,
            with_files(plugin_file),
            wanted,
            checkpoint=checkpoint,
            guides=parse.named_files(guide, "--guide"),
        )
        given_up: tuple[str, ...] = ()
        if max_size is not None:
            work, given_up = work.within(parse.bytes_of(max_size, "--max-size"), fit)
        lines = work.table()
        if not dry_run:
            done = work.fitted(_progress).write(path, overwrite=overwrite, resume=resume, on_batch=_progress)
    if as_json:
        arrays = {array.name: array.size for array in work.arrays()}
        typer.echo(json.dumps({"output": str(path), "bytes": work.size, "arrays": arrays, "given_up": list(given_up)}))
        return
    for line in lines if dry_run else ():
        echo(line)
    if given_up:
        echo(f"given up, so that it fits: {', '.join(given_up)}")
    if not dry_run:
        echo(f"{done} samples, {size(work.size)} in {path}")


def _pca(count: int | None, hidden: list[str]) -> int:
    if count is not None and not hidden:
        raise ConfigError("--pca is of hidden states — name modules with --hidden")
    return count or 0


def _kept_every(steps: list[int]) -> int:
    """The largest step between kept steps that all of them are multiples of."""
    return steps[1] if len(steps) > 1 else 1


def _request(layer: list[str], kind: list[str], heads: str, resolution: int, self_resolution: int) -> AttentionRequest:
    from emnist_diff.structuring import structure
    from emnist_diff_trajectory.attention import AttentionRequest

    settings = {
        "layers": layer,
        **({"kinds": kind} if kind else {}),
        "heads": heads,
        "resolution": resolution,
        "self_resolution": self_resolution,
    }
    return structure(settings, AttentionRequest, "attention")


def _afterwards(
    request: AttentionRequest | None,
    modules: tuple[str, ...],
    sample: str | None,
    every: int,
    condition: list[str],
    dtype: str,
) -> Afterwards:
    from emnist_diff_plugins.analysis.attending import Afterwards

    if request is None and not modules:
        raise ConfigError("there is nothing to capture — leave --no-attention out, or name modules with --hidden")
    if dtype not in ("float32", "float16"):
        raise ConfigError(f"--dtype: {dtype!r} is neither float32 nor float16")
    ids = sample_ids(sample)
    return Afterwards(
        attention=request,
        hidden=modules,
        samples=None if ids is None else frozenset(ids),
        every=every,
        conditions=frozenset(condition),
        dtype=dtype,
    )


def _progress(done: int, total: int) -> None:
    """A line on how far it is, where there is more than one batch."""
    if done < total:
        get_logger().info("attend.captured", done=done, total=total)
