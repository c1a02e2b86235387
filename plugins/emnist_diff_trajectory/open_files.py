"""Many trajectories, of which few are open at a time."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import numpy as np
import numpy.typing as npt

from emnist_diff.errors import TrajectoryError
from emnist_diff_trajectory.opening import most_open_files

if TYPE_CHECKING:
    from emnist_diff_trajectory.reader import Trajectory


@attrs.frozen(eq=False)
class _Seen:
    """What a file was: on the disk; and what it must still be when it is opened again, all of its content but for the
    states, and its commits."""

    state: tuple[int, ...] | None
    mark: bytes
    committed: npt.NDArray[np.int64]

    @classmethod
    def of(cls, trajectory: Trajectory, state: tuple[int, ...] | None) -> _Seen:
        shapes = {name: (d.shape, str(d.dtype)) for name, d in sorted(trajectory.datasets().items())}
        parts = [
            trajectory.config_text.encode(errors="replace"),
            repr(shapes).encode(),
            *(values.tobytes() for values in (trajectory.ids, trajectory.seeds, trajectory.labels)),
            *(values.tobytes() for values in (trajectory.kept_samples, trajectory.kept_steps, trajectory.alpha_bar)),
        ]
        mark = hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).digest()
        return cls(state, mark, np.array(trajectory.committed, np.int64))


class OpenFiles:
    """Trajectory files by path, opened when they are held; the one that has not been held for longest is closed for
    the next.

    A file that is not, when it is opened again, what it was at first, is an error: nothing is read from it.
    """

    def __init__(self, open_file: Callable[[Path], Trajectory], most: int | None = None) -> None:
        """most: how many files may be open; as few as the process's limit of open files demands when left out."""
        self._open_file = open_file
        self._most = most_open_files() if most is None else most
        self._known: dict[Path, tuple[Trajectory, _Seen]] = {}
        self._open: OrderedDict[Path, Trajectory] = OrderedDict()
        self._lock = threading.RLock()

    @contextmanager
    def holding(self, path: Path) -> Iterator[Trajectory]:
        """The trajectory at `path`, open within the block. Raises `TrajectoryError` when it is not there, is damaged,
        or has changed."""
        with self._lock:  # another thread may close it otherwise
            if path not in self._open:
                while len(self._open) >= self._most:
                    self._open.popitem(last=False)[1].suspend()
                self._open[path] = self._opened(path)
            self._open.move_to_end(path)
            yield self._open[path]

    def _opened(self, path: Path) -> Trajectory:
        if path in self._known:
            known, before = self._known[path]
            known.resume()
            if _state(path) == before.state:
                return known
            known.close()
        state = _state(path) if path.is_file() else None
        file = self._open_file(path)
        try:
            now = _Seen.of(file, state)
            if path in self._known:
                before = self._known[path][1]
                if before.mark != now.mark or not np.isin(before.committed, now.committed).all():
                    raise TrajectoryError(
                        f"{path} has changed while it was read — let nothing write it, and begin again"
                    )
        except BaseException:
            file.close()
            raise
        file.release()
        self._known[path] = file, now
        return file

    def suspend(self) -> None:
        """Close all files, which may be held again."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].suspend()

    def close(self) -> None:
        """Close all files."""
        with self._lock:
            self._open.clear()
            for file, _ in self._known.values():
                file.close()


def _state(path: Path) -> tuple[int, ...]:
    """What changes where a file is written or replaced. Raises `TrajectoryError` when it is gone."""
    try:
        found = path.stat()
    except OSError as error:
        raise TrajectoryError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
