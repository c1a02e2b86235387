"""From a request to findings: what is measured on this machine where the request leaves it open, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import attrs
import torch

from emnist_diff.assembly.devices import choose_device
from emnist_diff.assembly.sources import found
from emnist_diff.components import default
from emnist_diff.config import RunConfig
from emnist_diff.evaluators import Precision
from emnist_diff.plugins import Registry
from emnist_diff.records import SchedulerSpec
from emnist_diff_plugins.benching import arithmetic, ceiling, machine
from emnist_diff_plugins.benching.cells import Bench, Cell, Measured, Skipped, grid
from emnist_diff_plugins.benching.recommend import Recommendation, recommend
from emnist_diff_plugins.benching.report import Findings
from emnist_diff_plugins.contract import BackendSpec
from emnist_diff_plugins.forecast import preview
from emnist_diff_plugins.machine.processors import usable_cpus
from emnist_diff_plugins.machine.threads import default_threads

PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "fp16")

_LONG_RUNS = 100_000
"""Network rows: a backend whose set-up pays only from so many on is for the longest runs alone."""


@attrs.frozen
class Request:
    """What to measure; an empty sequence leaves it to the device.

    rows: of a network call.  threads: of the CPU.  quick: measure less, and stop a set-up that goes on beyond the
    patience.  patience: seconds of setting up that a backend may take in one precision, or None for the default.
    reduced: whether precisions below fp32 may be recommended.
    """

    backends: Sequence[str] = ()
    precisions: Sequence[Precision] = ()
    rows: Sequence[int] = ()
    threads: Sequence[int] = ()
    quick: bool = False
    patience: float | None = None
    reduced: bool = False

    def cells(self, backends: Sequence[str], device: torch.device) -> Iterator[Cell]:
        """What is measured on a device."""
        on_cpu = device.type == "cpu"
        rows = self.rows or (((2, 8, 32) if self.quick else (2, 8, 16, 32)) if on_cpu else (2, 32, 256, 1024))
        usual, usable = default_threads().count, usable_cpus()
        few = self.quick or not on_cpu
        threads = self.threads or ([usual] if few else sorted({usual, usable, max(1, usable // 2), 1}))
        return grid(backends, self.precisions or (PRECISIONS[:2] if on_cpu else PRECISIONS), rows, threads)


def survey(registry: Registry, settings: RunConfig, request: Request, tell: Callable[[str], None]) -> Findings:
    """Measure, and judge what was measured.  tell: called with what is being done.

    Raises `ConfigError` for more rows than memory holds.
    """
    device = torch.device(choose_device(settings.device))
    description = machine.description(device)  # before the machine is loaded by this
    network = found(registry, settings)
    tell("loading the network")
    denoiser = network.load(str(device))
    run, work = preview(registry, settings), arithmetic.of(denoiser, device)
    quick = request.quick
    bench = Bench(
        registry,
        denoiser,
        device,
        network.source.identity,
        rounds=2 if quick else 3,
        seconds=0.2 if quick else 0.5,
        patience=request.patience or (15.0 if quick else 60.0),
        stops=quick,
    )
    backends = _backends(registry)
    left_out = [] if request.backends or not quick else _left_out(backends)
    names = request.backends or [name for name in backends if name not in {skip.what for skip in left_out}]
    cells = list(request.cells(names, device))
    measured, skipped = bench(cells, tell)
    ceilings = []
    for kind, count in dict.fromkeys((m.cell.precision, m.cell.threads) for m in measured):
        tell(f"the ceiling in {kind}, {count} threads")
        rows = max(cell.rows for cell in cells)
        ceilings.append(ceiling.measure(work.convolutions, rows, kind, count, device, 0.03 if quick else 0.1))
    return Findings(
        description,
        str(network.source.facts.get("file", "")),
        work.flops,
        run.plan.rows / len(run.labels),
        f"{(settings.scheduler or default(registry, SchedulerSpec)).name}, {settings.steps} steps",
        tuple(ceilings),
        tuple(measured),
        (*skipped, *left_out),
        _recommended(backends, measured, request.reduced),
    )


def _recommended(
    backends: Mapping[str, BackendSpec], measured: Sequence[Measured], reduced: bool
) -> Recommendation | None:
    """The settings that suit every run: backends for the longest runs are left to ``auto``, which knows a run's length
    and takes, by precision, the one with the highest priority."""
    suitable = [m for m in measured if backends[m.cell.backend].min_rows < _LONG_RUNS]
    by_priority = sorted(suitable, key=lambda m: backends[m.cell.backend].priority)
    auto: dict[str, str] = {m.cell.precision: m.cell.backend for m in by_priority}
    return recommend(suitable, auto, default_threads().count, reduced=reduced)


def _left_out(backends: Mapping[str, BackendSpec]) -> list[Skipped]:
    """What a quick survey leaves out unless it is named: backends that take too long to set up for most runs."""
    return [
        Skipped(name, f"its set-up pays from {spec.min_rows:,} network rows on — use --backend {name}")
        for name, spec in backends.items()
        if spec.min_rows >= _LONG_RUNS
    ]


def _backends(registry: Registry) -> dict[str, BackendSpec]:
    return {e.spec.name: e.spec for e in registry.of(BackendSpec)}
