"""Sinks at work in a thread of their own, while the next step is computed.

They are called in the order in which things happened. From a GPU a frame is one copy into pinned memory, on a stream
of its own, so that the device goes on computing.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

import attrs
import torch
from torch import Tensor

from emnist_diff.frames import BatchResult
from emnist_diff.running.recording import Event, Recording, hand_to_sinks
from emnist_diff_plugins.overlap.pinning import pinned

MOST_BYTES, MOST_FRAMES = 256_000_000, 256
"""Of what waits for the sinks; beyond either, the run waits for them. Small frames are limited by their number."""


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
        hand_to_sinks(self.sinks, event)
        with self._changed:
            if self._waiting:  # unless it was abandoned meanwhile
                self._waiting.popleft()
            self._held -= staged.bytes
            if isinstance(event, BatchResult):
                self._open_batches -= 1
                self._recorded.append(event)
            self._changed.notify_all()
        return True


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
    kept = torch.empty_like(staged.pinned).copy_(
        staged.pinned
    )  # sinks may keep it for long, and pinned memory is scarce
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
