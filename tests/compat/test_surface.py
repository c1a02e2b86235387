"""The public surface is as it was stored: no change of it goes unnoticed.

When this fails, look at the difference. What was only added (`docs/compatibility.md` says what that may be) is stored
by ``python tests/compat/test_surface.py``, with a line in the changelog, and `records.API` goes up if a plugin may come
to rely on it. What was renamed, removed or given another meaning breaks plugins: deprecate it instead.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any

import attrs

import emnist_diff
from emnist_diff import hookspecs, records
from emnist_diff.discovery import installed

STORED = Path(__file__).with_name("surface.json")
MODULES = (
    "emnist_diff",
    *(
        f"emnist_diff.{name}"
        for name in (
            "hookspecs",
            "records",
            "protocols",
            "surroundings",
            "timeline",
            "steps",
            "frames",
            "evaluators",
        )
    ),
    "emnist_diff.parameterization",
    *(
        f"emnist_diff.{name}"
        for name in ("families", "spaces", "conditions", "schedules", "errors", "events", "deprecation")
    ),
    *(f"emnist_diff_inference.{name}" for name in ("capture", "checkpoints", "config", "frames")),
    "emnist_diff_plugins.curves",
    "emnist_diff_plugins.functions",
    "emnist_diff_plugins.spaces",
    "emnist_diff_plugins.variants",
    "emnist_diff_plugins.capabilities",
    "emnist_diff_plugins.contract",
    "emnist_diff_trajectory.contract",
    "emnist_diff_testing",
)
PARTS = {
    "emnist_diff.config": ["RunConfig"],
    "emnist_diff.running.recording": ["NoiseAhead", "Overlap", "Recording"],
    "emnist_diff.running.run": ["run"],
    "emnist_diff_plugins.runconfig": ["resolve"],
    "emnist_diff_inference.generate": ["generate_sample", "generate_samples"],
    "emnist_diff_trajectory.reader": ["Trajectory"],
}
"""Modules of which only these names are public."""


def _said(function: Any) -> str:
    """A signature with its annotations as they are written."""
    return re.sub(r"(: |-> )'([^']*)'", r"\1\2", re.sub(r" at 0x\w+", "", str(inspect.signature(function))))


def _class(cls: type) -> dict[str, Any]:
    out: dict[str, Any] = {"bases": [base.__name__ for base in cls.__bases__ if base is not object]}
    if attrs.has(cls):
        written = inspect.get_annotations(cls)  # as they stand there: others resolve the types of fields
        out["fields"] = {
            f.name: f"{written[f.name]}" + ("" if f.default is attrs.NOTHING else " = …")
            for f in attrs.fields(cls)
            if not f.name.startswith("_") and not f.inherited
        }
    if issubclass(cls, enum.Enum):
        out["members"] = {member.name: member.value for member in cls}
        return out
    for name, value in vars(cls).items():
        function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if inspect.isfunction(function) and (not name.startswith("_") or name == "__call__"):
            out.setdefault("methods", {})[name] = "property" if isinstance(value, property) else _said(function)
    return out


def surface() -> dict[str, Any]:
    """What is public, as plain data."""
    out: dict[str, Any] = {
        "api": records.API,
        "hooks": {hookspecs.hook_of(record): record.__name__ for record in installed().kinds.values()},
    }
    for short in (*MODULES, *PARTS):
        module = importlib.import_module(short)
        names = (
            PARTS.get(short)
            or getattr(module, "__all__", None)
            or [
                name
                for name, value in vars(module).items()
                if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
            ]
        )
        things: dict[str, Any] = {}
        for name in sorted(names):
            value = getattr(module, name)
            if inspect.isclass(value):
                things[name] = _class(value)
            elif inspect.isfunction(value):
                things[name] = _said(value)
        out[short] = things
    return json.loads(json.dumps(out))


def test_the_surface_is_the_stored_one():
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    now = surface()
    for part in sorted(stored.keys() | now.keys()):
        assert now.get(part) == stored.get(part), f"{part} changed; see the head of this file"


def test_the_page_on_compatibility_names_what_is_public():
    page = (Path(__file__).parents[2] / "docs" / "compatibility.md").read_text(encoding="utf-8")
    section = page.partition("## What is public")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(emnist_diff(?:_\w+)?(?:\.\w+)*)`", section)) - {"emnist_diff_plugins"}
    handed_out = {name for name, parts in PARTS.items() if set(parts) <= set(emnist_diff.__all__)}
    assert named - {"emnist_diff.config"} == {*MODULES, *PARTS} - handed_out


def test_the_test_sees_a_change(monkeypatch):
    before = surface()
    monkeypatch.setattr("emnist_diff_plugins.spaces.ClassSpace.more", lambda self, name: name, raising=False)
    assert surface()["emnist_diff_plugins.spaces"]["ClassSpace"]["methods"]["more"] == "(self, name)"
    assert surface()["emnist_diff_plugins.spaces"] != before["emnist_diff_plugins.spaces"]


if __name__ == "__main__":
    STORED.write_text(json.dumps(surface(), indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.stdout.write(f"{STORED}\n")
