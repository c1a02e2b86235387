"""What does nothing in a whole run is said at its start."""

from __future__ import annotations

import warnings

import pytest

from emnist_diff.discovery import installed
from emnist_diff.errors import EmnistDiffError
from emnist_diff.records import DriftSpec, ForceSpec
from emnist_diff.schedules import Constant, Schedule
from emnist_diff_plugins.forecast import preview
from emnist_diff_plugins.layers import configure
from emnist_diff_testing.drifts import bench as drift_bench
from emnist_diff_testing.forces import bench as force_bench

MIXTURE = {"denoiser": {"name": "gaussian-mixture", "classes": "ABC"}, "steps": 6, "total_videos": 1}
A, B = {"target": "A"}, {"secondary": "B"}
CLOSED = {"kind": "window", "from": 2, "to": 3}

IDLE_FORCES = {
    "weight 0": {"name": "attract_class", "weight": 0},
    "closed window": {"name": "user_custom", "function": lambda predictions, step: step.x, "weight": CLOSED},
    "strength 0": {"name": "attract_class", "strength": 0},
    "strength in a closed window": {"name": "repel_class", "strength": CLOSED},
    "ramp to 0": {"name": "ramp_attract", "strength": 0},
    "weights 0": {"name": "weighted_multi", "weights": {"A": 0, "B": 0}},
    "a class minus itself": {"name": "subtract_two", **A, "secondary": "A"},
    "no noise": {"name": "drift_noise", "sigma": 0},
    "negative noise": {"name": "drift_noise", "sigma": -1},
}
IDLE_DRIFTS = {
    "weight 0": {"name": "clamp", "weight": 0},
    "no noise": {"name": "default", "noise_scale": 0},
    "no noise, on the command line's words": {"name": "late_noise", "scale": 0},
    "waves that pass the steps at 0": {"name": "oscillatory", "cycles": 3},
    "no decay": {"name": "decay_only", "decay": 0},
    "no way": {"name": "normalize", "strength": 0},
}
ACTIVE_FORCES = [{"name": "none"}, {"name": "drift_noise"}, {"name": "attract_class", "strength": {"kind": "ramp"}}]
ACTIVE_DRIFTS = [
    *({"name": name} for name in ("none", "default", "decay_only", "late_noise", "early_noise", "normalize")),
    {"name": "oscillatory", "cycles": 0.5},
    {"name": "default", "noise_scale": 0, "decay": 0.1},
]


def warned(log, **settings):
    log.clear()
    preview(installed(), configure(installed(), {**MIXTURE, **settings})[0])
    return [(entry["event"], entry["name"]) for entry in log if entry["event"].endswith(".unused")]


@pytest.mark.parametrize("asked", IDLE_FORCES.values(), ids=IDLE_FORCES)
def test_idle_forces_are_reported(log, asked):
    assert warned(log, forces=[asked, *ACTIVE_FORCES]) == [("force.unused", asked["name"])]


@pytest.mark.parametrize("asked", IDLE_DRIFTS.values(), ids=IDLE_DRIFTS)
def test_idle_drifts_are_reported(log, asked):
    name = {"late_noise": "time_scaled"}.get(asked["name"], asked["name"])
    assert warned(log, drifts=[asked, *ACTIVE_DRIFTS]) == [("drift.unused", name)]


def test_a_run_too_short_for_a_drift_is_reported(log):
    """Late noise is 0 at the first step, and leaves the last one alone."""
    assert warned(log, drifts=[{"name": "late_noise"}], steps=2) == [("drift.unused", "time_scaled")]
    assert warned(log, drifts=[{"name": "late_noise", "skip_last": False}], steps=2) == []


def test_the_reason_and_the_way_out_are_said(log):
    for settings, reason in (
        ({"strength": 0}, "its settings change nothing at any of the 6 steps"),
        ({"weight": 0}, "its weight is 0 at every step"),
    ):
        warned(log, forces=[{"name": "attract_class", **settings}])
        (entry,) = [entry for entry in log if entry["event"] == "force.unused"]
        assert entry["reason"] == reason
        assert entry["hint"] == "emnist-diff plugins show attract_class --kind force lists its settings"


def benches():
    """Every force and drift that is installed, as it comes, and with each number of its settings at 0."""
    for spec, bench in ((ForceSpec, force_bench), (DriftSpec, drift_bench)):
        for entry in installed().of(spec):
            factory = installed().load(spec, entry.qualified)
            settings = [{}] + [
                {field.name: Constant(0.0) if isinstance(field.default, Schedule) else 0.0}
                for field in getattr(factory, "__attrs_attrs__", ())
                if isinstance(field.default, Schedule | float)
            ]
            for given in settings:
                yield pytest.param(bench, factory, given, id=f"{spec.kind}-{entry.spec.name}-{','.join(given)}")


@pytest.mark.parametrize(("bench", "factory", "given"), list(benches()))
def test_whatever_does_nothing_says_so(bench, factory, given):
    """A component that adds nothing to any step of any model is idle at all of them, whoever wrote it."""
    try:
        component = factory(**given)
    except (EmnistDiffError, TypeError, ValueError):
        return  # needs settings, or refuses 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        calls = [call for _, call in bench(component).calls if call.raised is None]
    kind = "force" if bench is force_bench else "drift"
    acted = [(call.returned if kind == "force" else call.returned - call.like).any() for call in calls]
    if calls and not any(acted) and not type(component).__name__.startswith("No"):
        assert all(call.idle for call in calls)
    assert not any(act for act, call in zip(acted, calls, strict=True) if call.idle)
