"""How like the finished sample each state on the way was: scorers, after the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import numpy as np

from emnist_diff.errors import unknown
from emnist_diff_plugins.metrics.block import Block
from emnist_diff_plugins.metrics.formulas import Array, norm
from emnist_diff_plugins.metrics.tables import Table

EPSILON = 1e-12
"""Added to what is divided by, so that a state without variation scores 0."""

Score = Callable[[Array, Array], Array]
"""From states (…, D) and the finished one (…, D) to (…); the larger, the more alike."""


@attrs.frozen
class Scorer:
    """A scorer.  of: ``latent``, the states themselves, or ``pixel``, what they look like, 0 … 255."""

    of: str
    score: Score


def pearson(a: Array, b: Array) -> Array:
    """The correlation of the elements, -1 … 1."""
    return cosine(a - a.mean(-1, keepdims=True), b - b.mean(-1, keepdims=True))


def cosine(a: Array, b: Array) -> Array:
    """a·b / (‖a‖ ‖b‖ + 1e-12), -1 … 1."""
    out: Array = (a * b).sum(-1) / (norm(a) * norm(b) + EPSILON)
    return out


def mse(a: Array, b: Array) -> Array:
    """Minus the mean squared difference, at most 0."""
    out: Array = -np.square(a - b).mean(-1)
    return out


def l2(a: Array, b: Array) -> Array:
    """Minus the L2 norm of the difference, at most 0."""
    return -norm(a - b)


SCORERS: dict[str, Scorer] = {
    f"{score.__name__}_{of}": Scorer(of, score)
    for of, functions in (("pixel", (pearson, cosine, mse)), ("latent", (pearson, cosine, mse, l2)))
    for score in functions
}
"""By name, as columns of ``scores.csv`` are called. A function of your own is added as another entry."""


def scores(run: str, block: Block, names: Sequence[str] = tuple(SCORERS)) -> Table:
    """Each state of a block, the finished one included, against the finished one: a table of `vid_id`, `step_index`
    (of the step that starts from the state; the number of steps for the finished one), and the scores by name.

    Pixel scores are NaN where nothing shows the states as pixels. Raises `UnknownName` for a name.
    """
    for name in names:
        if name not in SCORERS:
            raise unknown("scorer", name, SCORERS)
    assert block.x is not None  # the caller has looked
    count, columns, _ = block.x.shape
    out: Table = {
        "vid_id": np.repeat(block.ids, columns),
        "step_index": np.tile(np.append(block.levels.step, block.levels.total), count),
    }
    states = {"latent": block.x, "pixel": None if block.pixels is None else block.pixels.astype(np.float64)}
    for name in sorted(names):
        scorer = SCORERS[name]
        shown = states[scorer.of]
        values = np.full((count, columns), np.nan) if shown is None else scorer.score(shown, shown[:, -1:])
        out[name] = values.ravel()
    out["run"] = [run] * (count * columns)
    return out
