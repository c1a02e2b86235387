"""What a run will hold in memory at once, held against what the machine has before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from emnist_diff.components import call_component
from emnist_diff.engine.plan import Plan
from emnist_diff.errors import PluginError
from emnist_diff.frames import RunHeader
from emnist_diff.machine.capacity import require_memory, size
from emnist_diff.protocols import SaysMemory, Sink, offers

_FLOAT = 4
_COPIES = 3
"""Of the states of a call: as they are chosen from the batch, as the network has them, and as it answers."""


def require_states(plan: Plan, shape: Sequence[int], samples: int, parts: int, device: torch.device) -> None:
    """Raise `ConfigError` where the states of a batch and of one network call do not fit into main memory.

    samples: of this worker.  parts: forces and drifts, each of which leaves a tensor of the batch's shape.
    A GPU says for itself what its memory does not hold.
    """
    if device.type != "cpu":
        return
    state, batch = _FLOAT * math.prod(shape), min(plan.batch_size, samples)
    way_out = "say a smaller --batch-size"
    if plan.micro_batch > batch:
        way_out = "say a smaller --micro-batch"
    elif batch == 1:
        way_out = "make states smaller"
    require_memory(
        state * (_COPIES * plan.micro_batch + (4 + parts) * batch),
        f"a batch of {batch} states of shape {tuple(shape)}, in calls of {plan.micro_batch} rows,",
        way_out,
    )


def require_sinks(sinks: Sequence[Sink], header: RunHeader, batch: int) -> None:
    """Raise `ConfigError` where what sinks keep until a batch is finished does not fit into main memory, as far as they
    say, naming the one that wants most."""
    count = min(batch, len(header.sample_ids))
    wanted = [(_memory(sink, header, count), type(sink).__name__) for sink in sinks if offers(sink, SaysMemory)]
    if not wanted:
        return
    most, name = max(wanted)
    whose = f"sink {name}" if len(wanted) == 1 else f"{len(wanted)} sinks, most of all {name} with {size(most)},"
    require_memory(
        sum(need for need, _ in wanted),
        f"recording {count} samples of {len(header.timeline)} steps at a time by {whose}",
        "say a smaller --batch-size, or record less",
    )


def _memory(sink: SaysMemory, header: RunHeader, batch: int) -> float:
    """Bytes that a sink says it needs."""
    label = f"sink {type(sink).__name__}"
    need: object = call_component(label, sink.memory, header, batch)
    if isinstance(need, bool) or not isinstance(need, int | float) or not need >= 0:
        raise PluginError(f"{label}: memory() returned {need!r:.60}, not a number of bytes")
    return need
