"""Drifts: maps of the state after each step (state space)."""

from __future__ import annotations

from collections.abc import Iterable

from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import DriftSpec

_DRIFTS = {
    "none": ("NoDrift", "leaves the state as it is", ()),
    "default": ("DefaultDrift", "decay toward zero, then white noise: x (1 − decay) + noise_scale · N", ("noise",)),
    "time_scaled": ("TimeScaled", "late noise: noise_scale · step/steps · N", ("late_noise",)),
    "inverse_time_scaled": ("InverseTimeScaled", "early noise: noise_scale · (1 − step/steps) · N", ("early_noise",)),
    "oscillatory": ("Oscillatory", "noise that comes and goes: noise_scale · sin(2π cycles step/steps) · N", ()),
    "decay_only": ("DecayOnly", "decay toward zero: x (1 − decay)", ("decay",)),
    "clamp": ("Clamp", "bounds on every element of the state", ()),
    "normalize": ("Normalize", "states of one standard deviation or norm, each sample by itself", ()),
    "user_custom": ("UserCustom", "a Python function of state and step", ()),
}


@hookimpl
def emnist_diff_drifts() -> Iterable[DriftSpec]:
    for name, (cls, summary, aliases) in _DRIFTS.items():
        yield DriftSpec(
            name=name,
            factory=f"{__name__}.{name}:{cls}",
            summary=summary,
            aliases=aliases,
            default=name == "default",  # what `emnist-diff run --drift-scale` alone adds
        )
