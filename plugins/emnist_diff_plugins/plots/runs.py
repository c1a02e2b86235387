"""The numbers that plots show: a recorded run, reduced to a few values a sample and step.

Datasets are read once, in blocks of bounded size, and only when a plot asks for what is in them.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from emnist_diff.errors import EmnistDiffError, TrajectoryError
from emnist_diff_plugins.exporting.decoder import FileDecoder
from emnist_diff_plugins.metrics.record import run_name
from emnist_diff_plugins.plots.attended import Attended
from emnist_diff_plugins.plots.measured import measured
from emnist_diff_trajectory.fields import dataset_of, is_activation, weight_of
from emnist_diff_trajectory.opening import reading
from emnist_diff_trajectory.pictures import are_pictures, pictures
from emnist_diff_trajectory.pixels import Pixels, to_uint8
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.structure import require_sound

Floats = npt.NDArray[np.float64]
_BLOCK = 1 << 25
"""Bytes of float32 that are looked at together."""
_MOST_SAMPLE, _MOST_VALUES = 1 << 27, 1 << 24
"""Bytes of float32 of one sample, and samples × steps, that are drawn at most: a hostile file can claim any."""
_LONGEST, _LONGEST_CLASS = 28, 14
"""Letters of a name in a plot."""


class Run:
    """A trajectory file, and what plots show of it. The file must stay open.

    Only committed samples whose states are kept are looked at; M of them, K steps. A step's displacement is the
    change of the state up to the next kept step.
    decoder: shows states that are no pictures; without one, what is drawn from their pictures is left out.
    attended: what its network attended to, or why that is not known.
    Raises `TrajectoryError` when the file is damaged or holds no such sample.
    """

    def __init__(
        self,
        trajectory: Trajectory,
        name: str = "",
        decoder: FileDecoder | None = None,
        attended: Attended | str = "attention",
    ) -> None:
        require_sound(trajectory)
        self.trajectory = trajectory
        self._decoder = decoder
        self.attended = attended
        self.name = shown(name or trajectory.path.stem)
        self.committed: npt.NDArray[np.int64] = np.array(trajectory.committed, dtype=np.int64)
        if not len(self.committed):
            raise TrajectoryError(f"{trajectory.path} holds no committed sample — finish the run with --resume")
        self.positions: npt.NDArray[np.int64] = np.intersect1d(trajectory.kept_samples, self.committed)
        """(M,) positions of the samples whose states are looked at."""
        self.steps: npt.NDArray[np.int64] = trajectory.kept_steps
        """(K,) the steps that columns stand for."""
        self._check_size()

    def _check_size(self) -> None:
        file, columns = self.trajectory, len(self.steps) + 1
        for name, dataset in file.datasets().items():
            one = 4 * math.prod(dataset.shape[1:])
            if one > _MOST_SAMPLE and not is_activation(name):
                raise TrajectoryError(
                    f"{file.path}: {name} takes {one / 1e6:.0f} MB a sample, more than plots are made of — "
                    "record fewer steps (every=…)"
                )
        if len(self.positions) * columns > _MOST_VALUES:
            raise TrajectoryError(
                f"{file.path}: {len(self.positions)} samples of {columns - 1} steps are more than plots are made of — "
                "take some with emnist-diff select"
            )

    # what there is ------------------------------------------------------------------------------------------------

    def holds(self, field: str) -> bool:
        """Whether a field of steps (``x``, ``x0``, ``prediction``, ``base``, ``forces``, ``drifts``) is recorded of any
        committed sample."""
        return bool(len(self.positions)) and field in self.trajectory.fields

    @cached_property
    def picture_need(self) -> str:
        """What is missing to show states as pictures; "" where they can be shown."""
        if not self.holds("x"):
            return "x"
        if self._are_pictures:
            return ""
        if self._decoder is None:
            return "states that are pictures"
        try:
            self._decode(self._read(self.trajectory.x, self._rows[:1], -1).astype(np.float32))
        except EmnistDiffError as error:
            return f"states that are pictures, or their model ({error})"
        return ""

    @cached_property
    def _are_pictures(self) -> bool:
        """Whether states are pictures as they are."""
        return are_pictures(self.trajectory)

    def _decode(self, states: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Images (n, C, H, W) of states (n, *shape)."""
        assert self._decoder is not None, "states are no pictures"
        return self._decoder(torch.from_numpy(np.ascontiguousarray(states))).numpy()

    def pictures(self, position: int, steps: Sequence[int]) -> Pixels:
        """What a sample looked like where these steps began, see `pictures.pictures`; where `picture_need` is "" ."""
        return pictures(self.trajectory, position, steps, None if self._are_pictures else self._decode)

    def classes(self, positions: npt.NDArray[np.int64]) -> list[str]:
        """Names of the samples' own classes, as they are shown."""
        return [class_name(self, label) for label in self.trajectory.labels[positions].tolist()]

    @cached_property
    def force_names(self) -> tuple[str, ...]:
        """The forces as they are shown, in the order in which they were added."""
        names = [name.partition("_")[2] or name for name in self.trajectory.force_names]
        return tuple(
            shown(f"{name} #{names[: i + 1].count(name)}" if names.count(name) > 1 else name)
            for i, name in enumerate(names)
        )

    # numbers ------------------------------------------------------------------------------------------------------

    @cached_property
    def _displacements(self) -> tuple[Floats, Floats | None]:
        latent = np.empty((len(self.positions), len(self.steps)))
        pixel = None if self.picture_need else np.empty_like(latent)
        for rows, x in self._blocks("x"):
            latent[rows] = _norms(np.diff(x, axis=1))
            if pixel is not None:
                pixel[rows] = _norms(np.diff(self._grey_levels(x), axis=1))
        return self._finite("x", latent), pixel

    @property
    def latent_l2(self) -> Floats:
        """(M, K) L2 norm of each step's displacement, in units of the state."""
        return self._displacements[0]

    @property
    def pixel_l2(self) -> Floats:
        """(M, K) L2 norm of the change of the picture, in grey levels of 255, at the picture's own size.

        Only where `picture_need` is "".
        """
        pixel = self._displacements[1]
        assert pixel is not None, "states are no pictures"
        return pixel

    def norms(self, field: str) -> Floats:
        """(M, K) L2 norm of a field with one state a step, such as ``base``."""
        if field not in self._norms_of:
            out = np.empty((len(self.positions), len(self.steps)))
            for rows, values in self._blocks(field):
                out[rows] = _norms(values)
            self._norms_of[field] = self._finite(field, out)
        return self._norms_of[field]

    @cached_property
    def _norms_of(self) -> dict[str, Floats]:
        return {}

    def force_norms(self) -> list[Floats]:
        """(M, K) each: the norm of each force's weighted contribution."""
        return [self.norms(field) for field in self.trajectory.fields_of("forces")]

    def force_weights(self) -> list[Floats]:
        """(T,) each: the recorded weight of each force."""
        names = list(map(weight_of, self.trajectory.force_names))
        with reading(self.trajectory.path):
            return [np.asarray(self.trajectory.field(name)[...], dtype=np.float64) for name in names]

    @cached_property
    def final_pixels(self) -> Floats:
        """(4, committed) mean, standard deviation, minimum and maximum of each final image, in grey levels, 0 … 255."""
        out = np.empty((4, len(self.committed)))
        images = self.trajectory.images
        count = max(1, _BLOCK // (4 * max(1, math.prod(images.shape[1:]))))
        for first in range(0, len(self.committed), count):
            some = self.committed[first : first + count]
            block = self._read(images, some)
            flat = block.reshape(len(some), -1).astype(np.float32)
            part = slice(first, first + len(some))
            out[:, part] = flat.mean(1), flat.std(1), flat.min(1), flat.max(1)
        return out

    def class_means(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """(C,) the classes of the samples, and (C, D) the mean of the states that each class's samples ended in."""
        file, labels = self.trajectory, self.trajectory.labels[self.positions]
        classes = np.unique(labels)
        sums = np.zeros((len(classes), math.prod(file.x.shape[2:])))
        count = max(1, _BLOCK // (4 * max(1, sums.shape[1])))
        for first in range(0, len(self._rows), count):
            rows = self._rows[first : first + count]
            final = np.asarray(self._read(file.x, rows, -1), dtype=np.float32)
            final = self._finite("x", final).reshape(len(rows), -1)
            for number, label in enumerate(classes.tolist()):
                sums[number] += final[labels[first : first + count] == label].sum(axis=0, dtype=np.float64)
        means = sums / (labels[:, None] == classes).sum(axis=0)[:, None]
        return classes, means.astype(np.float32)

    def leaning(self, means: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """(M, K) the class that the estimate x0 leans to: of the classes' mean states (C, D), the one with the largest
        cosine of x0 − μ and means[c] − μ, where μ is the mean of the means.

        Early estimates are blurred and near μ; their direction is asked for, not their distance.
        """
        out = np.empty((len(self.positions), len(self.steps)), dtype=np.int64)
        centre = means.astype(np.float64).mean(axis=0)
        directions = means.astype(np.float64) - centre
        directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-300)
        offset = (directions @ centre).astype(np.float32)
        for rows, x0 in self._blocks("x0"):
            flat = self._finite("x0", x0).reshape(*x0.shape[:2], -1)
            out[rows] = (flat @ directions.T.astype(np.float32) - offset).argmax(-1)
        return out

    def states(self, most_samples: int, most_bytes: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Positions of evenly chosen samples, as many as `most_samples` and `most_bytes` allow (one at least), and
        their states, (n, K+1, D)."""
        file = self.trajectory
        width = math.prod(file.x.shape[1:]) * 4
        count = max(1, min(most_samples, len(self.positions), most_bytes // max(1, width)))
        chosen = np.unique(np.linspace(0, len(self.positions) - 1, count).round().astype(np.int64))
        with reading(file.path):
            states = np.stack([np.asarray(file.x[row], dtype=np.float32) for row in self._rows[chosen].tolist()])
        self._finite("x", states)
        return self.positions[chosen], states.reshape(*states.shape[:2], -1)

    @cached_property
    def measured(self) -> dict[str, Floats]:
        """What the metrics sink measured while the run was made: ``seconds`` and ``gpu_mb``, (committed,) each, NaN
        where it is not known; without entries that nothing is known of."""
        file = self.trajectory
        return measured(file.path.parent / "metrics", file.ids[self.committed], run_name(file.config))

    def _grey_levels(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The whole grey levels of the pictures of states (n, times, *shape)."""
        if self._are_pictures:
            return _grey_levels(x)
        images = to_uint8(self._decode(x.reshape(-1, *x.shape[2:])))
        return images.reshape(*x.shape[:2], -1).astype(np.float32)

    # reading ------------------------------------------------------------------------------------------------------

    @cached_property
    def _rows(self) -> npt.NDArray[np.int64]:
        return np.searchsorted(self.trajectory.kept_samples, self.positions).astype(np.int64)

    def _blocks(self, field: str) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
        """A field in parts: which of the M samples, and their float32 values (n, times, *shape)."""
        dataset, rows = self.trajectory.field(field), self._rows
        count = max(1, _BLOCK // (4 * max(1, math.prod(dataset.shape[1:]))))
        for first in range(0, len(rows), count):
            some = rows[first : first + count]
            yield slice(first, first + len(some)), np.asarray(self._read(dataset, some), dtype=np.float32)

    def _read(self, dataset: Any, rows: npt.NDArray[np.int64], column: Any = slice(None)) -> npt.NDArray[Any]:
        """Rows of a dataset, at once where they stand together."""
        with reading(self.trajectory.path):
            if rows[-1] - rows[0] == len(rows) - 1:
                return np.asarray(dataset[rows[0] : rows[-1] + 1, column])
            return np.stack([dataset[row, column] for row in rows.tolist()])

    def _finite(self, field: str, values: Any) -> Any:
        if not np.isfinite(values).all():
            raise TrajectoryError(f"{self.trajectory.path}: {dataset_of(field)} is not finite — see emnist-diff verify")
        return values


def shown(text: str, longest: int = _LONGEST) -> str:
    """A name from a file as it is drawn: printable, at most `longest` letters wide."""
    out, width = "", 0
    for letter in text:
        width += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if width > longest:
            return out + "…"
        out += letter if letter.isprintable() else "�"
    return out


def class_name(run: Run, label: int) -> str:
    """The name of a class as it is drawn; short, for it stands beside rows. That of samples which no class decides is
    ``no class``."""
    if not run.trajectory.conditioned:
        return "no class"
    return shown(run.trajectory.classes[label], _LONGEST_CLASS)


def _norms(values: npt.NDArray[np.float32]) -> Floats:
    """L2 norms over all but the first two axes, summed in float64."""
    flat = values.reshape(*values.shape[:2], -1)
    out: Floats = np.sqrt(np.einsum("nkd,nkd->nk", flat, flat, dtype=np.float64))
    return out


def _grey_levels(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """States in [-1, 1] as the whole grey levels that pictures of them have."""
    levels: npt.NDArray[np.float32] = x + np.float32(1.0)
    levels /= np.float32(2.0)
    np.clip(levels, 0.0, 1.0, out=levels)
    levels *= np.float32(255.0)
    return np.rint(levels, out=levels)


def position_of(run: Run, number: int) -> int | None:
    """The position of the committed sample with this id whose states are kept; None where there is none."""
    places = np.flatnonzero(run.trajectory.ids[run.positions] == number)
    return int(run.positions[places[0]]) if len(places) else None
