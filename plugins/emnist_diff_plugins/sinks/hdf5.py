"""The HDF5 sink: the full trajectory of every sample in one file."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
from attrs import validators as v
from torch import Tensor

from emnist_diff.pixels import to_uint8
from emnist_diff.protocols import BatchResult, Field, Frame, Outcome, RunHeader, StepInfo
from emnist_diff.trajectory.schema import STEP_FIELDS, component_path
from emnist_diff.trajectory.writer import TrajectoryWriter

_ALL = tuple(field.value for field in Field)


@attrs.define(eq=False)
class Hdf5Sink:
    """Records into ``trajectory.h5``; docs/trajectory-format.md says how.

    Example: ``--sink 'hdf5:fields=["x","x0"],dtype=float16'``
    """

    fields: tuple[str, ...] = attrs.field(
        default=_ALL,
        validator=v.deep_iterable(v.in_(_ALL)),
        metadata={"help": f"what to keep of each step: {', '.join(_ALL)}"},
    )
    dtype: str = attrs.field(
        default="float32",
        validator=v.in_(("float32", "float16")),
        metadata={"help": "float32 (exact) or float16 (half the size; rounds to 11 bits)"},
    )
    filename: str = attrs.field(
        default="trajectory.h5",
        validator=v.matches_re(r"[^/\\.][^/\\]*"),
        metadata={"help": "name of the file in the run's directory"},
    )
    _wanted: frozenset[Field] = attrs.field(init=False)
    _header: RunHeader | None = attrs.field(init=False, default=None)
    _writer: TrajectoryWriter | None = attrs.field(init=False, default=None)
    _frames: dict[str, list[Tensor]] = attrs.field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        self._wanted = frozenset(Field(name) for name in self.fields)

    def wants(self, at: StepInfo) -> frozenset[Field]:
        return self._wanted

    def open(self, header: RunHeader) -> frozenset[int]:
        self._header = header
        path = header.output / self.filename
        if header.resume:
            self._writer, committed = TrajectoryWriter.resume(path, header, self._wanted, self.dtype)
            return committed
        self._writer = TrajectoryWriter.create(path, header, self._wanted, self.dtype, header.overwrite)
        return frozenset()

    def write(self, frame: Frame) -> None:
        assert self._header is not None
        if frame.x is not None and Field.X in self._wanted:
            self._keep("trajectory/x", frame.x)
        for field in STEP_FIELDS:
            value = getattr(frame, field.value)
            if value is not None and field in self._wanted:
                self._keep(f"trajectory/{field.value}", value)
        if Field.FORCES in self._wanted:
            for i, (name, value) in enumerate(zip(self._header.forces, frame.forces, strict=True)):
                self._keep(f"{component_path('forces', i, name)}/contribution", value)
        if Field.DRIFT in self._wanted:
            for i, (name, value) in enumerate(zip(self._header.drifts, frame.drifts, strict=True)):
                self._keep(f"{component_path('drifts', i, name)}/delta", value)

    def _keep(self, name: str, value: Tensor) -> None:
        self._frames.setdefault(name, []).append(value)

    def commit(self, batch: BatchResult) -> None:
        assert self._writer is not None
        if Field.X in self._wanted:
            self._keep("trajectory/x", batch.x)
        data: dict[str, Any] = {
            name: np.stack([state.cpu().numpy() for state in states], axis=1) for name, states in self._frames.items()
        }
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
