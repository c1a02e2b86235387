"""What plugins have put into a file beside the format's own: carried from file to file as it is, or not at all."""

from __future__ import annotations

from typing import Any

import h5py

from emnist_diff.errors import OutputError, TrajectoryError
from emnist_diff_trajectory.opening import checked, reading
from emnist_diff_trajectory.reader import Trajectory

_MOST_OBJECTS = 10_000


def require_none(trajectory: Trajectory) -> None:
    """Raise `OutputError` naming what a file, or one that an index points to, holds of plugins."""
    if names := [name for name in trajectory.extras if name.startswith("plugins/")]:
        raise OutputError(
            f"{trajectory.path} holds {', '.join(names[:4])}, which goes along only where all samples of one file do: "
            "what of it belongs to which sample only that plugin knows — take all samples, or merge without --copy"
        )
    for source in trajectory.sources:
        with Trajectory(trajectory.path.parent / source.file, index=False) as file:
            require_none(file)


def room(trajectory: Trajectory) -> int:
    """Bytes of a file's plugin data.

    Raises `OutputError` for a link in it, which may lead anywhere, and `TrajectoryError` for a dataset that is damaged
    or keeps its data in another file.
    """
    with reading(trajectory.path):
        return 0 if trajectory.plugins is None else _room(trajectory, trajectory.plugins, "plugins", set())


def _room(trajectory: Trajectory, group: Any, path: str, seen: set[int]) -> int:
    size = 0
    for name in group:
        place = f"{path}/{name}"
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise OutputError(f"{trajectory.path}: {place} is a link, which is not carried over — remove it")
        item = group[name]
        address = h5py.h5o.get_info(item.id).addr
        if address in seen:
            continue
        seen.add(address)
        if len(seen) > _MOST_OBJECTS:
            raise TrajectoryError(f"{trajectory.path} is damaged: plugins holds more than {_MOST_OBJECTS} objects")
        if isinstance(item, h5py.Group):
            size += _room(trajectory, item, place, seen)
        elif isinstance(item, h5py.Dataset):
            if item.is_virtual:
                raise TrajectoryError(
                    f"{trajectory.path}: {place} keeps its data in another file, which is not followed"
                )
            size += int(checked(trajectory.path, place, item).id.get_storage_size())
    return size


def carry(trajectory: Trajectory, target: Any) -> None:
    """Copy a file's plugin data, which `room` has looked at, into the group `target`, as it is."""
    with reading(trajectory.path):
        for name in trajectory.plugins or ():
            trajectory.plugins.copy(trajectory.plugins[name], target, name=name)
