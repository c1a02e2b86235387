"""Rules of components as test cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from functools import cache, partial
from typing import Any

from emnist_diff.errors import ConfigError, unknown
from emnist_diff_testing.distributions import cases_of
from emnist_diff_testing.rules import Case, Rule, kit, rules_of

_TELLING = {
    "backend": ("refusal", "evaluator"),
    "codec": ("fitted", "network"),
    "objective": ("timesteps", "rates", "target"),
    "preset": ("expand",),
    "scheduler": ("bind",),
    "sink": ("wants", "commit", "close"),
    "force": ("conditions", "__call__"),
}
"""The methods by which a kind is told; they are looked for in this order, and a drift has none but its call."""


def cases(
    *components: Any,
    kind: str | None = None,
    skip: Collection[str] = (),
    distribution: str | None = None,
    component: str | None = None,
    **bench: Any,
) -> list[Case]:
    """The cases of all rules of all components, each an object or a class.

    kind: of them all; told by their methods when left out.  skip: rules to leave out.  distribution: all that this
    installed distribution offers, or what it calls `component`.  bench: `models` or `folder`, as the check of the kind
    takes them.

    Raises `UnknownName` for a distribution or a rule that is none, `ConfigError` for a component whose kind cannot be
    told.
    """
    out = []
    if distribution is not None:
        out += cases_of(distribution, component, skip)
    labels: Counter[str] = Counter()
    for item in components:
        its = kind or kind_of(item)
        label = (item if isinstance(item, type) else type(item)).__name__
        number, labels[label] = labels[label], labels[label] + 1
        shared = cache(partial(kit(its).bench, item, **bench))
        out += [Case(rule, f"{label}{number or ''}", shared) for rule in chosen(its, skip)]
    return out


def chosen(kind: str, skip: Collection[str]) -> tuple[Rule, ...]:
    """The rules of a kind without those to `skip`. Raises `UnknownName` for one that is none."""
    rules = rules_of(kind)
    for name in skip:
        if name not in {rule.name for rule in rules}:
            raise unknown(f"rule of a {kind}", name, {rule.name for rule in rules})
    return tuple(rule for rule in rules if rule.name not in skip)


def kind_of(component: Any) -> str:
    """The kind of a component, told by its methods. Raises `ConfigError` where they tell nothing."""
    if hasattr(component, "source") or hasattr(component, "predict"):
        return "denoiser"
    for kind, methods in _TELLING.items():
        if all(callable(getattr(component, method, None)) for method in methods):
            return kind
    cls = component if isinstance(component, type) else type(component)
    if "__call__" in dir(cls) and any("__call__" in vars(base) for base in cls.__mro__):
        return "drift"
    raise ConfigError(f"{cls.__name__} has the methods of no kind — use kind=")
