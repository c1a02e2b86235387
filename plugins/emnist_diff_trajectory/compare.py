"""Are two recordings the same, and where do they first differ?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from emnist_diff.errors import TrajectoryError
from emnist_diff_trajectory.fields import CONDITIONS, X, is_activation, weight_of
from emnist_diff_trajectory.opening import reading
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.structure import require_sound

_BLOCK = 1 << 25


@attrs.frozen
class Place:
    """Where values differ: field, id of the sample, and step, or None in what has no steps."""

    field: str
    sample: int
    step: int | None


@attrs.define
class Differences:
    """What a comparison has seen so far.

    first: the first place, by sample, step, and order of fields.  largest: of each field that differs, the largest
    absolute difference, infinite where a value is not finite, and its place.
    values: how many were compared.
    """

    first: Place | None = None
    largest: dict[str, tuple[float, Place]] = attrs.field(factory=dict)
    values: int = 0
    _order: tuple[Any, ...] | None = None
    _fields: dict[str, int] = attrs.field(factory=dict)

    def see(
        self, field: str, sample: int, steps: list[int | None], one: npt.NDArray[Any], other: npt.NDArray[Any]
    ) -> None:
        """Compare values of one sample: both (len(steps), …) of one dtype, bit for bit."""
        self._fields.setdefault(field, len(self._fields))
        self.values += one.size
        if one.tobytes() == other.tobytes():
            return
        for step, a, b in zip(steps, one, other, strict=True):
            if a.tobytes() == b.tobytes():
                continue
            place = Place(field, sample, step)
            order = (sample, np.inf if step is None else step, self._fields[field])
            if self._order is None or order < self._order:
                self._order, self.first = order, place
            with np.errstate(invalid="ignore"):
                gaps = np.abs(a.astype(np.float64) - b.astype(np.float64))
            gap = float(np.max(np.where(np.isnan(gaps), np.inf, gaps)))
            if field not in self.largest or gap > self.largest[field][0]:
                self.largest[field] = (gap, place)

    def within(self, tolerance: float) -> bool:
        """Whether no value differs by more: images in [0, 255] by no more than the grey level that rounding costs."""
        bounds = {"images": 127.5 * tolerance + 1.0}
        return all(gap <= bounds.get(field, tolerance) for field, (gap, _) in self.largest.items())


@attrs.frozen
class Comparison:
    """Two files, compared.

    settings: keys of the configuration, and parts of the schedule, forces and classes, that differ.
    missing: what one has committed and the other has not, and that there were no states to compare.
    notes: what was recorded otherwise, which makes no run another.  samples: how many were compared.
    states: of how many of these the states were compared, and not the image alone.
    """

    settings: tuple[str, ...]
    missing: tuple[str, ...]
    notes: tuple[str, ...]
    samples: int
    states: int
    differences: Differences

    @property
    def same(self) -> bool:
        """Whether settings, samples and values are the same, bit for bit."""
        return not self.settings and not self.missing and self.differences.first is None


def compare(one: Trajectory, other: Trajectory) -> Comparison:
    """Compare two files, sample by sample as their ids say, in what both hold: fields, steps and samples.

    Of fields in float32 here and float16 there, the rounded values are compared. Of every sample, seed, label and image
    are compared, too. Files that keep states, but none in common, are not the same.
    Raises `TrajectoryError` when they hold nothing in common to compare.
    """
    for trajectory in (one, other):
        require_sound(trajectory)
    settings = _settings(one, other)
    places = [{int(t.ids[p]): p for p in t.committed} for t in (one, other)]
    both = sorted(places[0].keys() & places[1].keys())
    missing = [
        f"{_few(sorted(a.keys() - b.keys()))} only in {t.path}"
        for a, b, t in ((places[0], places[1], one), (places[1], places[0], other))
        if a.keys() - b.keys()
    ]
    if not both:
        raise TrajectoryError(f"{one.path} and {other.path} have no committed sample in common")
    fields, notes = _shared(one, other)
    steps = np.intersect1d(one.kept_steps, other.kept_steps)
    if len(steps) < max(len(one.kept_steps), len(other.kept_steps)):
        notes.append(f"steps kept: {len(one.kept_steps)} and {len(other.kept_steps)}, {len(steps)} of them in both")
    blocks = {name: _blocks(name, (one, other), steps) for name in fields}
    kept = [set(t.kept_samples.tolist()) for t in (one, other)]
    seen = Differences()
    states = 0
    for number in both:
        positions = places[0][number], places[1][number]
        _see_sample(seen, (one, other), number, positions)
        if fields and positions[0] in kept[0] and positions[1] in kept[1]:
            states += 1
            _see_states(seen, (one, other), number, positions, fields, blocks)
    count = [len(k.intersection(p[number] for number in both)) for k, p in zip(kept, places, strict=True)]
    if states < max(count):
        notes.append(f"states kept of samples: {count[0]} and {count[1]}, {states} of them compared")
    if not states and any(count):
        missing.append("no sample has states in both files")
    return Comparison(tuple(settings), tuple(missing), tuple(notes), len(both), states, seen)


_Files = tuple[Trajectory, Trajectory]
_Positions = tuple[int, int]


def _see_sample(seen: Differences, files: _Files, number: int, positions: _Positions) -> None:
    """Compare seed, label and image of one sample, which is at these positions of the files."""
    (one, other), (first, second) = files, positions
    for name, a, b in (("seed", one.seeds, other.seeds), ("label", one.labels, other.labels)):
        seen.see(f"samples/{name}", number, [None], *(v.astype(np.uint64) for v in (a[[first]], b[[second]])))
    seen.see("images", number, [None], _read(one, "images", first)[None], _read(other, "images", second)[None])


def _see_states(
    seen: Differences,
    files: _Files,
    number: int,
    positions: _Positions,
    fields: Mapping[str, npt.DTypeLike],
    blocks: Mapping[str, list[_Block]],
) -> None:
    """Compare the states of one sample, which is at these positions of the files."""
    rows = [trajectory.row(position) for trajectory, position in zip(files, positions, strict=True)]
    for name, kind in fields.items():
        for block in blocks[name]:
            left, right = (
                _read(trajectory, name, (row, columns)).astype(kind, copy=False)
                for trajectory, row, columns in zip(files, rows, block.columns, strict=True)
            )
            seen.see(name, number, block.steps, left, right)


def _settings(one: Trajectory, other: Trajectory) -> list[str]:
    """Keys of the configuration, and parts of the schedule, forces and classes, that differ."""
    keys = sorted(k for k in one.config.keys() | other.config.keys() if one.config.get(k) != other.config.get(k))
    for name in ("timestep", "alpha_bar", "sigma", "evaluations"):
        if not np.array_equal(getattr(one, name), getattr(other, name)):
            keys.append(f"schedule/{name}")
    return keys + _described(one, other)


def _described(one: Trajectory, other: Trajectory) -> list[str]:
    """What the files say otherwise of classes, forces and drifts, beside the configuration."""
    out = [] if one.classes == other.classes else ["samples/classes"]
    out += [CONDITIONS] if one.conditions and other.conditions and one.conditions != other.conditions else []
    for kind, names in (
        ("forces", (one.force_names, other.force_names)),
        ("drifts", (one.drift_names, other.drift_names)),
    ):
        out += [f"{kind}/{name}" for name in sorted(set(names[0]) ^ set(names[1]))]
    for name in [name for name in one.force_names if name in other.force_names]:
        weight = weight_of(name)
        if not np.array_equal(_read(one, weight, ...), _read(other, weight, ...)):
            out.append(weight)
    return out


def _shared(one: Trajectory, other: Trajectory) -> tuple[dict[str, npt.DTypeLike], list[str]]:
    """The fields of both with the dtype to compare them in, and what is to be said of the others."""
    notes = []
    fields: dict[str, npt.DTypeLike] = {}
    held = [{n: d for n, d in t.datasets().items() if n != "images"} for t in (one, other)]
    for name in dict.fromkeys([*held[0], *held[1]]):
        if name not in held[0] or name not in held[1]:
            notes.append(f"{name} is only in {(one if name in held[0] else other).path}")
        elif is_activation(name) and one.conditions != other.conditions:
            notes.append(f"{name} is of other conditions in {other.path}, and is not compared")
        elif held[0][name].shape[2:] != held[1][name].shape[2:]:
            raise TrajectoryError(
                f"{name} holds states of shape {held[0][name].shape[2:]} in {one.path}, of "
                f"{held[1][name].shape[2:]} in {other.path}"
            )
        else:
            fields[name] = min((t[name].dtype for t in held), key=lambda dtype: dtype.itemsize)
            if held[0][name].dtype != held[1][name].dtype:
                notes.append(f"{name} is {held[0][name].dtype} and {held[1][name].dtype}; rounded values are compared")
    if one.images.shape[1:] != other.images.shape[1:]:
        raise TrajectoryError(
            f"images are {one.images.shape[1:]} in {one.path}, {other.images.shape[1:]} in {other.path}"
        )
    return fields, notes


@attrs.frozen(eq=False)
class _Block:
    """Steps that are compared together, and their columns in both files."""

    steps: list[int | None]
    columns: tuple[slice, slice]


def _blocks(name: str, files: tuple[Trajectory, Trajectory], steps: npt.NDArray[np.int64]) -> list[_Block]:
    """The common steps of a field in stretches whose columns stand together in both files."""
    state = max(1, int(np.prod(files[0].field(name).shape[2:])) * 4)
    whole = [*steps.tolist(), files[0].steps] if name == X else steps.tolist()
    columns = [[t.column(step) for step in whole] for t in files]
    out: list[_Block] = []
    first = 0
    for end in range(1, len(whole) + 1):
        together = end < len(whole) and all(c[end] == c[first] + end - first for c in columns)
        if not together or end - first >= _BLOCK // state:
            parts = [slice(c[first], c[first] + end - first) for c in columns]
            out.append(_Block(list(whole[first:end]), (parts[0], parts[1])))
            first = end
    return out


def _read(trajectory: Trajectory, name: str, what: Any) -> npt.NDArray[Any]:
    with reading(trajectory.path):
        return np.asarray(trajectory.field(name)[what])


def _few(numbers: list[int]) -> str:
    plural = "s" if len(numbers) > 1 else ""
    return f"sample{plural} {', '.join(map(str, numbers[:6]))}{', …' if len(numbers) > 6 else ''}"
