"""Parts of a configuration that do nothing in a whole run, which the log says at its start.

A force or drift whose settings can leave a step alone says so by an optional method ``idle(at: StepInfo) -> bool``:
True where it adds nothing, or hands the state back as it is, whatever states and predictions are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from emnist_diff.assembly.layout import Layout
from emnist_diff.components import call_component
from emnist_diff.events import get_logger
from emnist_diff.protocols import offers
from emnist_diff.surroundings import Review
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.capabilities import Idles
from emnist_diff_plugins.reviews.places import places, steps_of
from emnist_diff_plugins.spaces import listed

log = get_logger()


@attrs.frozen
class IdleComponents(Review):
    """Says which forces, drifts, guides and classes of a run change nothing, and which classes stand for others."""

    def report(self, layout: Layout) -> None:
        """`Review.report`."""
        everywhere, steps = places(layout.timeline), steps_of(layout.timeline)
        for term in layout.terms:
            _report("force", term.name, why_idle(term.label, term.force, term.weight, everywhere))
        for item in layout.drifts:
            _report("drift", item.name, why_idle(item.label, item.drift, item.weight, steps))
        if idle := layout.characters[len(layout.labels) :]:
            log.warning("classes.without_samples", classes=",".join(idle), samples=len(layout.labels))
        if unused := sorted(layout.settings.guides.keys() - {denoiser for denoiser, _ in layout.plan.networks}):
            log.warning("guide.unused", guides=",".join(unused), hint="no condition of this run names it")
        _report_negative(layout)
        _report_merged(layout)


def why_idle(label: str, component: Any, weight: Callable[[StepInfo], float], steps: Sequence[StepInfo]) -> str | None:
    """Why a component does nothing at any of these steps; None where it does something, as far as it says.

    label: how messages call it. Raises `PluginError` for a component whose `idle` raises.
    """
    weighty = [at for at in steps if weight(at) != 0]
    if not weighty:
        return "its weight is 0 at every step"
    if not offers(component, Idles) or not all(call_component(label, component.idle, at) for at in weighty):
        return None
    return f"its settings change nothing at any of the {steps[0].steps} steps"


def _report(kind: str, name: str, reason: str | None) -> None:
    if reason is not None:
        hint = f"emnist-diff plugins show {name} --kind {kind} lists its settings"
        log.warning(f"{kind}.unused", name=name, reason=reason, hint=hint)


def _report_negative(layout: Layout) -> None:
    """Log a negative prompt that no row of the network reads, as at a guidance scale of 1."""
    model = layout.settings.denoiser
    read = any(cond.kind == "null" for conds in layout.plan.evaluations.conditions for cond in conds)
    if model is not None and model.settings.get("negative_prompt") and not read:
        hint = "a --guidance-scale other than 1, or a force that leads from null, reads it"
        log.warning("negative_prompt.unused", hint=hint)


def _report_merged(layout: Layout) -> None:
    """Log the classes that a configuration names and the model's dataset has folded into others."""
    requested, folded = layout.settings.character or "", layout.spaces[""].merged
    names = [requested, *listed(requested)] if isinstance(requested, str) else list(requested)
    for conds in dict.fromkeys(layout.plan.evaluations.conditions):
        names += [name for cond in conds for name in (cond.value, *cond.values)]
    if merged := [name for name in dict.fromkeys(names) if name in folded]:
        log.info("class.merged", requested=",".join(merged), used=",".join(folded[name] for name in merged))
