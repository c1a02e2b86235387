"""Forces: terms added to the prediction (score space); and the schedules that their weights follow."""

from __future__ import annotations

from collections.abc import Iterable

from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import ForceSpec, ScheduleSpec

_FORCES = {
    "none": ("NoForce", "adds nothing", ("default",)),
    "drift_noise": ("DriftNoise", "white noise in score space: sigma · N(0, 1)", ()),
    "attract_class": ("AttractClass", "pulls toward a class: strength · F(target)", ("attract",)),
    "repel_class": ("RepelClass", "pushes away from a class: −strength · F(target)", ("repel",)),
    "blend_two": ("BlendTwo", "mixes two classes: w_a F(a) + w_b F(b)", ()),
    "subtract_two": ("SubtractTwo", "one class minus another: w_pos F(a) − w_neg F(b)", ()),
    "weighted_multi": ("WeightedMulti", "a weighted sum of many classes: Σ w_c F(c)", ()),
    "switch_two": ("SwitchTwo", "one class first, then another", ()),
    "cycle_classes": ("CycleClasses", "one class after another, round and round", ()),
    "oscillate_two": ("OscillateTwo", "two classes take turns: sin φ F(a) + cos φ F(b)", ()),
    "ramp_attract": ("RampAttract", "attraction that grows: strength · frac^power · F(target)", ()),
    "user_schedule": ("UserSchedule", "class weights from a table over time", ()),
    "user_custom": ("UserCustom", "a Python function of predictions and step", ()),
}


@hookimpl
def emnist_diff_forces() -> Iterable[ForceSpec]:
    for name, (cls, summary, aliases) in _FORCES.items():
        yield ForceSpec(name=name, factory=f"{__name__}.{name}:{cls}", summary=summary, aliases=aliases)


_CONSTANT = ScheduleSpec(name="constant", factory="emnist_diff.schedules:Constant", summary="the same at every step")
_CURVES = {
    "ramp": ("Ramp", "a straight line"),
    "cosine": ("Cosine", "half a cosine, flat at both ends"),
    "power": ("Power", "a power of the progress"),
    "sine": ("Sine", "a wave"),
    "window": ("Window", "one value between two positions, another elsewhere"),
    "table": ("Table", "values at positions, with lines or steps between them"),
}
_FUNCTION = ScheduleSpec(
    name="function", factory="emnist_diff_plugins.functions:Function", summary="a Python function", default=True
)


@hookimpl
def emnist_diff_schedules() -> Iterable[ScheduleSpec]:
    yield _CONSTANT
    for name, (cls, summary) in _CURVES.items():
        yield ScheduleSpec(name=name, factory=f"emnist_diff_plugins.curves:{cls}", summary=summary)
    yield _FUNCTION
