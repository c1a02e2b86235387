"""Indexes of merged files: what one may point to."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import h5py
import numpy as np
import numpy.typing as npt

from emnist_diff.errors import TrajectoryError
from emnist_diff_trajectory.fields import has_rows
from emnist_diff_trajectory.identity import fingerprint
from emnist_diff_trajectory.states import Piece

if TYPE_CHECKING:
    from emnist_diff_trajectory.open_files import OpenFiles
    from emnist_diff_trajectory.reader import Trajectory

MOST_MAPPINGS = 1 << 16


@attrs.frozen
class Source:
    """A file that an index points to: its name in the index's own directory, and how many samples are its."""

    file: str
    samples: int

    def to_json(self) -> str:
        """As the index records it."""
        return json.dumps(attrs.asdict(self), sort_keys=True)


def read_sources(path: Path, texts: list[str]) -> tuple[Source, ...]:
    """The files that an index at `path` names. Raises `TrajectoryError` for one that does not stand beside it."""
    out = []
    for text in texts:
        data = json.loads(text)
        name = data.get("file") if isinstance(data, dict) else None
        count = data.get("samples") if isinstance(data, dict) else None
        if not isinstance(name, str) or not isinstance(count, int) or not name.isprintable():
            raise TrajectoryError(f"{path} is damaged: sources holds {text!r:.60}")
        # HDF5 takes % for the place of a number
        if not name or name in (".", "..") or os.path.basename(name) != name or set(name) & set("\\%"):
            raise TrajectoryError(f"{path} points to {name!r:.60}; only files beside it are followed")
        out.append(Source(name, count))
    if not out:
        raise TrajectoryError(f"{path} is damaged: sources is empty")
    return tuple(out)


def check_mappings(path: Path, name: str, dataset: Any, sources: tuple[Source, ...]) -> None:
    """Raise `TrajectoryError` unless a virtual dataset is one of states, or the images, and points to the datasets of
    its own name in these files. Nothing but the index itself is looked at."""
    if not dataset.is_virtual:
        return
    names = {source.file for source in sources}
    if not names or not has_rows(name):
        raise TrajectoryError(f"{path}: {name} keeps its data in another file, which is not followed")
    properties = dataset.id.get_create_plist()
    if properties.get_virtual_count() > MOST_MAPPINGS:
        raise TrajectoryError(f"{path} is damaged: {name} is in more than {MOST_MAPPINGS} pieces")
    for number in range(properties.get_virtual_count()):
        file, dataset_name = properties.get_virtual_filename(number), properties.get_virtual_dsetname(number)
        if file not in names:
            raise TrajectoryError(f"{path}: {name} keeps its data in another file, {file!r:.60}, which is not followed")
        if dataset_name.lstrip("/") != name:
            raise TrajectoryError(f"{path} is damaged: {name} points to {dataset_name!r:.60}")
        properties.get_virtual_vspace(number).get_select_bounds()  # HDF5 refuses it for a piece without end


def check_files(index: Trajectory, files: OpenFiles) -> dict[str, list[Piece]]:
    """Look at each file of an index, before anything is read from it, and say where the rows of the index are: of the
    ``states`` and of the ``images``.

    They stand in the index's own directory, also once links are resolved; are trajectories of the same run, and no
    indexes; hold datasets of the same name, dtype and shape of states as those that point to them; have no sample
    twice; and have committed what the index says is committed.

    Raises `TrajectoryError` naming the file and what is wrong.
    """
    expected = _Expected.of(index)
    pieces: dict[str, list[Piece]] = {"states": [], "images": []}
    seen = np.zeros(len(index), bool)
    for source in index.sources:
        path = index.path.parent / source.file
        real = Path(os.path.realpath(path))
        if real.parent != expected.folder or real == Path(os.path.realpath(index.path)):
            raise TrajectoryError(f"{index.path} points to {source.file!r:.60}; only files beside it are followed")
        with files.holding(path) as file:
            _check_file(expected, source, file)
            places = expected.places(file)
            if seen[places].any():
                twice = int(index.ids[places[seen[places]][0]])
                raise TrajectoryError(f"{index.path} is damaged: sample {twice} is in two of its files")
            seen[places] = True
            kept = places[file.kept_samples]
            rows = np.searchsorted(index.kept_samples, kept)
            if not np.isin(kept, index.kept_samples).all():
                raise TrajectoryError(f"{path} keeps states of other samples than {index.path} says")
            pieces["images"].append(Piece(path, places, np.arange(len(places))))
            pieces["states"].append(Piece(path, rows, np.arange(len(rows))))
    if not seen.all():
        raise TrajectoryError(f"{index.path} is damaged: none of its files holds sample {int(index.ids[~seen][0])}")
    if sum(len(piece.rows) for piece in pieces["states"]) != len(index.kept_samples):
        raise TrajectoryError(f"{index.path} is damaged: its files do not keep the states that it lists")
    return pieces


@attrs.frozen(eq=False)
class _Expected:
    """What an index says of its files.

    order: positions of the index by rising ids.  spread: dtype and shape of a row of each dataset that is in the files.
    """

    index: Trajectory
    folder: Path
    fingerprint: str
    order: npt.NDArray[np.int64]
    committed: npt.NDArray[np.bool_]
    spread: dict[str, tuple[str, tuple[int, ...]]]

    @classmethod
    def of(cls, index: Trajectory) -> _Expected:
        spread = {name: (str(d.dtype), d.shape[1:]) for name, d in index.virtual().items()}
        order = np.argsort(index.ids, kind="stable")
        committed = index.steps_done == index.steps
        return cls(
            index, Path(os.path.realpath(index.path)).parent, fingerprint(index.config), order, committed, spread
        )

    def places(self, file: Trajectory) -> npt.NDArray[np.int64]:
        """Positions in the index of a file's samples."""
        ids = self.index.ids[self.order]
        found = np.minimum(np.searchsorted(ids, file.ids), len(ids) - 1)
        if strange := file.ids[ids[found] != file.ids].tolist():
            raise TrajectoryError(f"{file.path} holds sample {strange[0]}, which is not in {self.index.path}")
        return np.asarray(self.order[found], np.int64)


def _check_file(expected: _Expected, source: Source, file: Trajectory) -> None:
    """Raise `TrajectoryError` where a file is not what the index says."""
    index, path = expected.index, file.path
    if fingerprint(file.config) != expected.fingerprint or len(file) != source.samples:
        raise TrajectoryError(f"{path} is another run by now than the one that {index.path} was made of")
    for name, what in expected.spread.items():
        dataset = file.datasets().get(name)
        if dataset is None and name != "images" and not len(file.kept_samples):
            continue
        if dataset is None or (str(dataset.dtype), dataset.shape[1:]) != what:
            raise TrajectoryError(f"{path}: {name} is not what {index.path} says")
        if len(dataset) != len(file if name == "images" else file.kept_samples):
            raise TrajectoryError(f"{path} is damaged: {name} has {len(dataset)} rows")
    if not np.array_equal(file.kept_steps, index.kept_steps):
        raise TrajectoryError(f"{path} keeps other steps than {index.path}")
    places = expected.places(file)
    lost = expected.committed[places] & (file.steps_done != file.steps)
    if lost.any():
        raise TrajectoryError(
            f"{path}: sample {int(file.ids[lost][0])} is not committed any more, as {index.path} says — "
            "finish that run, and merge again"
        )


def mapped_rows(dataset: Any) -> Iterator[tuple[str, npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """What a virtual dataset tells readers that follow it: pieces of whole rows, as the file's name, and numbers of the
    rows in the dataset and in that file.

    Raises `TrajectoryError` for a piece that is not made of whole rows.
    """
    properties = dataset.id.get_create_plist()
    for number in range(properties.get_virtual_count()):
        indices: list[npt.NDArray[np.int64]] = []
        for space in (properties.get_virtual_vspace(number), properties.get_virtual_srcspace(number)):
            if space.get_select_type() == h5py.h5s.SEL_ALL:  # of a file, as many rows as of the dataset
                indices.append(np.arange(len(indices[0]) if indices else len(dataset), dtype=np.int64))
                continue
            if not space.is_regular_hyperslab() or space.get_select_npoints() > dataset.size:
                raise TrajectoryError(f"{dataset.name} is in pieces that are no rows")
            start, stride, count, block = space.get_regular_hyperslab()
            inner = math.prod(n * b for n, b in zip(count[1:], block[1:], strict=True))
            if inner != math.prod(dataset.shape[1:]) or any(start[1:]):  # as many values as a row has: all of them
                raise TrajectoryError(f"{dataset.name} is in pieces that are no rows")
            indices.append((start[0] + stride[0] * np.arange(count[0])[:, None] + np.arange(block[0])).ravel())
        if len(indices[0]) != len(indices[1]):
            raise TrajectoryError(f"{dataset.name} is in pieces that do not fit")
        yield properties.get_virtual_filename(number), indices[0], indices[1]
