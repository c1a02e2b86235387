"""``emnist-diff bench``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from emnist_diff.config import MOST_THREADS
from emnist_diff.errors import ConfigError
from emnist_diff_plugins.contract import BackendSpec
from emnist_diff_plugins.pluginfiles import with_files
from emnist_diff_trajectory.printing import echo

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def bench(
    checkpoint: str | None = typer.Option(
        None, help="Checkpoint to measure with, or a directory whose newest epoch is taken. [default: the shipped one]"
    ),
    backend: list[str] = typer.Option([], "--backend", help="Only this backend; may be repeated. [default: all]"),
    precision: list[str] = typer.Option(
        [], "--precision", help="Only fp32, bf16 or fp16; may be repeated. [default: fp32 and bf16; on a GPU all]"
    ),
    rows: str | None = typer.Option(
        None, help="Rows of a network call, by commas. [default: 2,8,16,32; on a GPU 2,32,256,1024]"
    ),
    threads: str | None = typer.Option(
        None, help="CPU threads, by commas. [default: all cores, half of them, one; with --quick what a run takes]"
    ),
    device: str = typer.Option("auto", help="auto, cpu, cuda, …"),
    quick: bool = typer.Option(False, "--quick", help="Measure less, in a minute or two."),
    patience: float | None = typer.Option(
        None,
        help="Seconds of setting up that a backend may take in one precision; with --quick, it is stopped then. "
        "[default: 60, with --quick 15]",
    ),
    reduced: bool = typer.Option(
        False, "--reduced", help="Recommend bf16 or fp16 where that is faster, though samples then differ."
    ),
    write: bool = typer.Option(
        False, "--write", help="Store the recommended settings in the user's configuration, for emnist-diff run."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
    plugin_file: list[Path] = typer.Option(
        [], "--plugin-file", help="A Python file with backends of your own; may be repeated."
    ),
) -> None:
    """Measure how fast this machine evaluates a network, by backend, precision, rows of a call and threads, and
    recommend settings.

    Rows a second are those of a guided run of 16 samples, calls of two rows those of a single guided sample. Samples a
    second are of a run with the checkpoint's own settings, without recording. The ceiling is the fastest of the
    network's own 3×3 convolutions, measured here too. Nothing else should run on the machine meanwhile.

    Example:  emnist-diff bench --quick
    """
    sizes, counts = _numbers(rows, "--rows"), _numbers(threads, "--threads")
    if high := [count for count in counts if count > MOST_THREADS]:
        raise ConfigError(f"--threads {high[0]}: at most {MOST_THREADS}")
    if patience is not None and not patience > 0:
        raise ConfigError(f"--patience {patience:g}: it is more than 0 seconds")
    registry = with_files(plugin_file)
    names = [registry.resolve(BackendSpec, name).spec.name for name in backend]

    from emnist_diff_plugins.benching import userconfig
    from emnist_diff_plugins.benching.survey import PRECISIONS, Request, survey
    from emnist_diff_plugins.layers import configure

    for name in precision:
        if name not in PRECISIONS:
            raise ConfigError(f"--precision {name!r}: it is one of {', '.join(PRECISIONS)}")
    if write and (file := userconfig.path()) is not None and file.exists():
        userconfig.read()  # a file that is not in order is reported before the work
    settings, _ = configure(registry, {"device": device} | ({} if checkpoint is None else {"checkpoint": checkpoint}))
    precisions = [known for known in PRECISIONS if known in precision]
    with _Status() as tell:
        request = Request(names, precisions, sizes, counts, quick, patience, reduced)
        findings = survey(registry, settings, request, tell)
    if as_json:
        typer.echo(json.dumps(findings.data(), indent=2))
    else:
        from rich.console import Console

        console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 110)
        findings.show(console)
    if write:
        if findings.recommended is None:
            raise ConfigError("--write: nothing is recommended, so nothing was written — measure calls of 8 or 32 rows")
        path = userconfig.write(findings.recommended.settings | ({} if device == "auto" else {"device": device}))
        echo(f"written to {path}", err=True)


def _numbers(text: str | None, option: str) -> list[int]:
    """Positive integers by commas, without repetition; [] for None."""
    if text is None:
        return []
    try:
        numbers = list(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError as error:
        raise ConfigError(f"{option} {text!r}: expected whole numbers by commas, like 8,32") from error
    if low := [n for n in numbers if n < 1]:
        raise ConfigError(f"{option} {text!r}: {low[0]} is less than 1")
    return numbers


class _Status:
    """Shows on a terminal what is being done, in one line that changes; elsewhere nothing."""

    _status: Any = None

    def __enter__(self) -> Callable[[str], None]:
        if not sys.stderr.isatty():
            return lambda text: None
        from rich.console import Console

        self._status = Console(file=sys.stderr).status("")
        self._status.start()
        update: Callable[[str], None] = self._status.update
        return update

    def __exit__(self, *error: object) -> None:
        if self._status is not None:
            self._status.stop()
