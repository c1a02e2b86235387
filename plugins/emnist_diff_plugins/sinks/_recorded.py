"""A trajectory file as the events of the run that wrote it, so that any sink can be fed from it afterwards."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import compress
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from emnist_diff.conditions import Cond, named
from emnist_diff.errors import TrajectoryError
from emnist_diff.frames import BatchResult, Frame, RunHeader, is_requested, no_decoder
from emnist_diff.protocols import Sink
from emnist_diff.timeline import ProcessKind, StepInfo, Timeline
from emnist_diff_plugins.sinks._beside import is_of
from emnist_diff_trajectory.estimates import prediction_type
from emnist_diff_trajectory.fields import X, columns, dataset_of, is_activation, weight_of
from emnist_diff_trajectory.opening import reading
from emnist_diff_trajectory.reader import Trajectory

_BATCH, _BYTES, _LARGEST = 16, 64_000_000, 512_000_000
"""Samples in a batch, what they should take of memory together, and what one of them may."""


@attrs.frozen(eq=False)
class Recorded:
    """A trajectory file, and what shows its states (B, *shape) as images (B, C, H, W) in [0, 1]."""

    trajectory: Trajectory
    decode: Callable[[Tensor], Tensor] = no_decoder

    def recall(self, header: RunHeader, sink: Sink, positions: Sequence[int]) -> list[int]:
        """Hand a sink of a resumed run those of these samples of which the file holds all that the sink asks for, to
        the bit; which they were. A file of another run has none.
        """
        file = self.trajectory
        if not is_of(file, header):
            return []
        self.header(header.output)  # for its checks
        fields = {step: wanted for step in range(file.steps) if (wanted := sink.wants(header.timeline.at(step)))}
        requested: frozenset[str] = frozenset().union(*fields.values())
        names = list(map(dataset_of, self._requested(requested)))
        held = file.datasets()
        if any(map(is_activation, names)):  # a file knows the conditions by name alone
            return []
        if not fields.keys() <= set(file.kept_steps.tolist()) or any(
            name not in held or held[name].dtype != np.float32 for name in names
        ):
            return []
        readable = set(file.committed) & set(file.kept_samples.tolist())
        found = [position for position in positions if position in readable]
        for event in self.events(header, found, fields):
            if isinstance(event, Frame):
                sink.write(event)
            else:
                sink.commit(event)
        return found

    def header(self, output: Path, resume: bool = False, overwrite: bool = False) -> RunHeader:
        """What the run said of itself to its sinks. Raises `TrajectoryError` where the file is not what it must be."""
        file = self.trajectory
        with reading(self.trajectory.path):
            states = self._check_shapes()
            height, width, *channels = file.images.shape[1:]
            weights = [np.asarray(file.field(weight_of(n)), np.float64) for n in file.force_names]
            return RunHeader(
                output=output,
                config=file.config,
                environment=file.environment,
                timeline=self._timeline(),
                shape=states,
                image_shape=(channels[0] if channels else 1, height, width),
                sample_ids=file.ids,
                labels=file.labels,
                seeds=file.seeds,
                classes=file.classes,
                forces=tuple(name.partition("_")[2] for name in file.force_names),
                drifts=tuple(name.partition("_")[2] for name in file.drift_names),
                force_weights=np.stack(weights) if weights else np.empty((0, file.steps)),
                conditioned=file.conditioned,
                resume=resume,
                overwrite=overwrite,
                decode=self.decode,
                replayed=True,
                activations={name: tuple(file.activation(name).shape[3:]) for name in file.activations},
                conditions=self._conditions(),
                prediction_type=prediction_type(file),
            )

    def _conditions(self) -> tuple[tuple[Cond, ...], ...]:
        """The conditions of each step, by their names; none of steps that are not kept."""
        file, named_conditions = self.trajectory, list(map(named, self.trajectory.conditions))
        out: dict[int, tuple[Cond, ...]] = {
            step: tuple(compress(named_conditions, evaluated))
            for step, evaluated in zip(file.kept_steps.tolist(), file.evaluated, strict=True)
        }
        return tuple(out.get(step, ()) for step in range(file.steps))

    def _check_shapes(self) -> tuple[int, ...]:
        """The shape of a state, () where there is none; raises `TrajectoryError` for what cannot be read as the format
        says."""
        file = self.trajectory
        shape: tuple[int, ...] | None = None
        if len(set(file.ids.tolist())) < len(file) or file.ids.min() < 0:
            raise TrajectoryError(f"{file.path} is damaged: its samples have no ids of their own")
        for name in file.force_names:
            weight = file.field(weight_of(name))
            if weight.shape != (file.steps,) or weight.dtype.kind not in "iuf":
                raise TrajectoryError(f"{file.path} is damaged: {weight_of(name)} is {weight.dtype} {weight.shape}")
        for name, dataset in file.datasets().items():
            if name == "images":
                fits = dataset.dtype == np.uint8 and dataset.ndim in (3, 4) and dataset.shape[0] == len(file)
                fits = fits and dataset.shape[3:] in ((), (3,))
            else:
                rows = (len(file.kept_samples), columns(name, len(file.kept_steps)))
                if is_activation(name):
                    inner = (len(file.conditions), *dataset.shape[3:])
                else:
                    inner = shape = dataset.shape[2:] if shape is None else shape
                fits = dataset.dtype.kind == "f" and dataset.shape == (*rows, *inner)
            if not fits:
                raise TrajectoryError(f"{file.path} is damaged: {name} is {dataset.dtype} {dataset.shape}")
        return shape or ()

    def _read(self, name: str, *where: Any) -> np.ndarray:
        with reading(self.trajectory.path):
            return np.asarray(self.trajectory.field(name)[where or ...], dtype=np.float32)

    def _timeline(self) -> Timeline:
        file = self.trajectory
        levels = {name: values.astype(np.float64) for name, values in file.schedule().items()}
        after = levels.get("alpha_bar_next", np.append(file.alpha_bar[1:], 1.0))
        path: ProcessKind = "flow" if file.forward_process == "flow" else "diffusion"
        return Timeline(levels["timestep"], levels["alpha_bar"], after, path)

    def events(
        self, header: RunHeader, positions: Sequence[int], fields: Mapping[int, frozenset[str]]
    ) -> Iterator[Frame | BatchResult]:
        """What a run with this header would hand to its sinks of these samples, batch by batch.

        fields: what is asked for of each step; of steps that the file does not keep there is nothing.
        """
        file = self.trajectory
        requested: frozenset[str] = frozenset().union(*fields.values())
        held = file.datasets()
        values = sum(math.prod(held[dataset_of(field)].shape[2:]) for field in self._requested(requested))
        count = self._batch(header, values, len(fields))
        for first in range(0, len(positions), count):
            some = positions[first : first + count]
            states = _States(self, some, whole=2 * len(fields) > len(file.kept_steps))
            for step in file.kept_steps.tolist():
                if step in fields:
                    yield self._frame(header.timeline.at(step), some, fields[step], states)
            final = states.at(X, file.steps) if "x" in requested else torch.empty(len(some), 0)
            with reading(self.trajectory.path):
                images = torch.from_numpy(np.stack([file.images[position] for position in some])).float() / 255.0
            yield BatchResult(tuple(some), final, images.unsqueeze(1) if images.dim() == 3 else images.movedim(-1, 1))

    def _batch(self, header: RunHeader, values: int, steps: int) -> int:
        """How many samples fit into memory at once.  values: of a step. Raises `TrajectoryError` when not one does."""
        one = (steps + 1) * (4 * values + math.prod(header.image_shape))
        if one > _LARGEST:
            raise TrajectoryError(
                f"{self.trajectory.path}: a sample takes {one / 1e6:.0f} MB of memory — export fewer steps (every=…)"
            )
        return max(1, min(_BATCH, _BYTES // max(1, one)))

    def _requested(self, requests: frozenset[str]) -> list[str]:
        """The fields that some requests mean, of the run that wrote the file."""
        return [field for field in self.trajectory.frame_fields if is_requested(field, requests)]

    def _frame(self, at: StepInfo, positions: Sequence[int], requests: frozenset[str], states: _States) -> Frame:
        tensors = {field: states.at(dataset_of(field), at.index) for field in self._requested(requests)}
        file = self.trajectory
        evaluated = np.flatnonzero(file.evaluated[file.column(at.index)])
        activations = {name: tensors[name][:, evaluated] for name in file.activations if name in tensors}
        conditions = tuple(named(file.conditions[place]) for place in evaluated) if activations else ()
        return Frame(at, tuple(positions), tensors | activations, conditions)


@attrs.define(eq=False)
class _States:
    """The states of a batch, float32 (B, *shape) a step.

    whole: read all steps of a dataset at once, which contiguous data makes cheap, and not step by step.
    """

    recorded: Recorded
    positions: Sequence[int]
    whole: bool
    _blocks: dict[str, np.ndarray] = attrs.field(init=False, factory=dict)

    def at(self, name: str, step: int) -> Tensor:
        """Those at a step, or the final ones."""
        file = self.recorded.trajectory
        rows = [file.row(position) for position in self.positions]
        chosen: Any = slice(rows[0], rows[-1] + 1) if rows[-1] - rows[0] == len(rows) - 1 else rows
        column = file.column(step)
        if not self.whole:
            states = self.recorded._read(name, chosen, column)
        else:
            if name not in self._blocks:
                self._blocks[name] = self.recorded._read(name, chosen)
            states = np.ascontiguousarray(self._blocks[name][:, column])
        if not np.isfinite(states).all():
            raise TrajectoryError(f"{file.path}: {name} is not finite at step {step} — see emnist-diff verify")
        return torch.from_numpy(states)
