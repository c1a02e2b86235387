"""What steers a run, as curves over its steps: numbers only, no drawing and no network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from emnist_diff.assembly.layout import Layout
from emnist_diff.engine.base import ClipSum
from emnist_diff.engine.plan import WeightedDrift, WeightedForce
from emnist_diff.schedules import Constant, Schedule
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.drifts._noise import NoiseDrift
from emnist_diff_plugins.forces._class_force import ClassForce, Target

_SHOWN = 6
"""Classes of one force that get a curve with a name of their own."""


@attrs.frozen(eq=False)
class Curve:
    """One value a step.

    label: what it is.  values: (steps,).  minor: whether it is one of many, to be drawn faintly.
    """

    label: str
    values: npt.NDArray[np.float64]
    minor: bool = False


@attrs.frozen(eq=False)
class Panel:
    """Curves in one unit, under one title."""

    title: str
    unit: str
    curves: tuple[Curve, ...]


def panels(layout: Layout) -> list[Panel]:
    """The curves of a run, in at most four panels; those without a curve are left out.

    Directions: the factor before each F(c) = e_c − e_null in the prediction, that of the base included.  Weights: of
    everything else, where they are not 1 throughout or the only thing to say of a component.  Forces: what the
    settings of forces say over time.  Drifts: the same of drifts, and the noise that they add.
    """
    steps = [layout.timeline.at(i) for i in range(len(layout.timeline))]
    terms = [term for term in layout.terms if not isinstance(term.force, ClipSum)]
    directions: list[Curve] = []
    weights: list[Curve] = []
    settings: list[Curve] = []
    drifts: list[Curve] = []
    for name, term in zip(_distinguished([t.name for t in terms]), terms, strict=True):
        if isinstance(term.force, ClassForce):
            directions += _directions(name, term, term.force, steps)
            settings += _scheduled(name, term.force, steps, varying=True)
        else:
            found_curves = list(_scheduled(name, term.force, steps))
            weights += _weight(name, term.weight, steps, needed=not found_curves)
            settings += found_curves
    for name, drift in zip(_distinguished([d.name for d in layout.drifts]), layout.drifts, strict=True):
        found_curves = [_noise(name, drift, steps)] if isinstance(drift.drift, NoiseDrift) else []
        found_curves = found_curves or list(_scheduled(name, drift.drift, steps))
        weights += _weight(name, drift.weight, steps, needed=not found_curves)
        drifts += found_curves
    if layout.base.kind != "uncond" or not (directions or weights or settings or drifts):
        directions.insert(0, _base(layout, steps))
    found = (
        Panel(
            "Class directions" + (", the base's included" if layout.base.kind != "uncond" else ""),
            "weight of F(c)",
            tuple(directions),
        ),
        Panel("Weights of other components", "weight", tuple(weights)),
        Panel("Settings of forces", "value", tuple(settings)),
        Panel("Settings of drifts", "value", tuple(drifts)),
    )
    return [panel for panel in found if panel.curves]


def _sampled(label: str, function: Callable[[StepInfo], float], steps: list[StepInfo], minor: bool = False) -> Curve:
    return Curve(label, np.array([function(at) for at in steps], dtype=np.float64), minor)


def _distinguished(names: list[str]) -> list[str]:
    """Names with a number behind those that come more than once."""
    return [f"{name} #{names[: i + 1].count(name)}" if names.count(name) > 1 else name for i, name in enumerate(names)]


def _base(layout: Layout, steps: list[StepInfo]) -> Curve:
    """Every base is e_null + s F(own)."""
    scale = {"cfg": layout.base.guidance_scale, "cond": 1.0, "uncond": 0.0}[layout.base.kind]
    return _sampled(f"base {layout.base.kind} → own", lambda at: scale, steps)


def _name_of(target: Target) -> str:
    return target if isinstance(target, str) else "one class a sample"


def _directions(name: str, term: WeightedForce, force: ClassForce, steps: list[StepInfo]) -> Iterator[Curve]:
    """The weight of each class of a force, in order of first use; where there are many, they share one name."""
    found: dict[Target, npt.NDArray[np.float64]] = {}
    for i, at in enumerate(steps):
        for target, weight in force.weights(at):
            found.setdefault(target, np.zeros(len(steps)))[i] += weight * term.weight(at)
    if len(found) <= _SHOWN:
        yield from (Curve(f"{name} → {_name_of(target)}", values) for target, values in found.items())
        return
    for i, values in enumerate(found.values()):
        yield Curve(f"{name} → {len(found)} classes" if i == 0 else "", values, minor=True)


def _scheduled(name: str, component: Any, steps: list[StepInfo], varying: bool = False) -> Iterator[Curve]:
    """The schedules among a component's settings; with `varying`, only those that are not constant."""
    for field in attrs.fields(type(component)) if attrs.has(type(component)) else ():
        value = getattr(component, field.name)
        items = value.items() if isinstance(value, Mapping) else [("", value)]
        for key, item in items:
            if isinstance(item, Schedule) and not (varying and isinstance(item, Constant)):
                yield _sampled(f"{name}: {field.name}" + (f"[{key}]" if key else ""), item, steps)


def _weight(name: str, weight: Callable[[StepInfo], float], steps: list[StepInfo], needed: bool) -> Iterator[Curve]:
    if needed or weight != Constant(1.0):
        yield _sampled(f"{name}: weight", weight, steps)


def _noise(name: str, drift: WeightedDrift, steps: list[StepInfo]) -> Curve:
    """The standard deviation of the noise that a drift adds; the last step may be left alone."""
    noisy = drift.drift
    assert isinstance(noisy, NoiseDrift)

    def added(at: StepInfo) -> float:
        if noisy.skip_last and at.index == at.steps - 1:
            return 0.0
        return abs(drift.weight(at) * noisy.noise_scale(at) * noisy.shape(at))

    return _sampled(f"{name}: noise added (std)", added, steps)
