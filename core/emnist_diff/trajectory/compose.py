"""Trajectory files made of others: the same samples, or some of them, laid out anew."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import h5py
import numpy as np
import numpy.typing as npt

from emnist_diff import __version__
from emnist_diff.config import canonical_json
from emnist_diff.errors import OutputError
from emnist_diff.trajectory import plugin_data
from emnist_diff.trajectory.creation import create_contiguous, new_file, output_errors
from emnist_diff.trajectory.device import Device, laid_out
from emnist_diff.trajectory.merged import Source
from emnist_diff.trajectory.opening import reading
from emnist_diff.trajectory.reader import Trajectory
from emnist_diff.trajectory.schema import FORMAT, FORMAT_VERSION, Array
from emnist_diff.trajectory.verify import require_sound, structure

BLOCK = 1 << 25
"""Bytes that are held at once."""

_WAY_OUT = "use --overwrite to replace it, or name another"


@attrs.frozen(eq=False)
class Part:
    """Samples of one file: at `positions` there, to stand at `places` in the new one; both rise."""

    trajectory: Trajectory
    positions: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]

    @classmethod
    def whole(cls, trajectory: Trajectory, places: npt.NDArray[np.int64] | None = None) -> Part:
        """All samples of a file."""
        everything = np.arange(len(trajectory), dtype=np.int64)
        return cls(trajectory, everything, everything if places is None else places)

    @property
    def kept(self) -> npt.NDArray[np.bool_]:
        """Of which of its samples the states are kept."""
        return np.isin(self.positions, self.trajectory.kept_samples)


class NotSmaller(Exception):
    """A composed file would have `size` bytes, not fewer than it had to have."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


Create = Callable[[Any, Array, Sequence["Rows"]], bool]
"""Makes a dataset of states in a group, or of images, for rows that come from there; True when they are in it by
reference, and False when they are to be copied."""


@attrs.frozen(eq=False)
class Rows:
    """Rows of one dataset of one file: at `here` there, to stand at `there` in the new file."""

    trajectory: Trajectory
    name: str
    here: npt.NDArray[np.int64]
    there: npt.NDArray[np.int64]
    committed: npt.NDArray[np.bool_]


def compose(
    path: Path,
    parts: Sequence[Part],
    create: Create | None = None,
    *,
    overwrite: bool = False,
    replace: bool = False,
    below: int | None = None,
    environment: Mapping[str, Any] | None = None,
    sources: Sequence[Source] = (),
) -> None:
    """Write a file of these samples, all of one run; the first part says what they share.

    create: how datasets are stored; contiguous when left out, as a run writes them.
    overwrite: whether another file at `path` is replaced; what is read never is, unless `replace` says so.
    below: how many bytes the file must stay below.
    environment: in place of the first part's.  sources: what an index points to.
    Of samples that are not committed nothing is copied. Plugins' data goes along where all samples of one file do, and
    stays in the files that an index points to. Before the file gets its name, it is read again and compared.

    Raises `TrajectoryError` when a part is damaged; `OutputError` when the file is there and `overwrite` is off, when
    it is one of those that are read, when plugins' data would be lost, or when it cannot be written;
    `NotSmaller`, without having changed anything, when it does not stay below.
    """
    for part in parts:
        require_sound(part.trajectory)
    _check_target(path, parts, replace)
    carried = _carried(parts, sources)
    beside = () if carried is None else (Array("plugins", (plugin_data.room(carried),), "uint8"),)
    layout, rows = _plan(parts)
    # room for all of it, although packing may need less: HDF5 can crash on a disk that fills
    with new_file(path, () if sources else [*layout, *beside], overwrite or replace, _WAY_OUT) as temporary:
        with laid_out(temporary) as (file, device):
            _lay_out(file, parts, environment, sources)
            if carried is not None:
                plugin_data.carry(carried, file["plugins"])
            for array in layout:
                group, _, name = array.name.rpartition("/")
                inside = file.require_group(group) if group else file
                if (create or _contiguous)(inside, attrs.evolve(array, name=name), rows[array.name]):
                    continue
                for piece in rows[array.name]:
                    copy_rows(piece, inside[name], device)
        if below is not None and temporary.stat().st_size >= below:
            raise NotSmaller(temporary.stat().st_size)
        _compare(temporary, rows)


def _check_target(path: Path, parts: Sequence[Part], replace: bool) -> None:
    """Raise `OutputError` when `path` is a file of the parts, under whatever name, or one that an index among them
    points to."""
    for part in parts:
        file = part.trajectory.path
        read = [] if replace else [file]
        for source in (*read, *(file.parent / source.file for source in part.trajectory.sources)):
            with output_errors(path):
                same = path.exists() and path.samefile(source)
            if same:
                raise OutputError(f"{path} is what is read, and is not replaced — name another file")


def _carried(parts: Sequence[Part], sources: Sequence[Source]) -> Trajectory | None:
    """The file whose plugin data goes along. Raises `OutputError` when some of another's would be lost."""
    first = parts[0]
    if len(parts) == 1 and len(first.positions) == len(first.trajectory) and not first.trajectory.sources:
        return first.trajectory
    for part in parts if not sources else ():
        plugin_data.require_none(part.trajectory)
    return None


def _plan(parts: Sequence[Part]) -> tuple[list[Array], dict[str, list[Rows]]]:
    """The datasets of the new file, and where their rows come from."""
    total = sum(len(part.places) for part in parts)
    chosen = np.sort(np.concatenate([part.places[part.kept] for part in parts]))
    layout: dict[str, Array] = {}
    rows: dict[str, list[Rows]] = {}
    for part in parts:
        t, kept = part.trajectory, part.kept
        done = (t.steps_done == t.steps)[part.positions]
        for name, dataset in t.datasets().items():
            if name == "images":
                here, there, committed, count = part.positions, part.places, done, total
            else:
                here = np.searchsorted(t.kept_samples, part.positions[kept])
                there, committed, count = np.searchsorted(chosen, part.places[kept]), done[kept], len(chosen)
            if count:
                layout.setdefault(name, Array(name, (count, *dataset.shape[1:]), str(dataset.dtype)))
                rows.setdefault(name, []).append(Rows(t, name, here, there, committed))
    return list(layout.values()), rows


def _lay_out(
    file: Any, parts: Sequence[Part], environment: Mapping[str, Any] | None, sources: Sequence[Source]
) -> None:
    """Everything but the datasets of states and the images."""
    first = parts[0].trajectory
    file.attrs["format"] = FORMAT
    file.attrs["format_version"] = np.array(FORMAT_VERSION, dtype=np.int64)
    file.attrs["creator"] = "emnist-diff"
    file.attrs["creator_version"] = __version__
    text = h5py.string_dtype("utf-8")
    config = first.field("config").asstr()[()]
    file.create_dataset("config", data=config, dtype=text)
    file["config"].attrs["sha256"] = first.field("config").attrs["sha256"]
    said = first.field("environment").asstr()[()] if environment is None else canonical_json(environment)
    file.create_dataset("environment", data=said, dtype=text)
    schedule = file.create_group("schedule")
    for name, values in first.schedule().items():
        schedule[name] = values
    schedule.attrs["path"] = first.schedule_path
    samples = file.create_group("samples")
    places = np.argsort(np.concatenate([part.places for part in parts]))
    for name, attribute in (("id", "ids"), ("seed", "seeds"), ("label", "labels"), ("steps_done", "steps_done")):
        values = np.concatenate([getattr(part.trajectory, attribute)[part.positions] for part in parts])
        samples[name] = values[places]
    samples.create_dataset("classes", data=list(first.classes), dtype=text)
    kept = file.create_group("trajectory")
    kept["step"] = first.kept_steps
    kept["sample"] = np.sort(np.concatenate([part.places[part.kept] for part in parts]))
    for name in first.force_names:
        file.require_group(f"forces/{name}")["weight"] = first.field(f"forces/{name}/weight")[...]
    for name in first.drift_names:
        file.require_group(f"drifts/{name}")
    if sources:
        file.create_dataset("sources", data=[source.to_json() for source in sources], dtype=text)
    file.create_group("plugins")


def _contiguous(group: Any, array: Array, rows: Sequence[Rows]) -> bool:
    create_contiguous(group, array.name, array)
    return False


def copy_rows(rows: Rows, target: Any, device: Device) -> None:
    """Copy the committed ones of these rows into a dataset of the new file, a block at a time. Raises what `device`,
    on which that is, has refused."""
    for here, there in _blocks(rows):
        target[there] = _read(rows, here)
        device.check()


def _read(rows: Rows, here: tuple[slice, ...]) -> npt.NDArray[Any]:
    with reading(rows.trajectory.path):
        return np.asarray(rows.trajectory.field(rows.name)[here])


def _compare(path: Path, rows: Mapping[str, Iterable[Rows]]) -> None:
    """Raises `OutputError` unless the file holds these rows to the bit."""
    with Trajectory(path) as made:
        if problem := next(structure(made), None):
            raise OutputError(f"{path} did not become what it should: {problem.where}: {problem.what}")
        for name, pieces in rows.items():
            for piece in pieces:
                for here, there in _blocks(piece):
                    if _read(piece, here).tobytes() != np.asarray(made.field(name)[there]).tobytes():
                        raise OutputError(f"{path} did not become what it should: {name} is not what was read")


def _blocks(rows: Rows) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Where committed rows are and go, in blocks of at most `BLOCK` bytes where a step is not larger."""
    dataset = rows.trajectory.field(rows.name)
    shape, width = dataset.shape, dataset.dtype.itemsize
    row = max(1, int(np.prod(shape[1:], dtype=np.int64)) * width)
    columns = max(1, shape[1] * BLOCK // row) if row > BLOCK else shape[1]
    for first, last in _runs(rows, max(1, BLOCK // row)):
        here, there = int(rows.here[first]), int(rows.there[first])
        count = last - first
        for column in range(0, shape[1], columns):
            part = slice(column, min(column + columns, shape[1]))
            yield (slice(here, here + count), part), (slice(there, there + count), part)


def _runs(rows: Rows, most: int) -> Iterator[tuple[int, int]]:
    """Stretches of at most `most` committed rows that stand together here and there."""
    first = 0
    while first < len(rows.here):
        if not rows.committed[first]:
            first += 1
            continue
        last = first + 1
        while (
            last < len(rows.here)
            and last - first < most
            and rows.committed[last]
            and rows.here[last] - rows.here[first] == rows.there[last] - rows.there[first] == last - first
        ):
            last += 1
        yield first, last
        first = last


def by_reference(group: Any, array: Array, rows: Sequence[Rows]) -> bool:
    """A `Create` for an index: the dataset is virtual, and its rows stay in the files, which stand beside it."""
    layout = h5py.VirtualLayout(array.shape, array.dtype)
    for piece in rows:
        if not len(piece.here):
            continue
        dataset = piece.trajectory.field(piece.name)
        source = h5py.VirtualSource(piece.trajectory.path.name, piece.name, dataset.shape, array.dtype)
        step = int(piece.there[1] - piece.there[0]) if len(piece.there) > 1 else 1
        if len(piece.here) == len(dataset) and (np.diff(piece.there) == step).all():
            layout[int(piece.there[0]) : int(piece.there[-1]) + 1 : step] = source
        else:
            for here, there in zip(piece.here.tolist(), piece.there.tolist(), strict=True):
                layout[there] = source[here]
    fill = np.nan if array.dtype.startswith("float") else 0
    group.create_virtual_dataset(array.name, layout, fillvalue=fill)
    return True


def shared_environment(parts: Sequence[Part]) -> dict[str, Any]:
    """What the environments of all parts say alike, and what each says otherwise, under ``workers``."""
    every = [part.trajectory.environment for part in parts]
    alike = {k: v for k, v in every[0].items() if all(_same(e.get(k), v) for e in every)}
    others = [{k: v for k, v in e.items() if k not in alike} for e in every]
    return {**alike, "workers": others} if any(others) else alike


def _same(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
