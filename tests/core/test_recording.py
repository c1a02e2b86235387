"""The way to the sinks: order, back-pressure, errors and ends, in a thread of its own as inline."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterator

import attrs
import pytest
import torch

from emnist_diff.errors import OutputError, RunFailed
from emnist_diff.frames import BatchResult, Frame
from emnist_diff.running.recording import Recording
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.overlap import recording
from emnist_diff_plugins.overlap.recording import Overlapped, tensors, with_tensors
from emnist_diff_plugins.overlap.threads import Threads


def frame(index: int, size: int = 4) -> Frame:
    return Frame(StepInfo(index, 100, 0.0, 0.5, 0.6), (0,), {"x": torch.full((1, size), float(index))})


def batch(*positions: int) -> BatchResult:
    return BatchResult(positions, torch.zeros(len(positions), 2), torch.zeros(len(positions), 1, 1, 2))


@attrs.define(eq=False)
class Memory:
    """A sink that keeps the order of what it was told, in which thread, and does it only while it may."""

    events: list[str] = attrs.field(factory=list)
    threads: set[str] = attrs.field(factory=set)
    may: threading.Event = attrs.field(factory=threading.Event)
    fails_at: str = ""
    error: Exception = attrs.field(factory=lambda: ValueError("no more"))
    seen: list[weakref.ref] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.may.set()

    def write(self, frame: Frame) -> None:
        self._note(f"frame {frame.at.index}")
        self.seen.append(weakref.ref(frame["x"]))

    def commit(self, batch: BatchResult) -> None:
        self._note(f"batch {batch.positions}")

    def _note(self, what: str) -> None:
        assert self.may.wait(20)
        self.threads.add(threading.current_thread().name)
        if what == self.fails_at:
            raise self.error
        self.events.append(what)


@pytest.fixture
def make() -> Iterator:
    """Ways to sinks, let go of at the end; no thread stays behind."""
    made: list[Overlapped | Recording] = []
    before = threading.active_count()

    def one(way, *sinks, told=None, **bounds):
        made.append(way(sinks, told if told is not None else lambda result: None, **bounds))
        return made[-1]

    yield one
    for way in made:
        way.abandon()
    assert threading.active_count() == before


WAYS = pytest.mark.parametrize("way", [Recording, Overlapped])


@WAYS
def test_every_sink_is_told_everything_in_order(make, way):
    sinks, told = (Memory(), Memory()), []
    to = make(way, *sinks, told=lambda result: told.append((result.positions, len(sinks[1].events))))
    for number in range(3):
        for index in range(50):
            to.hand(frame(index))
        to.hand(batch(number))
    to.finish()
    expected = [e for n in range(3) for e in (*(f"frame {i}" for i in range(50)), f"batch ({n},)")]
    assert sinks[0].events == sinks[1].events == expected
    assert [positions for positions, _ in told] == [(0,), (1,), (2,)]
    assert [count for _, count in told] >= [51, 102, 153], "told of a commit before the last sink had done it"
    assert sinks[0].threads == {"MainThread" if way is Recording else "emnist-diff-recording"}


def test_the_caller_goes_on_while_a_sink_is_at_work(make):
    sink = Memory()
    sink.may.clear()
    to = make(Overlapped, sink)
    for index in range(20):
        to.hand(frame(index))
    assert sink.events == []
    sink.may.set()
    to.finish()
    assert len(sink.events) == 20


@pytest.mark.parametrize("bounds", [{"most_frames": 5}, {"most_bytes": 5 * 4 * 1000}])
def test_the_caller_waits_when_too_much_is_waiting(make, bounds):
    sink = Memory()
    sink.may.clear()
    to = make(Overlapped, sink, **bounds)
    handed = []

    def hand() -> None:
        for index in range(12):
            to.hand(frame(index, 1000))
            handed.append(index)

    caller = threading.Thread(target=hand)
    caller.start()
    time.sleep(0.1)
    assert len(handed) == 5
    sink.may.set()
    caller.join(20)
    to.finish()
    assert sink.events == [f"frame {i}" for i in range(12)]


def test_something_larger_than_the_bound_passes_alone(make):
    sink = Memory()
    to = make(Overlapped, sink, most_bytes=10)
    to.hand(frame(0, 1000))
    to.hand(frame(1, 1000))
    to.finish()
    assert sink.events == ["frame 0", "frame 1"]


def test_nothing_is_kept_of_what_the_sinks_have(make):
    sink = Memory()
    to = make(Overlapped, sink)
    for index in range(5):
        to.hand(frame(index))
    to.finish()
    gc.collect()
    assert [seen() for seen in sink.seen] == [None] * 5


@WAYS
@pytest.mark.parametrize("at", ["frame 3", "batch (0,)"])
def test_an_error_comes_back_with_the_name_of_the_sink_and_nothing_follows_it(make, way, at):
    first, second = Memory(fails_at=at), Memory()
    told: list[BatchResult] = []
    to = make(way, first, second, told=told.append)

    def everything() -> None:
        for index in range(5):
            to.hand(frame(index))
        to.hand(batch(0))
        to.finish()

    kind = "write" if at.startswith("frame") else "commit"
    with pytest.raises(RunFailed, match=rf"^sink Memory failed to {kind}: ValueError: no more$"):
        everything()
    to.abandon()
    assert at not in second.events
    assert "batch (0,)" not in second.events
    assert told == []


@WAYS
def test_errors_of_this_package_come_back_as_they_are(make, way):
    error = OutputError("disk full — make room")
    to = make(way, Memory(fails_at="frame 0", error=error))

    def hand() -> None:
        to.hand(frame(0))
        to.finish()

    with pytest.raises(OutputError) as failed:
        hand()
    assert failed.value is error


def test_a_caller_that_waits_learns_of_the_error(make):
    sink = Memory(fails_at="frame 0")
    sink.may.clear()
    to = make(Overlapped, sink, most_frames=1)
    to.hand(frame(0))
    threading.Timer(0.05, sink.may.set).start()

    def hand() -> None:
        for index in range(1, 10):
            to.hand(frame(index))

    with pytest.raises(RunFailed, match="no more"):
        hand()


@WAYS
def test_what_the_told_raises_stops_the_next_commit(make, way):
    sink = Memory()

    def fail(result: BatchResult) -> None:
        raise RuntimeError("enough")

    to = make(way, sink, told=fail)

    def everything() -> None:
        for number in range(3):
            to.hand(frame(number))
            to.hand(batch(number))
        to.finish()

    with pytest.raises(RuntimeError, match="enough"):
        everything()
    to.abandon()
    assert [event for event in sink.events if event.startswith("batch")] == ["batch (0,)"]


def test_abandoning_lets_the_sink_end_what_it_does_and_nothing_more(make):
    sink = Memory()
    sink.may.clear()
    to = make(Overlapped, sink)
    for index in range(5):
        to.hand(frame(index))
    threading.Timer(0.05, sink.may.set).start()
    to.abandon()
    assert len(sink.events) <= 1
    to.abandon()  # as often as one likes


def test_commits_are_told_between_steps_too(make):
    told: list[BatchResult] = []
    to = make(Overlapped, Memory(), told=told.append)
    to.hand(batch(0))
    deadline = time.monotonic() + 20
    while not told and time.monotonic() < deadline:
        to.report()
    assert [result.positions for result in told] == [(0,)]


@pytest.mark.parametrize(
    ("cpus", "device", "sinks", "way"),
    [
        (1, "cpu", 1, Recording),
        (2, "cpu", 1, Overlapped),
        (1, "meta", 1, Overlapped),  # any device that computes by itself
        (4, "cpu", 0, Recording),
    ],
)
def test_a_thread_is_for_those_who_have_a_processor_for_it(make, cpus, device, sinks, way):
    chosen = make(lambda *a: Threads().recording(*a[:1], torch.device(device), a[1], cpus), *[Memory()] * sinks)
    assert type(chosen) is way


def test_events_are_taken_apart_and_put_together():
    whole = Frame(
        StepInfo(3, 9, 0.0, 0.5, 0.6),
        (4, 5),
        {"x": torch.zeros(2, 1), "forces/00_a": torch.ones(2, 1), "drifts/00_b": torch.full((2, 1), 2.0)},
    )
    doubled = with_tensors(whole, [2 * t for t in tensors(whole)])
    assert (doubled.at, doubled.positions, list(doubled)) == (whole.at, whole.positions, list(whole))
    assert [float(t[0]) for t in doubled.values()] == [0, 2, 4]
    last = with_tensors(batch(1, 2), [torch.ones(2, 2), torch.full((2, 1, 1, 2), 7.0)])
    assert (last.positions, float(last.x.sum()), float(last.images.mean())) == ((1, 2), 4.0, 7.0)


def test_what_was_copied_from_a_device_arrives_in_its_shapes_and_types():
    """The last stage of a copy, with a copy that is there already."""
    given = [torch.arange(6.0).reshape(2, 3), torch.arange(4.0).reshape(2, 2)]
    event = BatchResult((0, 1), *[torch.empty(t.shape, device="meta") for t in given])

    class Done:
        def synchronize(self) -> None:
            pass

    staged = recording._Staged(event, 40, torch.cat([t.reshape(-1) for t in given]), Done())
    arrived = recording._arrived(staged)
    assert torch.equal(arrived.x, given[0])
    assert torch.equal(arrived.images, given[1])
    assert arrived.x.data_ptr() != staged.pinned.data_ptr(), "pinned memory is kept"
