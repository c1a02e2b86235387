"""Checking a component against every rule of its kind."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emnist_diff_testing.cases import chosen
from emnist_diff_testing.rules import Finding, RuleBroken, RuleWarning, kit

if TYPE_CHECKING:
    from emnist_diff.protocols import Denoiser
    from emnist_diff_testing.models import Model


def examine(kind: str, component: Any, name: str = "", skip: Collection[str] = (), **bench: Any) -> tuple[Finding, ...]:
    """All that is wrong with a component, in the order of the rules; () where it holds them all.

    kind: one of `rules.kinds`.  component: an object, or a class to make by the first example in its docstring or else
    by its defaults.  name: how findings call it.
    skip: rules to leave out, by name.  bench: what the check of the kind takes besides, e.g. `models`.

    Raises `UnknownName` for a kind or a rule that is none, `ConfigError` for a class that cannot be made.
    """
    rules = chosen(kind, skip)
    on = kit(kind).bench(component, name, **bench)
    return tuple(finding for rule in rules for finding in rule.findings(on))


def judge(findings: Sequence[Finding]) -> None:
    """Warn of what is only expensive, and raise `RuleBroken` with all the rest."""
    for finding in findings:
        if finding.warning:
            warnings.warn(str(finding), RuleWarning, stacklevel=3)
    broken = [finding for finding in findings if not finding.warning]
    if broken:
        raise RuleBroken("\n\n".join(map(str, broken)))


def check_force(force: Any, *, models: Sequence[Model | Denoiser] | None = None, skip: Collection[str] = ()) -> None:
    """Check a force, an object or a class.

    models: what to walk with it, e.g. a `Model` with the variant or the shape that it needs; three exact mixtures and
    a tiny network when left out. It must work with one of them at least.  skip: rules to leave out, by name.

    Raises `RuleBroken` with every rule that it breaks; warns `RuleWarning`. The other checks do so too.
    """
    judge(examine("force", force, skip=skip, models=models))


def check_drift(drift: Any, *, models: Sequence[Model | Denoiser] | None = None, skip: Collection[str] = ()) -> None:
    """Check a drift, an object or a class; the arguments are those of `check_force`."""
    judge(examine("drift", drift, skip=skip, models=models))


def check_scheduler(
    scheduler: Any, *, models: Sequence[Model | Denoiser] | None = None, skip: Collection[str] = ()
) -> None:
    """Check the settings of a scheduler, an object or a class, bound to whichever of the models it can walk; the
    arguments are those of `check_force`."""
    judge(examine("scheduler", scheduler, skip=skip, models=models))


def check_sink(sink: Any, *, folder: Path | None = None, skip: Collection[str] = ()) -> None:
    """Check a sink, an object that is not open yet or a class.

    folder: where it may write while it is checked; a temporary one when left out.
    """
    judge(examine("sink", sink, skip=skip, folder=folder))


def check_denoiser(denoiser: Any, *, skip: Collection[str] = ()) -> None:
    """Check a denoiser that is loaded, or a family: one that needs no weights, or can be trained and is then checked
    with the random weights that training starts from."""
    judge(examine("denoiser", denoiser, skip=skip))


def check_codec(codec: Any, *, skip: Collection[str] = ()) -> None:
    """Check a codec, an object or a class, with the random weights that training starts from."""
    judge(examine("codec", codec, skip=skip))


def check_objective(objective: Any, *, skip: Collection[str] = ()) -> None:
    """Check an objective, an object or a class."""
    judge(examine("objective", objective, skip=skip))


def check_preset(preset: Any, *, skip: Collection[str] = ()) -> None:
    """Check a preset, an object or a class."""
    judge(examine("preset", preset, skip=skip))


def check_backend(
    backend: Any, *, models: Sequence[Model | Denoiser] | None = None, skip: Collection[str] = ()
) -> None:
    """Check a backend, an object or a class, with those of the models that it does not refuse here: an exact mixture
    and a tiny network when left out."""
    judge(examine("backend", backend, skip=skip, models=models))
