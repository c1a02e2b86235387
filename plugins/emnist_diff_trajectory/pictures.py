"""States as pictures: as they are where a state is one, through the model's codec where it is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from emnist_diff.errors import TrajectoryError
from emnist_diff_trajectory.fields import X
from emnist_diff_trajectory.opening import reading
from emnist_diff_trajectory.pixels import Pixels, as_images, to_uint8
from emnist_diff_trajectory.structure import require_sound

if TYPE_CHECKING:
    from emnist_diff_trajectory.reader import Trajectory

Decode = Callable[[npt.NDArray[np.float32]], npt.NDArray[Any]]
"""States (n, *shape) to images (n, C, H, W) in [0, 1]."""


def are_pictures(trajectory: Trajectory) -> bool:
    """Whether states of this file show images as they are, [-1, 1] from black to white: they have an image's shape, and
    the final states of the first samples look like the recorded images."""
    if X not in trajectory.datasets():
        return False
    require_sound(trajectory)
    shape = _plane_shape(trajectory)
    if trajectory.x.shape[2:] != shape:
        return False
    done = set(trajectory.committed)
    for position in [p for p in trajectory.kept_samples.tolist() if p in done][:3]:
        with reading(trajectory.path):
            final, image = trajectory.x[trajectory.row(position), -1:], trajectory.images[position]
        if np.abs(_as_pixels(final.astype(np.float32))[0].astype(int) - image.astype(int)).max() > 1:
            return False
    return True


def pictures(
    trajectory: Trajectory, position: int, steps: Sequence[int] | None = None, decode: Decode | None = None
) -> Pixels:
    """What the sample at this position looked like where these steps began; uint8 (n, H, W) or (n, H, W, 3).

    steps: indices of kept steps, and T for the final state; all of them when left out.
    decode: the model's codec (`emnist_diff_plugins.rebuild.decoder`), for states that are no pictures.

    Raises `TrajectoryError` when the sample is not committed, a state is not kept, or a codec is needed and not given;
    `UnknownName` when there is no such position.
    """
    if X not in trajectory.datasets():
        raise TrajectoryError(f"{trajectory.path} keeps no x, which pictures are made of")
    position = trajectory.place(position)
    require_sound(trajectory)
    if trajectory.steps_done[position] != trajectory.steps:
        raise TrajectoryError(f"{trajectory.path}: sample {int(trajectory.ids[position])} is not committed")
    wanted = [*trajectory.kept_steps.tolist(), trajectory.steps] if steps is None else list(steps)
    row = trajectory.row(position)
    with reading(trajectory.path):
        states = np.stack([trajectory.x[row, trajectory.column(step)] for step in wanted]).astype(np.float32)
    if decode is not None:
        return to_uint8(decode(states))
    if not are_pictures(trajectory):
        raise TrajectoryError(
            f"{trajectory.path}: states of shape {trajectory.x.shape[2:]} are no pictures — decode them with the model "
            "that made them (emnist_diff_plugins.rebuild.decoder, or inspect --decode)"
        )
    return _as_pixels(states)


def _plane_shape(trajectory: Trajectory) -> tuple[int, ...]:
    """(C, H, W) of the recorded images."""
    height, width, *channels = trajectory.images.shape[1:]
    return (channels[0] if channels else 1, height, width)


def _as_pixels(states: npt.NDArray[np.float32]) -> Pixels:
    return to_uint8(np.nan_to_num(as_images(states)))  # of a damaged file, what is no number is black
