"""Which class the image estimates lean to over time: the basin trace.

A file holds no predictions for classes that nobody asked for, so something else must say where the classes are. Either
the model that made the file does: from almost pure noise its estimate for class c is μ_c, the mean of that class. Or
samples do: μ_c is the mean of the finished states of class c in a file that shows them, of a run without forces.

The lean of an estimate to c is the cosine of x0 − μ and μ_c − μ, where μ is the mean of the μ_c: early estimates are
blurred and near μ, and the cosine asks for their direction alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import attrs
import numpy as np
import torch

from emnist_diff.conditions import RowConditions
from emnist_diff.engine.noise import INITIAL, batch_normal
from emnist_diff.errors import TrajectoryError
from emnist_diff.parameterization import to_x0
from emnist_diff.plugins import Registry
from emnist_diff_plugins import rebuild
from emnist_diff_plugins.metrics.block import Block
from emnist_diff_plugins.metrics.formulas import Array, norm, ratio
from emnist_diff_plugins.metrics.reading import BlockReader
from emnist_diff_plugins.metrics.record import Run
from emnist_diff_plugins.metrics.tables import Table, sorted_by, stacked
from emnist_diff_trajectory.reader import Trajectory

_DRAWS, _ROWS = 4, 32
"""Of the noise that a model's class means are taken over, and rows of a call."""


@attrs.frozen(eq=False)
class Examples:
    """Where the classes are: names, (C,), sums of their finished states (C, D), and how many these are (C,)."""

    classes: tuple[str, ...]
    sums: Array
    counts: Array

    @classmethod
    def of(cls, path: Path, registry: Registry) -> Examples:
        """The classes that a trajectory file shows.

        Raises `TrajectoryError` when it keeps no x, or has samples of fewer than two classes.
        """
        with Trajectory(path) as trajectory:
            reader = BlockReader(trajectory, registry)
            if "x" not in trajectory.fields:
                raise TrajectoryError(f"{path} keeps no x, whose last states classes are learnt from")
            sums: dict[str, Array] = {}
            counts: dict[str, int] = {}
            for block in reader:
                assert block.x is not None
                for label in np.unique(block.labels).tolist():
                    final = block.x[block.labels == label, -1]
                    name = trajectory.classes[label]
                    sums[name] = sums.get(name, 0.0) + final.sum(0)
                    counts[name] = counts.get(name, 0) + len(final)
        if len(sums) < 2:
            raise TrajectoryError(
                f"{path} has samples of {len(sums)} class; leaning is between two or more — "
                "name a file of a run of several classes with --basin FILE"
            )
        return cls(tuple(sums), np.stack(list(sums.values())), np.array(list(counts.values()), dtype=np.float64))

    @classmethod
    def of_model(cls, path: Path, registry: Registry, checkpoint: str | None = None) -> Examples:
        """All classes of the model that made a file: its estimates, in the mean over a few draws of the noise that its
        first step starts from. Raises as `rebuild.model`."""
        with Trajectory(path) as trajectory:
            at = BlockReader(trajectory, registry).header.timeline.at(0)
            settings, denoiser = rebuild.model(trajectory, registry, checkpoint)
        count = len(denoiser.conditions.classes)
        clip = denoiser.process.clip_sample
        total = torch.zeros(count, *denoiser.shape)
        with torch.inference_mode():
            for draw in range(_DRAWS):
                noise = batch_normal((0,), (draw,), INITIAL, "basin", denoiser.shape).expand(count, *denoiser.shape)
                x = (at.rates[1] * noise).to(settings.device)
                for first in range(0, count, _ROWS):
                    some = slice(first, first + _ROWS)
                    index = torch.arange(count, device=x.device)[some]
                    level = torch.full((len(index),), at.timestep, dtype=torch.float32, device=x.device)
                    prediction = denoiser.predict(x[some], level, RowConditions(index))
                    x0 = to_x0(prediction, x[some], at.rates, denoiser.prediction_type)
                    total[some] += (x0 if clip is None else x0.clamp(-clip, clip)).cpu()
        means = total.flatten(1).numpy().astype(np.float64) / _DRAWS
        return cls(tuple(denoiser.conditions.classes), means, np.ones(count))

    @property
    def means(self) -> Array:
        """μ_c, (C, D)."""
        means: Array = self.sums / self.counts[:, None]
        return means


def lean(x0: Array, means: Array) -> Array:
    """Cosines of x0 − μ and μ_c − μ: estimates (…, D) and class means (C, D) → (…, C). NaN where a vector is zero."""
    centre = means.mean(0)
    away, directions = x0 - centre, means - centre
    return np.clip(ratio(away @ directions.T, norm(away)[..., None] * norm(directions)), -1.0, 1.0)


def measure(
    files: Sequence[Path], registry: Registry, examples: Path | Literal["own", "model"], checkpoint: str | None = None
) -> Table:
    """The basin trace of every sample of these files: a table with, of each step, the class that the estimate leans to
    most, by how much more than to the next (``basin_margin``), and the lean to each class (``lean_A``, …).

    examples: a file that shows the classes; ``own`` for each of `files` itself, and then a sample is no example for
    itself; or ``model`` for the model that made the files, which runs it.
    Raises `TrajectoryError` as `Examples.of`, and for a file that keeps no x0 or has states of another shape; as
    `Examples.of_model`.
    """
    out = []
    learnt = Examples.of(examples, registry) if isinstance(examples, Path) else None
    for file in files:
        with Trajectory(file) as trajectory:
            reader = BlockReader(trajectory, registry)
            if "x0" not in trajectory.fields:
                raise TrajectoryError(f"{file} keeps no x0, which the basin trace is of")
            run = Run.of(reader.header)
            if examples == "own":
                learnt = Examples.of(file, registry)
            elif learnt is None:
                learnt = Examples.of_model(file, registry, checkpoint)
            out += [_trace(run, block, learnt, own=examples == "own", file=file) for block in reader]
    return sorted_by(stacked(out), "run", "vid_id", "step_index")


def _trace(run: Run, block: Block, examples: Examples, own: bool, file: Path) -> Table:
    assert block.x0 is not None
    if block.x0.shape[-1] != examples.sums.shape[-1]:
        raise TrajectoryError(
            f"{file} has states of {block.x0.shape[-1]} values, the examples {examples.sums.shape[-1]}"
        )
    leans = np.stack([lean(x0, _means(run, block, row, examples, own)) for row, x0 in enumerate(block.x0)])
    count, kept = block.shape
    flat = leans.reshape(count * kept, -1)
    scored = np.nan_to_num(flat, nan=-2.0)
    ranked = np.sort(scored, axis=-1)
    best = scored.argmax(-1)
    out: Table = {
        "vid_id": np.repeat(block.ids, kept),
        "step_index": np.tile(block.levels.step, count),
        "character": np.repeat([run.class_of(int(label)) for label in block.labels], kept).astype(object),
        "basin_class": np.array(examples.classes, dtype=object)[best],
        "basin_margin": np.where(ranked[:, -2] < -1.0, np.nan, ranked[:, -1] - ranked[:, -2]),
    }
    out |= {f"lean_{name}": flat[:, number] for number, name in enumerate(examples.classes)}
    out["run"] = np.array([run.name] * (count * kept), dtype=object)
    return out


def _means(run: Run, block: Block, row: int, examples: Examples, own: bool) -> Array:
    """The class means for a sample, which is no example for itself; a class of which it is the only one has no
    direction."""
    if not own or block.x is None:
        return examples.means
    name = run.classes[int(block.labels[row])]
    number = examples.classes.index(name)
    sums, counts = examples.sums.copy(), examples.counts.copy()
    sums[number] -= block.x[row, -1]
    counts[number] -= 1
    if not counts[number]:
        others = np.arange(len(counts)) != number
        sums[number], counts[number] = (sums[others] / counts[others, None]).mean(0), 1.0
    return Examples(examples.classes, sums, counts).means
