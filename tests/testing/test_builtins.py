"""Every built-in component holds every rule of its kind."""

from __future__ import annotations

import pytest

from emnist_diff.discovery import installed
from emnist_diff.plugins import CORE_DISTRIBUTION
from emnist_diff_plugins.sinks.video import VideoSink
from emnist_diff_testing import check_sink
from emnist_diff_testing.distributions import checked
from emnist_diff_testing.rules import kinds

MINE = [
    entry
    for entry in installed().entries
    if entry.distribution == CORE_DISTRIBUTION
    and (entry.spec.kind != "backend" or entry.spec.name == "eager")  # the others compile, and have tests of their own
]
PIPELINES = ("sdxl", "sd3", "flux")
"""Families of folders that only a user has; tests/pipelines/ makes some."""


@pytest.mark.parametrize("entry", MINE, ids=lambda entry: f"{entry.spec.kind}-{entry.spec.name}")
def test_it_holds_every_rule(entry):
    if entry.spec.name == "video":  # its example is an MP4, which needs an extra, and time
        check_sink(VideoSink(format="gif"))
        return
    result = checked(entry, installed())
    assert [str(finding) for finding in result.broken] == []
    assert {finding.rule.name for finding in result.findings} <= {"time_budget"}  # which a busy machine may trip
    whole = entry.spec.kind in kinds() and entry.spec.name not in PIPELINES
    assert result.rules > (10 if whole else 2)


def test_no_kind_of_component_goes_unchecked():
    assert {entry.spec.kind for entry in MINE} >= set(kinds())
