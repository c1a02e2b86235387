"""Sinks fed from a trajectory file, as the run that wrote it would have fed them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emnist_diff.errors import ConfigError, EmnistDiffError, Interrupted, OutputError, RunFailed, blame
from emnist_diff.events import get_logger
from emnist_diff.frames import BatchResult, Frame, Outcome, RunHeader, is_requested
from emnist_diff.protocols import Sink
from emnist_diff.running.interrupts import stop_requests
from emnist_diff.timeline import Timeline
from emnist_diff_plugins.sinks._recorded import Recorded
from emnist_diff_trajectory.fields import field_of
from emnist_diff_trajectory.reader import Trajectory

log = get_logger()


def feed(
    recorded: Recorded, sinks: Mapping[str, Sink], output: Path, *, resume: bool = False, overwrite: bool = False
) -> int:
    """Hand every committed sample to the sinks, as a run would have, and close them; returns how many there were.

    sinks: by the names that messages call them.  output: the directory of the run.
    resume: leave what is there, and make the rest; overwrite: replace what is there.

    Raises `ConfigError` when a sink asks for what the file does not hold, `OutputError` when a sink cannot write
    or there is nothing to export, `RunFailed`, with the sink's name, for whatever else one raises, and
    `Interrupted` after SIGINT or SIGTERM, with the batch in hand committed.
    """
    header = recorded.header(output, resume, overwrite)
    opened: dict[str, Sink] = {}
    outcome = Outcome.FAILED
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {output}: {error.strerror or error}") from error
    try:
        done = _open(sinks, header, opened)
        fields = _fields(recorded.trajectory, sinks, header.timeline)
        positions = _positions(recorded.trajectory, bool(frozenset().union(*fields.values())))
        left = [p for p in positions if p not in done]
        exported = 0
        with stop_requests() as stopping:
            for event in recorded.events(header, left, fields):
                for name, sink in sinks.items():
                    _call_sink(name, sink.write if isinstance(event, Frame) else sink.commit, event)
                if isinstance(event, BatchResult):
                    exported += len(event.positions)
                    if stopping.is_set():
                        break
        if exported < len(left):
            outcome = Outcome.INTERRUPTED
            raise Interrupted(
                f"interrupted: {len(positions) - len(left) + exported} of {len(positions)} samples are exported to "
                f"{output} — repeat the command with --resume to finish"
            )
        outcome = Outcome.COMPLETED
    finally:
        failure = _closed(opened, outcome)
    if failure is not None:
        raise failure
    return len(positions)


def _fields(file: Trajectory, sinks: Mapping[str, Sink], timeline: Timeline) -> dict[int, frozenset[str]]:
    """What is asked for of each kept step. Raises `ConfigError` for what the file does not hold."""
    held = [field_of(name) for name in file.datasets()]
    none = {"forces" if not file.force_names else "", "drifts" if not file.drift_names else ""}
    out: dict[int, frozenset[str]] = {}
    missed = 0
    kept = set(file.kept_steps.tolist())
    for name, sink in sinks.items():
        for step in range(len(timeline)):
            wanted = sink.wants(timeline.at(step))
            if lacking := sorted(  # of a run without forces, none is all of them
                request for request in wanted - none if not any(is_requested(field, (request,)) for field in held)
            ):
                raise ConfigError(
                    f"sink {name!r} asks for {' and '.join(lacking)}, which {file.path} does not hold; it has "
                    f"{', '.join(file.fields) or 'no states'} — change the sink's settings"
                )
            if wanted and step not in kept:
                missed += 1
            elif wanted:
                out[step] = out.get(step, frozenset()) | wanted
    if missed:
        log.warning("export.steps_not_kept", file=str(file.path), kept=len(kept), of=len(timeline))
    return out


def _positions(file: Trajectory, states: bool) -> list[int]:
    """The samples that can be shown: committed, and with states where those are asked for."""
    committed = file.committed
    kept = set(file.kept_samples.tolist())
    out = [position for position in committed if position in kept or not states]
    if len(out) < len(file):
        log.warning("export.samples_left_out", file=str(file.path), committed=len(committed), exported=len(out))
    if not out:
        raise OutputError(f"{file.path} holds no committed sample to export — finish the run with --resume")
    return out


def _call_sink(name: str, call: Any, *args: Any) -> Any:
    with blame(RunFailed, lambda error: f"sink {name!r} failed: {type(error).__name__}: {error}"):
        return call(*args)


def _open(sinks: Mapping[str, Sink], header: RunHeader, opened: dict[str, Sink]) -> frozenset[int]:
    """Open the sinks, each in `opened` before it is; returns the positions that all of them have recorded."""
    done: frozenset[int] | None = None  # a sink that keeps no account needs everything again
    for name, sink in sinks.items():
        opened[name] = sink
        recorded = _call_sink(name, sink.open, header) or frozenset()
        done = recorded if done is None else done & recorded
    return done or frozenset()


def _closed(sinks: Mapping[str, Sink], outcome: Outcome) -> EmnistDiffError | None:
    """Close every sink, whatever the others do; the first failure of an export that went well so far."""
    failure: EmnistDiffError | None = None
    for name, sink in sinks.items():
        try:
            _call_sink(name, sink.close, outcome)
        except EmnistDiffError as error:
            log.error("sink.close_failed", sink=name, error=str(error))
            failure = failure or error
    return failure if outcome is Outcome.COMPLETED else None
