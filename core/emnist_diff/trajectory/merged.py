"""Indexes of merged files: what one may point to."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from emnist_diff.config import fingerprint
from emnist_diff.errors import TrajectoryError

if TYPE_CHECKING:
    from emnist_diff.trajectory.reader import Trajectory

MOST_MAPPINGS = 1 << 16
_SMALL = ("/step", "/sample", "/weight")


@attrs.frozen
class Source:
    """A file that an index points to: its name in the index's own directory, and how many samples are its."""

    file: str
    samples: int

    def to_json(self) -> str:
        """As the index records it."""
        return json.dumps(attrs.asdict(self), sort_keys=True)


def read_sources(path: Path, said: list[str]) -> tuple[Source, ...]:
    """The files that an index at `path` names. Raises `TrajectoryError` for one that does not stand beside it."""
    out = []
    for text in said:
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
    states = name == "images" or (name.startswith(("trajectory/", "forces/", "drifts/")) and not name.endswith(_SMALL))
    if not names or not states:
        raise TrajectoryError(f"{path}: {name} keeps its data in another file, which is not followed")
    properties = dataset.id.get_create_plist()
    if properties.get_virtual_count() > MOST_MAPPINGS:
        raise TrajectoryError(f"{path} is damaged: {name} is in more than {MOST_MAPPINGS} pieces")
    for number in range(properties.get_virtual_count()):
        file, there = properties.get_virtual_filename(number), properties.get_virtual_dsetname(number)
        if file not in names:
            raise TrajectoryError(f"{path}: {name} keeps its data in another file, {file!r:.60}, which is not followed")
        if there.lstrip("/") != name:
            raise TrajectoryError(f"{path} is damaged: {name} points to {there!r:.60}")
        properties.get_virtual_vspace(number).get_select_bounds()  # HDF5 refuses it for a piece without end


def check_files(index: Trajectory) -> None:
    """Look at each file of an index, before anything is read through it.

    They stand in the index's own directory, also once links are resolved; are trajectories of the same run, and no
    indexes; hold datasets of the same name, dtype and shape of states as those that point to them; have no sample
    twice; and have committed what the index says is committed.

    Raises `TrajectoryError` naming the file and what is wrong.
    """
    committed = set(index.ids[index.committed].tolist())
    seen: set[int] = set()
    for source in index.sources:
        seen |= _check_file(index, source, committed, seen)
    if missing := set(index.ids.tolist()) - seen:
        raise TrajectoryError(f"{index.path} is damaged: none of its files holds sample {min(missing)}")


def _check_file(index: Trajectory, source: Source, committed: set[int], seen: set[int]) -> set[int]:
    """The sample ids of one file."""
    from emnist_diff.trajectory.reader import Trajectory

    where = index.path.resolve().parent
    path = index.path.parent / source.file
    if path.resolve().parent != where or path.resolve() == index.path.resolve():
        raise TrajectoryError(f"{index.path} points to {source.file!r:.60}; only files beside it are followed")
    with Trajectory(path, index=False) as file:
        if fingerprint(file.config) != fingerprint(index.config) or len(file) != source.samples:
            raise TrajectoryError(f"{path} is another run by now than the one that {index.path} was made of")
        for name, dataset in index.datasets().items():
            if not dataset.is_virtual:
                continue
            there = file.datasets().get(name)
            if there is None and not len(file.kept_samples):
                continue
            if there is None or there.dtype != dataset.dtype or there.shape[1:] != dataset.shape[1:]:
                raise TrajectoryError(f"{path}: {name} is not what {index.path} says")
        if not np.array_equal(file.kept_steps, index.kept_steps):
            raise TrajectoryError(f"{path} keeps other steps than {index.path}")
        ids = set(file.ids.tolist())
        if twice := ids & seen:
            raise TrajectoryError(f"{index.path} is damaged: sample {min(twice)} is in two of its files")
        if lost := (committed & ids) - set(file.ids[file.committed].tolist()):
            raise TrajectoryError(
                f"{path}: sample {min(lost)} is not committed any more, as {index.path} says — "
                "finish that run, and merge again"
            )
        return ids
