"""Configuration: one meaning for every way of saying it, and messages that name key and value."""

from __future__ import annotations

import json
import sys

import attrs
import pytest

from emnist_diff.components import make
from emnist_diff.config import ComponentConfig, RunConfig
from emnist_diff.discovery import installed
from emnist_diff.errors import CheckpointError, ConfigError, UnknownName
from emnist_diff.records import DenoiserSpec, DriftSpec, ForceSpec, SchedulerSpec
from emnist_diff.schedules import Constant
from emnist_diff_plugins.containers import checkpoint
from emnist_diff_plugins.documents import read_file
from emnist_diff_plugins.forms import read_layer
from emnist_diff_plugins.layers import configure
from emnist_diff_plugins.pluginfiles import with_files
from emnist_diff_plugins.runconfig import resolve, to_dict
from emnist_diff_trajectory.identity import canonical_json, fingerprint


def test_a_later_layer_replaces_a_key_as_a_whole():
    low = {"steps": 10, "seed": 1, "forces": [{"name": "attract_class", "target": "B"}], "total_videos": 3}
    high = {"seed": 2, "forces": ["repel_class"]}
    settings = resolve(low, high)
    assert (settings.steps, settings.seed, settings.total_videos) == (10, 2, 3)
    assert settings.forces == (ComponentConfig("repel_class"),)
    assert settings.batch_size == RunConfig().batch_size


def test_command_line_over_file_over_checkpoint_over_default(tmp_path):
    path = tmp_path / "epoch_3.safetensors"
    header = checkpoint.CheckpointHeader(
        family="unet2d",
        classes=("A", "B"),
        recommended={"steps": 77, "guidance_scale": 1.5, "scheduler": {"name": "ddim", "eta": 0.5}},
    )
    checkpoint.save(path, header, {})
    file = {"checkpoint": str(path), "steps": 20, "seed": 5}
    settings, read = configure(installed(), file, {"num_inference_steps": 30})
    assert read.source.recommended == header.recommended
    assert settings.steps == 30  # command line, in another spelling
    assert settings.seed == 5  # file
    assert settings.guidance_scale == 1.5  # checkpoint
    assert settings.scheduler == ComponentConfig("ddim", settings={"eta": 0.5})
    assert settings.total_videos == RunConfig().total_videos  # default
    assert configure(installed(), file)[0].steps == 20
    assert configure(installed(), {"checkpoint": str(path)})[0].steps == 77


def test_a_bad_recommendation_is_the_checkpoints_fault(tmp_path):
    path = tmp_path / "odd.safetensors"
    checkpoint.save(path, checkpoint.CheckpointHeader(family="unet2d", classes=("A",), recommended={"stepps": 1}), {})
    with pytest.raises(CheckpointError, match=r"odd\.safetensors.*'stepps'.*'steps'"):
        configure(installed(), {"checkpoint": str(path)})


def test_an_epoch_is_of_a_named_directory(tmp_path):
    for epoch in (2, 3):
        header = checkpoint.CheckpointHeader(family="unet2d", classes=("A",), recommended={"steps": epoch})
        checkpoint.save(tmp_path / f"net_epoch00{epoch}.safetensors", header, {})
    assert configure(installed(), {"checkpoint": str(tmp_path)}, {"epoch": 2})[0].steps == 2
    with pytest.raises(ConfigError, match="epoch 3: epoch chooses from a directory — name it with --checkpoint"):
        configure(installed(), {"epoch": 3})


def test_checkpoint_and_denoiser_exclude_each_other():
    with pytest.raises(ConfigError, match="exclude each other"):
        configure(installed(), {"checkpoint": "x.safetensors"}, {"denoiser": "gaussian-mixture"})


TOML = """
character = "B"
steps = 25
guidance-scale = 2
base = "uncond"
drifts = ["none", {name = "default", noise_scale = 0.03}]

[scheduler]
name = "ddim"
eta = 0.5

[[forces]]
name = "attract_class"
target = "B"
weight = 0.5
"""
JSON = {
    "character": "B",
    "steps": 25,
    "guidance_scale": 2,
    "base": "uncond",
    "drifts": ["none", {"name": "default", "cfg": {"noise_scale": 0.03}}],
    "scheduler": {"name": "ddim", "settings": {"eta": 0.5}},
    "forces": [{"name": "attract_class", "target": "B", "weight": 0.5}],
}


def test_toml_and_json_mean_the_same(tmp_path):
    (tmp_path / "a.toml").write_text(TOML)
    (tmp_path / "a.json").write_text(json.dumps(JSON))
    one, other = resolve(read_file(tmp_path / "a.toml")), resolve(read_file(tmp_path / "a.json"))
    assert one == other
    assert one.guidance_scale == 2.0
    assert isinstance(one.guidance_scale, float)
    assert one.forces == (ComponentConfig("attract_class", 0.5, {"target": "B"}),)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.toml", "steps = = 3", r"a\.toml.*not valid TOML.*line 1"),
        ("a.json", '{"steps": 3,}', r"a\.json.*not valid JSON.*line 1"),
        ("a.json", "[1, 2]", r"must hold a table of settings, got list"),
        ("a.yaml", "steps: 3", r"must end in \.toml or \.json"),
        ("missing.toml", None, r"missing\.toml.*No such file"),
        ("a.toml", b"\xff\xfe", r"not UTF-8"),
        ("a.json", "[" * 100_000, r"not valid JSON"),
    ],
)
def test_an_unreadable_file_is_named(tmp_path, name, text, message):
    path = tmp_path / name
    if isinstance(text, bytes):
        path.write_bytes(text)
    elif text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_file(path)


STRANGER = """
import attrs
from emnist_diff.hookspecs import hookimpl
from emnist_diff_plugins.contract import FormSpec

@attrs.frozen
class Lines:
    def layer(self, path, registry, checkpoint):
        return {"character": path.read_text().strip()} if path.suffix == ".lines" else None

@hookimpl
def emnist_diff_forms():
    yield FormSpec(name="lines", factory="lines_form:Lines", summary="a class on a line")
"""


def test_a_form_of_a_stranger_reads_files_of_its_own_suffix(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "lines_form", raising=False)
    (tmp_path / "lines_form.py").write_text(STRANGER)
    (tmp_path / "a.lines").write_text("k\n")
    (tmp_path / "a.toml").write_text("steps = 3\n")
    registry = with_files([tmp_path / "lines_form.py"])
    assert read_layer(tmp_path / "a.lines", registry) == {"character": "k"}
    assert read_layer(tmp_path / "a.toml", registry) == {"steps": 3}
    with pytest.raises(ConfigError, match=r"a\.lines' must end in \.toml or \.json"):
        read_layer(tmp_path / "a.lines")


def test_a_directory_is_no_configuration(tmp_path):
    with pytest.raises(ConfigError, match="directory"):
        read_file(tmp_path)


@pytest.mark.parametrize("key", ["stesp", "guidance_scal", "charakter", "total_video"])
def test_an_unknown_key_suggests_the_nearest(key):
    with pytest.raises(UnknownName, match=rf"{key}'.*did you mean"):
        resolve({key: 3})


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"steps": "ten"}, r"steps.*whole number, got 'ten'"),
        ({"steps": 3.0}, r"steps.*whole number, got 3\.0"),
        ({"steps": True}, r"steps.*whole number, got True"),
        ({"steps": 0}, r"steps.*>= 1.*0"),
        ({"total_videos": -1}, r"total_videos.*-1"),
        ({"seed": -1}, r"seed.*-1"),
        ({"seed": 2**63}, r"seed.*9223372036854775808"),
        ({"guidance_scale": True}, r"guidance_scale.*a number, got True"),
        ({"guidance_scale": float("nan")}, r"guidance_scale.*a finite number, got nan"),
        ({"guidance_scale": 10**400}, r"guidance_scale.*a finite number"),
        ({"guidance_scale": "3"}, r"guidance_scale.*a number, got '3'"),
        ({"character": 1.5}, r"character.*text, got 1\.5"),
        ({"character": True}, r"character.*text, got True"),
        ({"character": ""}, r"character"),
        ({"base": "cgf"}, r"base: expected cfg, cond or uncond, got 'cgf'"),
        ({"base": ["cfg"]}, r"base: expected cfg, cond or uncond, got \['cfg'\]"),
        ({"forces": "attract_class"}, r"forces: expected a list, got 'attract_class'"),
        ({"forces": [3]}, r"forces\[0\].*got 3"),
        ({"forces": [{"target": "A"}]}, r"forces\[0\].*needs a name"),
        ({"forces": [{"name": "a", "cfg": 3}]}, r"cfg must be a table, got 3"),
        ({"forces": [{"name": "a", "k": 1, "cfg": {"k": 2}}]}, r"forces\[0\] 'a': 'k' is set twice"),
        ({"forces": [{"name": "a", "settings": {"k": 1}, "cfg": {"k": 1}}]}, r"'k' is set twice"),
        ({"forces": [{"name": "a", "weight": "x"}]}, r"forces.*weight.*a number, or a schedule.*got 'x'"),
        ({"backend": None}, r"backend"),
    ],
)
def test_a_wrong_value_is_named_with_its_key(layer, message):
    with pytest.raises(ConfigError, match=message) as failed:
        resolve(layer)
    assert "\n" not in str(failed.value)


def test_every_wrong_key_is_reported_at_once():
    with pytest.raises(ConfigError, match=r"(?s)steps.*seed|seed.*steps"):
        resolve({"steps": "x", "seed": "y"})


def test_a_digit_is_a_class_name():
    assert resolve({"character": 1}).character == "1"


@pytest.mark.parametrize(
    ("spelling", "field"),
    [("force_stack", "forces"), ("base_seed", "seed"), ("num_inference_steps", "steps"), ("output_dir", "output")],
)
def test_other_spellings(spelling, field):
    value = {"forces": ["repel_class"], "seed": 4, "steps": 4, "output": "there"}[field]
    assert resolve({spelling: value}) == resolve({field: value}) != resolve({})
    assert resolve({spelling.replace("_", "-"): value}) == resolve({field: value})


def test_saying_a_key_twice_in_one_layer_is_an_error():
    with pytest.raises(ConfigError, match=r"num_inference_steps.*steps"):
        resolve({"steps": 3, "num_inference_steps": 4})
    assert resolve({"steps": 3}, {"num_inference_steps": 4}).steps == 4


def test_force_stacks_as_documents_write_them():
    settings = resolve(
        {
            "force_stack": [
                {"name": "force_attract_class", "target_class": "A", "weight": 3.0},
                {"name": "force_repel_class", "cfg": {"target_class": 1, "strength": 2}},
            ]
        }
    )
    attract, repel = (make(installed(), ForceSpec, force) for force in settings.forces)
    assert (attract.name, attract.settings) == ("attract_class", {"target": "A", "strength": 1.0})
    assert settings.forces[0].weight == Constant(3.0)
    assert (repel.name, repel.settings) == ("repel_class", {"target": "1", "strength": 2.0})


@pytest.mark.parametrize(
    ("kind", "asked", "message"),
    [
        (ForceSpec, {"targt": "A"}, r"force 'attract_class'.*'targt'.*did you mean 'target'"),
        (ForceSpec, {"wieght": 2}, r"force 'attract_class'.*'wieght'.*did you mean 'weight'"),
        (ForceSpec, {"clip_nrom": 2}, r"'clip_nrom'.*did you mean 'clip_norm'"),
        (ForceSpec, {"zzz": 2}, r"known: 'clip_abs', 'clip_norm', 'strength', 'target', 'target_class', 'weight'"),
        (DriftSpec, {"wieght": 2}, r"drift 'default'.*did you mean 'weight'"),
        (SchedulerSpec, {"wieght": 2}, r"scheduler 'ddim'.*'wieght' — known: (?!.*'weight')"),
        (ForceSpec, {"strength": "big"}, r"force 'attract_class'.*strength.*a number, or a schedule.*got 'big'"),
        (ForceSpec, {"strength": False}, r"strength.*a number, or a schedule.*got False"),
        (ForceSpec, {"target": "A", "target_class": "B"}, r"another spelling of 'target'"),
        (SchedulerSpec, {"eta": 2}, r"scheduler 'ddim'.*eta.*2"),
        (SchedulerSpec, {"clip": 1}, r"clip.*true or false, got 1"),
        (SchedulerSpec, {"spacing": "odd"}, r"spacing.*odd"),
        (DriftSpec, {"noise_scale": -1}, r"drift 'default'.*noise_scale.*-1"),
        (DenoiserSpec, {"shape": [0]}, r"gaussian-mixture.*shape"),
        (DenoiserSpec, {"classes": "AA"}, r"gaussian-mixture.*different"),
        (DenoiserSpec, {"classes": "AB", "means": [[[0.0]]]}, r"gaussian-mixture.*means must be 2 classes"),
        (DenoiserSpec, {"beta_schedule": "quadratic"}, r"quadratic"),
    ],
)
def test_wrong_settings_of_a_component_are_named(kind, asked, message):
    name = {
        ForceSpec: "attract_class",
        SchedulerSpec: "ddim",
        DriftSpec: "default",
        DenoiserSpec: "gaussian-mixture",
    }[kind]
    with pytest.raises(ConfigError, match=message):
        make(installed(), kind, ComponentConfig(name, settings=asked))


def test_an_unknown_component_suggests_the_nearest():
    with pytest.raises(UnknownName, match=r"unknown force 'atract_class' — did you mean 'attract_class'"):
        make(installed(), ForceSpec, ComponentConfig("atract_class"))


def test_a_configuration_survives_as_plain_data():
    settings = resolve(JSON, {"sinks": ["hdf5"], "threads": 2, "denoiser": {"name": "gaussian-mixture", "shape": [2]}})
    data = to_dict(settings)
    assert resolve(json.loads(json.dumps(data))) == settings
    assert set(data) == {f.name for f in attrs.fields(RunConfig)}
    assert resolve(to_dict(RunConfig())) == RunConfig()


def test_the_fingerprint_ignores_order_and_nothing_else():
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert fingerprint({"a": [1, 2]}) != fingerprint({"a": [2, 1]})
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json({"a": float("nan")})
