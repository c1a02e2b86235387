"""Every spelling of the documents means the same component, with the same settings."""

from __future__ import annotations

import json

import attrs
import pytest

from emnist_diff import ForceConfig
from emnist_diff.components import make
from emnist_diff.config import ComponentConfig
from emnist_diff.discovery import installed
from emnist_diff.errors import UnknownName
from emnist_diff.records import DriftSpec, ForceSpec
from emnist_diff.schedules import Constant
from emnist_diff_plugins.parse import component
from emnist_diff_plugins.runconfig import normalised, resolve, to_dict

PAIR = {"target": "A", "secondary": "B"}
DOCUMENT = {"class_a": "A", "class_b": "B"}
FORCES = {
    "none": [{"name": "force_none"}, {"name": "default"}],
    "drift_noise": [{"name": "force_drift_noise"}, {"name": "emnist-diff:drift_noise", "sigma": 0.02}],
    "attract_class": [
        {"name": "force_attract_class"},
        {"name": "attract", "target": "own"},
        {"name": "force_attract", "target_class": "own", "strength": 1},
    ],
    "repel_class": [{"name": "force_repel_class", "target_class": "own"}, {"name": "repel", "weight": 1}],
}
SETTINGS = [
    ("attract_class", {"target": "3"}, [{"target": 3}, {"target_class": "3"}, {"target_class": 3}]),
    ("blend_two", PAIR, [DOCUMENT, {"a": "A", "b": "B"}, {"target_class": "A", "secondary": "B"}]),
    ("blend_two", {**PAIR, "alpha": 0.3}, [{**DOCUMENT, "blend_alpha": 0.3}]),
    ("subtract_two", PAIR, [{"pos_class": "A", "neg_class": "B"}, {"positive": "A", "negative": "B"}]),
    (
        "subtract_two",
        {**PAIR, "w_pos": 3, "w_neg": 2},
        [{"pos_class": "A", "neg_class": "B", "strength": 3, "neg_strength": 2}],
    ),
    ("weighted_multi", {"weights": {"A": 1}}, [{"class_weights": {"A": 1}}, {"classes": {"A": 1.0}}]),
    ("switch_two", {**PAIR, "boundary": 0.25}, [{**DOCUMENT, "switch_t": 0.25}]),
    ("cycle_classes", {"class_list": ["A", "1"], "period": 4}, [{"classes": ["A", 1], "period": 4}]),
    ("cycle_classes", {}, [{"class_list": "all"}, {"class_list": None}]),
    ("oscillate_two", {**PAIR, "frequency": 0.05}, [{**DOCUMENT, "frequency": 0.05}]),
    ("oscillate_two", {**PAIR, "amp": 2}, [{**PAIR, "strength": 2}, {**PAIR, "amplitude": 2}]),
    ("ramp_attract", {"target": "A", "start": 1, "strength": 9}, [{"target_class": "A", "start_w": 1, "end_w": 9}]),
    (
        "user_schedule",
        {"schedule": [[0, {"A": 1}], [1, {"t": 2}]]},
        [
            {"schedule": [{"at": 0, "A": 1}, {"at": 1, "t": 2}]},
            {"schedule": [{"frac": 1, "weights": {"t": 2}}, {"t": 0, "weights": {"A": 1}}]},
        ],
    ),
    ("user_custom", {"function": "operator:sub"}, [{"fn": "operator:sub"}, {"custom_fn": "operator:sub"}]),
]
DRIFTS = [
    ("none", {}, [("drift_none", {})]),
    ("default", {"noise_scale": 0.1}, [("drift_default", {"scale": 0.1}), ("drift_noise", {"noise_scale": 0.1})]),
    ("time_scaled", {}, [("drift_time_scaled", {}), ("late_noise", {})]),
    ("inverse_time_scaled", {}, [("drift_inverse_time_scaled", {}), ("early_noise", {})]),
    ("oscillatory", {}, [("drift_oscillatory", {"cycles": 1})]),
    ("decay_only", {"decay": 0.1}, [("drift_decay_only", {"decay": 0.1}), ("drift_decay", {"decay": 0.1})]),
    ("clamp", {}, [("drift_clamp", {"min_val": -1, "max_val": 1})]),
    ("normalize", {}, [("drift_normalize", {"by": "std"})]),
    ("user_custom", {"function": "operator:sub"}, [("drift_user_custom", {"custom_fn": "operator:sub"})]),
]


def made(kind, data):
    layer = normalised({"forces": [data]})["forces"][0]
    asked = ComponentConfig(layer["name"], layer.get("weight", 1.0), layer.get("settings", {}))
    return make(installed(), kind, asked).object


@pytest.mark.parametrize("name", FORCES)
def test_names_of_forces(name):
    assert all(made(ForceSpec, spelled) == made(ForceSpec, name) for spelled in FORCES[name])


@pytest.mark.parametrize(("name", "canonical", "spelled"), SETTINGS)
def test_settings_of_forces(name, canonical, spelled):
    wanted = made(ForceSpec, {"name": name, **canonical})
    for settings in spelled:
        assert made(ForceSpec, {"name": f"force_{name}", **settings}) == wanted
        assert made(ForceSpec, {"name": name, "cfg": settings}) == wanted
        assert made(ForceSpec, {"name": name, "settings": settings}) == wanted


@pytest.mark.parametrize(("name", "canonical", "spelled"), DRIFTS)
def test_names_and_settings_of_drifts(name, canonical, spelled):
    for other, settings in spelled:
        assert made(DriftSpec, {"name": other, **settings}) == made(DriftSpec, {"name": name, **canonical})


DOCUMENTED = [
    {"name": "force_attract_class", "target_class": "A", "weight": 3.0},
    {"name": "force_repel_class", "target_class": "B", "weight": -1.5},
    {"name": "force_blend_two", "class_a": "A", "class_b": "B", "blend_alpha": 0.5},
    {"name": "force_subtract_two", "pos_class": "A", "neg_class": "B", "w_pos": 3.0, "w_neg": 2.0},
    {"name": "force_weighted_multi", "class_weights": {"A": 1.0, "B": 0.5}},
    {"name": "force_switch_two", "class_a": "A", "class_b": "B", "switch_t": 500},
    {"name": "force_cycle_classes", "classes": ["A", "B", "C"], "period": 10},
    {"name": "force_oscillate_two", "class_a": "A", "class_b": "B", "frequency": 0.05},
    {"name": "force_ramp_attract", "target_class": "A", "start_w": 1.0, "end_w": 10.0},
    {"name": "force_user_schedule", "schedule": [{"frac": 0.0, "A": 1.0}, {"frac": 1.0, "B": 1.0}]},
]


def test_a_documented_stack_means_the_same_through_every_door(cli, zoo, run, tmp_path):
    """A negative weight on a repulsion repels, as its name says."""
    wanted = resolve({"forces": DOCUMENTED}).forces
    assert ForceConfig(force_stack=DOCUMENTED).force_stack == wanted
    assert ForceConfig.from_dict({"force_stack": json.loads(json.dumps(DOCUMENTED))}).force_stack == wanted

    (tmp_path / "stack.json").write_text(json.dumps(DOCUMENTED))
    (tmp_path / "run.json").write_text(json.dumps({"force_stack": DOCUMENTED}))
    model = ("run", "--denoiser", "gaussian-mixture:shape=[2],classes=ABCD", "--dry-run", "--total-videos", "2")
    for door in (
        ("--force-stack", json.dumps(DOCUMENTED)),
        ("--force-stack", f"@{tmp_path / 'stack.json'}"),
        ("--config", tmp_path / "run.json"),
    ):
        finished = cli(*model, *door)
        assert finished.code == 0, finished.err
        acting = resolve({"forces": json.loads(finished.out)["config"]["forces"]}).forces
        assert acting == (wanted[0], attrs.evolve(wanted[1], weight=Constant(1.5)), *wanted[2:])

    walked = zoo.walk(run(DOCUMENTED[:2], base="uncond"))
    canonical = [
        {"name": "attract_class", "target": "A", "strength": 3.0},
        {"name": "repel_class", "target": "B", "strength": 1.5},
    ]
    assert walked.prediction == pytest.approx(zoo.integrate(run(canonical, base="uncond")).prediction, abs=1e-5)
    assert [term.name for term in walked.layout.terms] == ["attract_class", "repel_class"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("attract_class:target=B,weight=0.5", {"name": "attract_class", "target": "B", "weight": 0.5}),
        ("attract_class:target=3", {"name": "attract_class", "target": 3}),
        ('blend_two:a="A",b="B"', {"name": "blend_two", "a": "A", "b": "B"}),
        (
            'cycle_classes:class_list=["A","B"],period=2',
            {"name": "cycle_classes", "class_list": ["A", "B"], "period": 2},
        ),
        (
            'attract_class:strength={"kind":"ramp","end":2}',
            {"name": "attract_class", "strength": {"kind": "ramp", "end": 2}},
        ),
        ("emnist-diff:repel_class:target=B", {"name": "emnist-diff:repel_class", "target": "B"}),
        ("user_custom:function=my_zoo:swirl", {"name": "user_custom", "function": "my_zoo:swirl"}),
    ],
)
def test_components_as_typed(text, expected):
    assert component(text, "--force") == expected


# ------------------------------------------------------------------ and back


def toml(value) -> str:
    """A value in TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items() if v is not None) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def read_back(tmp_path, data):
    """A table through TOML, and through JSON."""
    from emnist_diff_plugins.documents import read_file

    (tmp_path / "run.toml").write_text("\n".join(f"{k} = {toml(v)}" for k, v in data.items() if v is not None))
    (tmp_path / "run.json").write_text(json.dumps(data))
    return read_file(tmp_path / "run.toml"), read_file(tmp_path / "run.json")


def assert_round_trip(tmp_path, kind, data, key):
    config = resolve({key: [data]})
    component = make(installed(), kind, getattr(config, key)[0])
    recorded = {**to_dict(config)[key][0], "name": component.name, "settings": component.settings}
    for table in read_back(tmp_path, {key: [recorded]}):
        again = getattr(resolve(table), key)[0]
        remade = make(installed(), kind, again)
        assert remade.object == component.object
        assert (again.weight, again.clip_abs, again.clip_norm) == (
            (asked := getattr(config, key)[0]).weight,
            asked.clip_abs,
            asked.clip_norm,
        )
        assert json.dumps(remade.settings) == json.dumps(component.settings)


def test_forces_round_trip(tmp_path, force, tables):
    for weight in (2, -0.5, *tables.schedules.values()):
        more = {"weight": weight, "clip_abs": 0.5, "clip_norm": 2}
        assert_round_trip(tmp_path, ForceSpec, {**force, **more}, "forces")


def test_drifts_round_trip(tmp_path, drift, tables):
    for weight in (2, *tables.schedules.values()):
        assert_round_trip(tmp_path, DriftSpec, {**drift, "weight": weight}, "drifts")


def test_named_functions_round_trip(tmp_path):
    for name, key in (("user_custom", "function"), ("user_schedule", "schedule"), ("attract_class", "strength")):
        value = {"kind": "function", "name": "operator:sub"} if key == "strength" else "operator:sub"
        assert_round_trip(tmp_path, ForceSpec, {"name": name, key: value}, "forces")
    assert_round_trip(tmp_path, DriftSpec, {"name": "user_custom", "function": "operator:sub"}, "drifts")


def test_numbers_are_recorded_alike_however_they_are_written():
    one, other = (to_dict(resolve({"forces": [{"name": "attract_class", "weight": w}]})) for w in (2, 2.0))
    assert json.dumps(one) == json.dumps(other)
    settings = [
        make(installed(), ForceSpec, ComponentConfig("attract_class", settings={"strength": s})).settings
        for s in ({"kind": "ramp", "end": 2}, {"kind": "ramp", "end": 2.0})
    ]
    assert json.dumps(settings[0]) == json.dumps(settings[1])


def test_what_is_nowhere_in_the_documents_is_unknown():
    for kind, name in ((ForceSpec, "force_"), (ForceSpec, "force_force_attract"), (DriftSpec, "drift_cosine")):
        with pytest.raises(UnknownName):
            make(installed(), kind, ComponentConfig(name))
