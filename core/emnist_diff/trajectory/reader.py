"""Reading trajectories. Nothing in the file is trusted: it may be truncated, foreign, or made to mislead."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import attrs
import h5py
import numpy as np
import numpy.typing as npt

from emnist_diff.config import MOST_SAMPLES
from emnist_diff.errors import TrajectoryError, UnknownName, unknown
from emnist_diff.protocols import Field
from emnist_diff.trajectory.merged import Source, check_files, check_mappings, read_sources
from emnist_diff.trajectory.opening import MOST_ATTRIBUTE, MOST_TEXT, checked, one_line, open_file
from emnist_diff.trajectory.schema import FORMAT, FORMAT_VERSION, MOST_STEPS

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
    "trajectory/step",
    "trajectory/sample",
    "images",
)
_ROOTS = ("config", "environment", "schedule", "samples", "trajectory", "forces", "drifts", "images")
"""What this version knows; anything else in the file is left alone, `plugins` included."""
_GROUPS = ("trajectory", "forces", "drifts")
_DEEPEST, _MOST_OBJECTS = 3, 100_000
"""Levels of the tree, as in ``forces/00_name/weight``, and groups and datasets in it, beyond which nobody looks."""
_MOST_CLASSES = 1 << 16


class Trajectory:
    """A trajectory file, open for reading; a context manager.

    Datasets of states are h5py datasets, read as they are sliced; ``trajectory.x[3, -1]`` is the final state in row 3.
    Rows are samples and columns are steps, by `kept_samples` and `kept_steps`: in a file that keeps everything, row 3
    is the sample at position 3, and column 3 is step 3. `field` takes positions, and iterating gives one `Sample`
    after the other, so that neither depends on it.

    A file may be read while a run is writing it: `committed` and what it names are as they are at that moment.

    An index of merged files is read as if it were one file; see `merged.check_files` for what it may point to.

    Raises `TrajectoryError` when the path is no readable trajectory file of this format's major version; when it is
    asked for values after it was closed, too. A position that the file does not have raises `UnknownName`.
    """

    def __init__(self, path: str | Path, *, index: bool = True) -> None:
        """index: whether `path` may be an index of merged files; no index may point to another."""
        self.path = Path(path)
        self._may_be_index = index
        self._file = open_file(self.path)
        try:
            self._load()
        except TrajectoryError:
            self._file.close()
            raise
        except Exception as error:  # a hostile file can make h5py raise anything
            self._file.close()
            raise TrajectoryError(f"{self.path} is damaged: {one_line(error)}") from error

    def _load(self) -> None:
        mark = self._attribute("format")
        mark = mark.decode(errors="replace") if isinstance(mark, bytes) else mark
        if mark != FORMAT:
            raise TrajectoryError(f"{self.path} is HDF5, but no emnist-diff trajectory (its format is {mark!r:.60})")
        version = tuple(int(n) for n in np.atleast_1d(self._attribute("format_version"))[:2])
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
        self.sources: tuple[Source, ...] = ()
        """The files that an index of merged files points to."""
        self._walk(self._file, "", ("sources",), ())
        if "sources" in self._datasets:
            if not self._may_be_index:
                raise TrajectoryError(f"{self.path} is an index of merged files itself")
            self.sources = read_sources(self.path, self._texts("sources"))
        self._walk(self._file, "", _ROOTS, ())
        for name in _GROUPS:
            if name in self._datasets:
                raise TrajectoryError(f"{self.path} is damaged: {name} is no group")
        for name in _REQUIRED:
            if name not in self._datasets:
                raise TrajectoryError(f"{self.path} is damaged: {name} is missing")
        self.config: dict[str, Any] = self._json("config")
        self.environment: dict[str, Any] = self._json("environment")
        self.classes: tuple[str, ...] = tuple(self._texts("samples/classes"))
        self.ids: npt.NDArray[np.int64] = self._vector("samples/id", "iu")
        self.seeds: npt.NDArray[np.uint64] = self._vector("samples/seed", "iu")
        self.labels: npt.NDArray[np.int64] = self._vector("samples/label", "iu")
        self.step: npt.NDArray[np.int64] = self._vector("schedule/step", "iu")
        self.timestep: npt.NDArray[np.float64] = self._vector("schedule/timestep")
        self.alpha_bar: npt.NDArray[np.float64] = self._vector("schedule/alpha_bar")
        self.sigma: npt.NDArray[np.float64] = self._vector("schedule/sigma")
        self.evaluations: npt.NDArray[np.int64] = self._vector("schedule/evaluations", "iu")
        self.schedule_path: str = self._path_of_schedule()
        """Of the forward process: ``diffusion`` or ``flow``."""
        self.steps = len(self.timestep)
        for name in ("step", "alpha_bar", "sigma", "evaluations"):
            levels = getattr(self, name)
            if len(levels) != self.steps:
                raise TrajectoryError(
                    f"{self.path} is damaged: schedule/{name} has {len(levels)} of {self.steps} steps"
                )
        if not self.steps or not len(self.ids):
            raise TrajectoryError(f"{self.path} is damaged: it has no steps or no samples")
        done = self._vector("samples/steps_done", "iu")
        for name, values in (("seed", self.seeds), ("label", self.labels), ("steps_done", done)):
            if len(values) != len(self.ids):
                raise TrajectoryError(
                    f"{self.path} is damaged: samples/{name} has {len(values)} of {len(self.ids)} entries"
                )
        if ((self.labels < 0) | (self.labels >= len(self.classes))).any():
            raise TrajectoryError(f"{self.path} is damaged: samples/label points outside samples/classes")
        self.kept_steps: npt.NDArray[np.int64] = self._choice("trajectory/step", self.steps)
        """(K,) which steps are kept: column j of a dataset of states is step kept_steps[j]."""
        self.kept_samples: npt.NDArray[np.int64] = self._choice("trajectory/sample", len(self.ids))
        """(M,) whose states are kept: row r of a dataset of states is the sample at position kept_samples[r]."""
        if self.sources:
            check_files(self)

    def _attribute(self, name: str) -> Any:
        """A root attribute; None where there is none."""
        if name not in self._file.attrs:
            return None
        if h5py.h5a.get_info(self._file.id, name.encode()).data_size > MOST_ATTRIBUTE:
            raise TrajectoryError(f"{self.path} is damaged: its attribute {name} is too large")
        return self._file.attrs[name]

    def _path_of_schedule(self) -> str:
        group = self._file["schedule"]
        if "path" not in group.attrs or h5py.h5a.get_info(group.id, b"path").data_size > MOST_ATTRIBUTE:
            return "diffusion"
        return str(group.attrs["path"])

    def _choice(self, name: str, count: int) -> npt.NDArray[np.int64]:
        """Rising indices into `count` things."""
        chosen = self._vector(name, "iu")
        if len(chosen) and not (chosen[0] >= 0 and chosen[-1] < count and (chosen[1:] > chosen[:-1]).all()):
            raise TrajectoryError(f"{self.path} is damaged: {name} must rise within 0 … {count - 1}")
        return chosen.astype(np.int64)

    def _texts(self, name: str) -> list[str]:
        """A short list of texts, read one by one: each may claim the memory of all."""
        dataset = self._list(name, "OST")
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
                check_mappings(self.path, path, item, self.sources)  # first: HDF5 may follow them for a shape
                self._datasets[path] = checked(self.path, path, item)
            elif isinstance(item, h5py.Group) and h5py.h5o.get_info(item.id).addr not in above:
                self._groups.add(path)
                if len(above) < _DEEPEST:
                    self._walk(item, path + "/", item, above)

    def _list(self, name: str, kinds: str) -> Any:
        """A dataset of one axis and a sensible length, whose dtype is of one of the `kinds` of numpy."""
        self._require_open()
        dataset = self._datasets[name]
        if dataset.ndim != 1 or dataset.size > max(MOST_SAMPLES, MOST_STEPS) or dataset.dtype.kind not in kinds:
            what = {"iu": "whole numbers", "iuf": "numbers"}.get(kinds, "texts")
            raise TrajectoryError(f"{self.path} is damaged: {name} is no list of {what}")
        return dataset

    def _require_open(self) -> None:
        if not self._file:
            raise TrajectoryError(f"{self.path} is closed — read it within the with block")

    def _vector(self, name: str, kinds: str = "iuf") -> npt.NDArray[Any]:
        return np.asarray(self._list(name, kinds)[...])

    def _json(self, name: str) -> dict[str, Any]:
        text = self._datasets[name].asstr()[()] if self._datasets[name].ndim == 0 else None
        data = json.loads(text) if isinstance(text, str) else None
        if not isinstance(data, dict):
            raise TrajectoryError(f"{self.path} is damaged: {name} is no JSON table")
        return data

    @property
    def steps_done(self) -> npt.NDArray[np.int64]:
        """(N,) steps recorded of each sample, as the file says now: 0, or all of them once the sample is committed."""
        return self._vector("samples/steps_done", "iu")

    @property
    def committed(self) -> list[int]:
        """Positions of the samples whose data is complete now."""
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

    @property
    def extras(self) -> list[str]:
        """What the file holds that this version does not know, extra data of plugins included."""
        self._require_open()
        known = {*_ROOTS, "plugins", "sources"}
        others = [name for name in self._file if name not in known]
        return others + [f"plugins/{name}" for name in self.plugins or ()]

    @property
    def plugins(self) -> Any:
        """The group of plugins' extra data, None where there is none. Nothing in it has been looked at."""
        self._require_open()
        if not isinstance(self._file.get("plugins", getlink=True), h5py.HardLink):
            return None
        group = self._file["plugins"]
        return group if isinstance(group, h5py.Group) else None

    def schedule(self) -> dict[str, npt.NDArray[Any]]:
        """All that the file says of each step, (T,) each, by name."""
        names = [path for path in self._datasets if path.startswith("schedule/")]
        out = {path.partition("/")[2]: self._vector(path) for path in names}
        return {name: values for name, values in out.items() if len(values) == self.steps}

    def datasets(self) -> Mapping[str, Any]:
        """The datasets of states, and the images, by path: ``trajectory/x``, ``forces/00_name/contribution``, …"""
        self._require_open()
        roots = ("trajectory/", "forces/", "drifts/", "images")
        other = ("trajectory/step", "trajectory/sample")
        return {
            name: dataset
            for name, dataset in self._datasets.items()
            if name.startswith(roots) and not name.endswith("/weight") and name not in other
        }

    def field(self, name: str, samples: int | slice | None = None) -> Any:
        """A dataset by path, or by its last part for those under ``trajectory/``.

        samples: positions to read, as an array with samples first (none for a single position), of a slice those
        whose states are kept; without it the h5py dataset itself, of which nothing is read yet.
        Raises `UnknownName` for a field or a position that is not there; `TrajectoryError` for a single position whose
        states are not kept, and once the file is closed.
        """
        self._require_open()
        for path in (name, f"trajectory/{name}"):
            if path in self._datasets:
                break
        else:
            raise unknown(f"field of {self.path.name}:", name, self._datasets)
        dataset = self._datasets[path]
        if samples is None:
            return dataset
        if isinstance(samples, int | np.integer):
            samples = self.place(int(samples))
        if path == "images" or len(self.kept_samples) == len(self):
            return dataset[samples]
        if isinstance(samples, slice):
            first, last, stride = samples.indices(len(self))
            rows = np.flatnonzero(np.isin(self.kept_samples, range(first, last, stride)))
            return dataset[rows] if len(rows) else np.empty((0, *dataset.shape[1:]), dataset.dtype)
        return dataset[self.row(samples)]

    def place(self, position: int) -> int:
        """A position counted from the start; one below 0 counts from the end. Raises `UnknownName` for any other."""
        if not -len(self) <= position < len(self):
            raise UnknownName(f"position {position} of {self.path.name}: it has {len(self)} samples")
        return position % len(self)

    def keeps(self, position: int) -> bool:
        """Whether the states of the sample at this position are kept. Raises `UnknownName`."""
        return bool(np.isin(self.place(position), self.kept_samples))

    def row(self, position: int) -> int:
        """The row of the sample at this position in the datasets of states.

        Raises `TrajectoryError` when its states are not kept, `UnknownName` when there is no such position.
        """
        place = self.place(position)
        row = int(np.searchsorted(self.kept_samples, place))
        if row == len(self.kept_samples) or self.kept_samples[row] != place:
            raise TrajectoryError(f"{self.path} keeps no states of sample {int(self.ids[place])}")
        return row

    def column(self, step: int) -> int:
        """The column of a step in the datasets of states; `steps` means the final state, which only x has.

        Raises `TrajectoryError` when the step is not kept.
        """
        if step == self.steps:
            return len(self.kept_steps)
        column = int(np.searchsorted(self.kept_steps, step))
        if column == len(self.kept_steps) or self.kept_steps[column] != step:
            raise TrajectoryError(f"{self.path} does not keep step {step}; it keeps {_few(self.kept_steps)}")
        return column

    def __iter__(self) -> Iterator[Sample]:
        """The committed samples one after the other; of each only what is asked for is read."""
        for position in self.committed:
            yield Sample(self, position)

    def pictures(
        self, position: int, steps: Sequence[int] | None = None, decode: Callable[[Any], Any] | None = None
    ) -> npt.NDArray[np.uint8]:
        """What a sample looked like where these steps began, uint8 (n, H, W) or (n, H, W, 3); see
        `pictures.pictures`."""
        from emnist_diff.trajectory.pictures import pictures

        return pictures(self, position, steps, decode)

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` with labelled axes, of the committed samples; its values are read when used.

        Raises `ConfigError` when xarray is not installed.
        """
        from emnist_diff.trajectory.labelled import to_xarray

        return to_xarray(self)

    @property
    def x(self) -> Any:
        """States, (M, K+1, *shape): x[:, j] is what step kept_steps[j] started from, x[:, K] the final state."""
        return self.field("x")

    @property
    def x0(self) -> Any:
        """Estimates of the image, (M, K, *shape)."""
        return self.field("x0")

    @property
    def prediction(self) -> Any:
        """Predictions the scheduler saw, base + Σ contributions, (M, K, *shape)."""
        return self.field("prediction")

    @property
    def base(self) -> Any:
        """Predictions before any force, (M, K, *shape)."""
        return self.field("base")

    @property
    def images(self) -> Any:
        """Decoded final samples, uint8 (N, H, W) or (N, H, W, 3)."""
        return self.field("images")

    def contribution(self, force: int | str) -> Any:
        """A force's weighted contribution, (M, K, *shape), by index or group name. Raises `UnknownName`."""
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
            why = "is spread over merged files" if dataset.is_virtual else "is not contiguous"
            raise TrajectoryError(f"{self.path}: {name} {why} and cannot be mapped — read it as a dataset")
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


@attrs.frozen(eq=False)
class Sample:
    """One sample of an open trajectory: ``sample["x"]`` is (K+1, *shape), read now; ``sample["forces/00_push/…"]``."""

    trajectory: Trajectory = attrs.field(repr=False)
    position: int = attrs.field()

    @position.validator
    def _is_there(self, _: Any, position: int) -> None:
        self.trajectory.place(position)

    @property
    def id(self) -> int:
        """Its id within the run."""
        return int(self.trajectory.ids[self.position])

    @property
    def seed(self) -> int:
        """The seed that keys its noise."""
        return int(self.trajectory.seeds[self.position])

    @property
    def character(self) -> str:
        """The name of its class."""
        return self.trajectory.classes[int(self.trajectory.labels[self.position])]

    @property
    def kept(self) -> bool:
        """Whether its states are there; without them it has no more than id, seed, class and image."""
        return self.trajectory.keeps(self.position)

    @property
    def image(self) -> npt.NDArray[np.uint8]:
        """The decoded sample, (H, W) or (H, W, 3)."""
        return np.asarray(self.trajectory.field("images", self.position))

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return np.asarray(self.trajectory.field(name, self.position))


def _few(values: npt.NDArray[Any]) -> str:
    return ", ".join(map(str, values[:4].tolist())) + (", …" if len(values) > 4 else "")


def _component_order(name: str) -> tuple[int, str]:
    """Groups in the order of their numbers, beyond 99 too."""
    number = name.partition("_")[0]
    return (int(number) if number.isdecimal() and len(number) < 10 else 1 << 30, name)
