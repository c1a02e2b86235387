"""The latents sink: the states themselves, a file each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

import attrs
import numpy as np
from attrs import validators as v

from emnist_diff.frames import BatchResult, Frame, RunHeader
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.sinks._arrays import npy, pt
from emnist_diff_plugins.sinks._folder import sample_name
from emnist_diff_plugins.sinks._per_sample import PerSampleSink
from emnist_diff_plugins.sinks._settings import every_setting


@attrs.define(eq=False, kw_only=True)
class LatentsSink(PerSampleSink):
    """Writes ``latents/v000_t0999.npy``, …: the state that the step at timestep 999 started from, float32 (*shape),
    and ``v000_final.npy``, the state of the finished sample.

    Timesteps are rounded; where that would make two of them alike, all get as many decimals as it takes.

    Example: ``--sink "latents:format=pt,every=10"``
    """

    folder: ClassVar[str] = "latents"

    format: str = attrs.field(
        default="npy", validator=v.in_(("npy", "pt")), metadata={"help": "npy (numpy) or pt (a torch tensor)"}
    )
    every: int = every_setting()
    _labels: list[str] = attrs.field(init=False, factory=list)

    def wants(self, at: StepInfo) -> frozenset[str]:
        return frozenset() if at.index % self.every else frozenset({"x"})

    def check(self, header: RunHeader) -> None:
        self._labels = [*timestep_labels(header.timeline.timestep.tolist()), "final"]

    def names(self, header: RunHeader, number: int) -> Iterable[str]:
        steps = [*range(0, len(header.timeline), self.every), len(header.timeline)]
        return (self._name(number, step) for step in steps)

    def take(self, frame: Frame) -> np.ndarray:
        return frame["x"].float().cpu().numpy()

    def last(self, batch: BatchResult) -> np.ndarray:
        return batch.x.float().cpu().numpy()

    def files(self, number: int, row: int, taken: Sequence[tuple[int, Any]]) -> Iterator[tuple[str, bytes]]:
        encode = npy if self.format == "npy" else pt
        for step, states in taken:
            yield self._name(number, step), encode(states[row])

    def _name(self, number: int, step: int) -> str:
        return f"{sample_name(number)}_{self._labels[step]}.{self.format}"


def timestep_labels(timesteps: Sequence[float]) -> list[str]:
    """``t0999`` for each timestep: all different, with as few decimals as that takes, and the step's index where even
    six are too few."""
    for decimals in range(7):
        width = 4 + bool(decimals) + decimals
        labels = [f"t{t:0{width}.{decimals}f}" for t in timesteps]
        if len(set(labels)) == len(labels):
            return labels
    return [f"{label}_s{i:04d}" for i, label in enumerate(labels)]
