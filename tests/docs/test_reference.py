"""The page of hooks, records and contracts is current, and leaves nothing undocumented."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

from emnist_diff import hookspecs

DOCS = Path(__file__).parents[2] / "docs"


def _script() -> Any:
    spec = importlib.util.spec_from_file_location("generate_reference", DOCS / "generate_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


reference = _script()
THINGS = [
    pytest.param(thing, id=f"{module.__name__.rpartition('.')[2]}.{name}")
    for module in reference.MODULES.values()
    for name, thing in reference.public(module)
]


def test_the_page_is_current():
    assert (DOCS / "reference.md").read_text(encoding="utf-8") == reference.page(), "run: docs/generate_reference.py"


def test_every_hook_is_there_with_its_record():
    page = (DOCS / "reference.md").read_text(encoding="utf-8")
    table = (DOCS / "plugins.md").read_text(encoding="utf-8")
    assert reference.hooks().keys() > hookspecs.HOOKS.keys()
    for name, record in reference.hooks().items():
        assert f"### {name}\n" in page
        assert f"| `{name}` | `{record.__name__}` |" in table


@pytest.mark.parametrize("thing", THINGS)
def test_everything_says_what_it_is(thing: Any):
    assert reference.doc(thing)
    if not inspect.isclass(thing):
        return
    for name, value in vars(thing).items():
        function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if inspect.isfunction(function) and not name.startswith("_"):
            assert reference.doc(function), f"{thing.__name__}.{name}"
    if attrs.has(thing):
        for field in attrs.fields(thing):
            if not field.name.startswith("_"):
                assert reference.documented(thing, field.name), f"{thing.__name__}.{field.name} is not described"


def test_what_has_no_docstring_is_noticed():
    @attrs.frozen
    class Silent:
        field: int = 0

    with pytest.raises(ValueError, match="has no docstring"):
        reference.doc(Silent)
    assert not reference.documented(Silent, "field")
