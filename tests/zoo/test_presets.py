"""The twelve presets: their stacks, their spellings, and how they are laid under what the user says."""

from __future__ import annotations

import json

import pytest

from emnist_diff.components import make
from emnist_diff.config import ComponentConfig
from emnist_diff.discovery import installed
from emnist_diff.errors import ConfigError, PluginError, UnknownName
from emnist_diff.records import ForceSpec
from emnist_diff_inference import presets
from emnist_diff_plugins.contract import PresetSpec
from emnist_diff_plugins.pluginfiles import with_files
from emnist_diff_plugins.reviews.presets import expanded as expanded_layer
from emnist_diff_plugins.runconfig import normalised, resolve, to_dict

PAIR = {"target": "A", "secondary": "B"}
STACKS = {
    "null_wander": [
        ({}, [{"name": "drift_noise", "sigma": 0.02}]),
        ({"sigma": 0.3}, [{"name": "drift_noise", "sigma": 0.3}]),
    ],
    "attract_class": [
        ({"target": "B"}, [{"name": "attract_class", "target": "B", "strength": 1.0}]),
        ({"target_class": "B", "weight": 2}, [{"name": "attract_class", "target": "B", "strength": 2}]),
    ],
    "repel_class": [
        ({"target": "B"}, [{"name": "repel_class", "target": "B", "strength": 1.0}]),
        ({"target_class": "B", "strength": 2}, [{"name": "repel_class", "target": "B", "strength": 2}]),
    ],
    "blend": [
        ({"a": "A", "b": "B"}, [{"name": "blend_two", **PAIR, "w_a": 1, "w_b": 1}]),
        ({"class_a": "A", "class_b": "B", "w_a": 0.5, "w_b": 2}, [{"name": "blend_two", **PAIR, "w_a": 0.5, "w_b": 2}]),
        ({"a": "A", "b": "B", "alpha": 0.3}, [{"name": "blend_two", **PAIR, "w_a": 0.7, "w_b": 0.3}]),
        ({**PAIR, "blend_alpha": 0.5, "strength": 3}, [{"name": "blend_two", **PAIR, "w_a": 1.5, "w_b": 1.5}]),
    ],
    "subtract": [
        ({"positive": "A", "negative": "B"}, [{"name": "subtract_two", **PAIR, "w_pos": 1, "w_neg": 1}]),
        (
            {"pos_class": "A", "neg_class": "B", "w_pos": 3.0, "w_neg": 2.0},
            [{"name": "subtract_two", **PAIR, "w_pos": 3, "w_neg": 2}],
        ),
    ],
    "oscillate": [
        ({"a": "A", "b": "B"}, [{"name": "oscillate_two", **PAIR, "amp": 1, "cycles": 1}]),
        ({"a": "A", "b": "B", "strength": 2, "cycles": 3}, [{"name": "oscillate_two", **PAIR, "amp": 2, "cycles": 3}]),
        ({"class_a": "A", "class_b": "B", "frequency": 0.05}, [{"name": "oscillate_two", **PAIR, "frequency": 0.05}]),
    ],
    "competitive": [
        ({"a": "A", "b": "B"}, [{"name": "attract_class", "target": c, "strength": 1} for c in "AB"]),
        (
            {"classes": ["A", "B", "D"], "strength": 2},
            [{"name": "attract_class", "target": c, "strength": 2} for c in "ABD"],
        ),
    ],
    "rotating_all": [
        ({}, [{"name": "cycle_classes", "strength": 1, "class_list": list("ABCD")}]),
        ({"class_list": "all", "strength": 2}, [{"name": "cycle_classes", "strength": 2, "class_list": list("ABCD")}]),
        (
            {"classes": ["A", "C"], "period": 2},
            [{"name": "cycle_classes", "strength": 1, "class_list": ["A", "C"], "period": 2}],
        ),
    ],
    "crystallize": [
        ({"a": "A", "b": "B"}, [{"name": "switch_two", **PAIR, "boundary": 0.5, "strength": 1}]),
        (
            {"class_a": "A", "class_b": "B", "switch_t": 0.2, "weight": 2},
            [{"name": "switch_two", **PAIR, "boundary": 0.2, "strength": 2}],
        ),
    ],
    "chaos": [
        ({}, [{"name": "drift_noise", "sigma": 0.1}, {"name": "cycle_classes", "strength": 0.5}]),
        (
            {"sigma": 0.2, "class_list": ["A", "B"], "weight": 1},
            [
                {"name": "drift_noise", "sigma": 0.2},
                {"name": "cycle_classes", "strength": 1, "class_list": ["A", "B"]},
            ],
        ),
    ],
    "ramp_to_class": [
        ({"target": "B"}, [{"name": "ramp_attract", "target": "B", "strength": 1, "power": 2, "start": 0}]),
        (
            {"target_class": "B", "start_weight": 1.0, "end_weight": 10.0, "power": 1},
            [{"name": "ramp_attract", "target": "B", "strength": 10, "power": 1, "start": 1}],
        ),
    ],
    "weighted_multi": [
        ({"weights": {"A": 1, "B": 0.5}}, [{"name": "weighted_multi", "weights": {"A": 1, "B": 0.5}}]),
        ({"class_weights": {"A": 1}}, [{"name": "weighted_multi", "weights": {"A": 1}}]),
        ({"targets": ["A", "B"], "weights": [1, 2]}, [{"name": "weighted_multi", "weights": {"A": 1, "B": 2}}]),
    ],
}
CASES = [(name, settings, stack) for name, cases in STACKS.items() for settings, stack in cases]


def made(components, space):
    """The forces that components stand for, bound to a model's classes: equal where they do the same."""
    forces = [
        make(installed(), ForceSpec, ComponentConfig(c["name"], settings=c["settings"])).object for c in components
    ]
    return [force.bind(space) if hasattr(force, "bind") else force for force in forces]


def test_there_are_twelve():
    assert {e.spec.name for e in installed().of(PresetSpec) if e.distribution == "emnist-diff"} == STACKS.keys()
    assert len(STACKS) == 12


@pytest.mark.parametrize(("name", "settings", "stack"), CASES)
def test_a_preset_is_its_stack(zoo, run, name, settings, stack):
    layer = normalised({"preset": {"name": name, "settings": settings}})
    expanded = expanded_layer(installed(), layer)
    assert expanded["base"] == "uncond"
    assert set(expanded) == {"base", "forces"}
    assert [f["name"] for f in expanded["forces"]] == [f["name"] for f in stack]
    asked = run(stack, base="uncond", steps=5)
    walked, wanted = zoo.walk({**run(steps=5), **layer}), zoo.integrate(asked)
    assert walked.prediction == pytest.approx(wanted.prediction, rel=1e-4, abs=1e-5)
    assert walked.layout.base.kind == "uncond"


@pytest.mark.parametrize(("name", "settings", "stack"), CASES)
def test_a_preset_is_a_function_of_its_stack(zoo, name, settings, stack):
    """The table that it returns is plain, can be written in JSON, and means the same forces."""
    space = zoo.mixture.denoiser().conditions
    returned = getattr(presets, name)(**settings)
    assert json.loads(json.dumps(returned)) == returned
    expanded = expanded_layer(installed(), normalised({"preset": {"name": name, "settings": settings}}))
    through_json = normalised({"forces": json.loads(json.dumps(returned))})
    assert made(through_json["forces"], space) == made(expanded["forces"], space)


def test_preset_functions_as_in_the_documents():
    from emnist_diff_inference.presets import (
        attract_class,
        blend,
        chaos,
        competitive,
        crystallize,
        null_wander,
        oscillate,
        ramp_to_class,
        repel_class,
        rotating_all,
        subtract,
        weighted_multi,
    )

    one = subtract("k", "K", w_pos=3.0, w_neg=2.0)
    assert one == [{"name": "subtract_two", "target": "k", "secondary": "K", "w_pos": 3.0, "w_neg": 2.0}]
    assert blend("a", "e", alpha=0.5)[0]["alpha"] == 0.5
    assert oscillate("0", "O", frequency=0.05)[0]["frequency"] == 0.05
    ramp = ramp_to_class("k", start_weight=1.0, end_weight=10.0)[0]
    assert (ramp["start"], ramp["strength"]) == (1.0, 10.0)
    assert [f["name"] for f in chaos(0.2, ["A"], 0.3)] == ["drift_noise", "cycle_classes"]
    assert null_wander(0.5) == [{"name": "drift_noise", "sigma": 0.5}]
    assert attract_class("B", 2)[0]["strength"] == repel_class("B", 2)[0]["strength"] == 2.0
    assert crystallize("A", "B", 0.3, 2)[0]["boundary"] == 0.3
    assert [f["target"] for f in competitive("A", "B")] == ["A", "B"]
    assert rotating_all(2, ["A", "B"])[0]["class_list"] == ["A", "B"]
    assert weighted_multi({"A": 1})[0]["classes"] == {"A": 1.0}
    assert subtract.__name__ == "subtract"
    assert "F(positive)" in subtract.__doc__
    assert "subtract" in dir(presets)


def test_preset_functions_keep_functions():
    def swell(at):
        return at.frac

    assert presets.attract_class("B", swell)[0]["strength"] is swell
    assert presets.attract_class("B", [{"kind": "ramp"}, swell])[0]["strength"] == [{"kind": "ramp"}, swell]


def test_preset_functions_refuse_what_the_presets_refuse():
    with pytest.raises(UnknownName, match="'w_pso' — did you mean 'w_pos'"):
        presets.subtract("A", "B", w_pso=3)
    with pytest.raises(ConfigError, match="'positive' is set twice"):
        presets.subtract("A", positive="B", negative="C")
    with pytest.raises(ConfigError, match="preset 'null_wander' has 1 settings"):
        presets.null_wander(1, 2)
    with pytest.raises(ConfigError, match=r"preset 'subtract' needs negative \(class to move away from\)"):
        presets.subtract("A")
    with pytest.raises(AttributeError, match="substract"):
        presets.substract  # noqa: B018  # the access is what is tested
    with pytest.raises(ConfigError, match="use a and b, or classes"):
        presets.competitive("A")


# ------------------------------------------------------------------ together


def expanded(**layer):
    return resolve(expanded_layer(installed(), normalised(layer)))


def test_presets_stand_before_the_users_own_forces_and_under_the_users_settings():
    subtract = {"name": "subtract", "positive": "A", "negative": "B"}
    settings = expanded(preset=[subtract, "null_wander"], forces=["attract_class"], guidance_scale=4)
    assert [f.name for f in settings.forces] == ["subtract_two", "drift_noise", "attract_class"]
    assert (settings.base, settings.guidance_scale) == ("uncond", 4)
    assert expanded(preset=subtract, base="cond").base == "cond"
    assert expanded(preset="null_wander", drifts=["default"]).drifts[0].name == "default"


def test_presets_with_prefix_and_distribution():
    for name in ("preset_blend", "emnist-diff:blend"):
        assert expanded(preset={"name": name, "a": "A", "b": "B"}).forces[0].name == "blend_two"


TOML = """
base = "cond"
forces = [{ name = "attract_class", target = "B", weight = { kind = "ramp", end = 2 } }]
drifts = [{ name = "default", noise_scale = 0.1 }]
clip_norm = 3.0
"""


def test_a_preset_in_a_file(tmp_path):
    (tmp_path / "mine.toml").write_text(TOML)
    settings = expanded(preset=str(tmp_path / "mine.toml"), forces=["none"])
    assert [f.name for f in settings.forces] == ["attract_class", "none"]
    assert (settings.base, settings.clip_norm, settings.drifts[0].name) == ("cond", 3.0, "default")

    (tmp_path / "mine.json").write_text(json.dumps({"guidance_scale": 5, "forces": ["none"]}))
    both = expanded(preset=[str(tmp_path / "mine.toml"), str(tmp_path / "mine.json")])
    assert ([f.name for f in both.forces], both.guidance_scale) == (["attract_class", "none"], 5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('preset = "blend"', "names a preset itself"),
        ('forse = ["none"]', "'forse' — did you mean 'forces'"),
        ("base = [", "not valid TOML"),
    ],
)
def test_a_bad_preset_in_a_file(tmp_path, text, message):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        expanded(preset=str(tmp_path / "mine.toml"))
    with pytest.raises(ConfigError, match="is a file and takes no settings"):
        expanded(preset={"name": str(tmp_path / "mine.toml"), "sigma": 1})


def test_presets_that_disagree_need_a_word(tmp_path):
    (tmp_path / "mine.toml").write_text('base = "cond"')
    both = ["null_wander", str(tmp_path / "mine.toml")]
    with pytest.raises(ConfigError, match="says base = 'cond', another says 'uncond' — choose one with --base"):
        expanded(preset=both)
    assert expanded(preset=both, base="cfg").base == "cfg"


@pytest.mark.parametrize(
    ("preset", "error", "message"),
    [
        ("blnd", UnknownName, "unknown preset 'blnd' — did you mean 'blend'"),
        ({"name": "blend", "a": "A"}, ConfigError, r"preset 'blend' needs b \(second class\)$"),
        ({"name": "blend", "a": "A", "b": "B", "alhpa": 1}, UnknownName, "'alhpa' — did you mean 'alpha'"),
        ({"name": "chaos", "sigma": "much"}, ConfigError, "preset 'chaos': sigma: expected a number"),
        ({"name": "chaos", "classes": "AB"}, ConfigError, "classes: expected a list, got 'AB'"),
        ({"name": "blend", "a": "A", "b": "B", "target": "C"}, ConfigError, "'target' repeats"),
        ({"name": "chaos", "clip_abs": 1}, ConfigError, "preset 'chaos' cannot be clipped"),
        (3, ConfigError, "preset: expected a name or a table with a name, got 3"),
    ],
)
def test_what_is_no_preset(preset, error, message):
    with pytest.raises(error, match=message):
        expanded(preset=preset)


# ------------------------------------------------------------------ plugins of one's own

MINE = """
import attrs
from emnist_diff import hookimpl
from emnist_diff.conditions import NULL, OWN
from emnist_diff.records import DriftSpec, ForceSpec
from emnist_diff_plugins.contract import PresetSpec


@attrs.frozen
class Toward:
    share: float = 0.5

    def conditions(self, at):
        return (OWN, NULL)

    def __call__(self, predictions, step):
        return self.share * predictions.direction(OWN)


@attrs.frozen
class Shrink:
    def __call__(self, x, step):
        return 0.9 * x


@attrs.frozen
class Both:
    share: float = 0.25

    def expand(self):
        return {"base": "cond", "forces": [{"name": "toward", "share": self.share}], "drifts": ["shrink"]}


@attrs.frozen
class Bad:
    def expand(self):
        return ["toward"]


def swell(at):
    return at.frac


def swirl(predictions, step):
    return 0.1 * step.x


@hookimpl
def emnist_diff_forces():
    yield ForceSpec(name="toward", factory="my_zoo:Toward", summary="toward the own class")


@hookimpl
def emnist_diff_drifts():
    yield DriftSpec(name="shrink", factory="my_zoo:Shrink", summary="smaller")


@hookimpl
def emnist_diff_presets():
    yield PresetSpec(name="both", factory="my_zoo:Both", summary="both")
    yield PresetSpec(name="bad", factory="my_zoo:Bad", summary="no table")
"""


@pytest.fixture(scope="module")
def my_zoo(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugins") / "my_zoo.py"
    path.write_text(MINE)
    return path


def test_a_plugin_file_with_a_force_a_drift_and_a_preset(my_zoo):
    registry = with_files([my_zoo])
    layer = normalised({"preset": {"name": "both", "share": 0.75}, "drifts": ["drift_shrink"]})
    settings = resolve(expanded_layer(registry, layer))
    assert settings.base == "cond"
    assert (settings.forces[0].name, settings.forces[0].settings) == ("toward", {"share": 0.75})
    assert [d.name for d in settings.drifts] == ["shrink", "drift_shrink"]
    with pytest.raises(PluginError, match=r"preset 'bad' of my_zoo\.py expanded to \['toward'\], not to a table"):
        expanded_layer(registry, {"preset": "bad"})


def test_a_plugin_file_on_the_command_line(cli, my_zoo, tmp_path):
    model = ("--denoiser", "gaussian-mixture:shape=[1,4,4],classes=ABC", "--total-videos", "2", "--steps", "3")
    command = ("run", *model, "--plugin-file", my_zoo, "--sink", "hdf5", "--output", tmp_path)
    stack = '[{"name": "toward"}, {"name": "user_custom", "fn": "my_zoo:swirl", "weight": 0.5}]'
    more = ("--drift", 'shrink:weight={"kind":"function","name":"my_zoo:swell"}', "--preset", "both")
    finished = cli(*command, "--force-stack", stack, *more)
    assert finished.code == 0, finished.err
    data = json.loads(cli(*command, "--force-stack", stack, *more, "--dry-run").out)
    assert [f["name"] for f in data["config"]["forces"]] == ["toward", "toward", "user_custom"]
    assert data["config"]["drifts"][1]["weight"] == {"kind": "function", "name": "my_zoo:swell"}
    assert to_dict(resolve(data["config"])) == data["config"]


def test_crystallize_with_one_class_starts_from_none():
    alone = presets.stack("crystallize", "A", boundary=0.25)
    assert alone == presets.stack("crystallize", "null", "A", boundary=0.25)
    assert alone[0]["secondary"] == "A"
