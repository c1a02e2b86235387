"""Trajectory files made of others: the same samples, or some of them, laid out anew."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from emnist_diff.errors import OutputError
from emnist_diff_trajectory import plugin_data
from emnist_diff_trajectory.creation import create_contiguous, new_file, require_unread, take_space
from emnist_diff_trajectory.device import Device, building
from emnist_diff_trajectory.fields import weight_of
from emnist_diff_trajectory.identity import canonical_json
from emnist_diff_trajectory.merged import Source
from emnist_diff_trajectory.parts import Part, Rows, blocks, plan, read
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.schema import Array, Description, lay_out
from emnist_diff_trajectory.structure import mappings, structure

_REMEDY = "use --overwrite to replace it, or name another"


@attrs.frozen
class Merged:
    """What a file says of those that it is merged from: their environments in one, and, where it is an index, the files
    that it points to."""

    environment: Mapping[str, Any]
    sources: Sequence[Source] = ()


class NotSmaller(Exception):
    """A composed file would have `size` bytes, not fewer than it had to have."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


Create = Callable[[Any, Array, Sequence[Rows]], bool]
"""Makes a dataset of states in a group, or of images, for rows that come from there; True when they are in it by
reference, and False when they are to be copied."""


def compose(
    path: Path,
    parts: Sequence[Part],
    create: Create | None = None,
    *,
    overwrite: bool = False,
    replace: bool = False,
    below: int | None = None,
    merged: Merged | None = None,
) -> None:
    """Write a file of these samples, all of one run; the first part says what they share.

    create: how datasets are stored; contiguous when left out, as a run writes them.
    overwrite: whether another file at `path` is replaced; what is read never is, unless `replace` says so.
    below: how many bytes the file must stay below.  merged: what it says of the files that it is merged from.
    Of samples that are not committed nothing is copied. Plugins' data goes along where all samples of one file do, and
    stays in the files that an index points to. Before the file gets its name, it is read again and compared.

    Raises `TrajectoryError` when a part is damaged; `OutputError` when the file is there and `overwrite` is off, when
    it is one of those that are read, when plugins' data would be lost, or when it cannot be written;
    `NotSmaller`, without having changed anything, when it does not stay below.
    """
    _check_target(path, parts, replace)
    sources = () if merged is None else merged.sources
    carried = _carried(parts, sources)
    layout, rows = plan(parts)
    with ExitStack() as stack:
        plugins = None if carried is None else stack.enter_context(carried.holding())
        beside = () if plugins is None else (Array("plugins", (plugin_data.room(plugins),), "uint8"),)
        # room for all of it, although packing may need less: HDF5 can crash on a disk that fills
        reserved = () if sources else [*layout, *beside]
        temporary = stack.enter_context(new_file(path, reserved, overwrite or replace, _REMEDY))
        with building(temporary) as (file, device):
            copied = _create(file, layout, rows, create or _contiguous)
            with parts[0].holding() as first:
                lay_out(file, _description(first, parts, merged))
            if plugins is not None:
                plugin_data.carry(plugins, file["plugins"])
            _fill(file, copied, rows, device)
        if below is not None and temporary.stat().st_size >= below:
            raise NotSmaller(temporary.stat().st_size)
        _compare(temporary, rows)


def _create(file: Any, layout: Sequence[Array], rows: Sequence[Rows], create: Create) -> set[str]:
    """Make the datasets of states and the images; the names of those that rows are to be copied into."""
    copied = set()
    for array in layout:
        group, _, name = array.name.rpartition("/")
        inside = file.require_group(group) if group else file
        if not create(inside, attrs.evolve(array, name=name), [piece for piece in rows if piece.name == array.name]):
            copied.add(array.name)
    return copied


def _fill(file: Any, copied: Collection[str], rows: Sequence[Rows], device: Device) -> None:
    """Take the space of the datasets that are copied, and fill them file by file."""
    for name in dict.fromkeys(piece.name for piece in rows if piece.name in copied):
        if file[name].chunks is None:
            take_space(file[name])
    for piece in rows:
        if piece.name in copied:
            copy_rows(piece, file[piece.name], device)


def copy_rows(rows: Rows, target: Any, device: Device) -> None:
    """Copy the committed ones of these rows into a dataset of the new file, a block at a time. Raises what `device`,
    on which that is, has refused."""
    for old, new in blocks(rows):
        target[new] = read(rows, old)
        device.check()


def _check_target(path: Path, parts: Sequence[Part], replace: bool) -> None:
    """Raise `OutputError` when `path` is a file of the parts, under whatever name, or one that an index among them
    points to."""
    for part in parts:
        read = [] if replace else [part.path]
        require_unread(path, [*read, *(part.path.parent / source.file for source in part.sources)])


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


def _description(first: Trajectory, parts: Sequence[Part], merged: Merged | None) -> Description:
    """What the new file says beside its states: as the first part, of the samples of all."""
    places = np.argsort(np.concatenate([part.places for part in parts]))
    return Description(
        config=first.config_text,
        config_hash=first.config_hash,
        environment=canonical_json(first.environment if merged is None else merged.environment),
        forward_process=first.forward_process,
        prediction_type=first.prediction_type,
        schedule=first.schedule(),
        samples={name: np.concatenate([part.samples[name] for part in parts])[places] for name in parts[0].samples},
        classes=first.classes,
        kept_steps=first.kept_steps,
        kept_samples=np.sort(np.concatenate([part.places[part.kept] for part in parts])),
        weights={name: first.field(weight_of(name))[...] for name in first.force_names},
        drifts=first.fields_of("drifts"),
        conditions=first.conditions,
        evaluated=first.evaluated.astype(np.uint8),
        sources=[] if merged is None else [source.to_json() for source in merged.sources],
    )


def _contiguous(group: Any, array: Array, rows: Sequence[Rows]) -> bool:
    create_contiguous(group, array.name, array)
    return False


def _compare(path: Path, rows: Sequence[Rows]) -> None:
    """Raises `OutputError` unless the file holds these rows to the bit, or, where it is an index, leads to them."""
    with Trajectory(path) as written:
        if problem := next(chain(structure(written), mappings(written)), None):
            raise OutputError(f"{path} did not become what it should: {problem.where}: {problem.what}")
        for piece in rows:
            for old, new in blocks(piece) if not written.sources else ():
                if read(piece, old).tobytes() != np.asarray(written.field(piece.name)[new]).tobytes():
                    raise OutputError(f"{path} did not become what it should: {piece.name} is not what was read")
