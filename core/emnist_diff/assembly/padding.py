"""What a run computes beside the rows that somebody reads."""

from __future__ import annotations

import math

import attrs

from emnist_diff.engine.direct import rows_of
from emnist_diff.engine.plan import Plan
from emnist_diff.engine.state import Engine
from emnist_diff.events import get_logger

log = get_logger()

MUCH = 0.5
"""The share of padding from which a run says so, for it takes twice as long as it could."""

MANY = 256
"""Rows of padding below which it does not matter: about a second of a small network on one processor."""


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


def warn_of_padding(plan: Plan, engine: Engine) -> None:
    """Log that much of what a run computes is padding, where it is, and what helps."""
    padding = Padding.of(plan, engine)
    if padding.share < MUCH or padding.computed - padding.rows < MANY:
        return
    log.warning(
        "rows.padded",
        share=f"{padding.share:.0%}",
        rows=padding.rows,
        computed=padding.computed,
        hint="a larger --batch-size fills calls; a smaller --micro-batch changes the last bits of samples",
    )
