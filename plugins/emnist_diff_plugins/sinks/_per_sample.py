"""What the sinks that write files of their own for each sample have in common."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

import attrs
import numpy as np
import torch
from attrs import validators as v

from emnist_diff.errors import ConfigError
from emnist_diff.frames import BatchResult, Frame, Outcome, RunHeader, is_requested
from emnist_diff.structuring import unstructure
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.pictures import ENLARGED
from emnist_diff_plugins.sinks._beside import trajectories_beside
from emnist_diff_plugins.sinks._folder import Folder
from emnist_diff_plugins.sinks._recorded import Recorded
from emnist_diff_plugins.sinks._settings import every_setting, samples_setting
from emnist_diff_trajectory.pixels import Pixels, to_uint8


@attrs.define(eq=False, kw_only=True)
class PerSampleSink:
    """Collects what a batch's steps give, and writes the files of each of its samples once it is finished.

    What is on the disk is therefore whole samples. A resumed run leaves them alone; those of which a file is missing
    it makes from the trajectory file beside, if that has them, or else by walking them again.

    folder: the name of the folder in the run's directory.
    """

    folder: ClassVar[str]

    samples: int | tuple[int, ...] | None = samples_setting()
    _header: RunHeader | None = attrs.field(init=False, default=None)
    _folder: Folder | None = attrs.field(init=False, default=None)
    _taken: list[tuple[int, Any]] = attrs.field(init=False, factory=list)

    def wants(self, at: StepInfo) -> frozenset[str]:
        raise NotImplementedError

    def check(self, header: RunHeader) -> None:
        """Raise `ConfigError` for settings that cannot be met, before any work is done."""

    def names(self, header: RunHeader, number: int) -> Iterable[str]:
        """The names of the files of the sample with this id."""
        raise NotImplementedError

    def take(self, frame: Frame) -> Any:
        """What is kept of a step until the batch is finished."""
        raise NotImplementedError

    def last(self, batch: BatchResult) -> Any:
        """The same of the final state."""
        raise NotImplementedError

    def files(self, number: int, row: int, taken: Sequence[tuple[int, Any]]) -> Iterator[tuple[str, bytes]]:
        """Name and content of each file of a sample.

        row: of the sample in the batch.  taken: what `take` and `last` kept, with the index of each state: i is the
        state that step i started from, and the number of steps the final one.
        """
        raise NotImplementedError

    def memory(self, header: RunHeader, batch: int) -> float:
        """What is taken of the steps of a batch: a number for each element of each field that is wanted."""
        steps = map(header.timeline.at, range(len(header.timeline)))
        wanted = sum(is_requested(field, requests) for requests in map(self.wants, steps) for field in header.fields)
        return batch * (wanted + 1) * self.of_a_state(header)

    def of_a_state(self, header: RunHeader) -> float:
        """Bytes that are taken of one field of one sample at a step."""
        return 4.0 * math.prod(header.shape)

    @property
    def header(self) -> RunHeader:
        """What the run said of itself."""
        assert self._header is not None
        return self._header

    def open(self, header: RunHeader) -> frozenset[int]:
        self._header = header
        self.check(header)
        settings = {key: value for key, value in unstructure(self).items() if key != "samples"}
        self._folder = Folder.open(header, self.folder, settings, lambda number: self.names(header, number))
        if not header.resume:
            return frozenset()
        ids = header.sample_ids.tolist()
        missing = [p for p, number in enumerate(ids) if number not in self._folder.complete and self._chosen(number)]
        return frozenset(range(len(ids))) - set(missing) | set(self._recall(missing))

    def _recall(self, positions: Sequence[int]) -> list[int]:
        """Make the files of those of these samples that a trajectory file of the run has; which they were."""
        left = list(positions)
        for trajectory in trajectories_beside(self.header) if left else ():
            found = set(Recorded(trajectory).recall(self.header, self, left))
            left = [position for position in left if position not in found]
        return [position for position in positions if position not in left]

    def write(self, frame: Frame) -> None:
        if self.wants(frame.at):  # not what only other sinks wanted
            self._taken.append((frame.at.index, self.take(frame)))

    def commit(self, batch: BatchResult) -> None:
        assert self._folder is not None
        taken = [*self._taken, (len(self.header.timeline), self.last(batch))]
        self._taken = []
        self._folder.write(self._files(batch, taken))

    def _files(self, batch: BatchResult, taken: Sequence[tuple[int, Any]]) -> Iterator[tuple[str, bytes]]:
        """Name and content of each file of the batch that is still to be written."""
        assert self._folder is not None
        for row, position in enumerate(batch.positions):
            number = int(self.header.sample_ids[position])
            if self._chosen(number) and number not in self._folder.complete:
                yield from self.files(number, row, taken)

    def close(self, outcome: Outcome) -> None:
        self._taken = []
        if self._folder is not None:
            self._folder.release()

    def _chosen(self, number: int) -> bool:
        if self.samples is None:
            return True
        return number < self.samples if isinstance(self.samples, int) else number in self.samples


@attrs.define(eq=False, kw_only=True)
class PictureSink(PerSampleSink):
    """A per-sample sink of what the states look like, as the denoiser decodes them: uint8 (B, H, W) or (B, H, W, 3)."""

    every: int = every_setting()
    preview: bool = attrs.field(
        default=False,
        metadata={"help": "cheap pictures of the steps, where the model has them; the last is decoded all the same"},
    )
    _previewer: Callable[[torch.Tensor], torch.Tensor] | None = attrs.field(init=False, default=None)

    def take_previewer(self, previewer: Callable[[], Callable[[torch.Tensor], torch.Tensor]] | None) -> None:
        """`ShowsPreviews`. Raises `ConfigError` where previews are requested and the model has none."""
        if self.preview and previewer is None:
            raise ConfigError(f"sink {self.folder!r}: this model has no previews — leave preview out")
        self._previewer = previewer() if self.preview and previewer is not None else None

    def wants(self, at: StepInfo) -> frozenset[str]:
        return frozenset() if at.index % self.every else frozenset({"x"})

    def of_a_state(self, header: RunHeader) -> float:
        return float(math.prod(header.image_shape))

    def check(self, header: RunHeader) -> None:
        self.require_pictures(self.folder, header)
        if self.preview and self._previewer is None:
            raise ConfigError(f"sink {self.folder!r}: a recorded file has no previews — leave preview out")

    @staticmethod
    def require_pictures(sink: str, header: RunHeader) -> None:
        """Raise `ConfigError` for images that are neither grey nor of three colours."""
        if header.image_shape[0] not in (1, 3):
            raise ConfigError(f"sink {sink!r}: images of {header.image_shape[0]} channels cannot be shown")

    def take(self, frame: Frame) -> Pixels:
        return self.shown(frame["x"])

    def last(self, batch: BatchResult) -> Pixels:
        return to_uint8(batch.images)

    def shown(self, states: torch.Tensor) -> Pixels:
        """What states (B, *shape) look like."""
        return to_uint8((self._previewer or self.header.decode)(states))

    def steps(self, header: RunHeader) -> list[int]:
        """The states that are shown, the final one last."""
        return [*range(0, len(header.timeline), self.every), len(header.timeline)]


def enlarged(pixels: np.ndarray, factor: int) -> np.ndarray:
    """Pixels (H, W) or (H, W, C), each a square of `factor`."""
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def upscale_setting(most: int) -> Any:
    """The setting of nearest-neighbour enlargement, as `pictures.enlargement` takes it."""
    return attrs.field(
        default=None,
        validator=v.optional(v.and_(v.ge(1), v.le(256))),
        metadata={
            "help": f"pixels become squares of this size; when left out {most}, and less where the longer side "
            f"would pass {ENLARGED}"
        },
    )
