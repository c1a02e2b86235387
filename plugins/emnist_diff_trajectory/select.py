"""Some of a file's samples, in a file of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from emnist_diff.errors import ConfigError, TrajectoryError, UnknownName, unknown
from emnist_diff_trajectory.compose import compose
from emnist_diff_trajectory.filenames import of_class
from emnist_diff_trajectory.names import known
from emnist_diff_trajectory.parts import Part
from emnist_diff_trajectory.reader import Trajectory


def chosen(
    trajectory: Trajectory, classes: Sequence[str] = (), ids: Iterable[int] | None = None
) -> npt.NDArray[np.int64]:
    """Positions of the samples of these classes (all when none is named) that have one of these ids.

    Raises `UnknownName` for a class or an id that the file does not have, `ConfigError` when nothing is left.
    """
    found = [known(name, trajectory.classes) for name in classes]
    for name, one in zip(classes, found, strict=True):
        if one is None:
            raise unknown("class", name, trajectory.classes)
    wanted = np.ones(len(trajectory), dtype=bool)
    if classes:
        wanted &= np.isin(trajectory.labels, [trajectory.classes.index(one) for one in found if one is not None])
    if ids is not None:
        numbers = sorted(set(ids))
        if strange := sorted(set(numbers) - set(trajectory.ids.tolist())):
            raise UnknownName(f"sample {strange[0]} is not in {trajectory.path}, which has {_span(trajectory)}")
        wanted &= np.isin(trajectory.ids, numbers)
    if not wanted.any():
        raise ConfigError(f"{trajectory.path} has no such sample — it has {_span(trajectory)}")
    return np.flatnonzero(wanted).astype(np.int64)


def select(trajectory: Trajectory, positions: npt.NDArray[np.int64], path: Path, *, overwrite: bool = False) -> int:
    """Write the samples at these positions into a file of their own; returns how many.

    Raises as `compose.compose`.
    """
    compose(path, [Part.of(trajectory, positions)], overwrite=overwrite)
    return len(positions)


def split(trajectory: Trajectory, folder: Path, by: str = "class", *, overwrite: bool = False) -> list[Path]:
    """Write one file a class (``class-A.h5``, see `filenames.of_class`), or one a sample (``sample-000007.h5``), into a
    directory.

    by: ``class`` or ``sample``. Raises as `compose.compose`.
    """
    if by == "class":
        if len(set(trajectory.classes)) < len(trajectory.classes):
            raise TrajectoryError(f"{trajectory.path} is damaged: two of its classes have one name")
        groups = {
            f"class-{of_class(trajectory.classes[int(label)])}": np.flatnonzero(trajectory.labels == label)
            for label in np.unique(trajectory.labels)
        }
    elif by == "sample":
        groups = {f"sample-{int(number):06d}": np.array([place]) for place, number in enumerate(trajectory.ids)}
    else:
        raise unknown("way to split", by, ("class", "sample"))
    out: list[Path] = []
    for name, positions in groups.items():
        out.append(folder / f"{name}.h5")
        select(trajectory, positions.astype(np.int64), out[-1], overwrite=overwrite)
    return out


def _span(trajectory: Trajectory) -> str:
    names = [repr(name) for name in sorted({trajectory.classes[int(label)] for label in trajectory.labels})]
    span = f"{int(trajectory.ids.min())} … {int(trajectory.ids.max())}"
    return f"samples {span} of class {', '.join(names[:8])}"
