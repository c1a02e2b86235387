"""What a run computes beside the rows that somebody reads."""

from __future__ import annotations

import attrs

from emnist_diff.assembly.assemble import Assembly
from emnist_diff.events import get_logger
from emnist_diff.surroundings import Review
from emnist_diff_plugins.forecast import Padding

log = get_logger()

MUCH = 0.5
"""The share of padding from which a run says so, for it takes twice as long as it could."""

MANY = 256
"""Rows of padding below which it does not matter: about a second of a small network on one processor."""


@attrs.frozen
class PaddedCalls(Review):
    """Says that much of what a run computes is padding, where it is, and what helps."""

    def report_assembly(self, assembly: Assembly) -> None:
        """`Review.report_assembly`."""
        padding = Padding.of(assembly.plan, assembly.engine)
        if padding.share < MUCH or padding.computed - padding.rows < MANY:
            return
        log.warning(
            "rows.padded",
            share=f"{padding.share:.0%}",
            rows=padding.rows,
            computed=padding.computed,
            hint="a larger --batch-size fills calls; a smaller --micro-batch changes the last bits of samples",
        )
