"""A run from start to end: owns the sinks' life, resuming, and interrupts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Set
from numbers import Integral
from pathlib import Path

import attrs
import numpy as np

from emnist_diff.assembly.assemble import Assembly, assemble
from emnist_diff.assembly.needs import require_sinks
from emnist_diff.config import RunConfig
from emnist_diff.discovery import installed
from emnist_diff.engine.walk import INITIAL_STREAM, Batch, walk
from emnist_diff.errors import ConfigError, EmnistDiffError, Interrupted, RunFailed
from emnist_diff.events import get_logger
from emnist_diff.frames import BatchResult, Field, Outcome
from emnist_diff.plugins import Registry
from emnist_diff.protocols import Sink
from emnist_diff.running.interrupts import Report, Signals, report_requests, stop_requests
from emnist_diff.running.other_workers import require_same_workers
from emnist_diff.running.prefetch import noise_ahead
from emnist_diff.running.recording import asked, recording
from emnist_diff.seeds import DrawnSeed
from emnist_diff.shown import shown
from emnist_diff.timeline import StepInfo

log = get_logger()

OnCommit = Callable[[int, int], None]
"""Called after each commit with the number of samples done and the number of samples in all, by the thread that called
`run`, perhaps while the next batch is under way."""


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
    assembly = assemble(registry or installed(), config, resume=resume)
    return execute(assembly, resume=resume, overwrite=overwrite, on_commit=on_commit)


def execute(
    assembly: Assembly,
    *,
    resume: bool = False,
    overwrite: bool = False,
    on_commit: OnCommit | None = None,
    signals: Signals = Signals(),  # noqa: B008  # it is frozen
) -> RunResult:
    """Run what was assembled; see `run`. `signals` are those that it listens to while it walks and closes."""
    assembly = _with_settled_seed(assembly, resume)
    header = attrs.evolve(assembly.header, resume=resume, overwrite=overwrite)
    total = len(header.sample_ids)
    if not total:
        log.info("run.nothing_to_do", rank=header.rank, world_size=header.world_size)
        return RunResult(header.output, 0, 0, 0.0, 0, assembly.plan.micro_batch, assembly.config.seed)
    if assembly.sinks:
        require_same_workers(header, assembly.earlier)
    require_sinks(assembly.sinks, header, assembly.plan.batch_size)
    opened: list[Sink] = []
    outcome = Outcome.FAILED
    try:
        accounts = []
        for sink in assembly.sinks:
            opened.append(sink)
            accounts.append(_account(sink, asked(sink, "open", sink.open, header)))
        kept = [account for account in accounts if account is not None]
        done = frozenset.intersection(*kept) if kept else frozenset()
        _tell_backend(assembly)
        log.info("run.started", output=str(header.output), samples=total, resumed=len(done))
        started = time.perf_counter()
        with stop_requests(signals.stop) as stopping, report_requests(signals.report) as report:
            made = _walk_all(assembly, header.seeds.tolist(), done, opened, _Asked(stopping, report), on_commit)
        seconds = time.perf_counter() - started
        if made + len(done) < total:
            outcome = Outcome.INTERRUPTED
            raise Interrupted(
                f"interrupted: {made + len(done)} of {total} samples are committed in {header.output} — "
                "repeat the command with --resume to finish"
            )
        outcome = Outcome.COMPLETED
    finally:
        with stop_requests(signals.stop):  # what is being finished is not stopped, unless for a second time
            _close(opened, outcome)
    log.info("run.completed", output=str(header.output), samples=made, seconds=round(seconds, 3))
    return RunResult(
        header.output, made, len(done), seconds, assembly.plan.rows, assembly.plan.micro_batch, assembly.config.seed
    )


def _with_settled_seed(assembly: Assembly, resume: bool) -> Assembly:
    """The same run with the seed that it will have: a drawn one gives way to that of the run that is continued.

    Raises `ConfigError` where each of several workers would have drawn its own.
    """
    seed, header = assembly.config.seed, assembly.header
    if not isinstance(seed, DrawnSeed):
        return assembly
    there = next(assembly.earlier.runs(header.output, header.rank, header.world_size), None) if resume else None
    recorded = None if there is None else there.config.get("seed")
    if isinstance(recorded, int) and not isinstance(recorded, bool) and 0 <= recorded < 1 << 63:
        log.info("seed.recorded", seed=recorded)
        return attrs.evolve(
            assembly,
            config=attrs.evolve(assembly.config, seed=recorded),
            header=attrs.evolve(
                header, config={**header.config, "seed": recorded}, seeds=np.full_like(header.seeds, recorded)
            ),
        )
    if header.world_size > 1:
        raise ConfigError(f"seed random would be another for each of {header.world_size} workers — give all one number")
    log.info("seed.drawn", seed=int(seed))
    return assembly


def _tell_backend(assembly: Assembly) -> None:
    """What evaluates the network; of why it is no better one, only what a user can act on, unless asked for more."""
    chosen = assembly.backend
    hint = {"hint": chosen.hint} if chosen.hint else {}
    rows = assembly.plan.micro_batch
    log.info("backend.chosen", backend=chosen.made.name, precision=chosen.precision, rows=rows, **hint)
    log.debug("backend.reason", reason=chosen.reason)


def _account(sink: Sink, said: object) -> frozenset[int] | None:
    """What a sink says when it is opened: the positions that it has, or None. Raises `RunFailed` for anything else."""
    if said is None:
        return None
    if not isinstance(said, Set) or not all(isinstance(position, Integral) for position in said):
        raise RunFailed(
            f"sink {type(sink).__name__}: open() returned {shown(said)}, "
            "neither None nor a set of the positions that it has"
        )
    return frozenset(said)


@attrs.frozen
class _Asked:
    """What signals ask of a run: to stop after the batch in hand, or to say how far it is."""

    stopping: threading.Event
    report: Report


def _walk_all(
    assembly: Assembly,
    seeds: list[int],
    done: frozenset[int],
    sinks: list[Sink],
    signalled: _Asked,
    on_commit: OnCommit | None,
) -> int:
    """Walk the batches that are not done; returns how many samples were made."""
    labels, ids = assembly.header.labels.tolist(), assembly.header.sample_ids.tolist()
    todo = [p for p in range(len(ids)) if p not in done]
    made, size, engine = 0, assembly.plan.batch_size, assembly.engine
    announced = False

    def batch(start: int) -> Batch:
        positions = tuple(todo[start : start + size])
        return Batch(
            positions,
            tuple(ids[p] for p in positions),
            tuple(labels[p] for p in positions),
            tuple(seeds[p] for p in positions),
        )

    def recorded(result: BatchResult) -> None:
        nonlocal made
        made += len(result.positions)
        if on_commit is not None:
            on_commit(len(done) + made, len(ids))

    def wants(at: StepInfo) -> frozenset[Field]:
        way.report()  # also where nobody wants anything of any step
        if signalled.report.wanted:
            signalled.report.wanted = False
            at_step = f"{at.index} of {at.steps}"
            log.info(
                "run.progress", done=len(done) + made, total=len(ids), in_hand=len(current.positions), step=at_step
            )
        return frozenset().union(*(sink.wants(at) for sink in sinks))

    ahead = noise_ahead(engine)
    way = recording(sinks, engine.device, recorded)
    try:
        engine = attrs.evolve(engine, normal=ahead or engine.normal)
        following = batch(0)
        for start in range(0, len(todo), size):
            if signalled.stopping.is_set():
                break
            current, following = following, batch(start + size)
            if ahead is not None and following.positions:
                ahead.start(following.seeds, following.sample_ids, INITIAL_STREAM, engine.shape)
            for event in walk(engine, current, wants):
                if signalled.stopping.is_set() and not announced:
                    announced = True
                    log.warning("run.stopping", hint="finishing the batch in hand")
                way.hand(event)
        way.finish()
    finally:
        way.abandon()
        if ahead is not None:
            ahead.close()
    return made


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
