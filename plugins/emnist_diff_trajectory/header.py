"""What a trajectory file says of its run beside the states.

Nothing in the file is trusted: it may be truncated, foreign, or made to mislead.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from emnist_diff.errors import TrajectoryError
from emnist_diff.frames import GROUPS, STATES
from emnist_diff_trajectory.fields import ACTIVATIONS, CONDITIONS, EVALUATED, ROOTS, field_of, has_rows, is_activation
from emnist_diff_trajectory.merged import Source, read_sources
from emnist_diff_trajectory.opening import one_line
from emnist_diff_trajectory.schema import FORMAT, FORMAT_VERSION
from emnist_diff_trajectory.tree import Tree

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
_GROUPS = ("trajectory", *GROUPS, ACTIVATIONS)
_PER_SAMPLE, _PER_STEP = 32, 40
"""Bytes that the lists of samples and of steps have an entry, as a run writes them."""
_MOST_LEVELS = 64
"""Lists of a schedule, beyond which none is read."""


class Header:
    """Configuration, environment, schedule and samples of a trajectory file, which are read and checked when it is
    opened, and the names of what else it holds.

    Raises `TrajectoryError` when the path is no readable trajectory file of this format's major version.
    """

    def __init__(self, path: str | Path, *, index: bool = True) -> None:
        """index: whether `path` may be an index of merged files; no index may point to another."""
        self.path = Path(path)
        self._tree = Tree(self.path)
        try:
            self._load(index)
        except TrajectoryError:
            self.close()
            raise
        except Exception as error:  # a hostile file can make h5py raise anything
            self.close()
            raise TrajectoryError(f"{self.path} is damaged: {one_line(error)}") from error

    def _load(self, index: bool) -> None:
        self._check_format()
        tree = self._tree
        self.sources: tuple[Source, ...] = ()
        """The files that an index of merged files points to."""
        tree.walk(("sources",))
        if "sources" in tree.datasets:
            if not index:
                raise TrajectoryError(f"{self.path} is an index of merged files itself")
            self.sources = read_sources(self.path, tree.texts("sources"))
        tree.walk(ROOTS, self.sources)
        for name in _GROUPS:
            if name in tree.datasets:
                raise TrajectoryError(f"{self.path} is damaged: {name} is no group")
        for name in _REQUIRED:
            if name not in tree.datasets:
                raise TrajectoryError(f"{self.path} is damaged: {name} is missing")
        self.config_text: str = tree.text("config")
        """The configuration as it stands in the file."""
        self.config_hash: str = str(tree.attribute("config", "sha256"))
        """What the file says is its SHA-256."""
        self.config: dict[str, Any] = tree.json("config")
        self.environment: dict[str, Any] = tree.json("environment")
        self.conditioned: bool = self.environment.get("conditioned") is not False
        """Whether the samples' own classes decided anything of them."""
        self.classes: tuple[str, ...] = tuple(tree.texts("samples/classes"))
        self._load_schedule()
        self._load_samples()

    def _check_format(self) -> None:
        mark = self._tree.attribute("", "format")
        if mark != FORMAT:
            raise TrajectoryError(f"{self.path} is HDF5, but no emnist-diff trajectory (its format is {mark!r:.60})")
        version = tuple(int(n) for n in np.atleast_1d(self._tree.attribute("", "format_version"))[:2])
        if len(version) != 2 or version[0] < 1:
            raise TrajectoryError(f"{self.path} is damaged: its format_version is {version}")
        if version[0] > FORMAT_VERSION[0]:
            raise TrajectoryError(
                f"{self.path} has trajectory format {'.'.join(map(str, version))}, this emnist-diff reads up to "
                f"{FORMAT_VERSION[0]}.x — upgrade emnist-diff"
            )
        self.format_version = version

    def _load_schedule(self) -> None:
        tree = self._tree
        steps = tree.length("schedule/timestep", _PER_STEP, "steps")
        self.steps: int = steps
        self.timestep: npt.NDArray[np.float64] = tree.vector("schedule/timestep")
        self.step: npt.NDArray[np.int64] = tree.vector("schedule/step", "iu", steps, "steps")
        self.alpha_bar: npt.NDArray[np.float64] = tree.vector("schedule/alpha_bar", "iuf", steps, "steps")
        self.sigma: npt.NDArray[np.float64] = tree.vector("schedule/sigma", "iuf", steps, "steps")
        self.evaluations: npt.NDArray[np.int64] = tree.vector("schedule/evaluations", "iu", steps, "steps")
        self.forward_process: str = str(tree.attribute("schedule", "forward_process"))
        """How signal and noise mix into a state: ``diffusion`` or ``flow``."""
        self.prediction_type: str = str(tree.attribute("trajectory", "prediction_type"))
        """What predictions, base and contributions are: ``epsilon``, ``v_prediction``, ``sample`` or ``flow``."""

    def _load_samples(self) -> None:
        tree = self._tree
        count = tree.length("samples/id", _PER_SAMPLE, "samples")
        if not self.steps or not count:
            raise TrajectoryError(f"{self.path} is damaged: it has no steps or no samples")
        self.ids: npt.NDArray[np.int64] = tree.vector("samples/id", "iu")
        self.seeds: npt.NDArray[np.uint64] = tree.vector("samples/seed", "iu", count)
        self.labels: npt.NDArray[np.int64] = tree.vector("samples/label", "iu", count)
        tree.vector("samples/steps_done", "iu", count)
        if ((self.labels < 0) | (self.labels >= len(self.classes))).any():
            raise TrajectoryError(f"{self.path} is damaged: samples/label points outside samples/classes")
        self.kept_steps: npt.NDArray[np.int64] = tree.choice("trajectory/step", self.steps)
        """(K,) which steps are kept: column j of a dataset of states is step kept_steps[j]."""
        self.kept_samples: npt.NDArray[np.int64] = tree.choice("trajectory/sample", count)
        """(M,) whose states are kept: row r of a dataset of states is the sample at position kept_samples[r]."""
        self.conditions: tuple[str, ...] = tuple(tree.texts(CONDITIONS)) if CONDITIONS in tree.datasets else ()
        """(C,) the names of the conditions whose activations are recorded."""
        self.evaluated: npt.NDArray[np.bool_] = tree.flags(EVALUATED, (len(self.kept_steps), len(self.conditions)))
        """(K, C) which of these each kept step evaluates; activations of the others are zero."""

    @property
    def links(self) -> list[str]:
        """Paths where a link stands instead of a group or dataset; none is followed."""
        return self._tree.links

    @property
    def steps_done(self) -> npt.NDArray[np.int64]:
        """(N,) steps recorded of each sample, as the file says now: 0, or all of them once the sample is committed."""
        return np.asarray(self._tree.vector("samples/steps_done", "iu", len(self.ids)))

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
        paths = (path.split("/") for path in self._tree.groups)
        return tuple(sorted((path[1] for path in paths if path[0] == kind and len(path) == 2), key=_component_order))

    def fields_of(self, group: str) -> tuple[str, ...]:
        """The fields of a group of components, ``forces/00_attract_class``, in order of use, recorded or not."""
        return tuple(f"{group}/{name}" for name in self._components(group))

    @property
    def activations(self) -> tuple[str, ...]:
        """The names of the activations that are recorded."""
        return tuple(field_of(name) for name in self._tree.datasets if has_rows(name) and is_activation(name))

    @property
    def frame_fields(self) -> tuple[str, ...]:
        """The fields of the frames of the run that wrote the file, in order of use, recorded or not, and the recorded
        activations."""
        return (*STATES, *(field for group in GROUPS for field in self.fields_of(group)), *self.activations)

    @property
    def extras(self) -> list[str]:
        """What the file holds that this version does not know, extra data of plugins included."""
        self._tree.require_open()
        known = {*ROOTS, "plugins", "sources"}
        others = [name for name in self._tree.file if name not in known]
        return others + [f"plugins/{name}" for name in self.plugins or ()]

    @property
    def plugins(self) -> Any:
        """The group of plugins' extra data, None where there is none. Nothing in it has been looked at."""
        self._tree.require_open()
        if not isinstance(self._tree.file.get("plugins", getlink=True), h5py.HardLink):
            return None
        group = self._tree.file["plugins"]
        return group if isinstance(group, h5py.Group) else None

    def schedule(self) -> dict[str, npt.NDArray[Any]]:
        """All that the file says of each step, (T,) each, by name."""
        held = [name for name in self._tree.datasets if name.startswith("schedule/")]
        names = [name for name in held if self._tree.dataset(name).shape == (self.steps,)]
        if len(names) > _MOST_LEVELS:
            raise TrajectoryError(f"{self.path} is damaged: schedule holds more than {_MOST_LEVELS} lists")
        return {name.partition("/")[2]: self._tree.vector(name) for name in names}

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._tree.close()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def is_open(self) -> bool:
        """Whether values can be read: until `close`."""
        return bool(self._tree.file)


def _component_order(name: str) -> tuple[int, str]:
    """Groups in the order of their numbers, beyond 99 too."""
    number = name.partition("_")[0]
    return (int(number) if number.isdecimal() and len(number) < 10 else 1 << 30, name)
