"""The finished images of a run, in memory and in no file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from emnist_diff.frames import BatchResult, Frame, Outcome, RunHeader
from emnist_diff.plugins import Registry
from emnist_diff.running.run import execute, prepare
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.judging.report import planes
from emnist_diff_plugins.layers import configure
from emnist_diff_trajectory.pixels import to_uint8


@attrs.frozen(eq=False)
class Finished:
    """Samples of a run.  images: uint8 (N, C, H, W).  names: (N,) their classes.  classes: of the model."""

    images: npt.NDArray[np.uint8]
    names: tuple[str, ...]
    classes: tuple[str, ...]


@attrs.define(eq=False)
class _Kept:
    """A sink that keeps images."""

    images: dict[int, npt.NDArray[np.uint8]] = attrs.field(factory=dict)

    def wants(self, at: StepInfo) -> frozenset[str]:
        return frozenset()

    def open(self, header: RunHeader) -> None:
        return None

    def write(self, frame: Frame) -> None:
        pass

    def commit(self, batch: BatchResult) -> None:
        self.images |= dict(zip(batch.positions, to_uint8(batch.images), strict=True))

    def close(self, outcome: Outcome) -> None:
        pass


def generated(registry: Registry, layer: Mapping[str, Any]) -> Finished:
    """The samples that a layer of configuration means, of which nothing is recorded. Raises as `configure` and
    `assemble`; `Interrupted` after SIGINT or SIGTERM."""
    settings, denoiser = configure(registry, {"sinks": [], **layer})
    assembly = prepare(registry, settings, report=False, denoiser=denoiser)
    kept = _Kept()
    execute(attrs.evolve(assembly, sinks=(kept,)))
    classes = assembly.header.classes
    names = tuple(classes[label] for label in assembly.header.labels.tolist())
    images = planes(np.stack([kept.images[position] for position in range(len(names))]))
    return Finished(images, names, classes)
