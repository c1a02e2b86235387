"""Trajectories as labelled arrays, for xarray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from emnist_diff.errors import ConfigError

if TYPE_CHECKING:
    from emnist_diff_trajectory.reader import Trajectory


def to_xarray(trajectory: Trajectory) -> Any:
    """An `xarray.Dataset` of the committed samples; nothing of their states is read before it is used, so that it may
    be larger than memory. The file must stay open as long.

    Axes: ``sample`` (its id), ``step`` (index of the step), ``state`` (of x alone: the step that it starts, and T for
    the final state), and those of a state, ``channel``, ``row`` and ``column``, or ``axis0`` … . Where not all samples'
    states are kept, these have the axis ``kept`` in place of ``sample``.
    Further coordinates: ``character`` and ``seed`` along ``sample``; ``timestep``, ``alpha_bar`` and ``sigma`` along
    ``step``.

    Raises `ConfigError` when xarray is not installed.
    """
    try:
        import xarray
        from xarray.backends import BackendArray
        from xarray.core.indexing import IndexingSupport, LazilyIndexedArray, explicit_indexing_adapter
    except ImportError as error:
        raise ConfigError("labelled arrays need xarray — pip install 'emnist-diff[xarray]'") from error

    class Lazy(BackendArray):
        """An h5py dataset, read where it is indexed."""

        def __init__(self, dataset: Any) -> None:
            self.dataset, self.shape, self.dtype = dataset, dataset.shape, dataset.dtype

        def __deepcopy__(self, memo: Any) -> Any:
            return self  # the file, which nobody changes through it

        def __getitem__(self, key: Any) -> Any:
            return explicit_indexing_adapter(
                key, self.shape, IndexingSupport.OUTER_1VECTOR, lambda index: self.dataset[index]
            )

    done = np.array(trajectory.committed, dtype=np.int64)
    rows = np.flatnonzero(np.isin(trajectory.kept_samples, done))
    all_kept = len(trajectory.kept_samples) == len(trajectory)
    rowwise = "sample" if all_kept else "kept"
    steps = trajectory.kept_steps
    variables: dict[str, Any] = {}
    for name, dataset in trajectory.datasets().items():
        if name == "images":
            dims = ["sample", "y", "x", "rgb"][: dataset.ndim]
            names = {"y": "image_row", "x": "image_column"}
            dims = [names.get(d, d) for d in dims]
        else:
            inner = len(dataset.shape) - 2
            axes = ["channel", "row", "column"] if inner == 3 else [f"axis{i}" for i in range(inner)]
            dims = [rowwise, "state" if name == "trajectory/x" else "step", *axes]
        label = name.removeprefix("trajectory/").replace("/", ".")
        variables[label] = xarray.Variable(dims, LazilyIndexedArray(Lazy(dataset)))
    coordinates: dict[str, Any] = {
        "sample": trajectory.ids,
        "character": ("sample", [trajectory.classes[int(label)] for label in trajectory.labels]),
        "seed": ("sample", trajectory.seeds),
        "step": steps,
        "timestep": ("step", trajectory.timestep[steps]),
        "alpha_bar": ("step", trajectory.alpha_bar[steps]),
        "sigma": ("step", trajectory.sigma[steps]),
    }
    if "x" in variables:
        coordinates["state"] = np.append(steps, trajectory.steps)
    if not all_kept:
        coordinates["kept"] = trajectory.ids[trajectory.kept_samples]
    for name in trajectory.force_names:
        weight = trajectory.field(f"forces/{name}/weight")
        variables[f"forces.{name}.weight"] = ("step", np.asarray(weight[...])[steps])
    data = xarray.Dataset(variables, coordinates, attrs={"file": trajectory.path.name})
    if len(done) < len(trajectory):
        data = data.isel(sample=done) if all_kept else data.isel(sample=done, kept=rows)
    return data
