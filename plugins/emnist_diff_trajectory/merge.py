"""Workers' files, joined: by an index that points to them, or by one file with copies of their samples."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import h5py
import numpy as np
import numpy.typing as npt

from emnist_diff.errors import OutputError, TrajectoryError
from emnist_diff_trajectory.compose import Merged, compose
from emnist_diff_trajectory.fields import CONDITIONS, EVALUATED, weight_of
from emnist_diff_trajectory.identity import fingerprint
from emnist_diff_trajectory.merged import Source
from emnist_diff_trajectory.open_files import OpenFiles
from emnist_diff_trajectory.opening import reading
from emnist_diff_trajectory.other_files import differing
from emnist_diff_trajectory.parts import Part, Rows
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.sample_ids import MOST_SAMPLES
from emnist_diff_trajectory.schema import Array
from emnist_diff_trajectory.workerfiles import few, missing_ranks
from emnist_diff_trajectory.workerfiles import worker_files as all_worker_files


def worker_files(folder: Path, stem: str = "trajectory") -> list[Path]:
    """The files that workers left in a directory. Raises `TrajectoryError` when there are none."""
    found = [file for file in all_worker_files(folder) if file.stem == stem and file.path.suffix == ".h5"]
    if not found:
        raise TrajectoryError(f"{str(folder)!r} holds no {stem}-RANK-of-WORLD.h5 — name the files")
    counts = sorted({file.count for file in found})
    if len(counts) > 1:
        raise TrajectoryError(
            f"{str(folder)!r} holds files of runs with {few(counts)} workers — name the files of one of them"
        )
    return [file.path for file in found]


def _too_few(files: Sequence[Path]) -> str:
    """The message where there is nothing to join: what there is, and which workers' files are not."""
    if not files:
        return "merge joins the files of a run's workers, and got none — name them, or their directory"
    beside = [file for file in all_worker_files(files[0].parent) if file.path.suffix == ".h5"]
    first = next((file for file in beside if file.path == files[0]), None)
    if first is None:
        return f"merge joins the files of a run's workers, and {files[0]} is not one of them: it is whole as it is"
    lacking = missing_ranks([file for file in beside if file.stem == first.stem], first.count)
    alone = f"{files[0]} is the file of worker {first.rank} of {first.count} alone"
    if not lacking:
        return f"{alone}: name the others too"
    one = len(lacking) == 1
    where = f"the file{'s'[: not one]} of rank{'s'[: not one]} {few(lacking)} {'is' if one else 'are'} not beside it"
    return f"{alone}: {where} — make what is missing with --rank R --world-size {first.count}"


def merge(
    files: Sequence[Path], path: Path, *, copy: bool = False, allow_holes: bool = False, overwrite: bool = False
) -> int:
    """Join files of one run into `path`, samples in order of their ids; returns how many.

    copy: write one file that needs no other; else an index, which must stand in the directory of the files and goes
    with them wherever they go.
    allow_holes: samples that no file has committed are left out of account.

    Raises `TrajectoryError` when files are of different runs, share a sample, or lack one; `OutputError` when `path`
    cannot be written.
    """
    if len(files) < 2:
        raise TrajectoryError(_too_few(files))
    with closing(OpenFiles(partial(Trajectory, index=copy))) as opened:
        parts, environments = _parts(opened, files)
        ids = np.concatenate([part.samples["id"] for part in parts])
        _check_ids(parts, ids)
        with opened.holding(files[0]) as first:
            total = first.config.get("total_videos")
        if not allow_holes:
            _check_complete(parts, ids, environments, total)
        order = np.sort(ids)
        parts = [attrs.evolve(part, places=np.searchsorted(order, part.samples["id"])) for part in parts]
        environment = _shared_environment(environments)
        if copy:
            compose(path, parts, overwrite=overwrite, merged=Merged(environment))
        else:
            for file in files:
                _check_beside(file, path)
            sources = [Source(part.path.name, len(part.positions)) for part in parts]
            compose(path, parts, _by_reference, overwrite=overwrite, merged=Merged(environment, sources))
        return len(ids)


def _parts(opened: OpenFiles, files: Sequence[Path]) -> tuple[list[Part], list[dict[str, Any]]]:
    """The files, each looked at and compared with the first, and their environments."""
    parts: list[Part] = []
    environments = []
    first: _Shared | None = None
    for file in files:
        with opened.holding(file) as trajectory:
            parts.append(Part.of(trajectory, holding=partial(opened.holding, file)))
            shared = _Shared.of(trajectory)
            first = first or shared
            first.require_same(shared)
            if (np.diff(trajectory.ids) <= 0).any():
                raise TrajectoryError(f"{file} is damaged: samples/id must rise")
            environments.append(trajectory.environment)
    return parts, environments


def _check_beside(file: Path, path: Path) -> None:
    if Path(os.path.realpath(file)).parent != Path(os.path.realpath(path)).parent:
        raise OutputError(f"{file} is not beside {path}; an index points only to its neighbours — use --copy")


@attrs.frozen(eq=False)
class _Shared:
    """What files of one run have in common: configuration, lists by name, and how each field is recorded, if any
    states are kept."""

    path: Path
    config: dict[str, Any]
    fingerprint: str
    lists: dict[str, Any]
    kinds: dict[str, tuple[str, tuple[int, ...]]] | None

    @classmethod
    def of(cls, trajectory: Trajectory) -> _Shared:
        """Raises `TrajectoryError` for what cannot be written again."""
        with reading(trajectory.path):
            mark = fingerprint(trajectory.config)
            names = ("prediction_type", "forward_process", "classes", "kept_steps", "timestep", "alpha_bar", "sigma")
            lists = {name: getattr(trajectory, name) for name in (*names, "force_names", "drift_names")}
            lists |= {CONDITIONS: trajectory.conditions, EVALUATED: trajectory.evaluated}
            for name in trajectory.force_names:
                lists[weight_of(name)] = trajectory.field(weight_of(name))[...]
        kinds = {name: (str(d.dtype), d.shape[1:]) for name, d in trajectory.datasets().items()}
        return cls(trajectory.path, trajectory.config, mark, lists, kinds if len(trajectory.kept_samples) else None)

    def require_same(self, other: _Shared) -> None:
        """Raise `TrajectoryError` naming what differs."""
        whose = f"{other.path} is of another run than {self.path}"
        if self.fingerprint != other.fingerprint:
            a, b = self.config, other.config
            if contents := differing(a, b):
                raise TrajectoryError(f"{other.path} was made with other files than {self.path} ({contents})")
            keys = sorted(key for key in a.keys() | b.keys() if a.get(key) != b.get(key))
            raise TrajectoryError(f"{whose}: {', '.join(keys[:6])} differ")
        for name, values in self.lists.items():
            if not np.array_equal(values, other.lists.get(name, ())):
                raise TrajectoryError(f"{whose}: {name} differ")
        if self.kinds is not None and other.kinds is not None and self.kinds != other.kinds:
            a, b = self.kinds, other.kinds
            odd = sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))
            raise TrajectoryError(f"{other.path} was recorded otherwise than {self.path}: {', '.join(odd[:6])} differ")


def _check_ids(parts: Sequence[Part], ids: npt.NDArray[np.int64]) -> None:
    owner = np.repeat(np.arange(len(parts)), [len(part.positions) for part in parts])
    order = np.argsort(ids, kind="stable")
    if (twice := np.flatnonzero(np.diff(ids[order]) == 0)).size:
        one, other = (int(owner[order[place]]) for place in (twice[0], twice[0] + 1))
        raise TrajectoryError(f"{parts[other].path} and {parts[one].path} both hold sample {int(ids[order[twice[0]]])}")


def _check_complete(
    parts: Sequence[Part], ids: npt.NDArray[np.int64], environments: Sequence[Mapping[str, Any]], total: Any
) -> None:
    """total: how many samples the run makes, by its configuration."""
    done = np.concatenate([part.samples["id"][part.done] for part in parts])
    # ids of a run count from 0; a file that says otherwise is only asked to be complete in itself
    counted = isinstance(total, int) and not isinstance(total, bool) and ids.max() < total <= MOST_SAMPLES
    wanted = np.arange(total) if counted else np.sort(ids)
    if missing := np.setdiff1d(wanted, done).tolist():
        left = [(part.path, part.samples["id"][~part.done].tolist()) for part in parts if not part.done.all()]
        open_runs = [f"{path} ({_few(numbers)})" for path, numbers in left]
        unfinished = f"; --resume finishes what {', '.join(open_runs[:4])} began" if open_runs else ""
        unfinished += _no_file_of(environments, missing)
        raise TrajectoryError(
            f"{len(missing)} of {len(wanted)} samples are in none of these files ({_few(missing)}) — use --allow-holes "
            f"to join them without, or name the files that hold them{unfinished}"
        )


def _no_file_of(environments: Sequence[Mapping[str, Any]], missing: Sequence[int]) -> str:
    """Of which workers no file is among these, and how their samples are made; nothing where all are."""
    workers = [worker for e in environments if isinstance(worker := e.get("worker"), dict)]
    counts = {worker.get("world_size") for worker in workers}
    count = counts.pop() if len(counts) == 1 else None
    if not isinstance(count, int) or count < 2:
        return ""
    lacking = sorted({number % count for number in missing} - {worker.get("rank") for worker in workers})
    if not lacking:
        return ""
    how = lacking[0] if len(lacking) == 1 else "R"
    ranks = f"rank{'s'[: len(lacking) != 1]} {few(lacking)}"
    return f"; no file is of {ranks}, whose samples --rank {how} --world-size {count} makes"


def _few(numbers: Sequence[int]) -> str:
    """Rising numbers, as the first of their ranges: ``1, 4-7, …``."""
    starts = [i for i in range(len(numbers)) if not i or numbers[i] != numbers[i - 1] + 1]
    out = []
    for first, after in zip(starts[:6], [*starts[1:], len(numbers)][:6], strict=True):
        out.append(str(numbers[first]) if after == first + 1 else f"{numbers[first]}-{numbers[after - 1]}")
    return ", ".join(out) + (", …" if len(starts) > 6 else "")


def _by_reference(group: Any, array: Array, rows: Sequence[Rows]) -> bool:
    """A `Create` for an index: the dataset is virtual, and its rows stay in the files, which stand beside it."""
    layout = h5py.VirtualLayout(array.shape, array.dtype)
    for piece in rows:
        source = h5py.VirtualSource(piece.part.path.name, piece.name, piece.part.layout[piece.name].shape, array.dtype)
        for old, new in _evenly_spaced(piece.old, piece.new):
            layout[new] = source[old]
            source = h5py.VirtualSource(source.path, source.name, source.maxshape, array.dtype)
    fill = np.nan if array.dtype.startswith("float") else 0
    group.create_virtual_dataset(array.name, layout, fillvalue=fill)
    return True


def _evenly_spaced(old: npt.NDArray[np.int64], new: npt.NDArray[np.int64]) -> Iterator[tuple[slice, slice]]:
    """Rows in stretches that are evenly spaced on both sides."""
    first = 0
    while first < len(old):
        last = first + 1
        if last < len(old):
            steps = old[last] - old[first], new[last] - new[first]
            while last < len(old) and (old[last] - old[last - 1], new[last] - new[last - 1]) == steps:
                last += 1
        else:
            steps = 1, 1
        yield (
            slice(int(old[first]), int(old[last - 1]) + 1, int(steps[0])),
            slice(int(new[first]), int(new[last - 1]) + 1, int(steps[1])),
        )
        first = last


def _shared_environment(every: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What these environments say alike, and what each says otherwise, under ``workers``."""
    alike = {k: v for k, v in every[0].items() if all(_same(e.get(k), v) for e in every)}
    others = [{k: v for k, v in e.items() if k not in alike} for e in every]
    return {**alike, "workers": others} if any(others) else alike


def _same(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
