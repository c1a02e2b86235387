"""What a run will hold in memory at once, held against what the machine has before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs
import torch

from emnist_diff.assembly.assemble import Assembly, Parts
from emnist_diff.components import call_component
from emnist_diff.errors import PluginError
from emnist_diff.frames import RunHeader
from emnist_diff.protocols import Denoiser, offers
from emnist_diff.surroundings import Review
from emnist_diff_plugins.capabilities import SaysMemory
from emnist_diff_plugins.capacity import require_memory, size

_FLOAT = 4
_COPIES = 3
"""Of the states of a call: as they are chosen from the batch, as the network has them, and as it answers."""


@attrs.frozen
class SufficientMemory(Review):
    """Refuses runs that main memory does not hold. A GPU says for itself what its memory does not hold."""

    def require(self, parts: Parts, denoisers: Mapping[str, Denoiser], device: torch.device) -> None:
        """Raise `ConfigError` where the states of a batch and of one network call do not fit."""
        if device.type != "cpu":
            return
        layout, shape = parts.layout, tuple(denoisers[""].shape)
        plan, settings = layout.plan, layout.settings
        samples = len(range(settings.rank, len(layout.labels), settings.world_size))
        state, batch = _FLOAT * math.prod(shape), min(plan.batch_size, samples)
        kept = len(layout.terms) + len(layout.drifts)  # each leaves a tensor of the batch's shape
        remedy = "use a smaller --batch-size"
        if plan.micro_batch > batch:
            remedy = "use a smaller --micro-batch"
        elif batch == 1:
            remedy = "make states smaller"
        require_memory(
            state * (_COPIES * plan.micro_batch + (4 + kept) * batch),
            f"a batch of {batch} states of shape {shape}, in calls of {plan.micro_batch} rows,",
            remedy,
        )

    def require_sinks(self, assembly: Assembly) -> None:
        """Raise `ConfigError` where what sinks keep until a batch is finished does not fit, as far as they say, naming
        the one that wants most."""
        header = assembly.header
        count = min(assembly.plan.batch_size, len(header.sample_ids))
        sinks = [sink for sink in assembly.sinks if offers(sink, SaysMemory)]
        wanted = [(_memory(sink, header, count), type(sink).__name__) for sink in sinks]
        if not wanted:
            return
        most, name = max(wanted)
        whose = f"sink {name}" if len(wanted) == 1 else f"{len(wanted)} sinks, most of all {name} with {size(most)},"
        require_memory(
            sum(need for need, _ in wanted),
            f"recording {count} samples of {len(header.timeline)} steps at a time by {whose}",
            "use a smaller --batch-size, or record less",
        )


def _memory(sink: SaysMemory, header: RunHeader, batch: int) -> float:
    """Bytes that a sink says it needs."""
    label = f"sink {type(sink).__name__}"
    need: object = call_component(label, sink.memory, header, batch)
    if isinstance(need, bool) or not isinstance(need, int | float) or not need >= 0:
        raise PluginError(f"{label}: memory() returned {need!r:.60}, not a number of bytes")
    return need
