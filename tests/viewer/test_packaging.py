"""What of the viewer is shipped, and under which licences."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VIEWER = ROOT / "plugins" / "viewer"
SHIPPED = "emnist_diff_plugins/viewer"


def test_a_wheel_has_the_page_and_no_source_of_it_and_the_source_distribution_has_both():
    pytest.importorskip("hatchling")
    from hatchling.builders.sdist import SdistBuilder
    from hatchling.builders.wheel import WheelBuilder

    wheel = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    assert {f"{SHIPPED}/static/viewer.html", f"{SHIPPED}/static/widget.js", f"{SHIPPED}/THIRD_PARTY.txt"} <= wheel
    assert not [path for path in wheel if path.endswith((".ts", ".tsx")) or "node_modules" in path]
    source = {file.distribution_path for file in SdistBuilder(str(ROOT)).recurse_included_files()}
    assert {f"plugins/{path}" for path in wheel if path.startswith(SHIPPED)} <= source
    assert {"plugins/viewer/package-lock.json", "plugins/viewer/src/main.tsx"} <= source
    assert not [path for path in source if "node_modules" in path]


def test_the_licences_name_each_library_in_the_page_with_its_version():
    text = (VIEWER.parent / SHIPPED / "THIRD_PARTY.txt").read_text(encoding="utf-8")
    locked = json.loads((VIEWER / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    libraries = [path.removeprefix("node_modules/") for path, facts in locked.items() if path and not facts.get("dev")]
    assert "preact" in libraries
    for name in libraries:
        assert f"\n{name} {locked[f'node_modules/{name}']['version']}: Copyright" in text
    assert text.count(": Copyright") == len(libraries)
