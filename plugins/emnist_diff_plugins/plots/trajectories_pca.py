"""Paths of samples, in the plane that shows most of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from attrs import validators as v

from emnist_diff_plugins.plots import panels
from emnist_diff_plugins.plots.runs import Run
from emnist_diff_plugins.plots.theme import Theme

_BYTES = 1 << 26
_FITTED = 1500
"""States that the plane is fitted to; more change it little and cost their square."""
_FLAT = 1e-6
"""Share of the variance below which an axis shows rounding, and not what samples do."""


@attrs.frozen(eq=False)
class Plane:
    """A plane fitted to states.

    points: of each run (n, K+1, 2).  explained: share of the variance along each axis.  positions: which samples.
    """

    points: tuple[npt.NDArray[np.float64], ...]
    explained: tuple[float, float]
    positions: tuple[npt.NDArray[np.int64], ...]


def plane(runs: Sequence[Run], samples: int) -> Plane:
    """The first two principal components of states scaled to unit variance, step by step.

    A state's variance is that of all samples and coordinates at its step: early noise is then as large as late
    images, and the plane shows shape and not scale. Of each run at most `samples` samples, as memory allows.
    """
    chosen = [run.states(samples, _BYTES // len(runs)) for run in runs]
    scaled = []
    for _, states in chosen:
        deviation = states.std(axis=(0, 2), dtype=np.float64, keepdims=True).astype(np.float32)
        scaled.append(states / np.where(deviation > 0, deviation, np.float32(1.0)))
    flat = [states.reshape(-1, states.shape[-1]) for states in scaled]
    centre = sum(part.sum(axis=0, dtype=np.float64) for part in flat) / sum(map(len, flat))
    together = [part - centre.astype(np.float32) for part in flat]
    total = sum(float(np.einsum("nd,nd->", part, part, dtype=np.float64)) for part in together)
    sampled = [
        part[np.unique(np.linspace(0, len(part) - 1, _FITTED // len(runs)).round().astype(int))] for part in together
    ]
    axes = _principal(np.concatenate(sampled))
    points = [part.astype(np.float64) @ axes.T for part in together]
    along = np.sum([(p**2).sum(axis=0) for p in points], axis=0) / max(total, 1e-300)
    shaped = tuple(p.reshape(*s.shape[:2], 2) for p, s in zip(points, scaled, strict=True))
    return Plane(shaped, (float(along[0]), float(along[1])), tuple(positions for positions, _ in chosen))


def _principal(states: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """(2, D) unit vectors of most variance; what is left of a state of one number is zero.

    By the eigenvectors of the smaller of the two products of `states` with itself. Of each the sign is that which
    makes its largest coordinate positive, so that the picture does not depend on the library's choice.
    """
    wide = states.astype(np.float64)
    if wide.shape[1] <= wide.shape[0]:
        _, vectors = np.linalg.eigh(wide.T @ wide)
        axes = vectors[:, ::-1][:, :2].T
    else:
        _, vectors = np.linalg.eigh(wide @ wide.T)
        axes = vectors[:, ::-1][:, :2].T @ wide
        axes = axes / np.maximum(np.linalg.norm(axes, axis=1, keepdims=True), 1e-300)
    axes = np.concatenate([axes, np.zeros((2 - len(axes), wide.shape[1]))])
    signs = np.sign(axes[np.arange(2), np.abs(axes).argmax(axis=1)])
    return np.asarray(axes * np.where(signs == 0, 1.0, signs)[:, None])


@attrs.frozen
class TrajectoriesPca:
    """Paths of samples in the plane of the first two principal components; of many samples the mean path of each
    class, and where each sample ended."""

    samples: int = attrs.field(default=200, validator=v.ge(1), metadata={"help": "at most this many samples of a run"})

    def lacks(self, runs: Sequence[Run]) -> str:
        if lacking := panels.need(runs, "x"):
            return lacking
        return "" if len({run.trajectory.x.shape[2:] for run in runs}) == 1 else "states of one shape"

    def size(self, runs: Sequence[Run]) -> tuple[float, float]:
        return 1.0, 0.85

    def draw(self, figure: Any, runs: Sequence[Run], theme: Theme) -> None:
        axis = figure.subplots()
        found = plane(runs, self.samples)
        groups = _groups(runs, found, theme)
        for group in groups:
            _draw(axis, group, theme)
        start = np.concatenate([group.paths[:, 0] for group in groups])
        axis.plot(*start.T, "+", color=theme.muted, markersize=3, markeredgewidth=0.6, label="noise", zorder=1)
        axis.plot([], [], "o", color=theme.text, markersize=3, label="image")
        shown = sum(len(group.paths) for group in groups)
        total = sum(len(run.positions) for run in runs)
        for explained, limit in zip(found.explained, (axis.set_xlim, axis.set_ylim), strict=True):
            if explained < _FLAT:
                limit(-1.0, 1.0)
        axis.set_xlabel(f"PC 1 ({found.explained[0]:.0%} of the variance)")
        axis.set_ylabel(f"PC 2 ({found.explained[1]:.0%})")
        axis.set_title(
            "PCA of trajectories, unit variance a step" + (f"\n({shown} of {total} samples)" if shown < total else "")
        )
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


@attrs.frozen(eq=False)
class _Group:
    """Paths (n, K+1, 2) that look alike, and what the legend says of them."""

    name: str
    paths: npt.NDArray[np.float64]
    colour: str
    dashes: Any


def _draw(axis: Any, group: _Group, theme: Theme) -> None:
    """Few paths as they are, of many their mean; where each ended."""
    paths, colour = group.paths, group.colour
    few = len(paths) <= panels.FEW
    if few:
        axis.plot(paths[..., 0].T, paths[..., 1].T, color=colour, linestyle=group.dashes, linewidth=0.9)
    else:
        mean = paths.mean(axis=0).T
        axis.plot(*mean, color=theme.axes, linewidth=3.2, zorder=3)
        axis.plot(*mean, color=colour, linestyle=group.dashes, linewidth=1.8, zorder=4)
    size, alpha = (3.5, 1.0) if few else (2.5, 0.5)
    axis.plot(*paths[:, -1].T, "o", color=colour, markersize=size, alpha=alpha, markeredgewidth=0, zorder=5)
    axis.plot([], [], color=colour, linestyle=group.dashes, label=panels.label(group.name))


def _groups(runs: Sequence[Run], found: Plane, theme: Theme) -> list[_Group]:
    """Paths by class: of one run each class has a colour, and rarer classes are together; of several runs each class
    has a colour and each run its dashes, or each run a colour where there are many classes."""
    names = [np.array(run.classes(positions)) for run, positions in zip(runs, found.positions, strict=True)]
    counts = Counter(np.concatenate(names).tolist())
    frequent = [name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    most = len(theme.cycle)
    if len(runs) > 1 and len(frequent) > most:
        pairs = zip(runs, found.points, strict=True)
        return [
            _Group(run.name, p, theme.line(i)["color"], theme.line(i)["linestyle"]) for i, (run, p) in enumerate(pairs)
        ]
    named = sorted(frequent if len(frequent) <= most else frequent[: most - 1])
    out = []
    for r, (run, own, points) in enumerate(zip(runs, names, found.points, strict=True)):
        for c, name in enumerate(named):
            if (own == name).any():
                style = theme.line(c) if len(runs) == 1 else {**theme.line(c), "linestyle": theme.line(r)["linestyle"]}
                text = name if len(runs) == 1 else f"{name} ({run.name})"
                out.append(_Group(text, points[own == name], style["color"], style["linestyle"]))
        rest = ~np.isin(own, named)
        if rest.any():
            out.append(_Group(f"{len(frequent) - len(named)} others", points[rest], theme.muted, "solid"))
    return out
