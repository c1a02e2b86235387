"""The zoo on the analytic mixture, and an independent float64 integration of the same run.

A run is plain data, the keys of a configuration file: `Zoo.walk` gives it to the engine, `Zoo.integrate` to NumPy. What
they share is the noise, and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs
import numpy as np
import pytest
import structlog
import torch
from hypothesis import strategies as st

from emnist_diff.assembly.layout import Layout, lay_out
from emnist_diff.components import make
from emnist_diff.conditions import named
from emnist_diff.discovery import installed
from emnist_diff.engine.noise import INITIAL, batch_normal
from emnist_diff.engine.state import Batch
from emnist_diff.engine.walk import walk
from emnist_diff.frames import FIELDS
from emnist_diff.records import SchedulerSpec
from emnist_diff.spaces import ConditionSpace
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture
from emnist_diff_plugins.reviews import presets
from emnist_diff_plugins.runconfig import normalised, resolve

Run = Mapping[str, Any]


def swirl(predictions, step):
    """A force of one's own: 0.3 F(B) − 0.05 x."""
    return 0.3 * predictions.direction(named("B")) - 0.05 * step.x


def shake(x, step):
    """A drift of one's own: 0.99 x + 0.02 N."""
    return 0.99 * x + 0.02 * step.noise()


def weigh(step, steps):
    """A schedule of classes of one's own."""
    return {"A": 1.0 - step / steps, "C": 0.5}


CUSTOM = {"swirl": swirl, "shake": shake, "weigh": weigh}


@attrs.frozen(eq=False)
class Walk:
    """A walk, step by step: states x and predictions (steps, B, D), contributions of each force (forces, steps, B, D),
    and where it ended (B, D). float64 arrays of what was computed."""

    x: np.ndarray
    prediction: np.ndarray
    base: np.ndarray
    forces: np.ndarray
    end: np.ndarray
    rows: int = 0
    layout: Layout | None = None
    exact: tuple[Any, ...] = ()


class Counting:
    """A denoiser that counts its rows."""

    def __init__(self, inner):
        self.inner = inner
        self.rows: list[int] = []

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def predict(self, x, t, conds):
        self.rows += conds.index.tolist()
        return self.inner.predict(x, t, conds)


class IllConditioned(Exception):
    """A state is nearly the same everywhere, after a clamp say: dividing by its deviation shows float32's rounding."""


@attrs.frozen
class Zoo:
    """Runs of one mixture."""

    ill_conditioned: ClassVar[type[Exception]] = IllConditioned

    exact: Any
    mixture: GaussianMixture = GaussianMixture(shape=(3, 2), classes="ABCD", components=2, spread=0.5, seed=3)

    # -------------------------------------------------------------- the engine

    def layout(self, run: Run, space: ConditionSpace | None = None) -> Layout:
        """What the run is laid out to, as a command does before the network is loaded."""
        registry = installed()
        settings = resolve(presets.expanded(registry, normalised({"total_videos": 4, **run})))
        denoiser = self.mixture.denoiser()
        scheduler = make(registry, SchedulerSpec, settings.scheduler).object
        bound = scheduler.bind(denoiser.process, denoiser.prediction_type)
        return lay_out(registry, settings, {"": space or denoiser.conditions}, bound, "scheduler of the zoo")

    def walk(self, run: Run, ids: Sequence[int] = range(3), labels: Sequence[int] | None = None) -> Walk:
        """The run of the samples with these ids; labels as dealt when left out."""
        laid = self.layout(run)
        denoiser = Counting(self.mixture.denoiser())
        engine = laid.engine({"": denoiser}, torch.device("cpu"))
        ids = tuple(ids)
        own = tuple(laid.labels[i] for i in ids) if labels is None else tuple(labels)
        batch = Batch(tuple(range(len(ids))), ids, own, (run.get("seed", 1000),) * len(ids))
        *frames, last = walk(engine, batch, lambda at: frozenset(FIELDS))
        flat = (len(frames), len(ids), -1)

        def stacked(tensors):
            return np.stack([t.numpy() for t in tensors]).astype(np.float64).reshape(flat)

        forces = [stacked([f.group("forces")[k] for f in frames]) for k in range(len(laid.terms))]
        return Walk(
            x=stacked([f["x"] for f in frames]),
            prediction=stacked([f["prediction"] for f in frames]),
            base=stacked([f["base"] for f in frames]),
            forces=np.stack(forces) if forces else np.zeros((0, *flat[:2], frames[0]["x"][0].numel())),
            end=last.x.numpy().astype(np.float64).reshape(len(ids), -1),
            rows=len(denoiser.rows),
            layout=laid,
            exact=(*frames, last),
        )

    # -------------------------------------------------------------- the reference

    def epsilon(self, x: np.ndarray, a: float, name: str) -> np.ndarray:
        """E[eps | x_t] for one class, or for "null"; x is (B, D)."""
        means = self.mixture.mean_array()
        if name != "null":
            means = means[[list(self.mixture.classes).index(name)]]
        return self.exact.mixture_epsilon(x, a, means.reshape(-1, x.shape[1]), self.mixture.spread)

    def integrate(self, run: Run, ids: Sequence[int] = range(3), labels: Sequence[int] | None = None) -> Walk:
        """The same run in float64: short-form components, canonical names."""
        ids, steps, seed = tuple(ids), run["steps"], run.get("seed", 1000)
        labels = (0,) * len(ids) if labels is None else tuple(labels)
        times = np.array([999]) if steps == 1 else np.round(np.arange(1000, 0, -1000 / steps)).astype(int) - 1
        a_at = self.exact.linear_alpha_bar()[times]
        forces, drifts = run.get("forces", []), run.get("drifts", [])
        size = math.prod(self.mixture.shape)

        def noise(step: int, stream: str) -> np.ndarray:
            return batch_normal([seed] * len(ids), ids, step, stream, (size,)).double().numpy()

        x = noise(INITIAL, "init")
        kept: dict[str, list[Any]] = {"x": [], "prediction": [], "base": [], "forces": []}
        for s in range(steps):
            a, b = a_at[s], (a_at[s + 1] if s + 1 < steps else 1.0)
            at = {"s": s, "S": steps, "fraction": s / max(1, steps - 1), "timestep": float(times[s])}
            at["sigma"] = math.sqrt((1 - a) / a)
            null = self.epsilon(x, a, "null")
            own = np.concatenate([self.epsilon(x[[i]], a, self.mixture.classes[k]) for i, k in enumerate(labels)])

            def direction(target, x=x, a=a, null=null, own=own):
                if target == "own":
                    return own - null
                if isinstance(target, str):
                    return self.epsilon(x, a, target) - null
                each = [direction(target[i])[k] for k, i in enumerate(ids)]
                return np.stack(each)

            kind, scale = run.get("base", "cfg"), run.get("guidance_scale", 3.0)
            base = {"uncond": null, "cond": own, "cfg": null + scale * (own - null)}[kind]
            terms, seen = [], {}
            for force in forces:
                name = force["name"]
                stream = f"force.{name}" + (f".{seen[name]}" if name in seen else "")
                seen[name] = seen.get(name, 0) + 1
                term = np.zeros_like(x)
                if name == "drift_noise":
                    term = max(0.0, value(force.get("sigma", 0.02), at)) * noise(s, f"{stream}/")
                elif name == "user_custom":
                    term = 0.3 * direction("B") - 0.05 * x
                else:
                    for target, weight in class_weights(force, at, self.mixture.classes):
                        term = term + weight * direction(target)
                terms.append(clipped(value(force.get("weight", 1.0), at) * term, force))
            total = sum(terms, np.zeros_like(x))
            epsilon = base + clipped(total, run)
            kept["x"].append(x)
            kept["prediction"].append(epsilon)
            kept["base"].append(base)
            kept["forces"].append(terms)
            x0 = (x - math.sqrt(1 - a) * epsilon) / math.sqrt(a)
            eta = 1.0 if run.get("scheduler") == "ddpm" else 0.0
            added = eta**2 * (1 - b) / (1 - a) * (1 - a / b)
            x = math.sqrt(b) * x0 + math.sqrt(max(1 - b - added, 0.0)) * epsilon
            if added > 0:
                x = x + math.sqrt(added) * noise(s, "scheduler/")
            counts: dict[str, int] = {}
            for drift in drifts:
                name = drift["name"]
                stream = f"drift.{name}" + (f".{counts[name]}" if name in counts else "") + "/"
                counts[name] = counts.get(name, 0) + 1
                moved = drifted(drift, x, at, noise(s, stream))
                x = x + value(drift.get("weight", 1.0), at) * (moved - x)
        forces_kept = np.array(kept["forces"])
        return Walk(
            x=np.stack(kept["x"]),
            prediction=np.stack(kept["prediction"]),
            base=np.stack(kept["base"]),
            forces=np.swapaxes(forces_kept, 0, 1) if forces else np.zeros((0, steps, len(ids), size)),
            end=x,
        )

    def assert_exact(self, run: Run, tolerance: float = 1e-5, **more: Any) -> Walk:
        """The engine's walk is the reference's, relative to the largest value of each step."""
        walked, wanted = self.walk(run, **more), self.integrate(run, **more)
        count = len(wanted.forces)
        for name, got, want in (
            ("x", walked.x, wanted.x),
            ("prediction", walked.prediction, wanted.prediction),
            *((f"force {k}", walked.forces[k], wanted.forces[k]) for k in range(count)),
            ("end", walked.end[None], wanted.end[None]),
        ):
            scale = np.abs(wanted.prediction if name.startswith("force") else want).max((1, 2))
            error = np.abs(got - want).max((1, 2)) / np.maximum(scale, 1.0)
            assert error.max() < tolerance, (name, error)
        return walked


def value(schedule: Any, at: Mapping[str, float]) -> float:
    """A schedule's value at a step, from its data."""
    if isinstance(schedule, int | float):
        return float(schedule)
    if isinstance(schedule, list):
        return math.prod(value(item, at) for item in schedule)
    kind = schedule["kind"]
    where = at[schedule.get("by", "fraction")]
    low, high = schedule.get("from", 0.0), schedule.get("to", 1.0)
    if kind == "window":
        inside = min(low, high) <= where <= max(low, high)
        return schedule.get("inside", 1.0) if inside else schedule.get("outside", 0.0)
    if kind == "sine":
        turns = schedule.get("cycles", 1.0) * at["fraction"] + schedule.get("phase", 0.0)
        return schedule.get("offset", 0.0) + schedule.get("amplitude", 1.0) * math.sin(2 * math.pi * turns)
    if kind == "table":
        return float(np.interp(where, *zip(*schedule["points"], strict=True)))
    u = float(np.clip((where - low) / (high - low), 0, 1))
    shape = {"ramp": u, "cosine": (1 - math.cos(math.pi * u)) / 2, "power": u ** schedule.get("power", 2.0)}[kind]
    start, end = schedule.get("start", 0.0), schedule.get("end", 1.0)
    return start + (end - start) * shape


def class_weights(force: Mapping[str, Any], at: Mapping[str, float], classes: Sequence[str]) -> list[tuple[Any, float]]:
    """Targets and weights of a force about classes, by the formulas of the fact sheet."""
    frac, s = at["fraction"], int(at["s"])
    target, second = force.get("target", "own"), force.get("secondary")

    def of(key: str, default: Any) -> float:
        return value(force.get(key, default), at)

    name, strength = force["name"], of("strength", 1.0)
    if name == "attract_class":
        return [(target, strength)]
    if name == "repel_class":
        return [(target, -strength)]
    if name == "blend_two":
        if "alpha" in force:
            return [(target, strength * (1 - of("alpha", 0))), (second, strength * of("alpha", 0))]
        return [(target, of("w_a", force.get("strength", 1.0))), (second, of("w_b", force.get("strength", 1.0)))]
    if name == "subtract_two":
        return [(target, of("w_pos", 1.0)), (second, -of("w_neg", 1.0))]
    if name == "weighted_multi":
        return [(c, value(w, at)) for c, w in force["weights"].items()]
    if name == "switch_two":
        return [(target if frac < force.get("boundary", 0.5) else second, strength)]
    if name == "cycle_classes":
        names = force.get("class_list", list(classes))
        return [(names[s // force.get("period", 1) % len(names)], strength)]
    if name == "oscillate_two":
        angle = 2 * math.pi * (force["frequency"] * s if "frequency" in force else force.get("cycles", 1.0) * frac)
        return [(target, of("amp", 1.0) * math.sin(angle)), (second, of("amp", 1.0) * math.cos(angle))]
    if name == "ramp_attract":
        start, end = force.get("start", 0.0), force.get("strength", 1.0)
        return [(target, start + (end - start) * frac ** force.get("power", 1.0))]
    if name == "user_schedule":
        if callable(force["schedule"]):
            return list(force["schedule"](s, at["S"]).items())
        places = [where for where, _ in force["schedule"]]
        names = {c for _, weights in force["schedule"] for c in weights}
        where = at[force.get("by", "fraction")]
        return [(c, float(np.interp(where, places, [w.get(c, 0.0) for _, w in force["schedule"]]))) for c in names]
    assert name == "none", name
    return []


def clipped(total: np.ndarray, bounds: Mapping[str, Any]) -> np.ndarray:
    """clip_abs, then clip_norm of each sample; (B, D)."""
    if (limit := bounds.get("clip_abs")) is not None:
        total = np.clip(total, -limit, limit)
    if (limit := bounds.get("clip_norm")) is not None:
        norm = np.sqrt((total**2).sum(1, keepdims=True))
        total = np.where(norm > limit, total * limit / np.maximum(norm, 1e-300), total)
    return total


def drifted(drift: Mapping[str, Any], x: np.ndarray, at: Mapping[str, float], noise: np.ndarray) -> np.ndarray:
    """The state after a drift, by the formulas of the fact sheet; (B, D)."""
    name, share = drift["name"], at["s"] / at["S"]
    noisy = name in ("default", "time_scaled", "inverse_time_scaled", "oscillatory")
    if noisy and drift.get("skip_last", True) and at["s"] == at["S"] - 1:
        return x
    scale, decay = value(drift.get("noise_scale", 0.03), at), value(drift.get("decay", 0.0), at)
    if name == "default":
        return x * (1 - decay) + scale * noise
    if name == "decay_only":
        return x * (1 - value(drift.get("decay", 0.01), at))
    if name == "clamp":
        return np.clip(x, drift.get("min_val", -1.0), drift.get("max_val", 1.0))
    if name == "normalize":
        if "target_norm" in drift or drift.get("by") == "norm":
            size, wanted = np.sqrt((x**2).sum(1, keepdims=True)), drift.get("target_norm", drift.get("target", 1.0))
        else:
            size, wanted = np.sqrt(((x - x.mean(1, keepdims=True)) ** 2).mean(1, keepdims=True)), drift.get("target", 1)
        if (size < 0.01 * np.abs(x).max(1, keepdims=True)).any():
            raise IllConditioned
        return x * (1 + drift.get("strength", 1.0) * (wanted / size - 1))
    if name == "user_custom":
        return 0.99 * x + 0.02 * noise
    shapes = {
        "none": 0.0,
        "time_scaled": share,
        "inverse_time_scaled": 1 - share,
        "oscillatory": math.sin(2 * math.pi * drift.get("cycles", 1.0) * share),
    }
    return x + scale * shapes[name] * noise


RAMP = {"kind": "ramp", "start": 0.5, "end": 1.5}
WINDOW = {"kind": "window", "from": 0.25, "to": 0.8}
SCHEDULES = {
    "ramp": RAMP,
    "falling ramp by timestep": {"kind": "ramp", "from": 900, "to": 200, "by": "timestep"},
    "cosine": {"kind": "cosine", "start": 1.2, "end": -0.3},
    "power": {"kind": "power", "end": 1.5, "power": 3},
    "sine": {"kind": "sine", "amplitude": 0.7, "cycles": 2, "phase": 0.1, "offset": 0.4},
    "window": WINDOW,
    "window by sigma": {"kind": "window", "from": 0.5, "to": 20, "by": "sigma", "inside": 0.8, "outside": 0.1},
    "table": {"kind": "table", "points": [[0, 1], [0.4, -0.5], [1, 0.7]]},
    "table above 0": {"kind": "table", "points": [[0, 1], [0.4, 0.2], [1, 0.7]]},
    "window of ramp": [WINDOW, RAMP],
}
SIGNED = ("cosine", "sine", "table")
"""Those that change their sign, which not every component takes."""
DIRECTED = (
    *("attract_class", "repel_class", "ramp_attract", "subtract_two", "default", "time_scaled", "inverse_time_scaled"),
    *("oscillatory", "decay_only", "clamp", "normalize", "none"),
)
"""Components that take weights of at least 0: forces whose name says a direction, and drifts."""

FORCES = {
    "none": {"name": "none"},
    "drift_noise": {"name": "drift_noise", "sigma": 0.1},
    "drift_noise falling below 0": {"name": "drift_noise", "sigma": {"kind": "ramp", "start": 0.2, "end": -0.2}},
    "attract_class": {"name": "attract_class", "target": "B", "strength": 1.5},
    "attract_class own": {"name": "attract_class"},
    "attract_class each": {"name": "attract_class", "target": ["B", "own", "D", "null"]},
    "repel_class": {"name": "repel_class", "target": "C", "strength": 0.7},
    "blend_two": {"name": "blend_two", "target": "B", "secondary": "C", "w_a": 0.3},
    "blend_two alpha": {"name": "blend_two", "target": "B", "secondary": "C", "alpha": 0.25, "strength": 2},
    "subtract_two": {"name": "subtract_two", "target": "B", "secondary": "C", "w_pos": 1.5, "w_neg": 0.5},
    "subtract_two each": {"name": "subtract_two", "target": ["B", "C", "D", "own"], "secondary": "A"},
    "weighted_multi": {"name": "weighted_multi", "weights": {"A": 0.5, "B": RAMP, "D": -0.4, "C": 0}},
    "switch_two": {"name": "switch_two", "target": "B", "secondary": "D", "boundary": 0.4},
    "cycle_classes": {"name": "cycle_classes", "strength": 0.8},
    "cycle_classes list": {"name": "cycle_classes", "class_list": ["C", "A"], "period": 3},
    "oscillate_two": {"name": "oscillate_two", "target": "B", "secondary": "C", "cycles": 1.5, "amp": 0.8},
    "oscillate_two frequency": {"name": "oscillate_two", "target": "B", "secondary": "C", "frequency": 0.05},
    "ramp_attract": {"name": "ramp_attract", "target": "D", "strength": 2, "power": 2},
    "ramp_attract from": {"name": "ramp_attract", "target": "D", "strength": 0.5, "start": 1.5},
    "user_schedule": {"name": "user_schedule", "schedule": [[0, {"A": 1}], [0.5, {"A": 0.5, "B": 1}], [1, {"C": 1}]]},
    "user_schedule timestep": {
        "name": "user_schedule",
        "schedule": [[100, {"B": 1.5}], [900, {"A": 1}]],
        "by": "timestep",
    },
}

DRIFTS = {
    "none": {"name": "none"},
    "default": {"name": "default", "noise_scale": 0.05, "decay": 0.02},
    "default to the end": {"name": "default", "noise_scale": 0.05, "decay": 0.02, "skip_last": False},
    "time_scaled": {"name": "time_scaled", "noise_scale": 0.1},
    "inverse_time_scaled": {"name": "inverse_time_scaled", "noise_scale": RAMP},
    "oscillatory": {"name": "oscillatory", "noise_scale": 0.1, "cycles": 1.5},
    "decay_only": {"name": "decay_only", "decay": {"kind": "ramp", "end": 0.1}},
    "clamp": {"name": "clamp", "min_val": -0.9, "max_val": 0.6},
    "normalize std": {"name": "normalize", "target": 0.8},
    "normalize norm": {"name": "normalize", "by": "norm", "target": 2.0, "strength": 0.5},
    "normalize target_norm": {"name": "normalize", "target_norm": 3.0},
}


def taken(component, weight):
    """The weight, or one like it that the component takes."""
    if component["name"] not in DIRECTED:
        return weight
    if isinstance(weight, float):
        return abs(weight)
    return RAMP if weight in [SCHEDULES[name] for name in SIGNED] else weight


@st.composite
def stacks(draw):
    weights = st.floats(-1, 1).map(lambda w: round(w, 3)) | st.sampled_from(list(SCHEDULES.values()))
    bounds = st.fixed_dictionaries({}, optional={"clip_abs": st.floats(0.1, 2), "clip_norm": st.floats(0.1, 3)})

    def some(table):
        item = st.tuples(st.sampled_from(list(table.values())), weights)
        return [{**thing, "weight": taken(thing, weight)} for thing, weight in draw(st.lists(item, max_size=5))]

    forces = [{**force, **draw(bounds)} for force in some(FORCES)]
    return {
        "steps": draw(st.sampled_from([2, 5, 8])),
        "base": draw(st.sampled_from(["cfg", "cond", "uncond"])),
        "guidance_scale": draw(st.sampled_from([0.0, 1.0, 2.5])),
        "scheduler": draw(st.sampled_from(["ddim", "ddpm"])),
        "seed": draw(st.integers(0, 2**40)),
        "forces": forces,
        "drifts": some(DRIFTS)[:3],
        **draw(bounds),
    }


@attrs.frozen
class Tables:
    """What there is to try, by name, and a strategy of runs with stacks of up to five."""

    forces: Mapping[str, dict[str, Any]] = attrs.field(factory=lambda: FORCES)
    drifts: Mapping[str, dict[str, Any]] = attrs.field(factory=lambda: DRIFTS)
    schedules: Mapping[str, Any] = attrs.field(factory=lambda: SCHEDULES)
    stacks: Any = attrs.field(factory=stacks)
    taken: Any = attrs.field(factory=lambda: taken)


def pytest_generate_tests(metafunc):
    """A test that asks for a ``force``, ``drift`` or ``schedule`` runs on each of the table."""
    for name, table in (("force", FORCES), ("drift", DRIFTS), ("schedule", SCHEDULES)):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, list(table.values()), ids=list(table))


@pytest.fixture(scope="session")
def tables() -> Tables:
    return Tables()


@pytest.fixture(scope="session")
def run() -> Any:
    """A run as plain data."""

    def make(forces=(), drifts=(), **more):
        return {"steps": 9, "guidance_scale": 2.0, "forces": list(forces), "drifts": list(drifts), **more}

    return make


@pytest.fixture(scope="session")
def zoo(exact) -> Zoo:
    return Zoo(exact)


@pytest.fixture(scope="session")
def make_zoo(exact) -> Any:
    """A zoo of another mixture."""
    return lambda **settings: Zoo(exact, GaussianMixture(**settings))


@pytest.fixture(scope="session")
def custom() -> Any:
    """Functions of one's own, by name."""
    return CUSTOM.__getitem__


@pytest.fixture
def log() -> Any:
    """What is logged while a test runs: a list of events."""
    with structlog.testing.capture_logs() as entries:
        yield entries
