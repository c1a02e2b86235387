"""What the metrics are computed from: the states of some samples at all recorded steps, as flat vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from emnist_diff.frames import GROUPS, STATES
from emnist_diff.timeline import ProcessKind
from emnist_diff_plugins.metrics.attention import Captured
from emnist_diff_plugins.metrics.formulas import Array


@attrs.frozen(eq=False)
class Levels:
    """The recorded steps, K of the run's `total`, from noise to image.

    step: their indices.  end: where a row's change ends, the next recorded step, or `total` for the finished sample.
    timestep, alpha_bar, alpha_bar_next: as in `timeline.Timeline`.  last: the signal power where the run ends.
    """

    step: npt.NDArray[np.int64]
    timestep: Array
    alpha_bar: Array
    alpha_bar_next: Array
    total: int
    process: ProcessKind = "diffusion"
    last: float = 1.0

    @property
    def end(self) -> npt.NDArray[np.int64]:
        """(K,) index of the state that a row's change leads to."""
        return np.append(self.step[1:], self.total)


@attrs.frozen(eq=False)
class Block:
    """B samples, K recorded steps, states of D values. None is what was not recorded.

    ids, labels, seeds: (B,).
    x: (B, K+1, D), the final state last.  x0, prediction, base: (B, K, D).
    forces, drifts: by the names of their groups in the trajectory file, ``00_attract_class``; (B, K, D) each.
    pixels: (B, K+1, P) int16, 0 … 255, what the states of `x` look like.  image: (B, P), the finished sample.
    kind: of the prediction, see `emnist_diff.parameterization`; None where nobody knows.
    captured: what is measured of attention; None where none is captured.
    All but pixels are float64.
    """

    levels: Levels
    ids: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    seeds: npt.NDArray[np.uint64]
    image: npt.NDArray[np.uint8]
    x: Array | None = None
    x0: Array | None = None
    prediction: Array | None = None
    base: Array | None = None
    forces: Mapping[str, Array | None] = attrs.field(factory=dict)
    drifts: Mapping[str, Array | None] = attrs.field(factory=dict)
    pixels: npt.NDArray[np.int16] | None = None
    kind: str | None = None
    captured: Captured | None = None

    @staticmethod
    def fields(read: Callable[[str], Array | None], recorded: Sequence[str]) -> dict[str, Any]:
        """What a block holds of a run's fields, by attribute.  recorded: these.  read: gives the values of one."""
        states = {field: read(field) for field in STATES}
        return states | {
            group: {field.partition("/")[2]: read(field) for field in recorded if field.startswith(f"{group}/")}
            for group in GROUPS
        }

    @property
    def shape(self) -> tuple[int, int]:
        """(B, K): of every metric of a step."""
        return len(self.ids), len(self.levels.step)
