"""Trajectories as labelled arrays, for xarray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from emnist_diff.errors import ConfigError
from emnist_diff_trajectory.attention import is_attention
from emnist_diff_trajectory.fields import EVALUATED, X, field_of, is_activation, weight_of

if TYPE_CHECKING:
    from emnist_diff_trajectory.reader import Trajectory


_OF_MAPS = {
    "cross": ("head", "token", "row", "column"),
    "self": ("head", "row", "column", "key_row", "key_column"),
    "cross_activation": ("head", "token"),
    "cross_entropy": ("head",),
    "self_entropy": ("head",),
}
"""The axes of attention after the condition, by the last part of its name."""


def to_xarray(trajectory: Trajectory) -> Any:
    """An `xarray.Dataset` of the committed samples; nothing of their states is read before it is used, so that it may
    be larger than memory. The file must stay open as long.

    Axes: ``sample`` (its id), ``step`` (index of the step), ``state`` (of x alone: the step that it starts, and T for
    the final state), and those of a state, ``channel``, ``row`` and ``column``, or ``axis0`` … . Activations have
    ``condition`` after ``step``, and axes of their own. Those of attention are ``attention/LAYER.self.head``, ``….row``
    and ``….column`` (of the place that attends), ``….key_row`` and ``….key_column`` (of what it attends to), and
    ``….token``; those of others are numbers, ``hidden/MODULE.0`` … . Where not all samples' states are kept, these have
    the axis ``kept`` in place of ``sample``.
    Further coordinates: ``character`` and ``seed`` along ``sample``; ``timestep``, ``alpha_bar`` and ``sigma`` along
    ``step``.

    Raises `ConfigError` when xarray is not installed.
    """
    try:
        import xarray
    except ImportError as error:
        raise ConfigError("labelled arrays need xarray — pip install 'emnist-diff[xarray]'") from error
    done = np.array(trajectory.committed, dtype=np.int64)
    rows = np.flatnonzero(np.isin(trajectory.kept_samples, done))
    all_kept = len(trajectory.kept_samples) == len(trajectory)
    variables: dict[str, Any] = {}
    for name, dataset in trajectory.datasets().items():
        label = name.removeprefix("trajectory/").replace("/", ".")
        variables[label] = xarray.Variable(_axes(name, dataset, all_kept), _lazy(dataset))
    if trajectory.conditions:
        variables[EVALUATED.replace("/", ".")] = (("step", "condition"), trajectory.evaluated)
    for name in trajectory.force_names:
        weight = trajectory.field(weight_of(name))
        variables[f"forces.{name}.weight"] = ("step", np.asarray(weight[...])[trajectory.kept_steps])
    coordinates = _coordinates(trajectory)
    if trajectory.conditions:
        coordinates["condition"] = list(trajectory.conditions)
    if "x" in variables:
        coordinates["state"] = np.append(trajectory.kept_steps, trajectory.steps)
    if not all_kept:
        coordinates["kept"] = trajectory.ids[trajectory.kept_samples]
    data = xarray.Dataset(variables, coordinates, attrs={"file": trajectory.path.name})
    if len(done) < len(trajectory):
        data = data.isel(sample=done) if all_kept else data.isel(sample=done, kept=rows)
    return data


def _axes(name: str, dataset: Any, all_kept: bool) -> list[str]:
    """The names of a dataset's axes."""
    if name == "images":
        return ["sample", "image_row", "image_column", "rgb"][: dataset.ndim]
    inner = len(dataset.shape) - 2
    axes = ["channel", "row", "column"] if inner == 3 else [f"axis{i}" for i in range(inner)]
    rows = "sample" if all_kept else "kept"
    if is_activation(name):
        return [rows, "step", "condition", *_axes_of_activation(field_of(name), inner - 1)]
    return [rows, "state" if name == X else "step", *axes]


def _axes_of_activation(field: str, count: int) -> list[str]:
    """The names of its axes after the condition: of this activation alone, as maps of layers differ in size."""
    known = _OF_MAPS.get(field.rpartition(".")[2], ()) if is_attention(field) else ()
    return [f"{field}.{axis}" for axis in (known if len(known) == count else range(count))]


def _coordinates(trajectory: Trajectory) -> dict[str, Any]:
    """What stands along ``sample`` and ``step``."""
    steps = trajectory.kept_steps
    return {
        "sample": trajectory.ids,
        "character": ("sample", [trajectory.classes[int(label)] for label in trajectory.labels]),
        "seed": ("sample", trajectory.seeds),
        "step": steps,
        "timestep": ("step", trajectory.timestep[steps]),
        "alpha_bar": ("step", trajectory.alpha_bar[steps]),
        "sigma": ("step", trajectory.sigma[steps]),
    }


def _lazy(dataset: Any) -> Any:
    """An array of xarray that reads the dataset where it is indexed."""
    from xarray.backends import BackendArray
    from xarray.core.indexing import IndexingSupport, LazilyIndexedArray, explicit_indexing_adapter

    class Lazy(BackendArray):
        def __init__(self) -> None:
            self.shape, self.dtype = dataset.shape, dataset.dtype

        def __deepcopy__(self, memo: Any) -> Any:
            return self  # the file, which nobody changes through it

        def __getitem__(self, key: Any) -> Any:
            return explicit_indexing_adapter(
                key, self.shape, IndexingSupport.OUTER_1VECTOR, lambda index: dataset[index]
            )

    return LazilyIndexedArray(Lazy())
