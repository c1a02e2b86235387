"""Handing what a run leaves to its sinks, and what may do so, or draw noise, beside the thread that computes.

`open` and `close` of sinks stay with the thread that runs the run: a signal reaches only that one, and laying out a
large file must be interruptible. Frames are handed over, not copied: the engine makes new tensors at every step and
never changes one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import attrs
import torch
from torch import Tensor

from emnist_diff.components import make
from emnist_diff.config import ComponentConfig
from emnist_diff.engine.state import Engine
from emnist_diff.errors import ConfigError, PluginError, RunFailed, blame
from emnist_diff.frames import FIELDS, BatchResult, Frame, RunHeader, is_requested
from emnist_diff.plugins import Registry
from emnist_diff.protocols import Sink
from emnist_diff.records import OverlapSpec
from emnist_diff.shortage import out_of_memory

Event = Frame | BatchResult
OnRecorded = Callable[[BatchResult], None]
"""Called with each batch that all sinks have committed, by the thread that hands events over."""


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
                    present = dict.fromkeys((*header.fields, *header.capturable))
                    raise ConfigError(
                        f"sink {type(sink).__name__} requests the field {request!r}, which this run does not have; it "
                        f"has {', '.join(present)} — change the sink's settings, or leave --record-attention out"
                    )
            together |= requests
        out.append(frozenset(together))
    return out


@attrs.define(eq=False)
class Recording:
    """Hands events to the sinks at once, by the thread that computes.

    sinks: of the run, opened.  on_recorded: called with each batch that all of them have committed.
    """

    sinks: Sequence[Sink]
    on_recorded: OnRecorded

    def hand(self, event: Event) -> None:
        """Hand something over, now or soon. Raises what a sink or `OnRecorded` raised, of this or an earlier event."""
        hand_to_sinks(self.sinks, event)
        if isinstance(event, BatchResult):
            self.on_recorded(event)

    def finish(self) -> None:
        """Wait until the sinks have everything. Raises as `hand`."""

    def abandon(self) -> None:
        """Let nothing more reach the sinks, once what one of them is doing is done; called however a run ends."""


def hand_to_sinks(sinks: Sequence[Sink], event: Event) -> None:
    """Give an event to every sink, in their order. Raises as `call_sink`."""
    for sink in sinks:
        if isinstance(event, Frame):
            call_sink(sink, "write", sink.write, event)
        else:
            call_sink(sink, "commit", sink.commit, event)


class NoiseAhead(Protocol):
    """`engine.noise.batch_normal` to the bit, with the next draws under way."""

    def __call__(
        self, seeds: Sequence[int], sample_ids: Sequence[int], step: int, stream: str, shape: tuple[int, ...]
    ) -> Tensor:
        """(B, *shape) float32; a new tensor."""

    def start(self, seeds: Sequence[int], sample_ids: Sequence[int], stream: str, shape: tuple[int, ...]) -> None:
        """Begin with the starting states of a batch that will be walked later."""

    def close(self) -> None:
        """Stop drawing."""


class Overlap:
    """What an `OverlapSpec` names derives from this class: it may draw noise and call sinks beside the thread that
    computes, which saves time and changes no bit. This one does neither.  cpus: processors that the run may use.
    """

    def noise(self, engine: Engine, cpus: int) -> NoiseAhead | None:
        """What draws the noise of a run on `engine` ahead; None where that would save nothing."""
        return None

    def recording(self, sinks: Sequence[Sink], device: torch.device, on_recorded: OnRecorded, cpus: int) -> Recording:
        """What hands events to the sinks of a run that computes on `device`."""
        return Recording(sinks, on_recorded)


def overlap_of(registry: Registry) -> Overlap:
    """The default overlap of the installed ones, or one that does nothing. Raises the errors of `components.make`, and
    `PluginError` for what is no overlap."""
    for entry in registry.of(OverlapSpec):
        if entry.spec.default:
            component = make(registry, OverlapSpec, ComponentConfig(entry.qualified))
            if not isinstance(component.object, Overlap):
                raise PluginError(f"{component.label('overlap')} is not derived from recording.Overlap")
            return component.object
    return Overlap()
