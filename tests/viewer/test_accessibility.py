"""Every view of the viewer as axe-core sees it: nothing serious or critical, wide and narrow, light and dark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from emnist_diff_plugins.viewer.shown import Shown
from emnist_diff_trajectory.attention import beside

AXE = Path(__file__).parents[2] / "plugins" / "viewer" / "node_modules" / "axe-core" / "axe.min.js"
RULES = "async () => (await axe.run(document, { resultTypes: ['violations'] })).violations"


def findings(tab: Any, view: str) -> list[str]:
    """What is serious or critical, as (view, rule, element)."""
    return [
        f"{view}: {found['id']}: {node['html']:.160}"
        for found in tab.evaluate(RULES)
        if found["impact"] in ("serious", "critical")
        for node in found["nodes"]
    ]


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_no_view_has_a_serious_finding(show, require, attended: Path, recorded: Path, width: int, scheme: str):
    require(AXE.is_file(), "axe-core is not installed: npm ci --ignore-scripts, in plugins/viewer")
    run = attrs.evolve(Shown("run.h5", attended), sidecar=Shown("run.attention.h5", beside(attended)))
    tab = show(run, Shown("other.h5", recorded), width=width, color_scheme=scheme)
    tab.evaluate(AXE.read_text(encoding="utf-8"))
    found = []
    for view in ("Look", "Compare", "Story", "About"):
        tab.get_by_role("button", name=view, exact=True).click()
        tab.wait_for_timeout(400)
        found += findings(tab, view)
        wide = tab.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{view} is {wide} pixels wide"
    tab.keyboard.press("?")
    tab.get_by_label("Open trajectory files").set_input_files(Path(__file__))
    tab.get_by_role("alert").filter(has_text="test_accessibility.py").wait_for()
    assert found + findings(tab, "with keys and a message") == []
