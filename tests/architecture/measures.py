"""What the budgets count: lines, functions, circles of imports, names of built-ins, attributes asked for by name."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "emnist_diff": ROOT / "core" / "emnist_diff",
    "emnist_diff_plugins": ROOT / "plugins" / "emnist_diff_plugins",
    "emnist_diff_trajectory": ROOT / "plugins" / "emnist_diff_trajectory",
    "emnist_diff_testing": ROOT / "plugins" / "emnist_diff_testing",
    "emnist_diff_inference": ROOT / "plugins" / "emnist_diff_inference",
}
BESIDE_THE_KERNEL = ("running", "__init__", "__main__")
"""Parts of the core that are neither contract, discovery, configuration, engine nor assembly."""

RETIRED = frozenset(
    {"asked", "further", "halfway", "here", "laid", "look", "looked", "looks"}
    | {"made", "mine", "moved", "said", "there", "told", "way", "ways"}
)
"""Words that no identifier is to be or to contain: each says less than the noun or the verb that it stands for."""

_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
"""The words of an identifier, in snake case or camel case."""

_ISOLATED = (ast.Import, ast.ImportFrom)


def files(package: str) -> list[Path]:
    """The Python files of a package."""
    return sorted(PACKAGES[package].rglob("*.py"))


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text())


def physical_lines(path: Path) -> int:
    """All lines of a file."""
    return len(path.read_text().splitlines())


def code_lines(path: Path) -> int:
    """The lines of a file that hold code: no blanks, comments, docstrings or imports."""
    counted: set[int] = set()
    skipped = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type not in skipped:
            counted.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(parsed(path)):
        text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        if text or isinstance(node, _ISOLATED):
            counted -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(counted)


def kernel() -> list[Path]:
    """Contract, discovery, configuration, engine and assembly."""
    top = PACKAGES["emnist_diff"]
    return [p for p in files("emnist_diff") if p.relative_to(top).parts[0].removesuffix(".py") not in BESIDE_THE_KERNEL]


def functions(path: Path) -> Iterator[tuple[str, int, int]]:
    """(name, lines, parameters) of each function; a method's ``self`` or ``cls`` is no parameter."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            count = len([a for a in arguments if a.arg not in ("self", "cls")])
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1, count


def is_command(path: Path, name: str) -> bool:
    """Whether a function is a command, whose signature is the command line's."""
    return "commands" in path.parts and not name.startswith("_")


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports when it runs, wherever in it; what only a type checker reads is left out."""
    unread: set[ast.AST] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            unread.update(part for child in node.body for part in ast.walk(child))
    for node in ast.walk(parsed(path)):
        if node in unread:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_of(path: Path) -> str:
    """The dotted name of a file."""
    package = next(name for name, folder in PACKAGES.items() if path.is_relative_to(folder))
    parts = [package, *path.relative_to(PACKAGES[package]).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def circles() -> list[tuple[str, ...]]:
    """Circles among the modules of all packages, each as the modules that reach one another."""
    modules = {module_of(path): path for package in PACKAGES for path in files(package)}
    graph = {name: {m for m in imports(path) if m in modules and m != name} for name, path in modules.items()}
    return [component for component in _components(graph) if len(component) > 1]


def _components(graph: dict[str, set[str]]) -> list[tuple[str, ...]]:
    """Strongly connected components, by the nodes that reach each other."""
    order: list[str] = []
    seen: set[str] = set()

    def visit(start: str, edges: dict[str, set[str]], out: list[str]) -> None:
        stack = [(start, iter(sorted(edges.get(start, ()))))]
        seen.add(start)
        while stack:
            following = stack[-1][1]
            for other in following:
                if other not in seen:
                    seen.add(other)
                    stack.append((other, iter(sorted(edges.get(other, ())))))
                    break
            else:
                out.append(stack.pop()[0])

    for node in sorted(graph):
        if node not in seen:
            visit(node, graph, order)
    back: dict[str, set[str]] = {}
    for node, others in graph.items():
        for other in others:
            back.setdefault(other, set()).add(node)
    seen.clear()
    found = []
    for node in reversed(order):
        if node not in seen:
            component: list[str] = []
            visit(node, back, component)
            found.append(tuple(sorted(component)))
    return found


def asked_by_name(path: Path) -> Iterator[int]:
    """The lines at which a file asks an object for an attribute by a name that stands there."""
    for node in ast.walk(parsed(path)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) > 1):
            continue
        name = node.args[1].value if isinstance(node.args[1], ast.Constant) else None
        if node.func.id in ("hasattr", "getattr") and isinstance(name, str) and not name.startswith("__"):
            yield node.lineno


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of each string of a file that is no docstring."""
    documentation = {
        node.value
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in documentation:
            yield node.lineno, node.value


def retired_names(path: Path) -> list[str]:
    """The identifiers of a file that are or contain a retired word, as often as they occur."""
    names = [
        token.string
        for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
        if token.type == tokenize.NAME
    ]
    return [name for name in names if RETIRED & {word.lower() for word in _WORDS.findall(name)}]
