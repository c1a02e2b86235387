"""The bench of sinks, and the rules for them: what is committed stays, and nothing is overwritten unasked."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs

from emnist_diff.assembly.assemble import Assembly, assemble
from emnist_diff.discovery import installed
from emnist_diff.engine.state import Batch
from emnist_diff.engine.walk import walk
from emnist_diff.frames import FIELDS, Frame, Outcome, RunHeader
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins import runconfig
from emnist_diff_testing.rules import rule
from emnist_diff_testing.subjects import Subject, subject
from emnist_diff_testing.traps import trap

_RUN: dict[str, Any] = {
    "denoiser": {"name": "gaussian-mixture", "shape": [1, 8, 8], "classes": "AB"},
    "character": "A,B",
    "total_videos": 3,
    "steps": 4,
    "forces": [{"name": "attract_class", "target": "B", "weight": 0.5}],
    "drifts": [{"name": "default", "noise_scale": 0.02}],
    "device": "cpu",
    "sinks": [],
}
_BATCH = 2
"""Samples walked together: two batches, of two samples and of one."""


@attrs.define(eq=False)
class Session:
    """The life of a sink in a run: what it said was recorded already, the samples committed, and where it failed.

    changed: what it wrote into of what it was given.  generators: the global ones that it used.
    """

    sink: Any
    output: Path
    account: Any = None
    committed: list[int] = attrs.field(factory=list)
    stage: str = ""
    error: Exception | None = None
    changed: set[str] = attrs.field(factory=set)
    generators: set[str] = attrs.field(factory=set)

    def ask(self, stage: str, call: Callable[..., Any], given: Any, inputs: dict[str, Any]) -> Any:
        """Call the sink, unless it failed before."""
        if self.error is not None:
            return None
        answer = None
        with trap(inputs) as trapped:
            try:
                answer = call(given)
            except Exception as error:
                self.stage, self.error = stage, error
        self.changed |= {f"{name} ({stage})" for name in trapped.changed}
        self.generators |= set(trapped.generators)
        return answer


@attrs.define(eq=False, slots=False)
class SinkBench:
    """A sink, and a place where it may write."""

    subject: Subject
    folder: Path | None
    _assembled: dict[tuple[int, int], Assembly] = attrs.field(factory=dict)

    @property
    def name(self) -> str:
        return self.subject.name

    def room(self) -> Path:
        """An empty directory; gone with the bench."""
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        path = tempfile.mkdtemp(prefix="emnist-diff-check-", dir=self.folder)
        weakref.finalize(self, shutil.rmtree, path, ignore_errors=True)
        return Path(path)

    def run(
        self,
        room: Path,
        *,
        how: str = "",
        batches: int | None = None,
        everything: bool = False,
        outcome: Outcome | None = Outcome.COMPLETED,
        rank: int = 0,
        workers: int = 1,
    ) -> Session:
        """A run with a fresh sink in `room`, as `run.execute` drives it.

        how: ``resume``, ``overwrite``, or neither.  batches: stop after so many.  everything: another sink beside it
        wants every field.  outcome: to close it with; None leaves it open.
        """
        assembly = self.assembled(room, rank, workers)
        header = attrs.evolve(assembly.header, resume=how == "resume", overwrite=how == "overwrite")
        session = Session(self.subject.make(), header.output)
        session.account = session.ask("open", session.sink.open, header, _arrays(header))
        done = session.account if session.account is not None else frozenset()
        todo = [p for p in range(len(header.sample_ids)) if p not in done] if session.error is None else []
        for start in range(0, len(todo), _BATCH)[:batches]:
            self._walk(session, assembly, tuple(todo[start : start + _BATCH]), everything)
        if outcome is not None:
            close(session, outcome)
        return session

    def assembled(self, room: Path, rank: int = 0, workers: int = 1) -> Assembly:
        """The run, without sinks, writing below `room`."""
        if (rank, workers) not in self._assembled:
            settings = runconfig.resolve(_RUN, {"rank": rank, "world_size": workers})
            self._assembled[rank, workers] = assemble(installed(), settings)
        assembly = self._assembled[rank, workers]
        output = room / "output" / assembly.header.output.name
        return attrs.evolve(assembly, header=attrs.evolve(assembly.header, output=output))

    def _walk(self, session: Session, assembly: Assembly, positions: tuple[int, ...], everything: bool) -> None:
        header = assembly.header
        own = (tuple(int(array[p]) for p in positions) for array in (header.sample_ids, header.labels, header.seeds))
        batch = Batch(positions, *own)

        def wants(at: StepInfo) -> frozenset[str]:
            requested: frozenset[str] = session.sink.wants(at)
            return frozenset(FIELDS) if everything else requested

        for event in walk(assembly.engine, batch, wants):
            if isinstance(event, Frame):
                session.ask("write", session.sink.write, event, _tensors(event))
            else:
                session.ask("commit", session.sink.commit, event, {"x": event.x, "images": event.images})
                if session.error is None:
                    session.committed += positions

    @cached_property
    def alone(self) -> Session:
        """A whole run with nothing beside the sink."""
        return self.run(self.room())

    @cached_property
    def beside(self) -> Session:
        """A whole run beside a sink that wants everything."""
        return self.run(self.room(), everything=True)

    def copied(self) -> Path:
        """A room with what the whole run left."""
        room = self.room()
        if self.alone.output.is_dir():
            shutil.copytree(self.alone.output, room / "output" / self.alone.output.name)
        return room

    @cached_property
    def names(self) -> frozenset[str]:
        """The files that a whole run leaves, paths from the run's directory; hidden ones left out."""
        return frozenset(files(self.alone.output))


def bench(component: Any, name: str = "", folder: Path | None = None) -> SinkBench:
    """The bench of a sink, a class or an object that is not open yet. Raises as `subject`."""
    return SinkBench(subject("sink", component, name), folder)


def close(session: Session, outcome: Outcome) -> None:
    """Close a sink, whatever happened before; what it raises is the session's error, unless there is one."""
    try:
        session.sink.close(outcome)
    except Exception as error:
        if session.error is None:
            session.stage, session.error = "close", error


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content, hidden ones left out."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in (sorted(folder.rglob("*")) if folder.is_dir() else ())
        if path.is_file() and not path.name.startswith(".")
    }


def _arrays(header: RunHeader) -> dict[str, Any]:
    names = ("sample_ids", "labels", "seeds", "force_weights")
    return {f"header.{name}": getattr(header, name) for name in names} | {
        f"header.timeline.{name}": getattr(header.timeline, name) for name in ("timestep", "alpha_bar")
    }


def _tensors(frame: Frame) -> dict[str, Any]:
    return {f"frame.{name}": tensor for name, tensor in frame.items()}


@rule("sink", "a run can be recorded with it", "a sink that raises ends the run")
def runs(bench: SinkBench) -> Iterator[str]:
    session = bench.alone
    if session.error is not None:
        yield f"{session.stage}: {type(session.error).__name__}: {session.error}"


@rule(
    "sink",
    "wants() is pure, and gives a frozenset of names of fields",
    "the engine computes and copies for a step what somebody wants of it, and nothing else",
)
def wants_fields(bench: SinkBench) -> Iterator[str]:
    sink = bench.subject.make()
    timeline = bench.assembled(bench.room()).header.timeline
    for at in map(timeline.at, range(len(timeline))):
        try:
            requested, again = sink.wants(at), sink.wants(at)
        except Exception as error:
            yield f"before open(), at step {at.index}: {type(error).__name__}: {error}"
            return
        if not isinstance(requested, frozenset) or not all(isinstance(field, str) for field in requested):
            yield f"at step {at.index} it gave {requested!r}"
            return
        if requested != again:
            yield f"at step {at.index} it wants {requested!r}, and then {again!r}"
            return


@rule(
    "sink",
    "it takes frames with more than it wanted, and of steps that it did not want",
    "several sinks share the frames of a run",
)
def takes_more(bench: SinkBench) -> Iterator[str]:
    if bench.alone.error is not None:
        return
    session = bench.beside
    if session.error is not None:
        yield f"{session.stage}: {type(session.error).__name__}: {session.error}"
    elif (names := frozenset(files(session.output))) != bench.names:
        yield f"other files than alone: {', '.join(sorted(names ^ bench.names)[:4])}"


@rule(
    "sink",
    "nothing that it is given is changed, and no global generator is used",
    "frames are shared with the walk itself and with the other sinks",
)
def no_mutation(bench: SinkBench) -> Iterator[str]:
    if bench.beside.changed:
        yield f"it wrote into {', '.join(sorted(bench.beside.changed))}"
    if bench.beside.generators:
        yield f"it drew from or seeded {', '.join(sorted(bench.beside.generators))}"


@rule(
    "sink",
    "it writes below the run's directory alone",
    "several runs and workers share a disk",
)
def stays_inside(bench: SinkBench) -> Iterator[str]:
    output = bench.alone.output
    room = output.parents[1]
    outside = [path for path in room.rglob("*") if path.is_file() and output not in path.parents]
    if outside:
        yield f"it wrote {outside[0].relative_to(room)}"
