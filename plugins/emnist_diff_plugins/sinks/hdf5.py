"""The HDF5 sink: the full trajectory of every sample in one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from attrs import validators as v
from torch import Tensor

from emnist_diff.conditions import Cond
from emnist_diff.frames import FIELDS, BatchResult, Frame, Outcome, RunHeader, is_requested
from emnist_diff.structuring import unstructure
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.sinks._settings import every_setting, samples_setting
from emnist_diff_trajectory.activations import by_condition
from emnist_diff_trajectory.attention import AttentionRequest, is_attention
from emnist_diff_trajectory.fields import X, dataset_of, is_activation
from emnist_diff_trajectory.pixels import to_uint8
from emnist_diff_trajectory.schema import Array, Capture, arrays, planned
from emnist_diff_trajectory.writer import TrajectoryWriter


@attrs.define(eq=False)
class Hdf5Sink:
    """Records into ``trajectory.h5``; docs/trajectory-format.md says how.

    Of what is not kept nothing is computed or copied. float16 keeps 11 bits: values are off by up to 2⁻¹¹ of
    themselves (1/2048), and the ledger adds up to that accuracy only; replay and diff know.

    Activations of a network that offers some (`protocols.Captures`) take one more evaluation at each kept step.

    Examples: ``--sink 'hdf5:fields=["x","x0"],dtype=float16'``, ``--sink hdf5:every=5,samples=100``
    """

    fields: tuple[str, ...] = attrs.field(
        default=FIELDS,
        validator=v.deep_iterable(v.in_(FIELDS)),
        metadata={"help": f"what to keep of each step: {', '.join(FIELDS)}"},
    )
    dtype: str = attrs.field(
        default="float32",
        validator=v.in_(("float32", "float16")),
        metadata={"help": "float32 (exact) or float16 (half the size; rounds to 11 bits)"},
    )
    activations: str | tuple[str, ...] = attrs.field(
        default=(),
        metadata={"help": "inner activations of the network to keep: a name or group, or a list of these"},
    )
    attention: AttentionRequest | None = attrs.field(
        default=None,
        metadata={
            "help": "attention to keep, as a table of layers, kinds, heads, resolution, self_resolution; "
            "activations=attention keeps what suits most"
        },
    )
    conditions: str | tuple[str, ...] = attrs.field(
        default=(), metadata={"help": "conditions whose activations are kept, such as own; all when left out"}
    )
    every: int = every_setting("keep every k-th step, from the first; the final state is kept always")
    samples: int | tuple[int, ...] | None = samples_setting("samples whose states are kept")
    filename: str = attrs.field(
        default="trajectory.h5",
        validator=v.matches_re(r"[^/\\.][^/\\]*"),
        metadata={"help": "name of the file in the run's directory"},
    )
    _capture: Capture = attrs.field(init=False)
    _conditions: tuple[Cond, ...] = attrs.field(init=False, default=())
    _writer: TrajectoryWriter | None = attrs.field(init=False, default=None)
    _frames: dict[str, list[Tensor]] = attrs.field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        fields = frozenset(self.fields)
        ids = frozenset(self.samples) if isinstance(self.samples, tuple) else self.samples
        activations = {*_names(self.activations)} | ({self.attention.text} if self.attention else set())
        self._capture = Capture(
            fields, self.dtype, self.every, ids, frozenset(activations), frozenset(_names(self.conditions))
        )

    @activations.validator
    def _name_no_fields(self, _: object, activations: str | tuple[str, ...]) -> None:
        if fields := sorted({name for name in _names(activations) if name.partition("/")[0] in FIELDS}):
            raise ValueError(f"activations: {fields[0]!r} is no activation of the network — name it in fields")

    def wants(self, at: StepInfo) -> frozenset[str]:
        return frozenset() if at.index % self.every else self._capture.requests

    def memory(self, header: RunHeader, batch: int) -> float:
        """The states of a batch, as they were handed over and as they are written, and its images."""
        of_one = sum(array.size / array.shape[0] for array in arrays(header, self._capture) if array.shape[0])
        return (2.0 if self._capture.requests else 1.0) * batch * of_one

    def file(self, header: RunHeader) -> Path:
        """`SaysSize.file`."""
        return header.output / header.own_name(self.filename)

    def arrays(self, header: RunHeader) -> Sequence[Array]:
        """`SaysSize.arrays`."""
        return planned(header, self._capture)

    @property
    def request(self) -> AttentionRequest | None:
        """`KeepsLess.request`."""
        found = [AttentionRequest.parse(name) for name in self._capture.activations if is_attention(name)]
        return found[0] if found else None

    def kept(self, request: AttentionRequest | None, every: int) -> Mapping[str, Any]:
        """`KeepsLess.kept`."""
        changed: dict[str, Any] = {"every": self.every * every}
        if request is not None:
            others = [name for name in _names(self.activations) if not is_attention(name)]
            changed |= {"attention": unstructure(request), "activations": others}
        return changed

    def open(self, header: RunHeader) -> frozenset[int]:
        path = self.file(header)
        self._conditions = self._capture.conditions(header)
        if header.resume:
            self._writer, committed = TrajectoryWriter.resume(path, header, self._capture)
            return committed
        self._writer = TrajectoryWriter.create(path, header, self._capture, header.overwrite)
        return frozenset()

    def write(self, frame: Frame) -> None:
        assert self._writer is not None
        rows = self._writer.kept(frame.positions)
        if not rows or frame.at.index % self.every:  # what other sinks wanted of this step
            return
        for field, values in frame.items():
            if is_requested(field, self._capture.requests):
                name, chosen = dataset_of(field), _chosen(values, rows)
                if is_activation(name):
                    chosen = by_condition(chosen, frame.conditions, self._conditions)
                self._frames.setdefault(name, []).append(chosen)

    def commit(self, batch: BatchResult) -> None:
        assert self._writer is not None
        rows = self._writer.kept(batch.positions)
        if rows and "x" in self._capture.fields:
            self._frames.setdefault(X, []).append(_chosen(batch.x, rows))
        data: dict[str, Any] = {
            name: np.stack([state.cpu().numpy() for state in states], axis=1) for name, states in self._frames.items()
        }
        if not rows:
            data = self._writer.nothing()
        self._frames.clear()
        data["images"] = to_uint8(batch.images)
        self._writer.commit(batch.positions, data)

    def close(self, outcome: Outcome) -> None:
        self._frames.clear()
        if self._writer is None:
            return
        if outcome is Outcome.FAILED:
            self._writer.discard()  # an empty file would stand in the way of the corrected run
        else:
            self._writer.close()


def _names(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


def _chosen(states: Tensor, rows: Sequence[int]) -> Tensor:
    """The rows of a batch that are kept."""
    return states if len(rows) == len(states) else states[list(rows)]
