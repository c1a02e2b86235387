"""The page on schedulers says what is registered."""

from __future__ import annotations

import importlib.util
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_table_is_current():
    spec = importlib.util.spec_from_file_location("generate_schedulers", DOCS / "generate_schedulers.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    text = (DOCS / "schedulers.md").read_text(encoding="utf-8")
    assert generate.updated(text) == text, "run: python docs/generate_schedulers.py --table"
    assert text.count("| `flow_") == 6


def test_every_scheduler_is_in_the_table(built_in):
    name = built_in.label.partition(",")[0]
    assert f"| `{name}` |" in (DOCS / "schedulers.md").read_text(encoding="utf-8")
