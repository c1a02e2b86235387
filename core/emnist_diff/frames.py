"""What sinks, displays and readers exchange with a run: its header, its frames, finished batches, how it ended.

B is the number of samples in a batch, `*shape` the shape of one state.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from emnist_diff.brief import briefly
from emnist_diff.timeline import PredictionType, StepInfo, Timeline

if TYPE_CHECKING:  # the contracts can be read without paying for torch
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from emnist_diff.protocols import Sink


def no_decoder(x: Tensor) -> Tensor:
    """The decoder of a header that was made without a denoiser."""
    raise RuntimeError("there is no denoiser here that shows states as images")


class Field(enum.Enum):
    """What a sink can ask of a step; the values are the names in the trajectory file."""

    X = "x"
    X0 = "x0"
    PREDICTION = "prediction"
    BASE = "base"
    FORCES = "forces"
    DRIFT = "drifts"


def worker_name(name: str, rank: int, world_size: int) -> str:
    """The name of a worker's own file where all workers of a run need one: ``trajectory.h5`` of a lone one, else
    ``trajectory-0003-of-0010.h5``."""
    stem, dot, suffix = name.rpartition(".")
    if world_size == 1:
        return name
    return f"{stem or name}-{rank:04d}-of-{world_size:04d}{dot}{suffix if stem else ''}"


@briefly
@attrs.frozen(eq=False)
class RunHeader:
    """What a sink is told before the first frame.

    output: directory of the run.  config, environment: JSON-ready dictionaries.
    timeline: the steps.  shape: of one state.  image_shape: (C, H, W) of a decoded sample.
    prediction_type: what base, contributions and predictions are; `parameterization` converts.
    sample_ids, labels, seeds: (N,) int64 / int64 / uint64, all samples of the run in order.
    classes: class names in index order.  forces, drifts: names in order of use.
    conditioned: whether the base or a force reads the samples' own classes; else labels decide nothing.
    force_weights: (forces, steps) weights.
    resume: continue what is there; overwrite: replace what is there; neither: what is there is an error.
    rank, world_size: this is the share of one worker of several, which write into one directory.
    fsync: whether a sink's commit waits until what it wrote is on the disk.
    decode: images in [0, 1], (B, C, H, W), from states (B, *shape), as the denoiser shows them; cheap to ask twice in
    a row for the same states, as several sinks do.
    """

    output: Path
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    timeline: Timeline
    shape: tuple[int, ...]
    image_shape: tuple[int, ...]
    sample_ids: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    seeds: npt.NDArray[np.uint64]
    classes: tuple[str, ...]
    forces: tuple[str, ...]
    drifts: tuple[str, ...]
    force_weights: npt.NDArray[np.float64]
    resume: bool = False
    overwrite: bool = False
    rank: int = 0
    world_size: int = 1
    fsync: bool = True
    decode: Callable[[Tensor], Tensor] = no_decoder
    prediction_type: PredictionType = "epsilon"
    conditioned: bool = True

    def class_of(self, position: int) -> str | None:
        """The class that the sample at a position was made of; None where the run reads no own class."""
        return self.classes[int(self.labels[position])] if self.conditioned else None

    def own_name(self, name: str) -> str:
        """The name of this worker's file where all workers of a run need one, see `worker_name`."""
        return worker_name(name, self.rank, self.world_size)


@briefly
@attrs.frozen(eq=False)
class Frame:
    """One step of one batch, holding only the fields that some sink wanted (others are None or empty).

    at: the step.  positions: where the batch's samples stand in the header's arrays.
    x: the state that the step started from, x_t.  x0: the scheduler's estimate.  prediction: base + Σ forces.
    base: before forces.  forces: each force's weighted contribution.  drifts: each drift's change of the state.
    All tensors are (B, *shape) and must not be changed.
    """

    at: StepInfo
    positions: Sequence[int]
    x: Tensor | None = None
    x0: Tensor | None = None
    prediction: Tensor | None = None
    base: Tensor | None = None
    forces: tuple[Tensor, ...] = ()
    drifts: tuple[Tensor, ...] = ()


@briefly
@attrs.frozen(eq=False)
class BatchResult:
    """A finished batch.

    positions: where its samples stand in the header's arrays.  x: the final states, (B, *shape).
    images: those decoded, (B, C, H, W) in [0, 1].
    """

    positions: Sequence[int]
    x: Tensor
    images: Tensor


class Outcome(enum.Enum):
    """How a run ended, as sinks are told."""

    COMPLETED = "completed"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


@briefly
@attrs.frozen(eq=False)
class EarlierRun:
    """What a file says of the run that left it.

    path: the file.  config: as recorded, or the part of it that the file holds.  environment: where it was made.
    samples: how many the file has room for; None where it holds none.
    joined: whether it was made of several workers' files.
    """

    path: Path
    config: Mapping[str, Any]
    environment: Mapping[str, Any] = attrs.field(factory=dict)
    samples: int | None = None
    joined: bool = False


@attrs.frozen(eq=False)
class Shown:
    """What a display wants to be told while a run goes on.

    on_commit: called after each commit with the samples done and the samples in all; None has the log say so.
    sinks: are given every frame.
    """

    on_commit: Callable[[int, int], None] | None = None
    sinks: tuple[Sink, ...] = ()
