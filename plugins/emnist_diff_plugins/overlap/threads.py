"""Threads for noise and for sinks, where there is a processor for them."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import torch

from emnist_diff.engine.state import Engine
from emnist_diff.protocols import Sink
from emnist_diff.running.recording import OnRecorded, Overlap, Recording
from emnist_diff_plugins.overlap.prefetch import NoiseAhead
from emnist_diff_plugins.overlap.recording import Overlapped

_MOST_THREADS = 4


@attrs.frozen
class Threads(Overlap):
    """Draws noise ahead and calls sinks in threads of their own."""

    def noise(self, engine: Engine, cpus: int) -> NoiseAhead | None:
        """`Overlap.noise`: nothing without a second processor."""
        if cpus < 2:
            return None
        gpu = engine.device.type == "cuda"
        threads = min(_MOST_THREADS, cpus - 1) if engine.device.type != "cpu" else 1  # a CPU has other things to do
        return NoiseAhead(len(engine.timeline), threads, pinned=gpu)

    def recording(self, sinks: Sequence[Sink], device: torch.device, on_recorded: OnRecorded, cpus: int) -> Recording:
        """`Overlap.recording`: a thread of its own has something to win where the device computes by itself, or
        another processor is there."""
        if sinks and (device.type != "cpu" or cpus > 1):
            return Overlapped(sinks, on_recorded)
        return Recording(sinks, on_recorded)
