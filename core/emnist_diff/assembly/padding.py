"""What a run computes beside the rows that somebody reads."""

from __future__ import annotations

import math

import attrs

from emnist_diff.direct import rows_of
from emnist_diff.engine.plan import Plan
from emnist_diff.engine.state import Engine


@attrs.frozen
class Padding:
    """rows: that are read.  computed: those and the ones that fill up the last call of each step."""

    rows: int
    computed: int

    @classmethod
    def of(cls, plan: Plan, engine: Engine) -> Padding:
        """The padding of a plan on the evaluators of an engine."""
        computed = 0
        for (name, _), sizes in plan.networks.items():
            together = rows_of(engine.evaluator(name), engine.micro_batch)
            computed += sum(math.ceil(size / together) * together * count for size, count in sizes.items())
        return cls(plan.rows, computed)

    @property
    def share(self) -> float:
        """Of what is computed, 0 … 1."""
        return 1 - self.rows / self.computed if self.computed else 0.0
