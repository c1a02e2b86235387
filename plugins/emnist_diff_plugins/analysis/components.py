"""Hidden states by their principal components: few numbers a place in the stead of many channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from emnist_diff.errors import ConfigError

Floats = npt.NDArray[np.float64]


def channels(shape: tuple[int, ...]) -> int:
    """Which axis of a row's shape has the channels: the first of a picture (C, H, W), the last of tokens (T, C)."""
    return 0 if len(shape) == 3 else len(shape) - 1


def reduced(name: str, shape: tuple[int, ...], count: int) -> tuple[int, ...]:
    """The shape with `count` components in place of the channels. Raises `ConfigError` where there are fewer."""
    axis = channels(shape)
    if count > shape[axis]:
        raise ConfigError(f"--pca {count}: {name} has {shape[axis]} channels — use at most as many")
    return (*shape[:axis], count, *shape[axis + 1 :])


@attrs.frozen(eq=False)
class Components:
    """Principal components of states.

    axis: of the channels in a row's shape.  mean: (C,).  components: (k, C) unit vectors, those of most variance first;
    of each the coordinate of largest size is positive.  explained: (k,) the share of the variance along each.
    """

    axis: int
    mean: Floats
    components: Floats
    explained: Floats

    def of(self, values: npt.NDArray[Any], before: int) -> npt.NDArray[np.float32]:
        """Coordinates of states, with k in place of the channels.  before: axes ahead of a row's shape."""
        axis = before + self.axis
        last = np.moveaxis(values.astype(np.float64), axis, -1) - self.mean
        return np.asarray(np.moveaxis(last @ self.components.T, -1, axis), dtype=np.float32)

    @property
    def facts(self) -> dict[str, Any]:
        """What a file says of them: states are mean + coordinates · components, as far as k components say."""
        numbers = {key: getattr(self, key).tolist() for key in ("mean", "components", "explained")}
        return {"axis": self.axis, **numbers}


class Moments:
    """Sums over states, of which their components are made; the same whatever parts they come in, but for rounding."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._axis = channels(shape)
        width = shape[self._axis]
        self._shift: Floats | None = None
        self._count = 0
        self._sum, self._squares = np.zeros(width), np.zeros((width, width))

    def add(self, values: npt.NDArray[Any], before: int) -> None:
        """States.  before: axes ahead of a row's shape."""
        flat = np.moveaxis(values.astype(np.float64), before + self._axis, -1).reshape(-1, len(self._sum))
        if self._shift is None:  # sums about a value near the mean lose no digits to it
            self._shift = flat.mean(0)
        flat = flat - self._shift
        self._count += len(flat)
        self._sum += flat.sum(0)
        self._squares += flat.T @ flat

    def fitted(self, count: int) -> Components:
        """The first `count` components of what was added."""
        assert self._shift is not None, "there are no states"
        mean = self._sum / self._count
        covariance = self._squares / self._count - np.outer(mean, mean)
        values, vectors = np.linalg.eigh(covariance)
        axes = vectors[:, ::-1][:, :count].T
        signs = np.sign(axes[np.arange(count), np.abs(axes).argmax(1)])
        explained = np.maximum(values[::-1][:count], 0) / max(float(np.trace(covariance)), 1e-300)
        return Components(self._axis, mean + self._shift, axes * np.where(signs == 0, 1.0, signs)[:, None], explained)


def recorded(facts: Mapping[str, Any], name: str) -> Components:
    """Those that a file's ``environment["activations"]["pca"]`` has of an activation."""
    found = facts[name]
    arrays = (np.array(found[key], dtype=np.float64) for key in ("mean", "components", "explained"))
    return Components(int(found["axis"]), *arrays)
