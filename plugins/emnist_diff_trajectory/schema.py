"""The layout of the trajectory file, names, shapes and dtypes: the one place that writer, reader and verifier share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import h5py
import numpy as np
import numpy.typing as npt

from emnist_diff import __version__
from emnist_diff.errors import OutputError
from emnist_diff.frames import FIELDS, RunHeader, component_fields, is_requested
from emnist_diff_trajectory.activations import condition_names, recorded_conditions
from emnist_diff_trajectory.fields import CONDITIONS, EVALUATED, columns, dataset_of, refusal, weight_of
from emnist_diff_trajectory.identity import canonical_json, fingerprint
from emnist_diff_trajectory.sample_ids import MOST_SAMPLES

if TYPE_CHECKING:  # reading needs no torch
    from emnist_diff.conditions import Cond

FORMAT = "emnist-diff-trajectory"
FORMAT_VERSION = (1, 0)
"""Major and minor. A reader refuses a newer major and ignores what a newer minor added."""

MOST_STEPS = MOST_SAMPLES
"""The most steps; a list in a file that is longer is no list of samples or steps, but wants memory."""

MARKERS = "samples/steps_done"
"""Of each sample how many steps are recorded: none, or all of them once it is committed."""


BEFORE = "lists and texts"
"""What `planned` calls all that stands before the states."""
_OF_TEXT, _OF_DATASET, _OF_GROUP, _OF_ANY = 40, 450, 700, 10_000
"""About the bytes that HDF5 takes beside a text's own, of a dataset, of a component's group, and of any file."""


@attrs.frozen
class Array:
    """A dataset of states: name, shape with samples first, dtype as numpy spells it."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """Bytes."""
        return math.prod(self.shape) * {"float32": 4, "float16": 2, "uint8": 1}[self.dtype]


@attrs.frozen
class Capture:
    """What a file keeps of a run.

    fields: of each step.  activations: of the network at each step, by name or group.  dtype: float32 or float16.
    every: the steps whose index this divides are kept, and the final state always.
    samples: ids of the samples whose states are kept: these, or those below a number; None for all. Of the others
    there is no more than id, class, marker and image.
    only: names of the conditions whose activations are kept; empty for all.
    """

    fields: frozenset[str] = frozenset(FIELDS)
    dtype: str = "float32"
    every: int = 1
    samples: int | frozenset[int] | None = None
    activations: frozenset[str] = frozenset()
    only: frozenset[str] = frozenset()

    @property
    def requests(self) -> frozenset[str]:
        """What is requested of a frame."""
        return self.fields | self.activations

    def steps(self, header: RunHeader) -> npt.NDArray[np.int64]:
        """Indices of the kept steps."""
        return np.arange(0, len(header.timeline), self.every, dtype=np.int64)

    def positions(self, header: RunHeader) -> npt.NDArray[np.int64]:
        """Positions of the samples whose states are kept."""
        ids = header.sample_ids
        if self.samples is None:
            chosen = np.ones(len(ids), dtype=bool)
        elif isinstance(self.samples, int):
            chosen = ids < self.samples
        else:
            chosen = np.isin(ids, np.fromiter(self.samples, np.int64))
        return np.flatnonzero(chosen).astype(np.int64)

    def conditions(self, header: RunHeader) -> tuple[Cond, ...]:
        """The conditions whose activations are kept, in order of use; none where no activations are."""
        if not any(is_requested(name, self.activations) for name in header.activations):
            return ()
        return recorded_conditions(header.conditions, self.steps(header).tolist(), self.only)


def arrays(header: RunHeader, capture: Capture) -> list[Array]:
    """The datasets of states and activations of a run that keeps `capture`, and its images; where no states are kept,
    of images alone. Raises `OutputError` for images of odd channels and for names that no dataset can have."""
    rows, steps = len(capture.positions(header)), len(capture.steps(header))
    count = len(capture.conditions(header))
    out = []
    for field in header.fields if rows else ():
        if not is_requested(field, capture.requests):
            continue
        inner: tuple[int, ...] = tuple(header.shape)
        if field in header.activations:
            if why := refusal(field):
                raise OutputError(f"the denoiser's activation {field!r} cannot be recorded: {why}")
            inner = (count, *header.activations[field])
        name = dataset_of(field)
        out.append(Array(name, (rows, columns(name, steps), *inner), capture.dtype))
    channels, height, width = header.image_shape
    if channels not in (1, 3):
        raise OutputError(f"the denoiser decodes to images of {channels} channels; only 1 or 3 can be recorded")
    images = (len(header.sample_ids), height, width) + ((channels,) if channels > 1 else ())
    return [*out, Array("images", images, "uint8")]


def planned(header: RunHeader, capture: Capture) -> list[Array]:
    """All that the file of a run will hold, so that its size is known before there is one: `arrays`, and as one more
    what stands before them. Raises as `arrays`."""
    out = arrays(header, capture)
    description = Description.of_run(header, capture)
    texts, numbers = _texts(description), _numbers(description)
    lines = [line for text in texts.values() for line in ([text] if isinstance(text, str) else text)]
    held = sum(values.nbytes for values in numbers.values()) + sum(len(line.encode()) + _OF_TEXT for line in lines)
    groups = len(header.forces) + len(header.drifts)
    held += _OF_DATASET * (len(out) + len(texts) + len(numbers)) + _OF_GROUP * groups + _OF_ANY
    return [*out, Array(BEFORE, (held,), "uint8")]


@attrs.frozen(eq=False, kw_only=True)
class Description:
    """All that a file holds beside its datasets of states and its images.

    config, environment: JSON.  config_hash: SHA-256 of the configuration.
    schedule: (T,) each, by name.  samples: id, seed, label and steps_done, (N,) each.  classes: the names of labels.
    kept_steps, kept_samples: which states are kept.  weights: (T,), by name of the force.  drifts: their groups.
    conditions: names along that axis of activations.  evaluated: (K, conditions) uint8, which of them a step evaluates.
    sources: of an index, the files that it points to, JSON each.
    """

    config: str
    config_hash: str
    environment: str
    forward_process: str
    prediction_type: str
    schedule: Mapping[str, npt.NDArray[Any]]
    samples: Mapping[str, npt.NDArray[Any]]
    classes: Sequence[str]
    kept_steps: npt.NDArray[np.int64]
    kept_samples: npt.NDArray[np.int64]
    weights: Mapping[str, npt.NDArray[np.float64]]
    drifts: Sequence[str]
    conditions: Sequence[str] = ()
    evaluated: npt.NDArray[np.uint8] | None = None
    sources: Sequence[str] = ()

    @classmethod
    def of_run(cls, header: RunHeader, capture: Capture) -> Description:
        """What the file of a new run says; no sample is committed."""
        timeline = header.timeline
        levels = {name: getattr(timeline, name) for name in ("timestep", "alpha_bar", "alpha_bar_next", "sigma")}
        conditions, steps = capture.conditions(header), capture.steps(header)
        evaluated = [[cond in header.conditions[step] for cond in conditions] for step in steps if conditions]
        return cls(
            config=canonical_json(header.config),
            config_hash=fingerprint(header.config),
            environment=canonical_json(header.environment),
            forward_process=timeline.process,
            prediction_type=header.prediction_type,
            schedule={
                "step": np.arange(len(timeline), dtype=np.int64),
                **{name: np.asarray(values, dtype=np.float64) for name, values in levels.items()},
                "evaluations": np.asarray(timeline.evaluations),
            },
            samples={
                "id": header.sample_ids,
                "seed": header.seeds,
                "label": header.labels,
                "steps_done": np.zeros(len(header.sample_ids), dtype=np.int64),
            },
            classes=header.classes,
            kept_steps=steps,
            kept_samples=capture.positions(header),
            weights={
                field.partition("/")[2]: weight
                for field, weight in zip(component_fields("forces", header.forces), header.force_weights, strict=True)
            },
            drifts=list(component_fields("drifts", header.drifts)),
            conditions=condition_names(conditions),
            evaluated=np.array(evaluated, dtype=np.uint8),
        )


def lay_out(file: Any, description: Description) -> None:
    """Write into an open h5py file everything but the datasets of states and the images, whose descriptions are there:
    what describes groups and datasets is to stand together at the beginning of the file, and what they hold behind."""
    file.attrs["format"] = FORMAT
    file.attrs["format_version"] = np.array(FORMAT_VERSION, dtype=np.int64)
    file.attrs["creator"] = "emnist-diff"
    file.attrs["creator_version"] = __version__
    for group in ("trajectory", "schedule", "samples", "plugins", *description.drifts):
        file.require_group(group)
    file["schedule"].attrs["forward_process"] = description.forward_process
    file["trajectory"].attrs["prediction_type"] = description.prediction_type
    texts, numbers = _texts(description), _numbers(description)
    for name, values in texts.items():
        shape = () if isinstance(values, str) else (len(values),)
        file.create_dataset(name, shape, h5py.string_dtype("utf-8"))
    file["config"].attrs["sha256"] = description.config_hash
    for name, array in numbers.items():
        file.create_dataset(name, array.shape, array.dtype)
    for name, content in {**texts, **numbers}.items():
        file[name][...] = content


def _texts(description: Description) -> dict[str, str | list[str]]:
    """The datasets of texts, by name."""
    out: dict[str, str | list[str]] = {
        "config": description.config,
        "environment": description.environment,
        "samples/classes": list(description.classes),
    }
    if description.conditions:
        out[CONDITIONS] = list(description.conditions)
    if description.sources:
        out["sources"] = list(description.sources)
    return out


def _numbers(description: Description) -> dict[str, npt.NDArray[Any]]:
    """The datasets of numbers, by name."""
    out: dict[str, npt.NDArray[Any]] = {f"schedule/{name}": values for name, values in description.schedule.items()}
    out |= {"trajectory/step": description.kept_steps}
    out |= {weight_of(force): weights for force, weights in description.weights.items()}
    if description.conditions and description.evaluated is not None:
        out[EVALUATED] = description.evaluated
    out |= {f"samples/{name}": values for name, values in description.samples.items()}
    return out | {"trajectory/sample": description.kept_samples}
