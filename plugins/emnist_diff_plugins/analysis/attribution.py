"""Where in a picture something happens: maps, masks, the places that change most, and each force's part in it.

Functions of arrays take maps (…, H, W) or states (…, C, H, W), samples and steps in front, and look at all of them at
once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from emnist_diff.errors import TrajectoryError
from emnist_diff_plugins.metrics.formulas import Array
from emnist_diff_plugins.metrics.reading import BlockReader
from emnist_diff_trajectory.fields import contribution_of


def l2_map(states: npt.ArrayLike, axis: int = -3) -> Array:
    """The L2 norm over channels: (…, C, H, W) → (…, H, W), in float64."""
    data = np.asarray(states, dtype=np.float64)
    out: Array = np.sqrt(np.square(data).sum(axis))
    return out


def active_mask(change: npt.ArrayLike, threshold: float) -> npt.NDArray[np.bool_]:
    """Where |change| > threshold, in the shape of `change`."""
    out: npt.NDArray[np.bool_] = np.abs(np.asarray(change, dtype=np.float64)) > threshold
    return out


def active_count(mask: npt.NDArray[np.bool_], axes: int = 2) -> Any:
    """How many places of each mask are active, over the last `axes` axes; int64."""
    return mask.sum(axis=tuple(range(-axes, 0)), dtype=np.int64)


def active_fraction(mask: npt.NDArray[np.bool_], axes: int = 2) -> Any:
    """The share of each mask that is active, 0 … 1, over the last `axes` axes; 0 for empty ones."""
    size = int(np.prod(mask.shape[mask.ndim - axes :]))
    return active_count(mask, axes) / max(1, size)


def masked_values(values: npt.NDArray[Any], mask: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """The values where the mask is active, (n,), in row-major order."""
    return values[np.broadcast_to(mask, values.shape)]


def contribution_map(contribution: npt.ArrayLike, *, normalised: bool = False) -> Array:
    """|contribution|, in its shape; `normalised`: over its largest value in each (H, W), so that this is 1."""
    out: Array = np.abs(np.asarray(contribution, dtype=np.float64))
    if not normalised:
        return out
    largest = out.max(axis=(-2, -1), keepdims=True)
    np.divide(out, largest, out=out, where=largest > 0)
    return out


@attrs.frozen(eq=False)
class Places:
    """The n largest places of each map: rows, columns and values, (…, n) each, largest first."""

    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    values: Array


def top_places(maps: npt.ArrayLike, count: int) -> Places:
    """The `count` largest values of each map (…, H, W), ties in row-major order; all of them where there are fewer."""
    data = np.asarray(maps, dtype=np.float64)
    flat = data.reshape(*data.shape[:-2], -1)
    order = np.argsort(-flat, axis=-1, kind="stable")[..., :count]
    rows, columns = np.divmod(order, data.shape[-1])
    return Places(rows, columns, np.take_along_axis(flat, order, axis=-1))


def aggregated(places: Places | Iterable[tuple[int, int, float]], shape: tuple[int, int]) -> Array:
    """A heat map (H, W): the values of places, summed where they are. `places` may be (row, column, value) triples.

    Raises `IndexError` for a place outside.
    """
    if not isinstance(places, Places):
        triples = np.array(list(places), dtype=np.float64).reshape(-1, 3)
        places = Places(triples[:, 0].astype(np.int64), triples[:, 1].astype(np.int64), triples[:, 2])
    out = np.zeros(shape)
    if (places.rows < 0).any() or (places.columns < 0).any():
        raise IndexError("a place has a negative row or column")
    np.add.at(out, (places.rows, places.columns), places.values)
    return out


@attrs.frozen(eq=False)
class ContributionMaps:
    """Where each part of the prediction acts, over time, in the mean over samples.

    names: of the parts: ``base``, then the forces by their groups in the trajectory file.  steps: (K,) indices.
    maps: (parts, K, H, W), the L2 norm over channels of the part.
    signed: (parts, K, H, W), the part itself, summed over channels: what it does, where `maps` is how much.
    estimate: (K, H, W), the mean image estimate; None where x0 was not recorded.
    samples: how many there were.
    """

    names: tuple[str, ...]
    steps: npt.NDArray[np.int64]
    maps: Array
    signed: Array
    estimate: Array | None
    samples: int


def contribution_maps(reader: BlockReader, positions: Sequence[int] | None = None) -> ContributionMaps:
    """The mean maps over the samples at these positions of a file; all of them when left out.

    Raises `TrajectoryError` when the file has no forces, when they were not recorded, or when its states are no
    pictures, (C, H, W) or (H, W).
    """
    file = reader.trajectory
    shape = reader.header.shape
    if len(shape) not in (2, 3):
        raise TrajectoryError(
            f"{file.path}: states of shape {shape} have no places, for no number of a "
            "vector stands for one in the image — maps need (C, H, W) or (H, W)"
        )
    if not file.force_names or "forces" not in file.fields:
        why = "its recorder left them out" if file.force_names else "it has no forces"
        raise TrajectoryError(
            f"{file.path} holds no contributions of forces: {why} — record a run with forces, and forces among the "
            "fields of the hdf5 sink"
        )
    shape = shape if len(shape) == 3 else (1, *shape)
    chosen = reader.positions if positions is None else list(positions)
    names = (*(("base",) if "base" in file.fields else ()), *file.force_names)
    size = (len(names), len(file.kept_steps), *shape[1:])
    maps, signed, estimate = np.zeros(size), np.zeros(size), np.zeros(size[1:])
    count = 0
    for block in reader.blocks(chosen):
        count += len(block.ids)
        parts = {"base": block.base, **block.forces}
        for number, name in enumerate(names):
            part = parts[name]
            if part is None:
                raise TrajectoryError(f"{file.path} is damaged: it lacks {contribution_of(name)}")
            states = part.reshape(*part.shape[:2], *shape)
            maps[number] += l2_map(states).sum(0)
            signed[number] += states.sum((0, 2))
        if block.x0 is not None:
            estimate += block.x0.reshape(*block.x0.shape[:2], *shape).mean(2).sum(0)
    if not count:
        raise TrajectoryError(f"{file.path}: no committed sample whose states are kept")
    shown = estimate / count if "x0" in file.fields else None
    return ContributionMaps(names, file.kept_steps, maps / count, signed / count, shown, count)
