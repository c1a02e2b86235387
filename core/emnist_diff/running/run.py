"""A run from start to end: owns the sinks' life, resuming, and interrupts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence, Set
from itertools import chain, pairwise
from numbers import Integral
from pathlib import Path
from signal import Signals

import attrs
import numpy as np

from emnist_diff.assembly.assemble import Assembly, assemble
from emnist_diff.assembly.reviews import reviews
from emnist_diff.assembly.sources import Found
from emnist_diff.config import RunConfig
from emnist_diff.discovery import installed
from emnist_diff.engine.state import INITIAL_STREAM, Batch
from emnist_diff.engine.walk import walk
from emnist_diff.errors import EmnistDiffError, Interrupted, RunFailed
from emnist_diff.events import get_logger
from emnist_diff.frames import BatchResult, Frame, Outcome, RunHeader
from emnist_diff.plugins import Registry
from emnist_diff.protocols import Sink
from emnist_diff.running.interrupts import STOP_SIGNALS, stop_requests
from emnist_diff.running.recording import Event, Overlap, call_sink, overlap_of, requested_fields
from emnist_diff.running.threads import allowed_cpus, use_threads
from emnist_diff.shown import shown

log = get_logger()

OnCommit = Callable[[int, int], None]
"""Called after each commit with the number of samples done and the number of samples in all, by the thread that called
`run`, perhaps while the next batch is under way."""

OnStep = Callable[[Frame, int, int], None]
"""Called after each step with its frame, the number of samples done and the number of samples in all."""


@attrs.frozen
class RunResult:
    """What a finished run leaves: the directory, samples made now and found committed, seconds of walking, and the
    seed, which may have been drawn."""

    output: Path
    samples: int
    resumed: int
    seconds: float
    rows: int
    micro_batch: int
    seed: int


def run(
    config: RunConfig,
    *,
    resume: bool = False,
    overwrite: bool = False,
    registry: Registry | None = None,
    on_commit: OnCommit | None = None,
) -> RunResult:
    """Generate what `config` asks for and hand every frame to its sinks.

    resume: continue what an earlier run with the same configuration left, or, where it had fewer samples, add to them;
    overwrite: replace it.

    Raises the errors of `assemble.assemble`; `RunFailed` when a component misbehaves; `Interrupted` after SIGINT or
    SIGTERM, with the batch in hand committed; `OutputError` when a sink cannot write. What was committed stays.
    """
    assembly = prepare(registry or installed(), config, resume=resume)
    return execute(assembly, resume=resume, overwrite=overwrite, on_commit=on_commit)


def prepare(
    registry: Registry, config: RunConfig, *, resume: bool = False, report: bool = True, denoiser: Found | None = None
) -> Assembly:
    """What `assemble.assemble` makes of the configuration, with torch computing with its threads from now on."""
    threads = use_threads(config.threads)
    return assemble(registry, config, resume=resume, report=report, denoiser=denoiser, threads=threads)


def execute(
    assembly: Assembly,
    *,
    resume: bool = False,
    overwrite: bool = False,
    on_commit: OnCommit | None = None,
    on_step: OnStep | None = None,
    stop_signals: Sequence[Signals] = STOP_SIGNALS,
    cpus: int | None = None,
) -> RunResult:
    """Run what was assembled; see `run`.

    stop_signals: those that ask it to stop while it walks and closes; a library leaves others to the application.
    cpus: how many processors it can keep busy; None for all that the process may run on.
    """
    use_threads(assembly.config.threads)
    header = attrs.evolve(assembly.header, resume=resume, overwrite=overwrite)
    total = len(header.sample_ids)
    if not total:
        log.info("run.nothing_to_do", rank=header.rank, world_size=header.world_size)
        return RunResult(header.output, 0, 0, 0.0, 0, assembly.plan.micro_batch, assembly.config.seed)
    overlap = overlap_of(assembly.registry)
    _require_sinks(assembly)
    opened, outcome = list[Sink](), Outcome.FAILED
    try:
        done = _open(assembly.sinks, header, opened)
        log.info("run.started", output=str(header.output), samples=total, resumed=len(done))
        started = time.perf_counter()
        progress = _Progress(total, len(done), on_commit, on_step)
        with stop_requests(stop_signals) as stopping:
            _walk_all(attrs.evolve(assembly, header=header), done, progress, stopping, overlap, cpus or allowed_cpus())
        seconds = time.perf_counter() - started
        outcome = Outcome.INTERRUPTED if progress.done < total else Outcome.COMPLETED
    finally:
        with stop_requests(stop_signals):  # what is being finished is not stopped, unless for a second time
            _close(opened, outcome)
    if outcome is Outcome.INTERRUPTED:
        count = f"{progress.done} of {total} samples are committed in {header.output}"
        raise Interrupted(f"interrupted: {count} — repeat the command with --resume to finish")
    written, plan = total - len(done), assembly.plan
    log.info("run.completed", output=str(header.output), samples=written, seconds=round(seconds, 3))
    return RunResult(header.output, written, len(done), seconds, plan.rows, plan.micro_batch, assembly.config.seed)


def _require_sinks(assembly: Assembly) -> None:
    """Raise what is wrong with the sinks of a run, before one of them replaces anything."""
    for review in reviews(assembly.registry):
        review.require_sinks(assembly)
    requested_fields(assembly.sinks, assembly.header)


def _open(sinks: Sequence[Sink], header: RunHeader, opened: list[Sink]) -> frozenset[int]:
    """Open the sinks, of which `opened` then holds those that are to be closed; returns the positions of the samples
    that all of them have."""
    accounts = []
    for sink in sinks:
        opened.append(sink)
        account = call_sink(sink, "open", sink.open, header)
        if account is None:
            continue
        if not isinstance(account, Set) or not all(isinstance(position, Integral) for position in account):
            raise RunFailed(
                f"sink {type(sink).__name__}: open() returned {shown(account)}, "
                "neither None nor a set of the positions that it has"
            )
        accounts.append(frozenset(account))
    return frozenset.intersection(*accounts) if accounts else frozenset()


@attrs.define
class _Progress:
    """How many of a run's samples are committed."""

    total: int
    done: int
    on_commit: OnCommit | None
    on_step: OnStep | None

    def committed(self, batch: BatchResult) -> None:
        """All sinks have committed this batch."""
        self.done += len(batch.positions)
        if self.on_commit is not None:
            self.on_commit(self.done, self.total)

    def stepped(self, event: Event) -> None:
        """A step of the batch in hand is done, if this is its frame."""
        if self.on_step is not None and isinstance(event, Frame):
            self.on_step(event, self.done, self.total)


def _batches(assembly: Assembly, done: frozenset[int]) -> Iterator[Batch]:
    """The batches of a run, without the samples that are done."""
    header, size = assembly.header, assembly.plan.batch_size
    todo = np.setdiff1d(np.arange(len(header.sample_ids)), np.fromiter(done, np.int64, len(done)), assume_unique=True)
    for start in range(0, len(todo), size):
        positions = todo[start : start + size].tolist()
        own = (tuple(array[positions].tolist()) for array in (header.sample_ids, header.labels, header.seeds))
        yield Batch(tuple(positions), *own)


def _walk_all(
    assembly: Assembly,
    done: frozenset[int],
    progress: _Progress,
    stopping: threading.Event,
    overlap: Overlap,
    cpus: int,
) -> None:
    """Walk the batches that are not done, until a signal asks to stop."""
    engine, announced = assembly.engine, False
    wanted = requested_fields(assembly.sinks, assembly.header)
    ahead = overlap.noise(engine, cpus)
    recording = overlap.recording(assembly.sinks, engine.device, progress.committed, cpus)
    try:
        engine = attrs.evolve(engine, normal=ahead or engine.normal)
        for batch, following in pairwise(chain(_batches(assembly, done), [None])):
            if stopping.is_set() or batch is None:
                break
            if ahead is not None and following is not None:
                ahead.start(following.seeds, following.sample_ids, INITIAL_STREAM, engine.shape)
            for event in walk(engine, batch, lambda at: wanted[at.index]):
                if stopping.is_set() and not announced:
                    announced = True
                    log.warning("run.stopping", hint="finishing the current batch")
                progress.stepped(event)
                recording.hand(event)
        recording.finish()
    finally:
        recording.abandon()
        if ahead is not None:
            ahead.close()


def _close(sinks: list[Sink], outcome: Outcome) -> None:
    """Close every sink, whatever the others do; the first failure is raised unless the run failed already."""
    failures: list[Exception] = []
    for sink in sinks:
        try:
            sink.close(outcome)
        except Exception as error:
            log.error("sink.close_failed", sink=type(sink).__name__, error=str(error))
            failures.append(error)
    if failures and outcome is not Outcome.FAILED:  # an interrupted run, too, says that samples are committed
        first = failures[0]
        if isinstance(first, EmnistDiffError):
            raise first
        raise RunFailed(f"a sink failed to close: {type(first).__name__}: {first}") from first
