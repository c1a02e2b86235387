"""A walk without a class."""

from __future__ import annotations

from typing import Any

import attrs

from emnist_diff.schedules import Schedule
from emnist_diff_plugins.presets._preset import scalar_field, stack


@attrs.frozen
class NullWander:
    """Score noise on the unconditional prediction: the sample drifts where the model lets it.

    Example: ``--preset null_wander --preset-args '{"sigma": 0.05}'``
    """

    sigma: Schedule = scalar_field(0.02, "standard deviation of the noise")

    def expand(self) -> dict[str, Any]:
        return stack(("drift_noise", {"sigma": self.sigma}))
