"""The files that the viewer shows: found, checked, and copied where the page cannot read them as they are."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from emnist_diff.errors import OutputError, TrajectoryError
from emnist_diff_plugins.capacity import size
from emnist_diff_plugins.plots.pairs import same_samples
from emnist_diff_trajectory.attention import beside, captured_from
from emnist_diff_trajectory.compose import compose
from emnist_diff_trajectory.opening import open_file
from emnist_diff_trajectory.parts import Part
from emnist_diff_trajectory.printing import echo
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.structure import require_sound

USUAL = "trajectory.h5"
"""The name of a run's file in its folder."""

READABLE_FILTERS = frozenset({1, 2, 32015})
"""Of HDF5, those that the page undoes: deflate, shuffle, zstd."""


@attrs.frozen
class Shown:
    """A file of a run as the page reads it.

    name: for people and for links.  path: of the bytes, which may be a copy.  sidecar: what was
    captured from it afterwards.
    """

    name: str
    path: Path
    sidecar: Shown | None = None

    @property
    def bytes(self) -> int:
        """Of the file by now. Raises `OSError` where it is gone."""
        return self.path.stat().st_size


def find(path: Path) -> Path:
    """The run's file that is meant: in a folder ``trajectory.h5``, and of what was captured from a file, that file.

    Raises `TrajectoryError` for a folder without one.
    """
    if path.is_dir():
        if (path / USUAL).is_file():
            return path / USUAL
        workers = sorted(path.glob("trajectory-*-of-*.h5"))
        hint = f"join those of its workers with emnist-diff merge {path}" if workers else "name a file"
        raise TrajectoryError(f"{str(path)!r} has no {USUAL} — {hint}")
    of = captured_from(path)
    return of if of is not None and of.is_file() else path


@contextmanager
def showing(paths: Sequence[Path]) -> Iterator[list[Shown]]:
    """These files, for as long as the block lasts: copies that had to be made are gone after it.

    Raises `TrajectoryError` for what is no trajectory file, and `OutputError` where there is no room for a copy.
    """
    with ExitStack() as stack:
        found = [find(path) for path in paths]
        out = []
        for path, name in zip(found, names(found), strict=True):
            run = _readable(stack, path, name)
            captured = _captured(path)
            sidecar = None if captured is None else _readable(stack, captured, beside(Path(name)).as_posix())
            out.append(attrs.evolve(run, sidecar=sidecar))
        yield out


def names(paths: Sequence[Path]) -> list[str]:
    """What files are called: by their names, and by as many of the folders above as it takes to tell them apart."""
    parts = [path.resolve().parts for path in paths]
    for count in range(1, max(map(len, parts), default=0) + 1):
        out = ["/".join(one[-count:]) for one in parts]
        if len(set(out)) == len(set(parts)):
            return out
    return []


def _captured(path: Path) -> Path | None:
    """The file beside a run's of what was captured from it; says so where that is of another run, or damaged."""
    captured = beside(path)
    if captured_from(path) is not None or not captured.is_file():
        return None
    try:
        with Trajectory(path) as run, Trajectory(captured) as other:
            require_sound(other)
            if same_samples(run, other):
                return captured
        reason = f"{captured} is of another run than {path}"
    except TrajectoryError as error:
        reason = str(error)
    echo(f"{reason} — it is left out; capture it again with emnist-diff attend {path} --overwrite", err=True)
    return None


def _readable(stack: ExitStack, path: Path, name: str) -> Shown:
    with Trajectory(path) as trajectory:
        reason = why_copied(trajectory)
        if not reason:
            return Shown(name, path)
        part = Part.of(trajectory)  # which finds damage before anything is said
        needed = sum(values.nbytes for values in trajectory.datasets().values())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="emnist-diff-view-")))
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise OutputError(
                f"{path} {reason}: the copy that the page reads takes {size(needed)}, and {size(free)} are free in "
                f"{folder.parent} — make room, or set TMPDIR to another folder"
            )
        echo(f"{path} {reason}: the page reads a copy of {size(needed)}, which is removed in the end", err=True)
        compose(folder / path.name, [part])
    return Shown(name, folder / path.name)


def why_copied(trajectory: Trajectory) -> str:
    """Why the page cannot read a file as it is; "" where it can."""
    if trajectory.sources:
        return f"is an index of {len(trajectory.sources)} files"
    if all(values.chunks is None for values in trajectory.datasets().values()):
        return ""
    filters: set[int] = set()
    with open_file(trajectory.path) as file:
        for name in trajectory.datasets():
            properties = file[name].id.get_create_plist()
            filters |= {properties.get_filter(number)[0] for number in range(properties.get_nfilters())}
    strange = sorted(filters - READABLE_FILTERS)
    return f"is packed with HDF5 filter {strange[0]}, which browsers cannot unpack" if strange else ""
