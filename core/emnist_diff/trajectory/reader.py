"""Reading trajectories. Nothing in the file is trusted: it may be truncated, foreign, or made to mislead."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from emnist_diff.errors import TrajectoryError, UnknownName, unknown
from emnist_diff.protocols import Field
from emnist_diff.trajectory.schema import FORMAT, FORMAT_VERSION

_REQUIRED = (
    "config",
    "environment",
    "schedule/step",
    "schedule/timestep",
    "schedule/alpha_bar",
    "schedule/sigma",
    "schedule/evaluations",
    "samples/id",
    "samples/seed",
    "samples/label",
    "samples/steps_done",
    "samples/classes",
    "images",
)
_ROOTS = ("config", "environment", "schedule", "samples", "trajectory", "forces", "drifts", "images")
"""What this version knows; anything else in the file is left alone, `plugins` included."""
_GROUPS = ("trajectory", "forces", "drifts")
_DEEPEST, _MOST_OBJECTS = 3, 100_000
"""Levels of the tree, as in ``forces/00_name/weight``, and groups and datasets in it, beyond which nobody looks."""
_MOST_ENTRIES = 1 << 24
"""A list longer than this is no list of samples or steps, but a file that wants memory."""


class Trajectory:
    """A trajectory file, open for reading; a context manager.

    Sample-major datasets are h5py datasets, read as they are sliced; ``trajectory.x[3, -1]`` is the final state of
    the sample at position 3.

    Raises `TrajectoryError` when the path is no readable trajectory file of this format's major version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file = _open(self.path)
        try:
            self._load()
        except TrajectoryError:
            self._file.close()
            raise
        except Exception as error:  # a hostile file can make h5py raise anything
            self._file.close()
            raise TrajectoryError(f"{self.path} is damaged: {_one_line(error)}") from error

    def _load(self) -> None:
        mark = self._file.attrs.get("format")
        mark = mark.decode(errors="replace") if isinstance(mark, bytes) else mark
        if mark != FORMAT:
            raise TrajectoryError(f"{self.path} is HDF5, but no emnist-diff trajectory (its format is {mark!r:.60})")
        version = tuple(int(n) for n in np.atleast_1d(self._file.attrs["format_version"])[:2])
        if len(version) != 2 or version[0] < 1:
            raise TrajectoryError(f"{self.path} is damaged: its format_version is {version}")
        if version[0] > FORMAT_VERSION[0]:
            raise TrajectoryError(
                f"{self.path} has trajectory format {'.'.join(map(str, version))}, this emnist-diff reads up to "
                f"{FORMAT_VERSION[0]}.x — upgrade emnist-diff"
            )
        self.format_version = version
        self._groups: set[str] = set()
        self._datasets: dict[str, Any] = {}
        self.links: list[str] = []
        """Paths where a link stands instead of a group or dataset; none is followed."""
        self._walk(self._file, "", _ROOTS, ())
        for name in _REQUIRED:
            if name not in self._datasets:
                raise TrajectoryError(f"{self.path} is damaged: {name} is missing")
        for name in _GROUPS:
            if name in self._datasets:
                raise TrajectoryError(f"{self.path} is damaged: {name} is no group")
        self.config: dict[str, Any] = self._json("config")
        self.environment: dict[str, Any] = self._json("environment")
        self.classes: tuple[str, ...] = tuple(self._list("samples/classes", "OST").asstr()[...].tolist())
        self.ids: npt.NDArray[np.int64] = self._vector("samples/id", "iu")
        self.seeds: npt.NDArray[np.uint64] = self._vector("samples/seed", "iu")
        self.labels: npt.NDArray[np.int64] = self._vector("samples/label", "iu")
        self.step: npt.NDArray[np.int64] = self._vector("schedule/step", "iu")
        self.timestep: npt.NDArray[np.float64] = self._vector("schedule/timestep")
        self.alpha_bar: npt.NDArray[np.float64] = self._vector("schedule/alpha_bar")
        self.sigma: npt.NDArray[np.float64] = self._vector("schedule/sigma")
        self.evaluations: npt.NDArray[np.int64] = self._vector("schedule/evaluations", "iu")
        self.steps = len(self.timestep)
        for name in ("step", "alpha_bar", "sigma", "evaluations"):
            levels = getattr(self, name)
            if len(levels) != self.steps:
                raise TrajectoryError(
                    f"{self.path} is damaged: schedule/{name} has {len(levels)} of {self.steps} steps"
                )
        if not self.steps or not len(self.ids):
            raise TrajectoryError(f"{self.path} is damaged: it has no steps or no samples")
        for name, values in (("seed", self.seeds), ("label", self.labels), ("steps_done", self.steps_done)):
            if len(values) != len(self.ids):
                raise TrajectoryError(
                    f"{self.path} is damaged: samples/{name} has {len(values)} of {len(self.ids)} entries"
                )
        if ((self.labels < 0) | (self.labels >= len(self.classes))).any():
            raise TrajectoryError(f"{self.path} is damaged: samples/label points outside samples/classes")

    def _walk(self, group: Any, prefix: str, names: Iterable[str], above: tuple[int, ...]) -> None:
        """Note every group and dataset by its path.

        above: addresses of the groups on the way here. Cycles, links that leave the file and groups deeper than the
        format has any are not followed.
        """
        above = (*above, h5py.h5o.get_info(group.id).addr)
        for name in names:
            if not isinstance(name, str) or not name.isprintable():
                raise TrajectoryError(f"{self.path} is damaged: no name may be {name!r:.60}")
            path = prefix + name
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                self.links += [] if link is None else [path]
                continue
            if len(self._datasets) + len(self._groups) > _MOST_OBJECTS:
                raise TrajectoryError(f"{self.path} is damaged: it holds more than {_MOST_OBJECTS} objects")
            item = group[name]
            if isinstance(item, h5py.Dataset):
                self._datasets[path] = self._checked(path, item)
            elif isinstance(item, h5py.Group) and h5py.h5o.get_info(item.id).addr not in above:
                self._groups.add(path)
                if len(above) < _DEEPEST:
                    self._walk(item, path + "/", item, above)

    def _checked(self, name: str, dataset: Any) -> Any:
        """A dataset whose bytes are inside the file."""
        if dataset.is_virtual or dataset.external:
            raise TrajectoryError(f"{self.path}: {name} keeps its data in another file, which is not followed")
        if dataset.shape is None:
            raise TrajectoryError(f"{self.path} is damaged: {name} is empty")
        _ = dataset.dtype  # h5py refuses here a type that numpy has no like of
        offset, size = dataset.id.get_offset(), dataset.size * dataset.id.get_type().get_size()
        if offset is not None and offset + size > self.path.stat().st_size:
            raise TrajectoryError(f"{self.path} is truncated: the data of {name} is not all there")
        return dataset

    def _list(self, name: str, kinds: str) -> Any:
        """A dataset of one axis and a sensible length, whose dtype is of one of the `kinds` of numpy."""
        dataset = self._datasets[name]
        if dataset.ndim != 1 or dataset.size > _MOST_ENTRIES or dataset.dtype.kind not in kinds:
            what = {"iu": "whole numbers", "iuf": "numbers"}.get(kinds, "texts")
            raise TrajectoryError(f"{self.path} is damaged: {name} is no list of {what}")
        return dataset

    def _vector(self, name: str, kinds: str = "iuf") -> npt.NDArray[Any]:
        return np.asarray(self._list(name, kinds)[...])

    def _json(self, name: str) -> dict[str, Any]:
        text = self._datasets[name].asstr()[()]
        data = json.loads(text) if isinstance(text, str) else None
        if not isinstance(data, dict):
            raise TrajectoryError(f"{self.path} is damaged: {name} is no JSON table")
        return data

    @property
    def steps_done(self) -> npt.NDArray[np.int64]:
        """(N,) steps recorded of each sample: 0, or all of them once the sample is committed."""
        return self._vector("samples/steps_done", "iu")

    @property
    def committed(self) -> list[int]:
        """Positions of the samples whose data is complete."""
        return [int(p) for p in np.flatnonzero(self.steps_done == self.steps)]

    @property
    def force_names(self) -> tuple[str, ...]:
        """Groups of the forces, ``nn_name``, in the order in which they were added."""
        return self._components("forces")

    @property
    def drift_names(self) -> tuple[str, ...]:
        """Groups of the drifts, in order."""
        return self._components("drifts")

    def _components(self, kind: str) -> tuple[str, ...]:
        names = [path.split("/")[1] for path in self._groups if path.startswith(f"{kind}/") and path.count("/") == 1]
        return tuple(sorted(names, key=_component_order))

    @property
    def fields(self) -> tuple[str, ...]:
        """What was recorded of each step, as `protocols.Field` spells it."""
        held = self.datasets()
        return tuple(
            field.value
            for field in Field
            if f"trajectory/{field.value}" in held or any(name.startswith(f"{field.value}/") for name in held)
        )

    def datasets(self) -> Mapping[str, Any]:
        """The sample-major datasets by path: ``trajectory/x``, ``forces/00_name/contribution``, ``images``, …"""
        roots = ("trajectory/", "forces/", "drifts/", "images")
        return {n: d for n, d in self._datasets.items() if n.startswith(roots) and not n.endswith("/weight")}

    def field(self, name: str, samples: int | slice | None = None) -> Any:
        """A dataset by path, or by its last part for those under ``trajectory/``.

        samples: positions to read, as an array with samples first (none for a single position); without it the
        h5py dataset itself, of which nothing is read yet.
        Raises `UnknownName`.
        """
        for path in (name, f"trajectory/{name}"):
            if path in self._datasets:
                return self._datasets[path] if samples is None else self._datasets[path][samples]
        raise unknown(f"field of {self.path.name}:", name, self._datasets)

    @property
    def x(self) -> Any:
        """States, (N, T+1, *shape): x[:, i] is what step i started from, x[:, T] the final state."""
        return self.field("x")

    @property
    def x0(self) -> Any:
        """Estimates of the image, (N, T, *shape)."""
        return self.field("x0")

    @property
    def prediction(self) -> Any:
        """Predictions the scheduler saw, base + Σ contributions, (N, T, *shape)."""
        return self.field("prediction")

    @property
    def base(self) -> Any:
        """Predictions before any force, (N, T, *shape)."""
        return self.field("base")

    @property
    def images(self) -> Any:
        """Decoded final samples, uint8 (N, H, W) or (N, H, W, 3)."""
        return self.field("images")

    def contribution(self, force: int | str) -> Any:
        """A force's weighted contribution, (N, T, *shape), by index or group name. Raises `UnknownName`."""
        if isinstance(force, int) and not -len(self.force_names) <= force < len(self.force_names):
            raise UnknownName(f"force {force} of {self.path.name}: it has {len(self.force_names)} forces")
        return self.field(f"forces/{self.force_names[force] if isinstance(force, int) else force}/contribution")

    def mmap(self, name: str) -> npt.NDArray[Any]:
        """A read-only memory map of a dataset: costs nothing, however large. Samples not committed hold garbage.

        Raises `TrajectoryError` for a packed (chunked) dataset and for one that holds no numbers.
        """
        dataset = self.field(name)
        if dataset.dtype.kind not in "iuf" or not dataset.size:
            # bytes of a file taken for Python objects would be a crash at best
            raise TrajectoryError(f"{self.path}: {name} is no array of numbers and cannot be mapped")
        offset = dataset.id.get_offset()
        if offset is None:
            raise TrajectoryError(f"{self.path}: {name} is not contiguous and cannot be mapped — read it as a dataset")
        return np.memmap(self.path, dtype=dataset.dtype, mode="r", offset=offset, shape=dataset.shape)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __len__(self) -> int:
        return len(self.ids)

    def __enter__(self) -> Trajectory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()


def _open(path: Path) -> Any:
    """The HDF5 file, or one line on why there is none."""
    try:
        if path.is_dir():
            inside = path / "trajectory.h5"
            hint = f" — did you mean {str(inside)!r}?" if inside.is_file() else " — name the file"
            raise TrajectoryError(f"{str(path)!r} is a directory{hint}")
        if not path.exists():
            raise TrajectoryError(f"trajectory file {str(path)!r} does not exist")
        if not path.is_file():
            raise TrajectoryError(f"{str(path)!r} is no regular file")
        if path.stat().st_size == 0:
            raise TrajectoryError(f"{str(path)!r} is no HDF5 file, or is truncated: it is empty")
        with path.open("rb"):
            pass  # the system's own words for what it refuses
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise TrajectoryError(f"{str(path)!r} cannot be read: {reason}") from error
    try:
        return _open_beside_writer(path)
    except Exception as error:
        raise TrajectoryError(f"{str(path)!r} is no HDF5 file, or is truncated: {_one_line(error)}") from error


def _open_beside_writer(path: Path) -> Any:
    """A reader beside a writer sees committed samples; the file's own lock would keep it out."""
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        if "locking flag" not in str(error):
            raise
        return h5py.File(path, "r")  # open in this process under that lock, and HDF5 wants one kind in each


def _component_order(name: str) -> tuple[int, str]:
    """Groups in the order of their numbers, beyond 99 too."""
    number = name.partition("_")[0]
    return (int(number) if number.isdecimal() and len(number) < 10 else 1 << 30, name)


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
