"""The groups and datasets of a trajectory file, found and read without trust in it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from emnist_diff.errors import TrajectoryError
from emnist_diff_trajectory.identity import canonical_json
from emnist_diff_trajectory.merged import Source, check_mappings
from emnist_diff_trajectory.opening import MOST_ATTRIBUTE, MOST_TEXT, checked, open_file
from emnist_diff_trajectory.sample_ids import MOST_SAMPLES
from emnist_diff_trajectory.schema import MOST_STEPS

_DEEPEST, _MOST_OBJECTS = 3, 10_000
"""Levels of the tree, as in ``forces/00_name/weight``, and groups and datasets in it, beyond which nobody looks."""
_MOST_CLASSES = 1 << 16
_FREE_LIST, _LIST_RATIO = 1 << 16, 4
"""Bytes that lists may claim whatever is stored, and times the bytes of the whole file that they may claim besides."""


class Tree:
    """An HDF5 file: its `groups` and `datasets` by path, and `links`, paths where a link stands in their place.

    `suspend` closes it for a while, in which nothing can be read; `resume` opens it again.
    """

    def __init__(self, path: Path) -> None:
        """Raises `TrajectoryError` when `path` is no HDF5 file that can be opened."""
        self.path = path
        self.file = open_file(path)
        self.groups: set[str] = set()
        self.datasets: dict[str, Any] = {}
        """h5py's datasets; None once they are released, see `dataset`."""
        self.links: list[str] = []

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self.file.close()

    def release(self) -> None:
        """Let go of the objects of HDF5, which cost memory, and time wherever a file is closed."""
        self.datasets = dict.fromkeys(self.datasets)

    def suspend(self) -> None:
        """Close the file, keeping in mind what it holds."""
        self.release()
        self.file.close()

    def resume(self) -> None:
        """Open a suspended file again, of which nothing is looked at: it must be the same one still."""
        self.file = open_file(self.path)

    def dataset(self, name: str) -> Any:
        """A dataset of the open file. Raises `TrajectoryError` once it is closed."""
        self.require_open()
        held = self.datasets[name]
        return self.file[name] if held is None else held

    def require_open(self) -> None:
        """Raise `TrajectoryError` once the file is closed."""
        if not self.file:
            raise TrajectoryError(f"{self.path} is closed — read it within the with block")

    def walk(self, names: Iterable[str], sources: tuple[Source, ...] = ()) -> None:
        """Note every group and dataset under these names at the root.  sources: the files that may be pointed to."""
        self._walk(self.file, "", names, (), sources)

    def _walk(
        self, group: Any, prefix: str, names: Iterable[str], above: tuple[int, ...], sources: tuple[Source, ...]
    ) -> None:
        """above: addresses of the groups that lead to this one. Cycles, links that leave the file and groups deeper
        than the format has any are not followed."""
        above = (*above, h5py.h5o.get_info(group.id).addr)
        for name in names:
            if not isinstance(name, str) or not name.isprintable():
                raise TrajectoryError(f"{self.path} is damaged: no name may be {name!r:.60}")
            path = prefix + name
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                self.links += [] if link is None else [path]
                continue
            if len(self.datasets) + len(self.groups) > _MOST_OBJECTS:
                raise TrajectoryError(f"{self.path} is damaged: it holds more than {_MOST_OBJECTS} objects")
            item = group[name]
            if isinstance(item, h5py.Dataset):
                check_mappings(self.path, path, item, sources)  # first: HDF5 may follow them for a shape
                self.datasets[path] = checked(self.path, path, item)
            elif isinstance(item, h5py.Group) and h5py.h5o.get_info(item.id).addr not in above:
                self.groups.add(path)
                if len(above) < _DEEPEST:
                    self._walk(item, path + "/", item, above, sources)

    def attribute(self, owner: str, name: str) -> Any:
        """A short attribute of the root (""), a group or a dataset: a text, or whole numbers; None where there is none.
        Raises `TrajectoryError` for any other kind."""
        item = self.file[owner] if owner else self.file
        if name not in item.attrs:
            return None
        found = item.attrs.get_id(name)
        text = h5py.check_string_dtype(found.dtype) is not None
        # texts of variable length may all be one text, of megabytes, again and again
        if h5py.h5a.get_info(item.id, name.encode()).data_size > MOST_ATTRIBUTE or (text and found.shape != ()):
            raise TrajectoryError(f"{self.path} is damaged: its attribute {name} is too large")
        value = item.attrs[name]
        return value.decode(errors="replace") if isinstance(value, bytes) else value

    def length(self, name: str, width: int, what: str) -> int:
        """The length of a list, as long as others of which `width` bytes an entry would be in the file, were they
        stored as they are.

        Raises `TrajectoryError` where it claims many times what the file could hold: whoever goes through it would need
        time and memory for things that nothing was stored of.
        """
        count = int(self.list_of(name, "iuf" if what == "steps" else "iu").size)
        if count * width > _FREE_LIST + _LIST_RATIO * self.path.stat().st_size:
            raise TrajectoryError(f"{self.path} is damaged: it claims {count} {what}, more than so few bytes can hold")
        return count

    def list_of(self, name: str, kinds: str) -> Any:
        """A dataset of one axis and a sensible length, whose dtype is of one of the `kinds` of numpy."""
        dataset = self.dataset(name)
        if dataset.ndim != 1 or dataset.size > max(MOST_SAMPLES, MOST_STEPS) or dataset.dtype.kind not in kinds:
            what = {"iu": "whole numbers", "iuf": "numbers"}.get(kinds, "texts")
            raise TrajectoryError(f"{self.path} is damaged: {name} is no list of {what}")
        return dataset

    def vector(self, name: str, kinds: str = "iuf", count: int | None = None, what: str = "entries") -> Any:
        """The numbers of a list, (count,). Raises `TrajectoryError` for a list of another length, of which nothing is
        read then."""
        dataset = self.list_of(name, kinds)
        if count is not None and dataset.size != count:
            raise TrajectoryError(f"{self.path} is damaged: {name} has {dataset.size} of {count} {what}")
        return np.asarray(dataset[...])

    def choice(self, name: str, count: int) -> npt.NDArray[np.int64]:
        """Rising indices into `count` things."""
        if self.list_of(name, "iu").size > count:
            raise TrajectoryError(f"{self.path} is damaged: {name} must rise within 0 … {count - 1}")
        chosen = self.vector(name, "iu")
        if len(chosen) and not (chosen[0] >= 0 and chosen[-1] < count and (chosen[1:] > chosen[:-1]).all()):
            raise TrajectoryError(f"{self.path} is damaged: {name} must rise within 0 … {count - 1}")
        return np.asarray(chosen, np.int64)

    def flags(self, name: str, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """A table of zeros and ones; all zeros where there is none. Raises `TrajectoryError` for any other."""
        if name not in self.datasets:
            return np.zeros(shape, bool)
        dataset = self.dataset(name)
        if dataset.shape != shape or dataset.dtype != np.uint8:
            raise TrajectoryError(
                f"{self.path} is damaged: {name} is {dataset.dtype} {dataset.shape}, not uint8 {shape}"
            )
        return np.asarray(dataset[...]).astype(bool)

    def texts(self, name: str) -> list[str]:
        """A short list of texts, read one by one: each may claim the memory of all."""
        dataset = self.list_of(name, "OST")
        if dataset.size > _MOST_CLASSES:
            raise TrajectoryError(f"{self.path} is damaged: {name} has {dataset.size} entries")
        out: list[str] = []
        room = MOST_TEXT
        for number in range(dataset.size):
            out.append(str(dataset.asstr()[number]))
            room -= len(out[-1])
            if room < 0:
                raise TrajectoryError(f"{self.path} is damaged: {name} is too long")
        return out

    def text(self, name: str) -> str:
        """A dataset of one text."""
        dataset = self.dataset(name)
        text = dataset.asstr()[()] if dataset.ndim == 0 and dataset.dtype.kind in "OST" else None
        if not isinstance(text, str) or len(text) > MOST_TEXT:
            raise TrajectoryError(f"{self.path} is damaged: {name} is no text")
        return text

    def json(self, name: str) -> dict[str, Any]:
        """A dataset of one text that is a JSON table, of nothing but what can be written again."""
        data = json.loads(self.text(name))
        if not isinstance(data, dict):
            raise TrajectoryError(f"{self.path} is damaged: {name} is no JSON table")
        try:  # Python reads NaN and halves of characters, which no file of ours holds
            canonical_json(data).encode()
        except ValueError as error:
            raise TrajectoryError(f"{self.path} is damaged: {name} is no JSON table: {error}") from error
        return data
