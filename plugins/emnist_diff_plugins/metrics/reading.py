"""A trajectory file as blocks of samples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import attrs
import numpy as np
import numpy.typing as npt
import torch

from emnist_diff.errors import EmnistDiffError, TrajectoryError
from emnist_diff.events import get_logger
from emnist_diff.frames import RunHeader
from emnist_diff.plugins import Registry
from emnist_diff_plugins.exporting.decoder import FileDecoder
from emnist_diff_plugins.metrics.attention import captured
from emnist_diff_plugins.metrics.block import Block, Levels
from emnist_diff_plugins.metrics.formulas import Array
from emnist_diff_plugins.sinks._recorded import Recorded
from emnist_diff_trajectory.estimates import prediction_type
from emnist_diff_trajectory.fields import dataset_of, is_activation
from emnist_diff_trajectory.opening import reading
from emnist_diff_trajectory.pixels import to_uint8
from emnist_diff_trajectory.reader import Trajectory

log = get_logger()

_BATCH, _BYTES, _LARGEST = 32, 1 << 26, 1 << 29
"""Samples in a block, what they should take of memory together, and what one of them may."""


def levels_of(header: RunHeader, steps: npt.NDArray[np.int64]) -> Levels:
    """The levels of these steps of a run."""
    timeline = header.timeline
    return Levels(
        steps.astype(np.int64),
        timeline.timestep[steps],
        timeline.alpha_bar[steps],
        timeline.alpha_bar_next[steps],
        len(timeline),
        timeline.process,
        float(timeline.alpha_bar_next[-1]),
    )


@attrs.define(eq=False)
class BlockReader:
    """Reads the samples of a file that are committed and whose states are kept, some at a time.

    registry, checkpoint: where the codec of a latent model is looked for, to show its states as pixels; without it
    there are none.  attention: the file that holds the attention of the run, which may be the same; see
    `attention.attention_file`.
    """

    trajectory: Trajectory
    registry: Registry
    checkpoint: str | None = None
    attention: Trajectory | None = None
    header: RunHeader = attrs.field(init=False)
    _shows: bool = attrs.field(init=False, default=True)

    def __attrs_post_init__(self) -> None:
        """Raises `TrajectoryError` for a file that is not what it must be."""
        file = self.trajectory
        shows = FileDecoder(file, self.registry, self.checkpoint)
        self.header = Recorded(file, shows).header(file.path.parent)

    @property
    def positions(self) -> list[int]:
        """Of the samples that there are."""
        kept = set(self.trajectory.kept_samples.tolist())
        return [position for position in self.trajectory.committed if position in kept]

    def __iter__(self) -> Iterator[Block]:
        """All of them, block by block; see `blocks`."""
        return self.blocks(self.positions)

    def blocks(self, positions: Sequence[int]) -> Iterator[Block]:
        """The samples at these positions, block by block.

        Raises `TrajectoryError` for values that are not finite, and for damaged files.
        """
        count = self._batch()
        for first in range(0, len(positions), count):
            block = self.block(positions[first : first + count])
            yield attrs.evolve(block, kind=prediction_type(self.trajectory))

    def block(self, some: Sequence[int]) -> Block:
        """The samples at these positions."""
        file, positions = self.trajectory, list(some)
        held = file.datasets()

        def read(field: str) -> Array | None:
            return self._read(field, positions) if dataset_of(field) in held else None

        with reading(file.path):
            image = np.stack([np.asarray(file.images[position]) for position in positions])
        fields, ids = Block.fields(read, file.frame_fields), file.ids[positions].astype(np.int64)
        attention = None if self.attention is None else captured(self.attention, ids.tolist(), file.kept_steps.tolist())
        return Block(
            levels_of(self.header, file.kept_steps),
            ids,
            file.labels[positions].astype(np.int64),
            file.seeds[positions].astype(np.uint64),
            image,
            **fields,
            pixels=None if fields["x"] is None else self._pixels(fields["x"], image),
            captured=attention,
        )

    def _batch(self) -> int:
        """How many samples fit into memory at once. Raises `TrajectoryError` when not even one does."""
        file = self.trajectory
        held = {n: d for n, d in file.datasets().items() if n != "images" and not is_activation(n)}
        columns = sum(math.prod(dataset.shape[1:]) for dataset in held.values())
        if 8 * columns > _LARGEST:
            raise TrajectoryError(f"{file.path}: a sample takes {8 * columns / 1e6:.0f} MB of memory, too much")
        return max(1, min(_BATCH, _BYTES // max(1, int(8 * columns))))

    def _read(self, name: str, positions: list[int]) -> Array:
        """(B, K, D) float64."""
        file = self.trajectory
        rows = [file.row(position) for position in positions]
        with reading(file.path):
            chosen = slice(rows[0], rows[-1] + 1) if rows[-1] - rows[0] == len(rows) - 1 else rows
            states = np.asarray(file.field(name)[chosen])
        if not np.isfinite(states).all():
            raise TrajectoryError(f"{file.path}: {dataset_of(name)} is not finite — see emnist-diff verify")
        return np.ascontiguousarray(states.reshape(*states.shape[:2], -1), dtype=np.float64)

    def _pixels(self, x: Array, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16] | None:
        """What the states look like, the finished sample last; None where nothing shows them."""
        if not self._shows:
            return None
        count, columns, _ = x.shape
        states = x[:, :-1].reshape(-1, *self.header.shape).astype(np.float32)
        try:
            shown = to_uint8(self.header.decode(torch.from_numpy(states)))
        except EmnistDiffError as error:
            self._shows = False
            log.warning("metrics.no_pixels", file=str(self.trajectory.path), reason=str(error))
            return None
        before = shown.reshape(count, columns - 1, -1).astype(np.int16)
        return np.concatenate([before, image.reshape(count, 1, -1).astype(np.int16)], axis=1)
