"""Linear measurements y = A x of a state, and their pseudo-inverses.

An operator acts on batches, x (B, *shape) → (B, *out); what it says of one sample depends on no other, to the bit, for
which matrices are multiplied with one sample at a time, in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs
import numpy as np
import numpy.typing as npt
import torch
from emnist_diff.errors import ConfigError
from torch import Tensor

from emnist_diff_drifts_contrib._masks import Mask

Doubles = npt.NDArray[np.float64]


class Operator(Protocol):
    """A and its pseudo-inverse A⁺, with A A⁺ A = A."""

    def out_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the measurement of a state. Raises `ConfigError` for states that cannot be measured so."""

    def apply(self, x: Tensor) -> Tensor:
        """A x: (B, *shape) → (B, *out)."""

    def pinv(self, y: Tensor, shape: tuple[int, ...]) -> Tensor:
        """A⁺ y: (B, *out) → (B, *shape)."""


@attrs.frozen(eq=False)
class Masked:
    """Some elements are seen, the others are not; A⁺ = A. A mask is cut at 0.5."""

    mask: Mask

    def out_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        self.mask.shaped(shape)
        return shape

    def apply(self, x: Tensor) -> Tensor:
        return x * (self.mask.like(x) >= 0.5)

    def pinv(self, y: Tensor, shape: tuple[int, ...]) -> Tensor:
        return self.apply(y)


@attrs.frozen(eq=False)
class Averaged:
    """Squares of factor × factor pixels are seen as their mean; A⁺ repeats each mean over its square."""

    factor: int

    def out_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) != 3 or shape[1] % self.factor or shape[2] % self.factor:
            raise ConfigError(
                f"data_consistency: factor = {self.factor} does not divide states of shape {shape} — it divides height "
                "and width of images (C, H, W)"
            )
        return (shape[0], shape[1] // self.factor, shape[2] // self.factor)

    def apply(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        n = self.factor
        return x.reshape(batch, channels, height // n, n, width // n, n).mean((3, 5))

    def pinv(self, y: Tensor, shape: tuple[int, ...]) -> Tensor:
        return y.repeat_interleave(self.factor, -2).repeat_interleave(self.factor, -1)


@attrs.frozen(eq=False)
class Blurred:
    """A Gaussian blur along height and along width, its weights made to add up to 1 at the borders too.

    sigma: its standard deviation in pixels.  rcond: singular values below this share of an axis's largest count as
    zero, in A as in A⁺: what a blur has all but erased is no measurement.
    """

    sigma: float
    rcond: float

    def out_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) < 2:
            raise ConfigError(f"data_consistency: states of shape {shape} are no images that could be blurred")
        return shape

    def apply(self, x: Tensor) -> Tensor:
        return _each(x, lambda one: self._along(one, invert=False))

    def pinv(self, y: Tensor, shape: tuple[int, ...]) -> Tensor:
        return _each(y, lambda one: self._along(one, invert=True))

    def _along(self, one: Tensor, invert: bool) -> Tensor:
        """(…, H, W), blurred or sharpened along both axes."""
        rows, columns = (self._axis(size, invert) for size in one.shape[-2:])
        return torch.from_numpy(rows).to(one) @ one @ torch.from_numpy(columns.T.copy()).to(one)

    def _axis(self, size: int, invert: bool) -> Doubles:
        u, s, vt = np.linalg.svd(gaussian(size, self.sigma))
        kept = s >= self.rcond * s[0]
        if invert:
            return np.asarray((vt[kept].T / s[kept]) @ u[:, kept].T)
        return np.asarray((u[:, kept] * s[kept]) @ vt[kept])


@attrs.frozen(eq=False)
class Matrix:
    """Any matrix A (m, n) over flattened states of n elements.

    rcond: singular values below this share of the largest count as zero in A⁺ (Moore-Penrose).
    """

    name: str
    matrix: Doubles
    inverse: Doubles

    @classmethod
    def of(cls, name: str, matrix: npt.NDArray[np.generic], rcond: float) -> Matrix:
        """Raises `ConfigError` for what is no matrix."""
        if matrix.ndim != 2 or not matrix.size:
            raise ConfigError(f"{name!r} has shape {matrix.shape}, and a matrix has two axes")
        values = matrix.astype(np.float64)
        return cls(name, values, np.asarray(np.linalg.pinv(values, rcond=rcond), np.float64))

    def out_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        rows, columns = self.matrix.shape
        if columns != np.prod(shape):
            raise ConfigError(f"{self.name!r} measures states of {columns} elements, and a state of shape {shape} has "
                              f"{np.prod(shape)}")  # fmt: skip
        return (rows,)

    def apply(self, x: Tensor) -> Tensor:
        return _each(x, lambda one: torch.from_numpy(self.matrix).to(one) @ one.flatten())

    def pinv(self, y: Tensor, shape: tuple[int, ...]) -> Tensor:
        return _each(y, lambda one: (torch.from_numpy(self.inverse).to(one) @ one).reshape(shape))


def gaussian(size: int, sigma: float) -> Doubles:
    """The matrix (size, size) of a Gaussian blur along one axis; its rows add up to 1."""
    place = np.arange(size)
    weight = np.exp(-0.5 * ((place[:, None] - place[None]) / sigma) ** 2)
    return np.asarray(weight / weight.sum(1, keepdims=True))


def _each(x: Tensor, apply: Callable[[Tensor], Tensor]) -> Tensor:
    """A map of each sample alone, in float64."""
    return torch.stack([apply(one) for one in x.double()]).to(x.dtype)
