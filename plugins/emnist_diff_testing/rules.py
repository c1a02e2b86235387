"""Rules: named functions that look at a component on a bench and say what is wrong with it."""

from __future__ import annotations

import importlib
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import attrs

from emnist_diff.errors import unknown

_KITS = {
    "force": ("forces", "steering"),
    "drift": ("drifts", "steering"),
    "scheduler": ("schedulers", "timelines", "sampling"),
    "sink": ("sinks", "durability"),
    "denoiser": ("denoisers", "rows", "trainable", "sources"),
    "codec": ("codecs",),
    "objective": ("objectives",),
    "preset": ("presets",),
    "backend": ("backends",),
}
"""The modules with the rules of each kind, that with its bench first; the rules in `settings` are everybody's."""

Test = Callable[[Any], Iterable[str]]
_T = TypeVar("_T", bound=Test)


class RuleBroken(AssertionError):
    """A component does not hold a rule; the message says which, what was seen, and why the rule exists."""


class RuleWarning(UserWarning):
    """A component does something that is allowed but expensive."""


@attrs.frozen
class Rule:
    """What a component must hold.

    name: in lower case, with underscores.  kinds: of the components that it binds; ``any`` for all.
    says: the rule, in one sentence.  because: why it exists.
    warning: whether breaking it is only worth a warning.
    test: yields a line for each way in which the component on a bench breaks the rule.
    """

    name: str
    kinds: tuple[str, ...]
    says: str
    because: str
    warning: bool
    test: Test = attrs.field(eq=False, repr=False)

    def __str__(self) -> str:
        return self.name

    def findings(self, bench: Any) -> tuple[Finding, ...]:
        """What is wrong with the component on `bench`; () where it holds the rule."""
        try:
            return tuple(Finding(bench.name, self, line) for line in self.test(bench))
        except Exception as error:  # a stranger's component may raise anything anywhere
            where = traceback.extract_tb(error.__traceback__)[-1]
            line = f"{type(error).__name__}: {error} ({where.filename}, line {where.lineno})"
            return (Finding(bench.name, self, line),)


@attrs.frozen
class Finding:
    """A rule that a component breaks, and how it was seen."""

    component: str
    rule: Rule
    message: str

    @property
    def warning(self) -> bool:
        """Whether it is only worth a warning."""
        return self.rule.warning

    def __str__(self) -> str:
        return (
            f"{self.component} breaks the rule {self.rule.name}: {self.rule.says}\n"
            f"    {self.message}\n"
            f"    why: {self.rule.because}"
        )


@attrs.define(eq=False)
class Case:
    """One rule of one component; calling it checks.

    label: of the component, unique in its test.
    """

    rule: Rule
    label: str
    _bench: Callable[[], Any]

    def __call__(self) -> None:
        """Raises `RuleBroken` where the rule is broken, and warns `RuleWarning` where it only counsels."""
        __tracebackhide__ = True
        findings = self.rule.findings(self._bench())
        text = "\n\n".join(map(str, findings))
        if findings and self.rule.warning:
            warnings.warn(text, RuleWarning, stacklevel=2)
        elif findings:
            raise RuleBroken(text)

    def __str__(self) -> str:
        return f"{self.label}-{self.rule.name}"


_RULES: dict[tuple[tuple[str, ...], str], Rule] = {}


def rule(kind: str | tuple[str, ...], says: str, because: str, warning: bool = False) -> Callable[[_T], _T]:
    """Make a function, named for it, a rule of a kind of components, of several, or of ``any``."""
    bound = (kind,) if isinstance(kind, str) else kind

    def register(test: _T) -> _T:
        registered = Rule(test.__name__.lstrip("_"), bound, says, because, warning, test)
        _RULES[bound, registered.name] = registered
        return test

    return register


def kinds() -> tuple[str, ...]:
    """The kinds that the kit has rules for."""
    return tuple(_KITS)


def rules_of(kind: str) -> tuple[Rule, ...]:
    """The rules of a kind, those of every component first.

    kind: one of `kinds`, or ``any`` for those alone that hold for every component. Raises `UnknownName` for another.
    """
    if kind not in (*_KITS, "any"):
        raise unknown("kind", kind, (*_KITS, "any"))
    importlib.import_module("emnist_diff_testing.settings")
    for module in _KITS.get(kind, ()):
        importlib.import_module(f"emnist_diff_testing.{module}")
    own = [] if kind == "any" else [found for found in _RULES.values() if kind in found.kinds]
    return (*(found for found in _RULES.values() if "any" in found.kinds), *own)


def kit(kind: str) -> Any:
    """The module with the bench of a kind."""
    return importlib.import_module(f"emnist_diff_testing.{_KITS[kind][0]}")


def first(found: Iterator[str]) -> Iterator[str]:
    """The first of many like findings, and how many more there are."""
    lines = list(found)
    if lines:
        more = f" (and {len(lines) - 1} more like it)" if len(lines) > 1 else ""
        yield lines[0] + more
