"""What sinks, displays and readers exchange with a run: its header, its frames, finished batches, how it ended.

A frame is a mapping from names to tensors, and the names are those of the trajectory file: ``x``, ``prediction``,
``forces/00_attract_class``. A request is such a name, or the beginning of one up to a slash, as with folders:
``forces`` asks for every force, ``forces/00_attract_class`` for one. Behind a colon it may carry settings for the
denoiser that captures what it names: ``attention:{"heads": "all"}``.

B is the number of samples in a batch, `*shape` the shape of one state.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from emnist_diff.brief import briefly
from emnist_diff.timeline import PredictionType, StepInfo, Timeline

if TYPE_CHECKING:  # the contracts can be read without paying for torch
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from emnist_diff.conditions import Cond


def no_decoder(x: Tensor) -> Tensor:
    """The decoder of a header that was made without a denoiser."""
    raise RuntimeError("there is no denoiser here that shows states as images")


STATES = ("x", "x0", "prediction", "base")
"""Fields that every step has: the state that it starts from, the scheduler's estimate of the image, base + Σ forces,
and the prediction before forces."""

GROUPS = ("forces", "drifts")
"""Groups with a field for each component: a force's weighted contribution, a drift's change of the state."""

FIELDS = (*STATES, *GROUPS)
"""Requests for everything that the engine itself records of a step, in the order in which people list them."""


def component_fields(group: str, names: Sequence[str]) -> list[str]:
    """``forces/00_attract_class``, …: the fields of all components of a group, in order of use."""
    return [f"{group}/{index:02d}_{name}" for index, name in enumerate(names)]


def run_fields(forces: Sequence[str], drifts: Sequence[str]) -> tuple[str, ...]:
    """The fields of a run with components of these names, in order."""
    return (*STATES, *component_fields("forces", forces), *component_fields("drifts", drifts))


def worker_name(name: str, rank: int, world_size: int) -> str:
    """The name of a worker's own file where all workers of a run need one: ``trajectory.h5`` of a lone one, else
    ``trajectory-0003-of-0010.h5``."""
    stem, dot, suffix = name.rpartition(".")
    if world_size == 1:
        return name
    return f"{stem or name}-{rank:04d}-of-{world_size:04d}{dot}{suffix if stem else ''}"


def is_requested(field: str, requests: Iterable[str]) -> bool:
    """Whether some request asks for this field, by its name or by a group that it belongs to."""
    names = (request.partition(":")[0] for request in requests)
    return any(field == name or field.startswith(f"{name}/") for name in names)


@briefly
@attrs.frozen(eq=False)
class RunHeader:
    """What a sink gets before the first frame.

    output: directory of the run.  config, environment: JSON-ready dictionaries.
    timeline: the steps.  shape: of one state.  image_shape: (C, H, W) of a decoded sample.
    prediction_type: what base, contributions and predictions are; `parameterization` converts.
    sample_ids, labels, seeds: (N,) int64 / int64 / uint64, all samples of the run in order.
    classes: class names in index order.  forces, drifts: names in order of use.
    conditioned: whether the base or a force reads the samples' own classes; else labels decide nothing.
    force_weights: (forces, steps) weights.  activations: those that sinks request, name → shape of a row's.
    capturable: what else the denoiser could capture.
    conditions: of each step, those that the run's own network evaluates.
    resume: continue what is there; overwrite: replace what is there; neither: what is there is an error.
    rank, world_size: this is the share of one worker of several, which write into one directory.
    fsync: whether a sink's commit waits until what it wrote is on the disk.
    replayed: whether frames come from a file of the run, and not from the run itself.
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
    activations: Mapping[str, tuple[int, ...]] = attrs.field(factory=dict)
    capturable: tuple[str, ...] = ()
    conditions: tuple[tuple[Cond, ...], ...] = ()
    replayed: bool = False

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that a frame of this run can hold, in order."""
        return (*run_fields(self.forces, self.drifts), *self.activations)

    def class_of(self, position: int) -> str | None:
        """The class that the sample at a position was made of; None where the run reads no own class."""
        return self.classes[int(self.labels[position])] if self.conditioned else None

    def own_name(self, name: str) -> str:
        """The name of this worker's file where all workers of a run need one, see `worker_name`."""
        return worker_name(name, self.rank, self.world_size)


@briefly
@attrs.frozen(eq=False)
class Frame(Mapping[str, "Tensor"]):
    """One step of one batch: what some sink requested, by name.

    at: the step.  positions: where the batch's samples stand in the header's arrays.
    tensors: by name, the B samples first, those of the core (B, *shape). They must not be changed.
    conditions: those along the second axis of captured activations; () where there are none.
    """

    at: StepInfo
    positions: Sequence[int]
    tensors: Mapping[str, Tensor] = attrs.field(factory=dict)
    conditions: tuple[Cond, ...] = ()

    def __getitem__(self, field: str) -> Tensor:
        return self.tensors[field]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def group(self, name: str) -> tuple[Tensor, ...]:
        """The tensors of a group such as ``forces``, in order of use."""
        return tuple(tensor for field, tensor in self.items() if field.startswith(f"{name}/"))


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
