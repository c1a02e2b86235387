"""Maps of attention on a smaller grid, of any shape, so that they mean what they meant: the mass of keys is added by
the area that a cell covers, and queries are averaged over it. A row of probabilities sums to one at any size."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

Grid = tuple[int, int]
"""Rows and columns."""


def fitted(grid: Grid, most: int) -> Grid:
    """The grid whose longest side is at most `most`, in about the same proportion; never larger than `grid`."""
    longest = max(grid)
    if longest <= most:
        return grid
    rows, columns = (max(1, round(side * most / longest)) for side in grid)
    return rows, columns


@functools.lru_cache(maxsize=256)
def overlap(cells: int, fit: int) -> Tensor:
    """(fit, cells) float32: of an axis of `cells` cells, the share of each that one of `fit` equal cells covers.
    Columns sum to one."""
    size = cells / fit
    cell = torch.arange(cells, dtype=torch.float64)[None]
    start = torch.arange(fit, dtype=torch.float64)[:, None] * size
    covered = torch.minimum(cell + 1, start + size) - torch.maximum(cell, start)
    return covered.clamp(min=0).float()


def added(maps: Tensor, grid: Grid, fit: Grid) -> Tensor:
    """Mass (…, rows · columns of `grid`) added up on the cells of `fit`, (…, *fit)."""
    maps = maps.unflatten(-1, grid)
    if grid == fit:
        return maps
    rows, columns = overlap(grid[0], fit[0]).to(maps.device), overlap(grid[1], fit[1]).to(maps.device)
    return rows @ (maps @ columns.T)


def averaging(cells: int, fit: int, device: torch.device) -> Tensor:
    """(fit, cells): the mean over the cells that each of `fit` covers. Rows sum to one."""
    shares = overlap(cells, fit).to(device)
    return shares / shares.sum(1, keepdim=True)
