"""All that a distribution registers, checked: its records, and each component by the rules of its kind."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

import attrs
import typer

from emnist_diff.discovery import installed
from emnist_diff.errors import EmnistDiffError, PluginError, unknown
from emnist_diff.plugins import Broken, Entry, Registry, load_factory
from emnist_diff.records import API, DenoiserSpec, Spec
from emnist_diff_plugins.capabilities import WEIGHTS
from emnist_diff_testing.rules import Case, Finding, Rule, kinds, kit, rules_of
from emnist_diff_testing.settings import OF_THE_CLASS
from emnist_diff_testing.subjects import Subject, subject
from emnist_diff_trajectory.contract import CommandSpec


@attrs.frozen
class Checked:
    """A component that was checked.

    rules: how many it was held against.  findings: those that it breaks.
    models: how many it was tried on.  refused: those of them that it does not work with, by label, and why.
    """

    entry: Entry[Spec]
    rules: int
    findings: tuple[Finding, ...]
    models: int = 0
    refused: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def broken(self) -> tuple[Finding, ...]:
        """Findings that are more than warnings."""
        return tuple(finding for finding in self.findings if not finding.warning)


@attrs.frozen(eq=False)
class _Record:
    """A record on the bench, with everything else that is installed."""

    entry: Entry[Spec]
    registry: Registry

    @property
    def name(self) -> str:
        return f"{self.entry.spec.kind} {self.entry.qualified}"


def _speaks(bench: _Record) -> Iterator[str]:
    if bench.entry.spec.api > API:
        yield f"it needs plugin api {bench.entry.spec.api}, and this emnist-diff speaks {API}"


def _alone(bench: _Record) -> Iterator[str]:
    spec = bench.entry.spec
    names_of_record = {spec.name, *spec.aliases}
    others = bench.registry.of(type(spec))
    if bench.entry in others:
        others.remove(bench.entry)
    for other in others:
        if shared := names_of_record & {other.spec.name, *other.spec.aliases}:
            yield f"{other.origin} offers {min(shared)!r} too: only {bench.entry.qualified!r} is sure to resolve"


def _loads(bench: _Record) -> Iterator[str]:
    try:
        factory = load_factory(bench.entry)
    except PluginError as error:
        yield str(error)
        return
    documented = inspect.isfunction(factory) and bool(factory.__doc__)
    if isinstance(bench.entry.spec, CommandSpec) and not documented and not isinstance(factory, typer.Typer):
        yield f"{bench.entry.spec.factory} is neither a Typer app nor a function with a docstring"


SPEAKS = Rule(
    "api", ("record",), "the record asks for no newer contract", "this emnist-diff refuses it", False, _speaks
)
LOADS = Rule(
    "loads",
    ("record",),
    "the factory can be imported",
    "a run that asks for it fails; listing imports nothing, so that nobody noticed",
    False,
    _loads,
)
RECORD_RULES = (
    SPEAKS,
    Rule(
        "own_name",
        ("record",),
        "no other distribution offers a component of the kind under this name",
        "a run that asks by the short name is refused until its author says which",
        True,
        _alone,
    ),
    LOADS,
)
"""Of every record, whatever its kind."""

MAKEABLE = Rule(
    "makeable",
    ("record",),
    "the component can be made from its defaults or from an example in its docstring",
    "what the kit cannot make it cannot check, and people copy the example",
    False,
    lambda bench: (),
)


def only(distribution: str, everything: Registry) -> Registry:
    """What one distribution, or one plugin file, registers of everything, by its name.

    Raises `UnknownName` for a distribution that is not there.
    """
    known = {source.distribution: None for source in everything.sources}
    names = [name for name in known if _canonical(name) == _canonical(distribution)]
    if not names:
        raise unknown(
            "distribution", distribution, known, "it is not installed here, or has no emnist_diff entry point"
        )
    return Registry(
        tuple(entry for entry in everything.entries if entry.distribution in names),
        tuple(broken for broken in everything.broken if broken.distribution in names),
        tuple(source for source in everything.sources if source.distribution in names),
        everything.kinds,
    )


def checked(entry: Entry[Spec], registry: Registry) -> Checked:
    """A component checked; `registry` is all that is installed."""
    record = _Record(entry, registry)
    findings = [finding for rule in RECORD_RULES for finding in rule.findings(record)]
    count = len(RECORD_RULES)
    if any(finding.rule in (SPEAKS, LOADS) for finding in findings) or isinstance(entry.spec, CommandSpec):
        return Checked(entry, count, tuple(findings))
    try:
        rules, bench = _on_bench(entry)
        on = bench()
    except Exception as error:  # the component is a stranger's, and may raise anything
        text = str(error) if isinstance(error, EmnistDiffError) else f"{type(error).__name__}: {error}"
        return Checked(entry, count + 1, (*findings, Finding(record.name, MAKEABLE, text)))
    findings += [finding for rule in rules for finding in rule.findings(on)]
    try:
        refused = on.refused() if hasattr(on, "refused") else {}
    except Exception:  # of a stranger, which the rules have said already
        refused = {}
    return Checked(entry, count + 1 + len(rules), tuple(findings), len(getattr(on, "models", ())), refused)


def cases_of(distribution: str, component: str | None, skip: Collection[str]) -> list[Case]:
    """Every rule of every component of a distribution, or of those called `component`, as a test case.

    skip: rules to leave out. Raises as `only`, and `UnknownName` where it has no such component.
    """
    everything = installed()
    found = only(distribution, everything)
    names = {entry.spec.name for entry in found.entries}
    if component is not None and component not in names:
        raise unknown(f"component of {distribution}", component, names)
    out = []
    for entry in found.entries:
        if component not in (None, entry.spec.name):
            continue
        label = f"{entry.spec.kind}-{entry.spec.name}"
        out += [Case(rule, label, partial(_Record, entry, everything)) for rule in RECORD_RULES]
        if entry.spec.api <= API and not isinstance(entry.spec, CommandSpec):
            rules, bench = _on_bench(entry)
            out += [Case(rule, label, cache(bench)) for rule in rules]
    return [case for case in out if case.rule.name not in skip]


def _on_bench(entry: Entry[Spec]) -> tuple[tuple[Rule, ...], Callable[[], Any]]:
    """The rules for the component of a record, and what makes its bench.

    Of a kind that the kit does not know more of, these are the rules for every component; one that needs settings,
    such as a directory, is held to those for its class alone, and so is a family whose weights stand in a file of the
    user's, where no example names one. Raises as `load_factory`.
    """
    kind, factory, name = entry.spec.kind, load_factory(entry), f"{entry.spec.kind} {entry.qualified}"
    if kind in kinds():
        bench = partial(kit(kind).bench, factory, name)
        if kind != DenoiserSpec.kind or not _requires_weights(factory) or _makes(bench):
            return rules_of(kind), bench
        found, names = Subject(kind, name, factory, None), set(OF_THE_CLASS)
    else:
        try:
            found, names = subject(kind, factory, name), {rule.name for rule in rules_of("any")}
        except EmnistDiffError:
            found, names = Subject(kind, name, factory, None), set(OF_THE_CLASS)
    return tuple(rule for rule in rules_of("any") if rule.name in names), lambda: _Settings(found)


def _makes(bench: Callable[[], Any]) -> bool:
    try:
        bench()
    except EmnistDiffError:
        return False
    return True


def _requires_weights(factory: Any) -> bool:
    """Whether a setting without a default is the file that weights are read from."""
    fields = attrs.fields(factory) if attrs.has(factory) else ()
    return any(field.default is attrs.NOTHING and field.metadata.get(WEIGHTS) for field in fields)


@attrs.frozen(eq=False)
class _Settings:
    """A component of a kind that the kit has no rules for: its settings are held against everybody's."""

    subject: Any

    @property
    def name(self) -> str:
        name: str = self.subject.name
        return name


def as_data(distribution: str, components: Sequence[Checked], broken: Sequence[Broken]) -> dict[str, Any]:
    """The outcome of a check, ready for JSON."""
    return {
        "distribution": distribution,
        "ok": bool(components) and not broken and not any(item.broken for item in components),
        "components": [
            {
                "kind": item.entry.spec.kind,
                "name": item.entry.spec.name,
                "version": item.entry.version,
                "factory": item.entry.spec.factory,
                "ok": not item.broken,
                "rules": item.rules,
                "models": item.models,
                "refused": dict(item.refused),
                "findings": [
                    {
                        "rule": finding.rule.name,
                        "says": finding.rule.says,
                        "because": finding.rule.because,
                        "message": finding.message,
                        "warning": finding.warning,
                    }
                    for finding in item.findings
                ],
            }
            for item in components
        ],
        "broken": [attrs.asdict(item) for item in broken],
    }


def _canonical(name: str) -> str:
    """A distribution's name as packaging compares them (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
