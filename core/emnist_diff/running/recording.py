"""Handing what a run leaves to its sinks while the next step is computed.

Sinks are asked in one thread of their own, in the order in which things happened. `open` and `close` stay with the
thread that runs the run: a signal reaches only that one, and laying out a large file must be interruptible.

Frames are handed over, not copied: the engine makes new tensors at every step and never changes one. From a GPU a frame
is one copy into pinned memory, on a stream of its own, so that the device goes on computing.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

import attrs
import torch
from torch import Tensor

from emnist_diff.errors import ConfigError, RunFailed, blame
from emnist_diff.frames import FIELDS, BatchResult, Frame, RunHeader, is_requested
from emnist_diff.protocols import Sink
from emnist_diff.running.pinning import pinned
from emnist_diff.shortage import out_of_memory

Event = Frame | BatchResult
OnRecorded = Callable[[BatchResult], None]
"""Told of each batch that all sinks have committed; called by the thread that hands events over."""

MOST_BYTES, MOST_FRAMES = 256_000_000, 256
"""Of what waits for the sinks; beyond either, the run waits for them. Small frames are limited by their number."""


def call_sink(sink: Sink, what: str, call, *args):  # type: ignore[no-untyped-def]  # passes any sink's method through
    """Call a sink; what it raises becomes a `RunFailed` that names it."""

    def message(error: Exception) -> str:
        failure = f"sink {type(sink).__name__} failed to {what}"
        if out_of_memory(error):
            return f"{failure}: memory does not suffice — use a smaller --batch-size, or record less"
        return f"{failure}: {type(error).__name__}: {error}"

    with blame(RunFailed, message):
        return call(*args)


def requested_fields(sinks: Sequence[Sink], header: RunHeader) -> list[frozenset[str]]:
    """What the sinks request together, for each step. Raises `ConfigError` for what nothing in the run provides."""
    out = []
    for at in map(header.timeline.at, range(len(header.timeline))):
        together: set[str] = set()
        for sink in sinks:
            requests = frozenset(call_sink(sink, "say what it wants", sink.wants, at))
            for request in requests.difference(FIELDS):
                if not any(is_requested(field, (request,)) for field in header.fields):
                    raise ConfigError(
                        f"sink {type(sink).__name__} requests the field {request!r}, which this run does not have; it "
                        f"has {', '.join(header.fields)} — change the sink's settings"
                    )
            together |= requests
        out.append(frozenset(together))
    return out


@attrs.define(eq=False)
class Recording:
    """Hands events to the sinks at once, by the thread that computes; for a machine with one processor."""

    sinks: Sequence[Sink]
    on_recorded: OnRecorded

    def hand(self, event: Event) -> None:
        """Hand something over, now or soon. Raises what a sink or `OnRecorded` raised, of this or an earlier event."""
        _hand(self.sinks, event)
        if isinstance(event, BatchResult):
            self.on_recorded(event)

    def finish(self) -> None:
        """Wait until the sinks have everything. Raises as `hand`."""

    def abandon(self) -> None:
        """Let nothing more reach the sinks, once what one of them is doing is done; called however a run ends."""


@attrs.define(eq=False)
class Overlapped(Recording):
    """Sinks are called by a thread of their own. A batch is handed over only when the one before it was reported, so
    that at most one more is committed after `OnRecorded` has raised."""

    most_bytes: int = MOST_BYTES
    most_frames: int = MOST_FRAMES
    _waiting: deque[_Staged] = attrs.field(init=False, factory=deque)
    _held: int = attrs.field(init=False, default=0)
    _open_batches: int = attrs.field(init=False, default=0)
    _recorded: deque[BatchResult] = attrs.field(init=False, factory=deque)
    _failure: BaseException | None = attrs.field(init=False, default=None)
    _over: bool = attrs.field(init=False, default=False)
    _changed: threading.Condition = attrs.field(init=False, factory=threading.Condition)
    _thread: threading.Thread = attrs.field(init=False)
    _copies: _Copies = attrs.field(init=False, factory=lambda: _Copies())

    def __attrs_post_init__(self) -> None:
        self._thread = threading.Thread(target=self._work, name="emnist-diff-recording", daemon=True)
        self._thread.start()

    def hand(self, event: Event) -> None:
        if isinstance(event, BatchResult):
            self._wait(lambda: not self._open_batches)
        self.report()
        staged = self._copies.stage(event)
        self._wait(lambda: not self._waiting or self._has_room(staged.bytes))
        with self._changed:
            self._waiting.append(staged)
            self._held += staged.bytes
            self._open_batches += isinstance(event, BatchResult)
            self._changed.notify_all()

    def report(self) -> None:
        """Tell `OnRecorded` of the batches that were committed meanwhile. Raises as `hand`."""
        if self._failure is not None:
            raise self._failure
        while self._recorded:
            self.on_recorded(self._recorded.popleft())

    def finish(self) -> None:
        self._wait(lambda: not self._waiting and not self._open_batches)
        self.report()

    def abandon(self) -> None:
        with self._changed:
            self._over = True
            self._waiting.clear()
            self._changed.notify_all()
        self._thread.join()

    def _has_room(self, size: int) -> bool:
        return self._held + size <= self.most_bytes and len(self._waiting) < self.most_frames

    def _wait(self, until: Callable[[], bool]) -> None:
        """Wait for the sinks. Raises what one of them raised."""
        with self._changed:
            self._changed.wait_for(lambda: self._failure is not None or until())
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        """The life of the thread."""
        try:
            while self._one():
                pass
        except BaseException as error:  # whatever it is, it belongs to the thread that waits for it
            with self._changed:
                self._failure = error
                self._over = True
                self._changed.notify_all()

    def _one(self) -> bool:
        """Wait for an event and hand it to the sinks; False when there will be no more. Keeps nothing of it."""
        with self._changed:
            self._changed.wait_for(lambda: self._over or self._waiting)
            if self._over:
                return False
            staged = self._waiting[0]
        event = _arrived(staged)
        _hand(self.sinks, event)
        with self._changed:
            if self._waiting:  # unless it was abandoned meanwhile
                self._waiting.popleft()
            self._held -= staged.bytes
            if isinstance(event, BatchResult):
                self._open_batches -= 1
                self._recorded.append(event)
            self._changed.notify_all()
        return True


def _hand(sinks: Sequence[Sink], event: Event) -> None:
    for sink in sinks:
        if isinstance(event, Frame):
            call_sink(sink, "write", sink.write, event)
        else:
            call_sink(sink, "commit", sink.commit, event)


def tensors(event: Event) -> list[Tensor]:
    """All tensors of an event, in a fixed order."""
    if isinstance(event, BatchResult):
        return [event.x, event.images]
    return list(event.values())


def with_tensors(event: Event, given: Sequence[Tensor]) -> Event:
    """The same event with other tensors, in the order of `tensors`."""
    if isinstance(event, BatchResult):
        return attrs.evolve(event, x=given[0], images=given[1])
    return attrs.evolve(event, tensors=dict(zip(event, given, strict=True)))


@attrs.frozen(eq=False)
class _Staged:
    """An event on its way: as it is, or, once `copied` has happened, with its tensors one after another in pinned
    memory; then those of the event are shapes and no more."""

    event: Event
    bytes: int
    pinned: Tensor | None = None
    copied: torch.cuda.Event | None = None


def _arrived(staged: _Staged) -> Event:
    """The event with its tensors on the CPU; the pinned memory is free to be used again."""
    if staged.pinned is None or staged.copied is None:
        return staged.event
    staged.copied.synchronize()
    kept = torch.empty_like(staged.pinned).copy_(staged.pinned)  # sinks may keep it for long, and pinned memory is dear
    shapes = tensors(staged.event)
    parts = torch.split(kept, [t.numel() for t in shapes])
    return with_tensors(staged.event, [part.view(t.shape).to(t.dtype) for part, t in zip(parts, shapes, strict=True)])


@attrs.define(eq=False)
class _Copies:
    """Copies from a GPU, on a stream beside the one that computes."""

    _stream: torch.cuda.Stream | None = attrs.field(init=False, default=None)

    def stage(self, event: Event) -> _Staged:
        """Begin to bring an event to the CPU, if it is not there already."""
        given = tensors(event)
        size = sum(t.nbytes for t in given)
        if not given or given[0].device.type != "cuda":
            return _Staged(event, size)
        device = given[0].device
        if self._stream is None:
            self._stream = torch.cuda.Stream(device)
        self._stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(self._stream):
            flat = torch.cat([t.reshape(-1) for t in given])
            kept = pinned(*flat.shape, dtype=flat.dtype)
            kept.copy_(flat, non_blocking=True)
            copied = torch.cuda.Event()
            copied.record(self._stream)
        for tensor in given:
            tensor.record_stream(self._stream)  # its memory is not given away before it was copied
        shapes = [torch.empty(t.shape, dtype=t.dtype, device="meta") for t in given]
        return _Staged(with_tensors(event, shapes), size, kept, copied)


def begin_recording(sinks: Sequence[Sink], device: torch.device, on_recorded: OnRecorded, cpus: int) -> Recording:
    """Get ready to hand events to the sinks of a run on this device, with so many processors.

    A thread of its own has something to win where the device computes by itself, or another processor is there.
    """
    if sinks and (device.type != "cpu" or cpus > 1):
        return Overlapped(sinks, on_recorded)
    return Recording(sinks, on_recorded)
