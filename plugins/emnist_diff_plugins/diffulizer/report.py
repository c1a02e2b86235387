"""What is wrong with a dataset."""

from __future__ import annotations

from typing import Literal

import attrs

from emnist_diff.printable import printable
from emnist_diff.shown import shortened

MOST_LISTED = 200
"""Problems that are kept; more are counted."""


@attrs.frozen
class Finding:
    """Something wrong: where in the folder, and what. Warnings are what a dataset may have and should not."""

    level: Literal["error", "warning"]
    where: str
    what: str

    @property
    def line(self) -> str:
        """For people; what cannot be printed is escaped."""
        return shortened(printable(f"{self.where}: {self.what}" if self.where else self.what), 480)


@attrs.define
class Report:
    """What was found.

    findings: the first of them.  counted: how many there are of each level.  size: bytes of all files.
    maps: how many files of attention were checked.
    """

    findings: list[Finding] = attrs.field(factory=list)
    counted: dict[str, int] = attrs.field(factory=lambda: {"error": 0, "warning": 0})
    size: int = 0
    maps: int = 0

    def error(self, where: str, what: str) -> None:
        """Note what no dataset may have."""
        self._add(Finding("error", where, what))

    def warn(self, where: str, what: str) -> None:
        """Note what a dataset should not have."""
        self._add(Finding("warning", where, what))

    def _add(self, finding: Finding) -> None:
        self.counted[finding.level] += 1
        if self.counted[finding.level] <= MOST_LISTED:
            self.findings.append(finding)

    @property
    def errors(self) -> list[Finding]:
        """Those among the findings that are errors."""
        return [finding for finding in self.findings if finding.level == "error"]

    @property
    def warnings(self) -> list[Finding]:
        """Those that are warnings."""
        return [finding for finding in self.findings if finding.level == "warning"]
