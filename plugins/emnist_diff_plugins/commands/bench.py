"""``emnist-diff bench``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from emnist_diff.components import default
from emnist_diff.config import MOST_THREADS
from emnist_diff.discovery import installed
from emnist_diff.errors import ConfigError
from emnist_diff.plugins import Registry
from emnist_diff.printable import echo
from emnist_diff.records import BackendSpec, SchedulerSpec

if TYPE_CHECKING:  # what these import is not needed for --help
    from emnist_diff.config import RunConfig
    from emnist_diff.evaluators import Precision
    from emnist_diff_plugins.benching.cells import Measured
    from emnist_diff_plugins.benching.report import Findings

_PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "fp16")

_DEAR = 100_000
"""Network rows: a backend that is worth its set-up from so many on is for the longest runs alone."""

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
    quick: bool = typer.Option(False, "--quick", help="Measure less, in about a minute."),
    patience: float | None = typer.Option(
        None, help="Seconds of setting up that a backend may take in one precision. [default: 60, with --quick 15]"
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
    for said in precision:
        if said not in _PRECISIONS:
            raise ConfigError(f"--precision {said!r}: it is one of {', '.join(_PRECISIONS)}")
    if patience is not None and not patience > 0:
        raise ConfigError(f"--patience {patience:g}: it is more than 0 seconds")
    registry = installed(tuple(plugin_file))
    names = [registry.resolve(BackendSpec, name).spec.name for name in backend]
    asked = {e.spec.name: e.spec for e in registry.of(BackendSpec) if isinstance(e.spec, BackendSpec)}
    dear = {name: spec.min_rows for name, spec in asked.items() if quick and not names and spec.min_rows >= _DEAR}
    names = names or [name for name in asked if name not in dear]

    from emnist_diff.assembly.layers import configure
    from emnist_diff_plugins.benching import userconfig

    if write and (file := userconfig.path()) is not None and file.exists():
        userconfig.read()  # a file that is not in order is said before the work
    settings, _ = configure(registry, {"device": device} | ({} if checkpoint is None else {"checkpoint": checkpoint}))
    chosen: list[Precision] = [known for known in _PRECISIONS if known in precision]
    with _said() as tell:
        findings = _find(registry, settings, names, chosen, sizes, counts, quick, patience, reduced, dear, tell)
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


def _find(
    registry: Registry,
    settings: RunConfig,
    names: Sequence[str],
    precisions: Sequence[Precision],
    sizes: Sequence[int],
    counts: Sequence[int],
    quick: bool,
    patience: float | None,
    reduced: bool,
    dear: Mapping[str, int],
    tell: Callable[[str], None],
) -> Findings:
    """Measure, and think about it. An empty sequence means the default. dear: backends that are left out, and what
    they would be worth their set-up from."""
    import torch

    from emnist_diff.assembly.assemble import preview
    from emnist_diff.assembly.devices import choose_device
    from emnist_diff.assembly.sources import found
    from emnist_diff.machine.threads import default_threads, usable_cpus
    from emnist_diff_plugins.benching import arithmetic, ceiling, machine
    from emnist_diff_plugins.benching.cells import Bench, Skipped, grid
    from emnist_diff_plugins.benching.recommend import recommend
    from emnist_diff_plugins.benching.report import Findings

    where = torch.device(choose_device(settings.device))
    described = machine.description(where)  # before the machine is loaded by this
    on_cpu = where.type == "cpu"
    precisions = precisions or (("fp32", "bf16") if on_cpu else _PRECISIONS)
    usual_sizes = ((2, 8, 32) if quick else (2, 8, 16, 32)) if on_cpu else (2, 32, 256, 1024)
    sizes = sizes or usual_sizes
    usual, usable = default_threads().count, usable_cpus()
    if not counts:
        counts = [usual] if quick or not on_cpu else sorted({usual, usable, max(1, usable // 2), 1})
    network = found(registry, settings)
    tell("loading the network")
    denoiser = network.load(str(where))
    run = preview(registry, settings)
    work = arithmetic.of(denoiser, where)
    run_bench = Bench(
        registry,
        denoiser,
        where,
        network.source.identity,
        rounds=2 if quick else 3,
        seconds=0.2 if quick else 0.5,
        patience=patience if patience is not None else 15.0 if quick else 60.0,
    )
    measured, skipped = run_bench(grid(names, precisions, sizes, counts), tell)
    skipped += [Skipped(n, f"its set-up pays from {w:,} network rows on — say --backend {n}") for n, w in dear.items()]
    ceilings = []
    for kind, count in dict.fromkeys((m.cell.precision, m.cell.threads) for m in measured):
        tell(f"the ceiling in {kind}, {count} threads")
        ceilings.append(ceiling.measure(work.convolutions, max(sizes), kind, count, where, 0.03 if quick else 0.1))
    return Findings(
        described,
        str(network.source.facts.get("file", "")),
        work.flops,
        run.plan.rows / len(run.labels),
        f"{(settings.scheduler or default(registry, SchedulerSpec)).name}, {settings.steps} steps",
        tuple(ceilings),
        tuple(measured),
        tuple(skipped),
        recommend(_affordable(registry, measured), _auto(registry, measured), usual, reduced=reduced),
    )


def _affordable(registry: Registry, measured: Sequence[Measured]) -> list[Measured]:
    """Those on backends that every run can afford; the dear ones are left to ``auto``, which knows a run's length."""
    worth = {e.spec.name: e.spec.min_rows for e in registry.of(BackendSpec) if isinstance(e.spec, BackendSpec)}
    return [m for m in measured if worth[m.cell.backend] < _DEAR]


def _auto(registry: Registry, measured: Sequence[Measured]) -> dict[str, str]:
    """The backend that ``auto`` takes for a run of some length, by precision: the one with the highest priority."""
    measured = _affordable(registry, measured)
    priorities = {e.spec.name: e.spec.priority for e in registry.of(BackendSpec) if isinstance(e.spec, BackendSpec)}
    out: dict[str, str] = {}
    for m in sorted(measured, key=lambda m: priorities[m.cell.backend]):
        out[m.cell.precision] = m.cell.backend
    return out


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


class _said:
    """Says on a terminal what is being done, in one line that changes; elsewhere nothing."""

    def __enter__(self) -> Callable[[str], None]:
        if not sys.stderr.isatty():
            return lambda text: None
        from rich.console import Console

        self.status = Console(file=sys.stderr).status("")
        self.status.start()
        return self.status.update

    def __exit__(self, *error: object) -> None:
        if hasattr(self, "status"):
            self.status.stop()
