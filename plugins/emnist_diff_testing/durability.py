"""The rules for what sinks keep: through kills, resumed and repeated runs, failures, and beside other workers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from emnist_diff.errors import EmnistDiffError
from emnist_diff.frames import Outcome
from emnist_diff_testing.rules import rule
from emnist_diff_testing.sinks import Session, SinkBench, close, files


@rule(
    "sink",
    "what commit() was given survives a kill, and a resumed run ends with the same files",
    "a run may die at any moment; nobody makes finished samples again",
)
def durable(bench: SinkBench) -> Iterator[str]:
    if bench.alone.error is not None:
        return
    session = bench.run(bench.room(), batches=1, outcome=None)
    left = bench.room() / "output" / session.output.name
    if session.output.is_dir():
        shutil.copytree(session.output, left)  # as a kill right after the commit leaves it
    close(session, Outcome.FAILED)
    again = bench.run(left.parents[1], how="resume")
    if again.error is not None:
        yield f"after a kill, {again.stage} failed: {type(again.error).__name__}: {again.error}"
        return
    if again.account is not None and (lost := set(session.committed) - set(again.account)):
        yield f"after a kill, open() does not know of the committed samples {sorted(lost)}"
    if missing := bench.names - frozenset(files(again.output)):
        yield f"after a kill and a resumed run there is no {sorted(missing)[0]}"


@rule(
    "sink",
    "open() gives None, or the positions of all samples that are recorded",
    "a resumed run leaves those out that every sink has; what is not said is made again, what is said wrongly is lost",
)
def accounts(bench: SinkBench) -> Iterator[str]:
    if bench.alone.error is not None:
        return
    everything = frozenset(bench.alone.committed)
    first = bench.alone.account
    if first is not None and not isinstance(first, frozenset):
        yield f"open() gave {type(first).__name__}, neither None nor a frozenset"
        return
    again = bench.run(bench.copied(), how="resume")
    if again.error is not None:
        yield f"resuming a finished run: {again.stage}: {type(again.error).__name__}: {again.error}"
    elif again.account is not None and again.account != everything:
        yield f"of a finished run it knows {sorted(again.account)}, and not {sorted(everything)}"


@rule(
    "sink",
    "without resume or overwrite nothing that is there is changed; with overwrite a run can be recorded anew",
    "hours of work are lost by repeating a command",
)
def keeps_existing_files(bench: SinkBench) -> Iterator[str]:
    if bench.alone.error is not None:
        return
    room = bench.copied()
    output = bench.assembled(room).header.output
    before = files(output)
    session = bench.run(room)
    if session.error is not None and not isinstance(session.error, EmnistDiffError):
        yield f"{session.stage}: {type(session.error).__name__}: {session.error} — an OutputError should say it"
    if changed := [name for name, data in files(output).items() if before.get(name, data) != data]:
        yield f"a second run replaced {changed[0]} unasked"
    elif lost := before.keys() - files(output).keys():
        yield f"a second run removed {min(lost)} unasked"
    anew = bench.run(room, how="overwrite", batches=1)
    if anew.error is not None:
        yield f"overwrite: {anew.stage}: {type(anew.error).__name__}: {anew.error}"


@rule(
    "sink",
    "close() can be called at any time, and lets go of everything",
    "it is called exactly once, also after open() failed and in the middle of a batch; the next run wants to open",
)
def closes(bench: SinkBench) -> Iterator[str]:
    for outcome in Outcome:
        unopened = Session(bench.subject.make(), Path())
        close(unopened, outcome)
        if unopened.error is not None:
            yield f"close({outcome.name}) before open(): {type(unopened.error).__name__}: {unopened.error}"
            return
    if bench.alone.error is not None:
        return
    for outcome in (Outcome.INTERRUPTED, Outcome.FAILED):
        room = bench.room()
        session = bench.run(room, batches=1, outcome=outcome)
        if session.error is not None:
            yield f"{session.stage} after a batch, {outcome.name}: {type(session.error).__name__}: {session.error}"
            return
        again = bench.run(room, how="overwrite", batches=0)
        if again.error is not None:
            yield f"after close({outcome.name}) {again.stage} fails: {type(again.error).__name__}: {again.error}"
            return


@rule(
    "sink",
    "what cannot be written is an error of this package",
    "the command line shows it in one line with its exit code; anything else is a traceback",
)
def clear_errors(bench: SinkBench) -> Iterator[str]:
    room = bench.room()
    output = bench.assembled(room).header.output
    output.parent.mkdir(parents=True)
    output.write_text("a file where the directory should be")
    session = bench.run(room)
    if session.error is not None and not isinstance(session.error, EmnistDiffError):
        yield f"a file in the way: {session.stage} raised {type(session.error).__name__}: {session.error}"


@rule(
    "sink",
    "workers of one run can write into one directory, and none touches what another wrote",
    "a run is shared by starting the command several times; RunHeader.own_name gives each worker's file its name",
)
def workers(bench: SinkBench) -> Iterator[str]:
    if bench.alone.error is not None:
        return
    room = bench.room()
    for rank in (0, 1):
        before = files(room)
        session = bench.run(room, rank=rank, workers=2)
        if session.error is not None:
            yield f"worker {rank}: {session.stage}: {type(session.error).__name__}: {session.error}"
            return
        if changed := [name for name, data in before.items() if files(room).get(name) != data]:
            yield f"worker {rank} changed {changed[0]}"
