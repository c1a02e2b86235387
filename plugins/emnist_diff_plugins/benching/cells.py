"""Backends × precisions × rows × threads, measured side by side."""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import attrs
import torch
from torch import Tensor

from emnist_diff.components import make
from emnist_diff.conditions import RowConditions
from emnist_diff.config import ComponentConfig
from emnist_diff.direct import Direct
from emnist_diff.evaluators import Evaluator, Precision
from emnist_diff.plugins import Registry
from emnist_diff.protocols import Denoiser
from emnist_diff_plugins.benching.ceiling import wait
from emnist_diff_plugins.benching.limit import TooLong, limited
from emnist_diff_plugins.capacity import require_memory
from emnist_diff_plugins.contract import Backend, BackendSpec, Workload

NOMINAL = 32
"""Rows asked for at once: 16 samples with guidance, which is what a run does unless it is told otherwise."""

_COPIES = 4
"""Of the states of a question: noise, what is chosen of it for a call, the network's answer, and the exact one."""


@attrs.frozen
class Cell:
    """One thing to measure.

    rows: of a call.  at_once: rows asked for together, a multiple of `rows`; backends may work on several calls at
    the same time.  threads: of the CPU.
    """

    backend: str
    precision: Precision
    rows: int
    at_once: int
    threads: int


@attrs.frozen
class Measured:
    """What came out.

    seconds: of one question of `at_once` rows, one figure a round.  setup: seconds until the first could be asked.
    error: root mean square of the difference to the denoiser asked directly in float32, relative to its predictions.
    """

    cell: Cell
    seconds: tuple[float, ...]
    setup: float
    error: float

    @property
    def ms_per_row(self) -> float:
        """Milliseconds a row, the median over rounds."""
        return 1e3 * statistics.median(self.seconds) / self.cell.at_once

    @property
    def rows_per_second(self) -> float:
        return 1e3 / self.ms_per_row

    @property
    def spread(self) -> float:
        """Slowest round over fastest: how far to trust a difference."""
        return max(self.seconds) / min(self.seconds)


@attrs.frozen
class Skipped:
    """What was not measured, and why."""

    what: str
    reason: str


@attrs.frozen(eq=False)
class Bench:
    """How to measure.

    identity: SHA-256 of the checkpoint, for backends that cache what they compile.  rounds: how often each cell is
    measured, all others between.  seconds: to spend on a cell in a round.  patience: seconds of setting up that a
    backend may take in one precision; cells after that are skipped.  stops: whether a set-up that goes on beyond it is
    stopped.
    """

    registry: Registry
    denoiser: Denoiser
    device: torch.device
    identity: str = ""
    rounds: int = 3
    seconds: float = 0.4
    patience: float = 60.0
    stops: bool = False

    def __call__(
        self, cells: Iterable[Cell], tell: Callable[[str], None] = lambda text: None
    ) -> tuple[list[Measured], list[Skipped]]:
        """Measure what can be measured. tell: called with what is being done now. Raises `ConfigError` for more rows
        than memory holds."""
        cells = list(cells)
        most = max((max(cell.rows, cell.at_once) for cell in cells), default=0)
        require_memory(
            4.0 * _COPIES * most * math.prod(self.denoiser.shape),
            f"--rows: {most} states of shape {tuple(self.denoiser.shape)}",
            "use fewer rows",
        )
        threads = torch.get_num_threads()
        try:
            with torch.inference_mode():
                return self._measured(cells, tell)
        finally:
            torch.set_num_threads(threads)

    def _measured(self, cells: Iterable[Cell], tell: Callable[[str], None]) -> tuple[list[Measured], list[Skipped]]:
        ready: list[_Ready] = []
        skipped: dict[str, str] = {}
        spent: dict[tuple[str, str], float] = {}
        for cell in cells:
            what, key = f"{cell.backend} {cell.precision}", (cell.backend, cell.precision)
            if what in skipped:
                continue
            left = self.patience - spent.get(key, 0.0)
            if left <= 0:
                skipped[f"{what}, calls of {cell.rows}"] = (
                    f"setting up took {spent[key]:.0f} s already — use --patience to wait longer"
                )
                continue
            tell(f"setting up {what}, calls of {cell.rows} rows, {cell.threads} threads")
            try:
                with limited(left) if self.stops else contextlib.nullcontext():
                    reason = self._prepared(cell, ready)
            except TooLong:
                reason = f"setting up was stopped after {self.patience:g} s — use --patience to wait longer"
            if reason is not None:
                skipped[what] = reason
            else:
                spent[key] = spent.get(key, 0.0) + ready[-1].setup
        for number in range(self.rounds):
            for item in ready:
                cell = item.cell
                tell(f"round {number + 1} of {self.rounds}: {cell.backend} {cell.precision}, calls of {cell.rows} rows")
                item.times.append(self._timed(item))
        return [i.result() for i in ready], [Skipped(*pair) for pair in skipped.items()]

    def _prepared(self, cell: Cell, ready: list[_Ready]) -> str | None:
        """Set a cell up, ask it once, and add it to `ready`; or why it cannot be measured."""
        torch.set_num_threads(cell.threads)
        work = Workload(cell.rows, self.device, cell.precision, self.identity, cell.threads)
        try:
            entry = self.registry.resolve(BackendSpec, cell.backend)
            if reason := _refused(entry.spec, work):
                return reason
            backend: Backend = make(self.registry, BackendSpec, ComponentConfig(entry.qualified)).object
            if reason := backend.refusal(self.denoiser, work):
                return reason
            question = self.question(cell.at_once)
            started = time.perf_counter()
            evaluator = backend.evaluator(self.denoiser, work)
            answer = wait(self.device, evaluator(*question))
            setup = time.perf_counter() - started
        except Exception as error:  # one that breaks, however, says so, and the rest goes on
            return f"broken: {' '.join(str(error).split())[:200]}"
        exact = Direct(self.denoiser, cell.rows)(*question)
        off = float((answer - exact).square().mean().sqrt() / exact.square().mean().sqrt())
        ready.append(_Ready(cell, evaluator, question, setup, off))
        return None

    def question(self, rows: int) -> tuple[Tensor, Tensor, RowConditions]:
        """So many rows of noise halfway through a run, half of them of no class."""
        denoiser, noise = self.denoiser, torch.Generator().manual_seed(0)
        space = denoiser.conditions
        index = torch.arange(rows) % len(space.classes)
        if space.null_index is not None:
            index[1::2] = space.null_index
        x = torch.randn(rows, *denoiser.shape, generator=noise).to(self.device)
        t = torch.full((rows,), 500.0, device=self.device)
        return x, t, RowConditions(index.to(self.device))

    def _timed(self, item: _Ready) -> float:
        """Median seconds of a question in this round."""
        torch.set_num_threads(item.cell.threads)
        wait(self.device, item.evaluator(*item.question))  # caches and clocks are somebody else's until now
        times: list[float] = []
        until = time.perf_counter() + self.seconds
        while not times or time.perf_counter() < until:
            started = time.perf_counter()
            wait(self.device, item.evaluator(*item.question))
            times.append(time.perf_counter() - started)
        return statistics.median(times)


@attrs.define(eq=False)
class _Ready:
    """A cell that is set up."""

    cell: Cell
    evaluator: Evaluator
    question: tuple[Tensor, Tensor, RowConditions]
    setup: float
    error: float
    times: list[float] = attrs.field(factory=list)

    def result(self) -> Measured:
        return Measured(self.cell, tuple(self.times), self.setup, self.error)


def grid(
    backends: Sequence[str], precisions: Sequence[Precision], rows: Sequence[int], threads: Sequence[int]
) -> Iterator[Cell]:
    """All combinations. As many rows are asked for at once as a run asks for, but for calls of two, the guided single
    sample, which stands alone. Most threads first: what patience ends is the least."""
    for backend in backends:
        for precision in precisions:
            for count in sorted(threads, reverse=True):
                for size in rows:
                    at_once = size if size <= 2 else size * max(1, NOMINAL // size)
                    yield Cell(backend, precision, size, at_once, count)


def _refused(spec: BackendSpec, work: Workload) -> str | None:
    if work.device.type not in spec.devices:
        return f"it serves {', '.join(spec.devices)}, not {work.device.type}"
    if work.precision not in spec.precisions:
        return f"it computes in {', '.join(spec.precisions)}"
    return spec.missing()
