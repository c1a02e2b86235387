"""Reading trajectories. Nothing in the file is trusted: it may be truncated, foreign, or made to mislead."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from emnist_diff.errors import TrajectoryError, unknown
from emnist_diff.trajectory.schema import FORMAT, FORMAT_VERSION

_REQUIRED = (
    "config",
    "environment",
    "schedule/step",
    "schedule/timestep",
    "schedule/alpha_bar",
    "schedule/sigma",
    "samples/id",
    "samples/seed",
    "samples/label",
    "samples/steps_done",
    "samples/classes",
    "images",
)


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
        if mark != FORMAT:
            raise TrajectoryError(f"{self.path} is HDF5, but no emnist-diff trajectory (its format is {mark!r})")
        version = tuple(int(n) for n in np.atleast_1d(self._file.attrs["format_version"])[:2])
        if version[0] > FORMAT_VERSION[0]:
            raise TrajectoryError(
                f"{self.path} has trajectory format {'.'.join(map(str, version))}, this emnist-diff reads up to "
                f"{FORMAT_VERSION[0]}.x — upgrade emnist-diff"
            )
        self.format_version = version
        self._datasets = dict(self._walk(self._file, ""))
        for name in _REQUIRED:
            if name not in self._datasets:
                raise TrajectoryError(f"{self.path} is damaged: {name} is missing")
        self.config: dict[str, Any] = self._json("config")
        self.environment: dict[str, Any] = self._json("environment")
        self.classes: tuple[str, ...] = tuple(self._datasets["samples/classes"].asstr()[...].tolist())
        self.ids: npt.NDArray[np.int64] = self._vector("samples/id")
        self.seeds: npt.NDArray[np.uint64] = self._vector("samples/seed")
        self.labels: npt.NDArray[np.int64] = self._vector("samples/label")
        self.timestep: npt.NDArray[np.float64] = self._vector("schedule/timestep")
        self.alpha_bar: npt.NDArray[np.float64] = self._vector("schedule/alpha_bar")
        self.sigma: npt.NDArray[np.float64] = self._vector("schedule/sigma")
        self.steps = len(self.timestep)
        if not self.steps or not len(self.ids):
            raise TrajectoryError(f"{self.path} is damaged: it has no steps or no samples")
        for name, values in (("seed", self.seeds), ("label", self.labels), ("steps_done", self.steps_done)):
            if len(values) != len(self.ids):
                raise TrajectoryError(
                    f"{self.path} is damaged: samples/{name} has {len(values)} of {len(self.ids)} entries"
                )
        if ((self.labels < 0) | (self.labels >= len(self.classes))).any():
            raise TrajectoryError(f"{self.path} is damaged: samples/label points outside samples/classes")

    def _walk(self, group: Any, prefix: str, depth: int = 0) -> list[tuple[str, Any]]:
        """Every dataset by its path. Links that leave the file, and cycles, are not followed."""
        out: list[tuple[str, Any]] = []
        if depth > 6:
            return out
        for name in group:
            path = prefix + name
            if path == "plugins" or not isinstance(group.get(name, getlink=True), h5py.HardLink):
                continue
            item = group[name]
            if isinstance(item, h5py.Group):
                out += self._walk(item, path + "/", depth + 1)
            elif isinstance(item, h5py.Dataset):
                out.append((path, self._checked(path, item)))
        return out

    def _checked(self, name: str, dataset: Any) -> Any:
        """A dataset whose bytes are inside the file."""
        if dataset.is_virtual or dataset.external:
            raise TrajectoryError(f"{self.path}: {name} keeps its data in another file, which is not followed")
        offset = dataset.id.get_offset()
        if offset is not None and offset + dataset.size * dataset.dtype.itemsize > self.path.stat().st_size:
            raise TrajectoryError(f"{self.path} is truncated: the data of {name} is not all there")
        return dataset

    def _vector(self, name: str) -> npt.NDArray[Any]:
        dataset = self._datasets[name]
        if dataset.ndim != 1 or dataset.size > 1 << 28 or dataset.dtype.kind not in "iuf":
            raise TrajectoryError(f"{self.path} is damaged: {name} is no list of numbers")
        return np.asarray(dataset[...])

    def _json(self, name: str) -> dict[str, Any]:
        text = self._datasets[name].asstr()[()]
        data = json.loads(text)
        if not isinstance(data, dict):
            raise TrajectoryError(f"{self.path} is damaged: {name} is no JSON table")
        return data

    @property
    def steps_done(self) -> npt.NDArray[np.int64]:
        """(N,) steps recorded of each sample: 0, or all of them once the sample is committed."""
        return self._vector("samples/steps_done")

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
        return tuple(sorted(self._file[kind])) if kind in self._file else ()

    def datasets(self) -> Mapping[str, Any]:
        """The sample-major datasets by path: ``trajectory/x``, ``forces/00_name/contribution``, ``images``, …"""
        roots = ("trajectory/", "forces/", "drifts/", "images")
        return {n: d for n, d in self._datasets.items() if n.startswith(roots) and not n.endswith("/weight")}

    def field(self, name: str) -> Any:
        """A dataset by path, or by its last part for those under ``trajectory/``. Raises `UnknownName`."""
        for path in (name, f"trajectory/{name}"):
            if path in self._datasets:
                return self._datasets[path]
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
        """A force's weighted contribution, (N, T, *shape), by index or group name."""
        return self.field(f"forces/{self.force_names[force] if isinstance(force, int) else force}/contribution")

    def mmap(self, name: str) -> npt.NDArray[Any]:
        """A read-only memory map of a dataset: costs nothing, however large. Samples not committed hold garbage.

        Raises `TrajectoryError` for a packed (chunked) dataset.
        """
        dataset = self.field(name)
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
    if path.is_dir():
        inside = path / "trajectory.h5"
        hint = f" — did you mean {str(inside)!r}?" if inside.is_file() else " — name the file"
        raise TrajectoryError(f"{str(path)!r} is a directory{hint}")
    if not path.exists():
        raise TrajectoryError(f"trajectory file {str(path)!r} does not exist")
    try:
        # A reader beside a writer sees committed samples; the file's own lock would keep it out.
        return h5py.File(path, "r", locking=False)
    except Exception as error:
        reason = "it is empty" if path.stat().st_size == 0 else _one_line(error)
        raise TrajectoryError(f"{str(path)!r} is no HDF5 file, or is truncated: {reason}") from error


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
