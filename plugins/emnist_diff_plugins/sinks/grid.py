"""The grid sink: what a person looks at first."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np
import torch
from attrs import validators as v

from emnist_diff.frames import BatchResult, Frame, Outcome, RunHeader
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.pictures import ENLARGED, enlargement, save_png, table
from emnist_diff_plugins.sinks._beside import trajectories_beside
from emnist_diff_trajectory.fields import dataset_of
from emnist_diff_trajectory.occupied import occupied
from emnist_diff_trajectory.pixels import as_images, to_uint8

_SCALE = 3


@attrs.define(eq=False)
class GridSink:
    """Writes ``samples.png``, the final samples class by class, and ``strips.png``: for a few samples the state (upper
    row) and the image estimate (lower row) at evenly spaced steps, from noise to image.

    A resumed run takes the pictures of samples that are already there from the run's trajectory file. Each of
    several workers has its own two files.

    Example: ``--sink "grid:strips=8"``
    """

    strips: int = attrs.field(default=4, validator=v.ge(0), metadata={"help": "how many samples get a strip"})
    moments: int = attrs.field(default=10, validator=v.ge(2), metadata={"help": "pictures in a strip"})
    scale: int | None = attrs.field(
        default=None,
        validator=v.optional(v.and_(v.ge(1), v.le(256))),
        metadata={
            "help": f"pixels become squares of this size; when left out {_SCALE}, and less where the longer side of an "
            f"image would pass {ENLARGED}"
        },
    )
    _header: RunHeader | None = attrs.field(init=False, default=None)
    _images: dict[int, np.ndarray] = attrs.field(init=False, factory=dict)
    _strips: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = attrs.field(init=False, factory=dict)

    def wants(self, at: StepInfo) -> frozenset[str]:
        if self.strips and self._pictures() and at.index in self._moments(at.steps):
            return frozenset({"x", "x0"})
        return frozenset()

    def memory(self, header: RunHeader, batch: int) -> float:
        """The final images, the picture of them, and it enlarged, before and after it is encoded."""
        image = math.prod(header.image_shape)
        strips = 2 * min(self.strips, len(header.sample_ids)) * (min(self.moments, len(header.timeline)) + 1)
        return image * (
            2.0 * len(header.sample_ids) + 2.0 * self._factor(header) ** 2 * max(len(header.sample_ids), strips)
        )

    def open(self, header: RunHeader) -> None:
        for name in ("samples.png", "strips.png"):
            path = header.output / header.own_name(name)
            if path.exists() and not (header.resume or header.overwrite):
                raise occupied(path, run=header.output)
        self._header = header
        if header.resume:
            self._recall(header)

    def _recall(self, header: RunHeader) -> None:
        """Take what is committed from the trajectory files of this run that are there."""
        for trajectory in trajectories_beside(header):
            held = trajectory.datasets()
            kept = set(trajectory.kept_samples.tolist())
            moments = self._moments(len(header.timeline)) & set(trajectory.kept_steps.tolist())
            for position in trajectory.committed:
                self._images[position] = trajectory.images[position]
                if position >= self.strips or not set(map(dataset_of, ("x", "x0"))) <= held.keys():
                    continue
                for step in moments if self._pictures() and position in kept else ():
                    row, column = trajectory.row(position), trajectory.column(step)
                    pair = np.stack([trajectory.x[row, column], trajectory.x0[row, column]])
                    self._strips[position, step] = self._shown(pair.astype(np.float32))

    def write(self, frame: Frame) -> None:
        if not self._pictures() or not {"x", "x0"} <= frame.keys():
            return
        if frame.at.index not in self._moments(frame.at.steps):
            return
        for row, position in enumerate(frame.positions):
            if position < self.strips:
                pair = np.stack([frame["x"][row].cpu().numpy(), frame["x0"][row].cpu().numpy()])
                self._strips[position, frame.at.index] = self._shown(pair)

    def commit(self, batch: BatchResult) -> None:
        for position, image in zip(batch.positions, to_uint8(batch.images), strict=True):
            self._images[position] = image

    def close(self, outcome: Outcome) -> None:
        if self._header is None or not self._images or outcome is Outcome.FAILED:
            return
        scale, folder, own_name = self._factor(self._header), self._header.output, self._header.own_name
        labels = self._header.labels
        images = [self._images[p] for p in sorted(self._images, key=lambda p: (labels[p], p))]
        columns = math.ceil(math.sqrt(len(images) * 1.6))
        save_png(table(images, columns), folder / own_name("samples.png"), scale, sync=self._header.fsync)
        cells = []
        shown = sorted({p for p, _ in self._strips} & self._images.keys())
        steps = sorted(  # a file that keeps few steps has few for the samples that a resumed run found in it
            step for step in {s for _, s in self._strips} if all((p, step) in self._strips for p in shown)
        )
        for position in shown:
            pairs = [self._strips[position, step] for step in steps]
            final = self._images[position]
            cells += [*(state for state, _ in pairs), final, *(estimate for _, estimate in pairs), final]
        if steps and cells:
            save_png(table(cells, len(steps) + 1), folder / own_name("strips.png"), scale, sync=self._header.fsync)

    def _factor(self, header: RunHeader) -> int:
        return enlargement(_SCALE, header.image_shape, self.scale)

    def _pictures(self) -> bool:
        """Whether a state is a picture, (C, H, W) with C 1 or 3, or is made into a larger one by a codec."""
        header = self._header
        if header is None or header.image_shape[0] not in (1, 3):
            return False
        return header.shape == header.image_shape or math.prod(header.shape) < math.prod(header.image_shape)

    def _shown(self, pair: np.ndarray) -> tuple[Any, Any]:
        """A state and its estimate, (2, *shape), as pictures."""
        assert self._header is not None
        pixels = self._header.shape == self._header.image_shape
        state, estimate = to_uint8(as_images(pair) if pixels else self._header.decode(torch.from_numpy(pair)))
        return state, estimate

    def _moments(self, steps: int) -> frozenset[int]:
        return frozenset(np.linspace(0, steps - 1, min(self.moments, steps)).round().astype(int).tolist())
