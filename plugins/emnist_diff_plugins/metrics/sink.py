"""The metrics sink: what ``emnist-diff metrics`` computes from a file, while the run goes on."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import attrs
import numpy as np
import torch
from attrs import validators as v

from emnist_diff.errors import OutputError
from emnist_diff.frames import FIELDS, BatchResult, Frame, Outcome, RunHeader, is_requested
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.metrics.attention import Captured, Seen, Watched
from emnist_diff_plugins.metrics.block import Block
from emnist_diff_plugins.metrics.files import GrowingTables
from emnist_diff_plugins.metrics.formulas import Array
from emnist_diff_plugins.metrics.growing import GrowingLines
from emnist_diff_plugins.metrics.lines import Lines
from emnist_diff_plugins.metrics.live import noise_of
from emnist_diff_plugins.metrics.reading import levels_of
from emnist_diff_plugins.metrics.record import Run, rows
from emnist_diff_plugins.metrics.summary import report
from emnist_diff_plugins.metrics.tables import json_bytes, read_csv
from emnist_diff_plugins.sinks._beside import trajectories_beside
from emnist_diff_plugins.sinks._recorded import Recorded
from emnist_diff_trajectory.attention import AttentionRequest
from emnist_diff_trajectory.files import write_bytes
from emnist_diff_trajectory.pixels import to_uint8

_BYTES = 1 << 26
"""Of the states that are measured together."""


@attrs.define(eq=False)
class MetricsSink:
    """Writes ``metrics/video_metrics.csv``, ``metrics/step_metrics.csv`` and ``metrics/inference_metrics.json``;
    docs/metrics.md explains the columns.

    Rows are added when a batch is finished, and a resumed run goes on after the last whole sample. Several workers
    write a set of files each, which ``emnist-diff metrics`` joins.

    ``trace=true`` also writes ``metrics/trace_metrics.jsonl``: the numbers of a step as soon as it is over, with those
    of layers and tokens where attention is captured.

    Examples: ``--sink hdf5 --sink 'metrics:fields=["x","x0"]'``, ``--record-attention --sink hdf5 --sink
    metrics:trace=true``
    """

    fields: tuple[str, ...] = attrs.field(
        default=FIELDS,
        validator=v.and_(v.min_len(1), v.deep_iterable(v.in_(FIELDS))),
        metadata={"help": f"what to compute metrics of: {', '.join(FIELDS)}"},
    )
    trace: bool = attrs.field(
        default=False, metadata={"help": "also JSON lines, one a step, while samples are made: trace_metrics.jsonl"}
    )
    attention: AttentionRequest | None = attrs.field(
        default=None,
        metadata={
            "help": "attention to capture for this, as hdf5's setting says it; what other sinks request otherwise"
        },
    )
    _header: RunHeader | None = attrs.field(init=False, default=None)
    _run: Run | None = attrs.field(init=False, default=None)
    _tables: GrowingTables | None = attrs.field(init=False, default=None)
    _batch: _Batch = attrs.field(init=False, factory=lambda: _Batch())
    _watched: Watched | None = attrs.field(init=False, default=None)
    _recalling: bool = attrs.field(init=False, default=False)
    _opened: float = attrs.field(init=False, default=0.0)

    def wants(self, at: StepInfo) -> frozenset[str]:
        requests = frozenset(self.fields) | ({self.attention.text} if self.attention else frozenset())
        if self._header is not None and self._header.replayed and self._watched is not None:
            requests |= self._watched.fields  # a run captures for other sinks; a file is read for this one
        return requests

    def memory(self, header: RunHeader, batch: int) -> float:
        """The states of a batch that metrics are computed of."""
        states = sum(is_requested(field, self.fields) for field in header.fields)
        return 4.0 * batch * len(header.timeline) * states * math.prod(header.shape)

    def open(self, header: RunHeader) -> frozenset[int]:
        self._header, self._run, self._watched = header, Run.of(header), Watched.of_run(header)
        settings = {"fields": ",".join(sorted(self.fields)), "trace": self.trace}
        self._tables = GrowingTables.open(header, self._run, settings, self.trace)
        self._opened = time.perf_counter()
        ids = header.sample_ids.tolist()
        done = {position for position, number in enumerate(ids) if number in self._tables.done}
        if header.resume and self._watched is None:  # attention is captured while a sample is made
            done |= self._recall([position for position in range(len(ids)) if position not in done])
        self._batch = _Batch()
        return frozenset(done)

    def _recall(self, positions: list[int]) -> set[int]:
        """Make the rows of those of these samples that a trajectory file of the run has; which they were."""
        found: set[int] = set()
        self._recalling = True
        try:
            for trajectory in trajectories_beside(self.header) if positions else ():
                left = [position for position in positions if position not in found]
                found.update(Recorded(trajectory).recall(self.header, self, left))
        finally:
            self._recalling = False
        return found

    @property
    def header(self) -> RunHeader:
        """What the run said of itself."""
        assert self._header is not None
        return self._header

    def write(self, frame: Frame) -> None:
        seen = None if self._watched is None else self._watched.seen(frame)
        self._batch.take(frame, self.header, self.fields, seen)
        if (growing := self._growing) is not None:
            start = _start(frame, self.header, self.fields)
            growing.add(self._lines(frame.positions).starts(frame.at.index, frame.at.timestep, *start, seen))

    @property
    def _growing(self) -> GrowingLines | None:
        return None if self._tables is None else self._tables.lines

    def _lines(self, positions: Sequence[int]) -> Lines:
        """Those of the batch in hand."""
        if self._batch.lines is None:
            assert self._run is not None
            ids, labels = (of[list(positions)].tolist() for of in (self.header.sample_ids, self.header.labels))
            self._batch.lines = Lines(self._run.name, ids, labels, self._watched)
        return self._batch.lines

    def commit(self, batch: BatchResult) -> None:
        assert self._run is not None
        assert self._tables is not None
        known = not self._recalling and not self.header.replayed  # how long it took
        share = (time.perf_counter() - self._batch.began) / len(batch.positions) if known else None
        seconds = np.array(self._batch.seconds) if known else None
        peak = _gpu_peak_mb() if known else None
        if (growing := self._growing) is not None:
            growing.add(self._lines(batch.positions).ends(_flat(batch.x) if "x" in self.fields else None))
        for some in self._batch.parts(len(batch.positions)):
            block = self._batch.block(self.header, batch, some, self._watched)
            block = attrs.evolve(block, kind=self.header.prediction_type)
            if growing is not None:
                growing.add(self._lines(batch.positions).finished(block), lasting=True)
            self._tables.append(*rows(self._run, block, seconds, share, peak))
        self._batch = _Batch()

    def close(self, outcome: Outcome) -> None:
        self._batch = _Batch()
        if self._tables is None:
            return
        try:
            videos = read_csv(self._tables.videos)
            seconds = None if self._tables.done or self.header.replayed else time.perf_counter() - self._opened
            write_bytes(
                self._tables.summary, json_bytes(report(self.header.config, videos, seconds)), sync=self.header.fsync
            )
        except OutputError:
            if outcome is Outcome.COMPLETED:
                raise
        finally:
            self._tables.release()


@attrs.define(eq=False)
class _Batch:
    """What the steps of a batch gave so far.

    began: when its walk did.  seconds: from there to the end of each step.  seen: the attention of each.
    lines: of the samples, where they are written.
    """

    began: float = attrs.field(factory=time.perf_counter)
    seconds: list[float] = attrs.field(factory=list)
    steps: list[int] = attrs.field(factory=list)
    states: dict[str, list[Any]] = attrs.field(factory=dict)
    seen: list[Seen | None] = attrs.field(factory=list)
    lines: Lines | None = None

    def take(self, frame: Frame, header: RunHeader, fields: tuple[str, ...], seen: Seen | None) -> None:
        """Keep what is asked for of a step."""
        self.seen.append(seen)
        self.seconds.append(time.perf_counter() - self.began)
        self.steps.append(frame.at.index)
        for field, states in frame.items():
            if is_requested(field, fields):
                self.states.setdefault(field, []).append(_array(states))
        if "x" in fields:
            self.states.setdefault("pixels", []).append(to_uint8(header.decode(frame["x"])))

    def parts(self, count: int) -> Iterator[slice]:
        """The `count` samples in parts whose states take a bounded amount of memory."""
        one = 8 * sum(states[0][0].size for states in self.states.values()) * len(self.steps)
        each = max(1, _BYTES // max(1, one))
        return (slice(first, first + each) for first in range(0, count, each))

    def block(self, header: RunHeader, batch: BatchResult, some: slice, watched: Watched | None) -> Block:
        """Everything of some of the samples, with the finished ones."""
        positions = list(batch.positions)[some]
        image = to_uint8(batch.images[some])
        pixels = self._stacked("pixels", some, image)
        final = _array(batch.x[some])
        fields = Block.fields(lambda f: self._stacked(f, some, final if f == "x" else None), header.fields)
        return Block(
            levels_of(header, np.array(self.steps, dtype=np.int64)),
            header.sample_ids[positions],
            header.labels[positions],
            header.seeds[positions],
            image,
            **fields,
            pixels=None if pixels is None else pixels.astype(np.int16),
            captured=None
            if watched is None
            else Captured(watched, tuple(seen and seen.some(some) for seen in self.seen)),
        )

    def _stacked(self, name: str, some: slice, last: Any = None) -> Array | None:
        """(B, K, D) float64, or with the finished samples (B, K+1, D)."""
        if name not in self.states:
            return None
        states = [*(state[some] for state in self.states[name]), *(() if last is None else (last,))]
        return np.stack([state.reshape(len(state), -1) for state in states], axis=1).astype(np.float64)


def _array(states: torch.Tensor) -> Any:
    """On the CPU, and there without a copy."""
    return states.detach().to("cpu").numpy()


def _flat(states: torch.Tensor) -> Array:
    """(B, *shape) as (B, D) float64."""
    return np.asarray(_array(states).reshape(len(states), -1).astype(np.float64))


def _start(frame: Frame, header: RunHeader, fields: Collection[str]) -> tuple[Array | None, Array | None]:
    """What a step starts from, and the noise that is predicted in it, (B, D) each; None of what is not among the fields
    that are measured."""
    x = _flat(frame["x"]) if "x" in fields else None
    of = "prediction" if "prediction" in fields or header.forces else "base"
    if x is None or of not in fields:
        return x, None
    return x, noise_of(_flat(frame[of]), x, frame.at.alpha_bar, header.timeline.process, header.prediction_type)


def _gpu_peak_mb() -> float | None:
    """Millions of bytes that the GPU's tensors took at most since the last call; None without a GPU."""
    if not torch.cuda.is_available():
        return None
    peak = torch.cuda.max_memory_allocated() / 1e6
    torch.cuda.reset_peak_memory_stats()
    return peak
