"""Rewrite the parts of the pages that the components themselves know: ``python docs/generate_components.py``.

A page says ``<!-- generated: KIND -->``, and everything up to ``<!-- end -->`` is written here: for ``force``,
``drift`` and ``preset`` a section for each built-in component, from its record, its docstring and its fields; for
``preset_table`` one table of the presets, for ``schedule`` one of the kinds of schedules, for ``rules`` those of the
conformance kit.
"""

from __future__ import annotations

import inspect
import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from emnist_diff.discovery import installed
from emnist_diff.plugins import Entry, load_factory
from emnist_diff.records import ScheduleSpec
from emnist_diff.schedules import Schedule
from emnist_diff.structuring import structure
from emnist_diff_testing.rules import kinds, rules_of

HERE = Path(__file__).parent
BLOCK = re.compile(r"(?P<head><!-- generated: (?P<kind>\w+) -->)\n.*?(?P<foot><!-- end -->)", re.DOTALL)
EXAMPLE = re.compile(r"^Example: ``(?P<options>.*)``$", re.MULTILINE)
TYPES = {
    "Target": "class",
    "Schedule": "number or schedule",
    "float": "number",
    "int": "whole number",
    "bool": "true or false",
    "str": "text",
    "tuple[str, ...]": "list of classes",
    "tuple[str, ...] | Literal['all']": "list of classes, or `all`",
    "tuple[Target, ...]": "list of classes",
    "Callable[..., Any]": "function",
    "Weights": "table: class → number or schedule",
    "By": "fraction, timestep or sigma",
    "Mapping[str, Schedule]": "table: class → number or schedule",
    "dict[str, Schedule]": "table: class → number or schedule",
    "tuple[tuple[float, float], ...]": "list of pairs",
    "Any": "see above",
}


def example(factory: type) -> str:
    """The options of a component's example. Raises `ValueError` for a docstring without one."""
    found = EXAMPLE.search(inspect.getdoc(factory) or "")
    if found is None:
        raise ValueError(f"{factory.__qualname__}: no line 'Example: ``…``' in the docstring")
    return found["options"]


def type_name(factory: type, field: Any) -> str:
    """A field's type as people say it, from the annotation as it is written."""
    written = (inspect.get_annotations(cls).get(field.name) for cls in factory.__mro__)
    said = str(next(annotation for annotation in written if annotation is not None))
    if said.startswith("Literal["):
        return " or ".join(f"`{word.strip().strip(chr(34))}`" for word in said[8:-1].split(","))
    return TYPES.get(said.removesuffix(" | None"), said)


def default(field: Any) -> str:
    """A field's default as one would write it in a file."""
    if field.default is attrs.NOTHING:
        return "required"
    value = field.default.to_data() if isinstance(field.default, Schedule) else field.default
    if value is None:
        return "—"
    return f"{value:g}" if isinstance(value, float) else f"`{value}`" if isinstance(value, str) else json.dumps(value)


def row(*cells: str) -> str:
    """A row of a Markdown table, in which a bar within a cell is no border."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def settings(factory: type) -> Iterator[str]:
    """A table of fields."""
    fields = [f for f in attrs.fields(factory) if f.init]
    if not fields:
        yield "No settings."
        return
    yield "| setting | value | default | meaning | also spelled |"
    yield "| --- | --- | --- | --- | --- |"
    for field in fields:
        key = field.metadata.get("key") or field.name
        also = ", ".join(f"`{alias}`" for alias in field.metadata.get("aliases", ()))
        yield row(f"`{key}`", type_name(factory, field), default(field), field.metadata.get("help", ""), also)


def section(entry: Entry) -> Iterator[str]:
    """One component."""
    factory = load_factory(entry)
    assert isinstance(factory, type)
    options = example(factory)
    text = EXAMPLE.sub("", inspect.getdoc(factory) or "").strip()
    also = ", also called " + ", ".join(f"`{a}`" for a in entry.spec.aliases) if entry.spec.aliases else ""
    yield f"### {entry.spec.name}\n"
    yield f"*{entry.spec.summary}*{also}\n"
    yield f"{text}\n"
    if entry.spec.kind == "preset":
        yield f"Base and forces: {_stands_for(factory, options)}.\n"
    yield f"```bash\nemnist-diff run {options}\n```\n"
    yield from settings(factory)
    yield ""


def _stands_for(factory: Any, options: str) -> str:
    """What a preset's example expands to."""
    words = shlex.split(options)
    said = json.loads(words[words.index("--preset-args") + 1]) if "--preset-args" in words else {}
    expanded = structure(said, factory, "preset").expand()
    forces = ", ".join(f"`{item['name']}`" for item in expanded["forces"])
    return f"`{expanded['base']}`; {forces}"


def preset_table() -> Iterator[str]:
    """One row a preset: formula, what it stands for, and settings with every spelling."""
    yield "| preset | prediction | base and forces | settings, with other spellings |"
    yield "| --- | --- | --- | --- |"
    for entry in _built_in("preset"):
        factory = load_factory(entry)
        assert isinstance(factory, type)
        formula = (inspect.getdoc(factory) or "").split("\n\n")[0].replace("\n", " ").rstrip(".")
        spellings = "; ".join(
            " = ".join(f"`{name}`" for name in (f.name, *f.metadata.get("aliases", ()))) for f in attrs.fields(factory)
        )
        yield row(f"`{entry.spec.name}`", formula, _stands_for(factory, example(factory)), spellings)


def schedules() -> Iterator[str]:
    """A table of the kinds of schedules."""
    yield "| kind | value | keys, with defaults |"
    yield "| --- | --- | --- |"
    offered = [e for e in installed().entries if isinstance(e.spec, ScheduleSpec) and e.distribution == "emnist-diff"]
    for kind, cls in {e.spec.name: load_factory(e) for e in offered}.items():
        keys = ", ".join(
            f"`{field.metadata.get('key') or field.name}`" + _key_default(field) for field in attrs.fields(cls)
        )
        text = " ".join((inspect.getdoc(cls) or "").split()).replace("`from_`", "`from`")
        yield row(f"`{kind}`", text, keys)


def rules() -> Iterator[str]:
    """A table of the rules for every component, and one for each kind."""
    for kind in ("any", *kinds()):
        yield f"### {'Every component' if kind == 'any' else kind.capitalize() + 's'}\n"
        yield "| rule | what must hold | why |"
        yield "| --- | --- | --- |"
        for rule in rules_of(kind):
            if kind in rule.kinds:
                warning = " (warning)" if rule.warning else ""
                yield row(f"`{rule.name}`{warning}", rule.says, rule.because)
        yield ""


def _key_default(field: Any) -> str:
    if field.default is attrs.NOTHING:
        return ""
    said = default(field)
    return "" if said == "—" else f" ({said})"


def generated(kind: str) -> str:
    """What stands between the marks."""
    if kind == "schedule":
        return "\n".join(schedules()) + "\n"
    if kind == "rules":
        return "\n".join(rules())
    if kind == "preset_table":
        return "\n".join(preset_table()) + "\n"
    return "\n".join(line for entry in _built_in(kind) for line in section(entry))


def _built_in(kind: str) -> list[Entry]:
    return [e for e in installed().of(installed().kinds[kind]) if e.distribution == "emnist-diff"]


def updated(page: str) -> str:
    """The page's text with every generated part as it is now."""
    return BLOCK.sub(lambda m: f"{m['head']}\n\n{generated(m['kind'])}\n{m['foot']}", page)


def main() -> int:
    for path in sorted(HERE.glob("*.md")):
        before = path.read_text(encoding="utf-8")
        after = updated(before)
        if after != before:
            path.write_text(after, encoding="utf-8")
            print(f"rewrote {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
