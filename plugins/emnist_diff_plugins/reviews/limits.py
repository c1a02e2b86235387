"""How many samples one worker makes at most, which is as many as its file can hold."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import torch

from emnist_diff.assembly.assemble import Parts
from emnist_diff.config import LARGEST_RUN
from emnist_diff.errors import ConfigError
from emnist_diff.protocols import Denoiser
from emnist_diff.surroundings import Review
from emnist_diff_trajectory.sample_ids import MOST_SAMPLES


@attrs.frozen
class LargestShare(Review):
    """Refuses runs of more samples than can be numbered, and shares of them that no file can hold."""

    def require(self, parts: Parts, denoisers: Mapping[str, Denoiser], device: torch.device) -> None:
        """`Review.require`. Raises `ConfigError`."""
        count, workers = len(parts.layout.labels), parts.layout.settings.world_size
        if count > LARGEST_RUN:
            raise ConfigError(f"{count} samples are too many: a run has at most {LARGEST_RUN}")
        if (least := fewest_workers(count)) > workers:
            raise ConfigError(
                f"{count} samples are too many for {workers} worker{'s'[: workers != 1]}, each of which makes at most "
                f"{MOST_SAMPLES} — use --blocks {least} or more"
            )


def fewest_workers(count: int) -> int:
    """How many workers a run of so many samples needs, so that each file can hold its share."""
    return -(-count // MOST_SAMPLES)
