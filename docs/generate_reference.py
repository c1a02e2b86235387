"""Write the page of hooks, records and contracts from the code: ``python docs/generate_reference.py``."""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import attrs

from emnist_diff import (
    conditions,
    evaluators,
    families,
    frames,
    hookspecs,
    protocols,
    records,
    spaces,
    steps,
    surroundings,
    timeline,
)
from emnist_diff.discovery import installed
from emnist_diff.running import recording
from emnist_diff_plugins import capabilities, contract, variants
from emnist_diff_plugins import spaces as known_spaces
from emnist_diff_trajectory import contract as trajectory_contract

PAGE = Path(__file__).parent / "reference.md"

SAID = re.compile(r"(?:^|  )(?P<names>[a-z]\w*(?:, [a-z]\w*)*): ", re.MULTILINE)
"""How a docstring begins what it says of fields or arguments: at the start of a line, or after two spaces."""

HEAD = """<!-- written by docs/generate_reference.py: edit the docstrings -->
# Hooks, records and contracts

What a plugin is written against, as the code says it. The module of each name is in its heading; all of them are
public, and [compatibility](compatibility.md) says what may change.
"""


def public(module: Any) -> list[tuple[str, Any]]:
    """The classes and functions that a module defines for others, in the order in which it does."""
    own = [
        (name, value)
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
    ]
    return sorted(own, key=lambda item: inspect.getsourcelines(item[1])[1])


def doc(thing: Any) -> str:
    """A docstring as Markdown. Raises `ValueError` where there is none."""
    text = thing.__doc__ and inspect.cleandoc(thing.__doc__)
    if not text or text.startswith(f"{getattr(thing, '__name__', '')}("):  # what a class gets that has none
        raise ValueError(f"{thing.__module__}.{thing.__qualname__} has no docstring")
    text = re.sub(r"(?<![`\w])\*shape", r"\\*shape", text).replace("::\n", ":\n")
    listed = re.sub(SAID, lambda found: f"\n- `{found['names']}`: ".replace(", ", "`, `"), text)
    return re.sub(r"(?m)^(-.*(?:\n(?!-|\n).*)*)\n\n(?=-)", r"\1\n", listed)


def documented(cls: type, field: str) -> bool:
    """Whether the docstring of a class, or of one that it builds on, says what a field is."""
    texts = [inspect.cleandoc(c.__doc__) for c in cls.__mro__ if c is not object and c.__doc__]
    return any(re.search(rf"(?m)(?:^|[\s`]){field}`?(?:, \w+)*:", text) for text in texts)


def signature(function: Any) -> str:
    """``name(a, b=1) -> C``, annotations as they are written, without self."""
    own = inspect.signature(function)
    kept = [p for name, p in own.parameters.items() if name != "self"]
    said = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(own.replace(parameters=kept)))
    return f"{function.__name__}{said}"


def fields(cls: type) -> Iterator[str]:
    """A table of the fields of an attrs class."""
    if not (own := [f for f in attrs.fields(cls) if not f.name.startswith("_") and not f.inherited]):
        return
    yield "| field | type | default |"
    yield "| --- | --- | --- |"
    for field in own:
        default = "required" if field.default is attrs.NOTHING else f"`{_default(field.default)}`"
        written = str(inspect.get_annotations(cls)[field.name])  # others resolve those of fields
        yield f"| `{field.name}` | `{written.replace('|', chr(92) + '|')}` | {default} |"
    yield ""


def _default(value: Any) -> str:
    if isinstance(value, attrs.Factory):  # type: ignore[arg-type]  # a class, whatever its stub says
        made = value.factory
        return "{}" if made is dict else getattr(made, "__qualname__", "").replace("<lambda>", "made anew")
    return getattr(value, "__name__", None) or repr(value)


def members(cls: type) -> Iterator[str]:
    """The methods and properties that a class defines."""
    for name, value in vars(cls).items():
        if name.startswith("_") and name != "__call__":
            continue
        function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if not inspect.isfunction(function):
            continue
        title = name if isinstance(value, property) else signature(function)
        text = "\n  ".join(doc(function).splitlines())
        yield f"- `{title}`\n  {text}"


MODULES = {
    "Records": records,
    "Contracts": protocols,
    "Denoisers": families,
    "Timeline": timeline,
    "Steps": steps,
    "Frames": frames,
    "Evaluators": evaluators,
    "Conditions": conditions,
    "Condition spaces": spaces,
    "Condition spaces of most denoisers": known_spaces,
    "Variants": variants,
    "Around a run": surroundings,
    "Kinds that plugins bring": contract,
    "What components may offer beside": capabilities,
    "Earlier runs": trajectory_contract,
    "Sinks at work": recording,
}
"""The modules on the page, by their titles."""


def hooks() -> dict[str, type[records.Spec]]:
    """Which record each hook yields, those of kinds that the built-in plugins bring among them."""
    return {hookspecs.hook_of(record): record for record in installed().kinds.values()}


def section(name: str, thing: Any) -> Iterator[str]:
    """All that is said of a class or function."""
    yield f"### {name}\n"
    if inspect.isfunction(thing):
        yield f"`{signature(thing)}`\n"
    yield doc(thing) + "\n"
    if inspect.isclass(thing):
        if attrs.has(thing):
            yield from fields(thing)
        if issubclass(thing, enum.Enum):
            yield ", ".join(f"`{member.name}`" for member in thing) + "\n"
        yield from members(thing)
        yield ""


def page() -> str:
    """The whole page."""
    lines = [HEAD, "## Hooks (`emnist_diff.hookspecs`)\n", doc(hookspecs) + "\n"]
    lines += ["### emnist_diff_kinds\n", "Further kinds of components. Yields classes derived from `Spec`.\n"]
    for name, record in hooks().items():
        lines += [f"### {name}\n", f"Yields `{record.__name__}`. {doc(record).partition(f'{chr(10)}{chr(10)}')[0]}\n"]
    for title, module in MODULES.items():
        lines += [f"## {title} (`{module.__name__}`)\n", doc_of_module(module) + "\n"]
        for name, thing in public(module):
            lines += section(name, thing)
        for name, value in vars(module).items():
            if not name.startswith("_") and getattr(value, "__origin__", Callable) is not Callable and get_args(value):
                lines.append(f"`{name}` is one of {', '.join(f'`{a}`' for a in get_args(value))}.\n")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def doc_of_module(module: Any) -> str:
    """The docstring of a module."""
    return inspect.cleandoc(module.__doc__)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
