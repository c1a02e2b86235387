"""Trajectory files made of others: the same samples, or some of them, laid out anew."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from itertools import chain
from pathlib import Path
from typing import Any

import attrs
import h5py
import numpy as np
import numpy.typing as npt

from emnist_diff import __version__
from emnist_diff.config import canonical_json
from emnist_diff.errors import OutputError
from emnist_diff_trajectory import plugin_data
from emnist_diff_trajectory.creation import create_contiguous, new_file, output_errors
from emnist_diff_trajectory.device import Device, laid_out
from emnist_diff_trajectory.merged import Source
from emnist_diff_trajectory.opening import reading
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.schema import FORMAT, FORMAT_VERSION, Array
from emnist_diff_trajectory.structure import mappings, require_sound, structure

BLOCK = 1 << 25
"""Bytes that are held at once."""

_WAY_OUT = "use --overwrite to replace it, or name another"


@attrs.frozen(eq=False)
class Part:
    """Samples of one file: at `positions` in it, to stand at `places` in the new one; both rise.

    The file need not be open: what is kept of it here is enough to lay the new one out. Make it with `of`.

    holding: the trajectory, open within a block.  kept, done: of which of the samples the states are kept, and which
    are committed.  states: rows of the kept ones in the file's datasets of states.  samples: ids, seeds, labels and
    markers.  layout: shape in the file, and dtype, of each dataset of states and of the images.
    carries: whether it may hold more, such as data of plugins.
    """

    path: Path
    holding: Callable[[], AbstractContextManager[Trajectory]]
    positions: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    kept: npt.NDArray[np.bool_]
    done: npt.NDArray[np.bool_]
    states: npt.NDArray[np.int64]
    samples: Mapping[str, npt.NDArray[Any]]
    layout: Mapping[str, Array]
    sources: tuple[Source, ...]
    carries: bool

    @classmethod
    def of(
        cls,
        trajectory: Trajectory,
        positions: npt.NDArray[np.int64] | None = None,
        places: npt.NDArray[np.int64] | None = None,
        holding: Callable[[], AbstractContextManager[Trajectory]] | None = None,
    ) -> Part:
        """positions: all when left out.  places: in their order, when left out.  holding: how to open it again; when
        left out it stays open as long as the part is used. Raises `TrajectoryError` when the file is damaged."""
        require_sound(trajectory)
        chosen = np.arange(len(trajectory), dtype=np.int64) if positions is None else positions
        kept = np.isin(chosen, trajectory.kept_samples)
        marks = trajectory.steps_done[chosen]
        lists = {"id": trajectory.ids, "seed": trajectory.seeds, "label": trajectory.labels}
        return cls(
            trajectory.path,
            holding or (lambda: nullcontext(trajectory)),
            chosen,
            np.arange(len(chosen), dtype=np.int64) if places is None else places,
            kept,
            marks == trajectory.steps,
            np.searchsorted(trajectory.kept_samples, chosen[kept]),
            {**{name: values[chosen] for name, values in lists.items()}, "steps_done": marks},
            {name: Array(name, tuple(d.shape), str(d.dtype)) for name, d in trajectory.datasets().items()},
            trajectory.sources,
            bool(trajectory.sources or trajectory.extras),
        )

    @property
    def is_whole(self) -> bool:
        """Whether all samples of the file go along."""
        return len(self.positions) == self.layout["images"].shape[0]


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

    part: Part
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
    _check_target(path, parts, replace)
    carried = _carried(parts, sources)
    layout, rows = _plan(parts)
    with ExitStack() as stack:
        plugins = None if carried is None else stack.enter_context(carried.holding())
        beside = () if plugins is None else (Array("plugins", (plugin_data.room(plugins),), "uint8"),)
        # room for all of it, although packing may need less: HDF5 can crash on a disk that fills
        reserved = () if sources else [*layout, *beside]
        temporary = stack.enter_context(new_file(path, reserved, overwrite or replace, _WAY_OUT))
        with laid_out(temporary) as (file, device):
            with parts[0].holding() as first:
                _lay_out(file, first, parts, environment, sources)
            if plugins is not None:
                plugin_data.carry(plugins, file["plugins"])
            _fill(file, layout, rows, create or _contiguous, device)
        if below is not None and temporary.stat().st_size >= below:
            raise NotSmaller(temporary.stat().st_size)
        _compare(temporary, rows)


def _fill(file: Any, layout: Sequence[Array], rows: Sequence[Rows], create: Create, device: Device) -> None:
    """The datasets of states and the images: made one by one, and filled file by file."""
    copied = set()
    for array in layout:
        group, _, name = array.name.rpartition("/")
        inside = file.require_group(group) if group else file
        if not create(inside, attrs.evolve(array, name=name), [piece for piece in rows if piece.name == array.name]):
            copied.add(array.name)
    for piece in rows:
        if piece.name in copied:
            copy_rows(piece, file[piece.name], device)


def copy_rows(rows: Rows, target: Any, device: Device) -> None:
    """Copy the committed ones of these rows into a dataset of the new file, a block at a time. Raises what `device`,
    on which that is, has refused."""
    for here, there in _blocks(rows):
        target[there] = _read(rows, here)
        device.check()


def _check_target(path: Path, parts: Sequence[Part], replace: bool) -> None:
    """Raise `OutputError` when `path` is a file of the parts, under whatever name, or one that an index among them
    points to."""
    for part in parts:
        read = [] if replace else [part.path]
        for source in (*read, *(part.path.parent / source.file for source in part.sources)):
            with output_errors(path):
                same = path.exists() and path.samefile(source)
            if same:
                raise OutputError(f"{path} is what is read, and is not replaced — name another file")


def _carried(parts: Sequence[Part], sources: Sequence[Source]) -> Part | None:
    """The file whose plugin data goes along. Raises `OutputError` when some of another's would be lost."""
    first = parts[0]
    if len(parts) == 1 and first.is_whole and not first.sources:
        return first
    for part in parts if not sources else ():
        if part.carries:
            with part.holding() as trajectory:
                plugin_data.require_none(trajectory)
    return None


def _plan(parts: Sequence[Part]) -> tuple[list[Array], list[Rows]]:
    """The datasets of the new file, and where their rows come from, file by file."""
    total = sum(len(part.places) for part in parts)
    chosen = np.sort(np.concatenate([part.places[part.kept] for part in parts]))
    layout: dict[str, Array] = {}
    rows: list[Rows] = []
    for part in parts:
        states = np.searchsorted(chosen, part.places[part.kept])
        for name, array in part.layout.items():
            if name == "images":
                piece, count = Rows(part, name, part.positions, part.places, part.done), total
            else:
                piece, count = Rows(part, name, part.states, states, part.done[part.kept]), len(chosen)
            if count:
                layout.setdefault(name, Array(name, (count, *array.shape[1:]), array.dtype))
                rows.append(piece)
    return list(layout.values()), rows


def _lay_out(
    file: Any,
    first: Trajectory,
    parts: Sequence[Part],
    environment: Mapping[str, Any] | None,
    sources: Sequence[Source],
) -> None:
    """Everything but the datasets of states and the images."""
    file.attrs["format"] = FORMAT
    file.attrs["format_version"] = np.array(FORMAT_VERSION, dtype=np.int64)
    file.attrs["creator"] = "emnist-diff"
    file.attrs["creator_version"] = __version__
    text = h5py.string_dtype("utf-8")
    file.create_dataset("config", data=first.config_text, dtype=text)
    file["config"].attrs["sha256"] = first.config_hash
    described = first.environment if environment is None else environment
    file.create_dataset("environment", data=canonical_json(described), dtype=text)
    schedule = file.create_group("schedule")
    for name, values in first.schedule().items():
        schedule[name] = values
    schedule.attrs["forward_process"] = first.forward_process
    samples = file.create_group("samples")
    places = np.argsort(np.concatenate([part.places for part in parts]))
    for name in parts[0].samples:
        samples[name] = np.concatenate([part.samples[name] for part in parts])[places]
    samples.create_dataset("classes", data=list(first.classes), dtype=text)
    kept = file.create_group("trajectory")
    kept.attrs["prediction_type"] = first.prediction_type
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


def _read(rows: Rows, here: tuple[slice, ...]) -> npt.NDArray[Any]:
    with rows.part.holding() as trajectory, reading(trajectory.path):
        return np.asarray(trajectory.field(rows.name)[here])


def _compare(path: Path, rows: Sequence[Rows]) -> None:
    """Raises `OutputError` unless the file holds these rows to the bit, or, where it is an index, leads to them."""
    with Trajectory(path) as made:
        if problem := next(chain(structure(made), mappings(made)), None):
            raise OutputError(f"{path} did not become what it should: {problem.where}: {problem.what}")
        for piece in rows:
            for here, there in _blocks(piece) if not made.sources else ():
                if _read(piece, here).tobytes() != np.asarray(made.field(piece.name)[there]).tobytes():
                    raise OutputError(f"{path} did not become what it should: {piece.name} is not what was read")


def _blocks(rows: Rows) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Where committed rows are and go, in blocks of at most `BLOCK` bytes where a step is not larger."""
    array = rows.part.layout[rows.name]
    shape, width = array.shape, np.dtype(array.dtype).itemsize
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
        source = h5py.VirtualSource(piece.part.path.name, piece.name, piece.part.layout[piece.name].shape, array.dtype)
        for here, there in _evenly_spaced(piece.here, piece.there):
            layout[there] = source[here]
            source = h5py.VirtualSource(source.path, source.name, source.maxshape, array.dtype)
    fill = np.nan if array.dtype.startswith("float") else 0
    group.create_virtual_dataset(array.name, layout, fillvalue=fill)
    return True


def _evenly_spaced(here: npt.NDArray[np.int64], there: npt.NDArray[np.int64]) -> Iterator[tuple[slice, slice]]:
    """Rows in stretches that are evenly spaced on both sides."""
    first = 0
    while first < len(here):
        last = first + 1
        if last < len(here):
            steps = here[last] - here[first], there[last] - there[first]
            while last < len(here) and (here[last] - here[last - 1], there[last] - there[last - 1]) == steps:
                last += 1
        else:
            steps = 1, 1
        yield (
            slice(int(here[first]), int(here[last - 1]) + 1, int(steps[0])),
            slice(int(there[first]), int(there[last - 1]) + 1, int(steps[1])),
        )
        first = last


def shared_environment(every: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What these environments say alike, and what each says otherwise, under ``workers``."""
    alike = {k: v for k, v in every[0].items() if all(_same(e.get(k), v) for e in every)}
    others = [{k: v for k, v in e.items() if k not in alike} for e in every]
    return {**alike, "workers": others} if any(others) else alike


def _same(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
