"""What the recorded predictions say, whatever their type: noise, score and image, of a sample at its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast, get_args

import numpy as np
import numpy.typing as npt

from emnist_diff.errors import TrajectoryError
from emnist_diff.parameterization import convert
from emnist_diff.timeline import PredictionType, ProcessKind, rates

if TYPE_CHECKING:
    from emnist_diff_trajectory.reader import Trajectory

Values = npt.NDArray[np.float64]


def estimate(trajectory: Trajectory, position: int, step: int | None, of: str, target: PredictionType) -> Values:
    """The field `of` of a sample at a step, or at all kept steps, as a network that predicts `target` would say it.

    Raises as `Trajectory.epsilon`.
    """
    at, noise = _levels(trajectory, step)
    row, columns = trajectory.row(position), [trajectory.column(int(number)) for number in at]
    pick = slice(columns[0], columns[-1] + 1)
    states = np.asarray(trajectory.x[row, pick], np.float64)
    predictions = np.asarray(trajectory.field(of)[row, pick], np.float64)
    kind = prediction_type(trajectory)
    out = np.empty_like(predictions)
    for number, level in enumerate(at):
        signal = _rates(trajectory, int(level))[0]
        if kind == "epsilon" and target != "epsilon" and signal == 0.0:
            raise TrajectoryError(
                f"{trajectory.path}: at step {int(level)} there is no signal, and a predicted noise says nothing "
                "of the image"
            )
        out[number] = convert(predictions[number], states[number], (signal, noise[number]), kind, target)
    return out[0] if step is not None else out


def score(trajectory: Trajectory, position: int, step: int | None, of: str) -> Values:
    """-epsilon / noise; see `Trajectory.score`."""
    noise = _levels(trajectory, step)[1]
    epsilon = estimate(trajectory, position, step, of, "epsilon")
    return -epsilon / (noise[0] if step is not None else noise.reshape(-1, *[1] * (epsilon.ndim - 1)))


def prediction_type(trajectory: Trajectory) -> PredictionType:
    """What its predictions are. Raises `TrajectoryError` where the file does not say."""
    if trajectory.prediction_type not in get_args(PredictionType):
        raise TrajectoryError(
            f"{trajectory.path} does not say what its predictions are, but {trajectory.prediction_type!r:.40}"
        )
    return cast(PredictionType, trajectory.prediction_type)


def _levels(trajectory: Trajectory, step: int | None) -> tuple[npt.NDArray[np.int64], Values]:
    """The steps that are meant, and the noise rate of each, which is not 0 where a step starts."""
    at = trajectory.kept_steps if step is None else np.array([step], np.int64)
    if step is not None and not 0 <= step < trajectory.steps:
        raise TrajectoryError(f"{trajectory.path} has steps 0 … {trajectory.steps - 1}, and no prediction at {step}")
    noise = np.array([_rates(trajectory, int(number))[1] for number in at])
    if (noise == 0.0).any():
        raise TrajectoryError(f"{trajectory.path}: at step {int(at[noise == 0.0][0])} there is no noise to estimate")
    return at, noise


def _rates(trajectory: Trajectory, step: int) -> tuple[float, float]:
    path: ProcessKind = "flow" if trajectory.forward_process == "flow" else "diffusion"
    return rates(float(trajectory.alpha_bar[step]), path)
