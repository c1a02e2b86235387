"""Reading trajectories."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from emnist_diff.errors import TrajectoryError, UnknownName, unknown
from emnist_diff.frames import FIELDS, is_requested
from emnist_diff_trajectory.fields import contribution_of, dataset_of, field_of, has_rows
from emnist_diff_trajectory.header import Header
from emnist_diff_trajectory.merged import check_files
from emnist_diff_trajectory.open_files import OpenFiles
from emnist_diff_trajectory.sample import Sample
from emnist_diff_trajectory.states import Spread, Stored, Values

__all__ = ["Sample", "Trajectory"]


class Trajectory(Header):
    """A trajectory file, open for reading; a context manager.

    Datasets of states are read as they are sliced, as h5py's are; ``trajectory.x[3, -1]`` is the final state in row 3.
    Rows are samples and columns are steps, by `kept_samples` and `kept_steps`: in a file that keeps everything, row 3
    is the sample at position 3, and column 3 is step 3. `field` takes positions, and ``trajectory[3]`` is the `Sample`
    at position 3, ``trajectory[:3]`` the list of the first three; neither depends on what is kept. Iterating gives the
    committed samples one after the other; ``len`` counts all.

    A file may be read while a run is writing it: `committed` and what it names are as they are at that moment.

    An index of merged files is read as if it were one file, a few of them open at a time; see `merged.check_files` for
    what it may point to.

    Raises `TrajectoryError` when the path is no readable trajectory file of this format's major version; when it is
    asked for values after it was closed, too. A position that the file does not have raises `UnknownName`.
    """

    def __init__(self, path: str | Path, *, index: bool = True) -> None:
        """index: whether `path` may be an index of merged files; no index may point to another."""
        self._files: OpenFiles | None = None
        super().__init__(path, index=index)

    def _load(self, index: bool) -> None:
        super()._load(index)
        self._values: dict[str, Values] = {name: Stored(name, self._tree) for name in self._tree.datasets}
        if self.sources:
            self._files = OpenFiles(partial(Trajectory, index=False))
            pieces, rows = check_files(self, self._files), len(self.kept_samples)
            for name in self.virtual():
                places, count = (pieces["images"], len(self)) if name == "images" else (pieces["states"], rows)
                if self._values[name].shape[:1] != (count,):
                    raise TrajectoryError(f"{self.path} is damaged: {name} is {self._values[name]!r}, not {count} rows")
                self._values[name] = Spread(name, self._values[name], places, self._holding)

    def _holding(self, path: Path) -> AbstractContextManager[Trajectory]:
        """A file of this index, open within the block."""
        self._tree.require_open()
        assert self._files is not None
        return self._files.holding(path)

    @property
    def fields(self) -> tuple[str, ...]:
        """What was recorded of each step, as `frames.FIELDS` spells it."""
        held = set(map(field_of, self.datasets()))
        return tuple(group for group in FIELDS if any(is_requested(field, (group,)) for field in held))

    def virtual(self) -> dict[str, Any]:
        """Of an index, the h5py datasets that point to its files. HDF5 gives zeros or NaN for a file that it cannot
        open: nothing here reads through them."""
        held = ((name, self._tree.dataset(name)) for name in self._tree.datasets) if self.sources else ()
        return {name: dataset for name, dataset in held if dataset.is_virtual}

    def datasets(self) -> Mapping[str, Values]:
        """The datasets of states and activations, and the images, by path: ``trajectory/x``,
        ``forces/00_name/contribution``, …"""
        self._tree.require_open()
        return {name: dataset for name, dataset in self._values.items() if has_rows(name)}

    def field(self, name: str, samples: int | slice | None = None) -> Any:
        """A dataset by path, by the name of a frame's field, or by its last part for those under ``trajectory/``.

        samples: positions to read, as an array with samples first (none for a single position), of a slice those
        whose states are kept; without it the dataset itself (`states.Values`), of which nothing is read yet.
        Raises `UnknownName` for a field or a position that is not there; `TrajectoryError` for a single position whose
        states are not kept, and once the file is closed.
        """
        self._tree.require_open()
        for path in (name, f"trajectory/{name}", dataset_of(name)):
            if path in self._values:
                break
        else:
            raise unknown(f"field of {self.path.name}:", name, self._values)
        dataset = self._values[path]
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

    @overload
    def __getitem__(self, where: int) -> Sample: ...

    @overload
    def __getitem__(self, where: slice) -> list[Sample]: ...

    def __getitem__(self, where: int | slice) -> Sample | list[Sample]:
        """The sample at a position, or those of a slice of positions, committed or not. Raises `UnknownName`."""
        if isinstance(where, slice):
            return [Sample(self, position) for position in range(*where.indices(len(self)))]
        if not isinstance(where, int | np.integer):
            raise TypeError(f"a trajectory is indexed by positions of samples, not by {where!r:.60} — see field()")
        return Sample(self, self.place(where))

    def __iter__(self) -> Iterator[Sample]:
        """The committed samples one after the other; of each only what is asked for is read."""
        for position in self.committed:
            yield Sample(self, position)

    def pictures(
        self, position: int, steps: Sequence[int] | None = None, decode: Callable[[Any], Any] | None = None
    ) -> npt.NDArray[np.uint8]:
        """What a sample looked like where these steps began, uint8 (n, H, W) or (n, H, W, 3); see
        `pictures.pictures`."""
        from emnist_diff_trajectory.pictures import pictures

        return pictures(self, position, steps, decode)

    def epsilon(self, position: int, step: int | None = None, of: str = "prediction") -> npt.NDArray[np.float64]:
        """The noise that a recorded prediction means, (K, *shape), or (*shape) of one step; float64.

        It is the prediction itself where `prediction_type` is ``epsilon``, and is computed from prediction and state
        where it is another; see `parameterization`.  of: ``prediction``, or ``base``, which is before any force.

        Raises `UnknownName` for a position or field that is not there; `TrajectoryError` for a sample or step that is
        not kept, and where the prediction does not tell.
        """
        from emnist_diff_trajectory.estimates import estimate

        return estimate(self, position, step, of, "epsilon")

    def score(self, position: int, step: int | None = None, of: str = "prediction") -> npt.NDArray[np.float64]:
        """The gradient of the log density of states that a recorded prediction means: -epsilon / noise rate. Shapes,
        arguments and errors as of `epsilon`."""
        from emnist_diff_trajectory.estimates import score

        return score(self, position, step, of)

    def predicted_x0(self, position: int, step: int | None = None, of: str = "prediction") -> npt.NDArray[np.float64]:
        """The image that a recorded prediction means, as it follows from the prediction alone: `x0` is what the
        scheduler made of it, which may clip it. Shapes, arguments and errors as of `epsilon`."""
        from emnist_diff_trajectory.estimates import estimate

        return estimate(self, position, step, of, "sample")

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` with labelled axes, of the committed samples; its values are read when used.

        Raises `ConfigError` when xarray is not installed.
        """
        from emnist_diff_trajectory.labelled import to_xarray

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
        return self.field(contribution_of(self.force_names[force] if isinstance(force, int) else force))

    def activation(self, name: str, condition: str | None = None) -> Any:
        """Inner activations of the network, (M, K, C, *shape), C along `conditions`; those of one condition are read,
        (M, K, *shape), and are NaN at the steps that do not evaluate it. Raises `UnknownName`."""
        if name not in self.activations:
            raise unknown(f"activation of {self.path.name}:", name, self.activations)
        values = self.field(dataset_of(name))
        if condition is None:
            return values
        if condition not in self.conditions:
            raise unknown(f"condition of {self.path.name}:", condition, self.conditions)
        place = self.conditions.index(condition)
        found = np.asarray(values[:, :, place])
        found[:, ~self.evaluated[:, place]] = np.nan
        return found

    def mmap(self, name: str) -> npt.NDArray[Any]:
        """A read-only memory map of a dataset: costs nothing, however large. Samples not committed hold garbage.

        Raises `TrajectoryError` for a packed (chunked) dataset and for one that holds no numbers.
        """
        dataset = self.field(name)
        if dataset.dtype.kind not in "iuf" or not dataset.size:
            # bytes of a file taken for Python objects would be a crash at best
            raise TrajectoryError(f"{self.path}: {name} is no array of numbers and cannot be mapped")
        offset = dataset.offset()
        if offset is None:
            why = "is spread over merged files" if dataset.stored == "virtual" else "is not contiguous"
            raise TrajectoryError(f"{self.path}: {name} {why} and cannot be mapped — read it as a dataset")
        return np.memmap(self.path, dtype=dataset.dtype, mode="r", offset=offset, shape=dataset.shape)

    def release(self) -> None:
        """Hold no more of an open file than one of many needs."""
        self._tree.release()

    def suspend(self) -> None:
        """Close the file until `resume`: what is in memory stays, and nothing can be read."""
        self._tree.suspend()
        if self._files is not None:
            self._files.suspend()

    def resume(self) -> None:
        """Open a suspended file again, which must not have changed. Raises `TrajectoryError` when it cannot be."""
        self._tree.resume()

    def close(self) -> None:
        """Close the file, and those that an index points to; safe to call twice."""
        super().close()
        if self._files is not None:
            self._files.close()

    def __repr__(self) -> str:
        from emnist_diff_trajectory.notebook import line

        return line(self)

    def _repr_html_(self) -> str:
        from emnist_diff_trajectory.notebook import page

        return page(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """For Jupyter and the like."""
        from emnist_diff_trajectory.notebook import bundle

        return bundle(self)

    def _display_(self) -> Any:
        """For marimo."""
        from emnist_diff_trajectory.notebook import displayed

        return displayed(self)

    def __enter__(self) -> Trajectory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()


def _few(values: npt.NDArray[Any]) -> str:
    return ", ".join(map(str, values[:4].tolist())) + (", …" if len(values) > 4 else "")
