"""What benchmarks of speed share: rounds that interleave, and ratios that are taken within a round."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import torch

from emnist_diff_plugins.benching.machine import description


@attrs.define
class Took:
    """What a way took in each round: wall seconds, and processor seconds of all threads. The latter hardly change when
    a machine is busy with other things; they do not see threads that wait for each other."""

    wall: list[float] = attrs.field(factory=list)
    cpu: list[float] = attrs.field(factory=list)


def interleaved(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Took]:
    """What each way took. The rounds begin with different ways, so that none always comes after the same."""
    took = {name: Took() for name in ways}
    names = [*ways]
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            wall, cpu = time.perf_counter(), time.process_time()
            ways[name]()
            took[name].wall.append(time.perf_counter() - wall)
            took[name].cpu.append(time.process_time() - cpu)
    return took


class Timed:
    """A sink that adds up the seconds spent in another."""

    def __init__(self, sink: Any) -> None:
        self._sink, self.seconds = sink, 0.0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._sink, name)  # a capability that the sink has not, this one has not either

        def call(*arguments: Any) -> Any:
            started = time.perf_counter()
            try:
                return method(*arguments)
            finally:
                self.seconds += time.perf_counter() - started

        return call


@attrs.frozen
class Ratio:
    """The median of the ratios of two ways, each within one round, with the least and the greatest."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, above: Sequence[float], below: Sequence[float]) -> Ratio:
        each = [a / b for a, b in zip(above, below, strict=True)]
        return cls(statistics.median(each), min(each), max(each))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f} … {self.most:.2f})"


def machine() -> dict[str, Any]:
    """What this is measured on, and how busy it is."""
    return description(torch.device("cpu"))


def machine_line(of: Mapping[str, Any], threads: int) -> str:
    """The same in a line."""
    libraries = ", ".join(f"{name} {version}" for name, version in of["libraries"].items())
    return f"{of['processor']}, {of['cores']} cores, {threads} threads; {libraries}; load {of['load']}"
