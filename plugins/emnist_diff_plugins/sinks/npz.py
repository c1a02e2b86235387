"""The npz sink: one file a sample with all its arrays, for people who want numpy and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

import attrs
import numpy as np
from attrs import validators as v

from emnist_diff.frames import STATES, BatchResult, Frame, RunHeader
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.sinks._arrays import npz
from emnist_diff_plugins.sinks._folder import sample_name
from emnist_diff_plugins.sinks._per_sample import PerSampleSink
from emnist_diff_plugins.sinks._settings import every_setting
from emnist_diff_trajectory.pixels import to_uint8


@attrs.define(eq=False, kw_only=True)
class NpzSink(PerSampleSink):
    """Writes ``npz/v000.npz``: ``x`` (K+1, *shape), the kept states and the final one; the other fields asked for,
    (K, *shape); ``step``, ``timestep`` and ``alpha_bar`` (K,) of the kept steps; ``image`` uint8 (H, W) or (H, W, 3);
    ``id``, ``seed``, ``label`` and ``character``.

    Example: ``--sink 'npz:fields=["x","x0"]'``
    """

    folder: ClassVar[str] = "npz"

    fields: tuple[str, ...] = attrs.field(
        default=("x",),
        validator=v.deep_iterable(v.in_(STATES)),
        metadata={"help": f"what to keep of each step: {', '.join(STATES)}"},
    )
    every: int = every_setting()

    def wants(self, at: StepInfo) -> frozenset[str]:
        return frozenset() if at.index % self.every else frozenset(self.fields)

    def names(self, header: RunHeader, number: int) -> Iterable[str]:
        return (f"{sample_name(number)}.npz",)

    def take(self, frame: Frame) -> dict[str, np.ndarray]:
        return {name: frame[name].float().cpu().numpy() for name in self.fields}

    def last(self, batch: BatchResult) -> dict[str, np.ndarray]:
        final = {"x": batch.x.float().cpu().numpy()} if "x" in self.fields else {}
        return {**final, "image": to_uint8(batch.images)}

    def files(self, number: int, row: int, taken: Sequence[tuple[int, Any]]) -> Iterator[tuple[str, bytes]]:
        header = self.header
        position = int(np.flatnonzero(header.sample_ids == number)[0])
        steps = np.array([step for step, _ in taken[:-1]], dtype=np.int64)
        arrays = {name: np.stack([values[name][row] for _, values in taken if name in values]) for name in self.fields}
        label = header.labels[position]
        yield (
            f"{sample_name(number)}.npz",
            npz(
                **arrays,
                step=steps,
                timestep=header.timeline.timestep[steps],
                alpha_bar=header.timeline.alpha_bar[steps],
                image=taken[-1][1]["image"][row],
                id=np.int64(number),
                seed=header.seeds[position],
                label=label,
                character=np.array(header.class_of(position) or ""),
            ),
        )
