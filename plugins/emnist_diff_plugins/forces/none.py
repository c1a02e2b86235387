"""No force."""

from __future__ import annotations

import attrs

from emnist_diff.protocols import StepInfo
from emnist_diff_plugins.forces._class_force import ClassForce, Target


@attrs.frozen
class NoForce(ClassForce):
    """0: adds nothing and evaluates nothing.

    Example: ``--force none``
    """

    def weights(self, at: StepInfo) -> list[tuple[Target, float]]:
        return []
