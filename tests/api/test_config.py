"""`InferenceConfig`: nothing is lost on the way to plain data and back, and nothing asked for is passed over."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import tensor, zeros

from emnist_diff import (
    CaptureConfig,
    CheckpointInfo,
    DriftConfig,
    EnvironmentConfig,
    ForceConfig,
    InferenceConfig,
    VideoConfig,
    build_scheduler,
    load_checkpoint,
)
from emnist_diff.config import ComponentConfig, RunConfig
from emnist_diff.errors import CheckpointError, ConfigError, UnknownName
from emnist_diff.structuring import aliases
from emnist_diff_inference import documents, mapping
from emnist_diff_inference.config import NESTED
from emnist_diff_plugins.containers import checkpoint
from emnist_diff_plugins.documents import read_file
from emnist_diff_plugins.forms import read_layer
from emnist_diff_plugins.runconfig import resolve, to_dict

NAME = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), min_size=1, max_size=8)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
FLAG = st.booleans()
SCALAR = FLAG | st.integers(-(2**63), 2**63 - 1) | NUMBER | NAME
PLAIN = st.recursive(SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAME, inner, max_size=3))
TABLE = st.dictionaries(NAME, PLAIN, max_size=3)
OPTIONAL_NAME = st.none() | NAME

BOUND = st.none() | st.floats(0, 1e6, exclude_min=True)
WEIGHT = NUMBER | st.builds(lambda end: {"kind": "ramp", "end": end}, NUMBER) | st.just([2, {"kind": "sine"}])
EVERY_FIELD: dict[type, dict[str, st.SearchStrategy[Any]]] = {
    CaptureConfig: {
        "archive_mode": st.sampled_from(["tier1", "tier2"]),
        **dict.fromkeys(("save_latents", "save_pixels", "save_deltas", "save_l2_maps", "save_x_before_after"), FLAG),
        **dict.fromkeys(("save_frames", "save_video", "save_meta"), FLAG),
        "save_every": st.integers(1, 10**6),
        "delta_dtype": st.sampled_from(["float16", "float32"]),
        "active_latent_threshold": st.floats(0, 1e6),
        "active_pixel_threshold": st.floats(0, 255),
        "top_n_coords": st.integers(0, 10**6),
        "latent_format": st.sampled_from(["npy", "pt"]),
        "frame_format": st.sampled_from(["png", "jpg"]),
    },
    VideoConfig: {
        "upscale": st.integers(1, 256),
        "write_video": FLAG,
        "fps": st.integers(1, 1000),
        "codec": NAME,
        "pixel_format": NAME,
    },
    ForceConfig: {
        "guidance_scale": st.none() | NUMBER,
        "base": st.sampled_from([None, "cfg", "cond", "uncond"]),
        "preset": st.just("blend"),
        "preset_args": TABLE,
        "force_stack": st.lists(
            st.builds(ComponentConfig, name=NAME, weight=WEIGHT, settings=TABLE, clip_abs=BOUND, clip_norm=BOUND),
            max_size=3,
        ),
        "global_cfg": TABLE,
        "clip_abs": BOUND,
        "clip_norm": BOUND,
        "guides": st.dictionaries(NAME, NAME, max_size=2),
        "enable_cache": FLAG,
    },
    DriftConfig: {
        "enabled": FLAG,
        "function_name": NAME,
        "noise_scale": st.floats(0, 1e6),
        "decay": st.floats(0, 1),
        "custom_cfg": TABLE,
    },
    EnvironmentConfig: {
        "device": NAME,
        "batch_size": st.integers(1, 10**6),
        "micro_batch": st.none() | st.integers(1, 10**6),
        "backend": st.sampled_from(("auto", "eager")),
        "precision": st.sampled_from(("auto", "fp32", "bf16", "fp16")),
        "cache_root": OPTIONAL_NAME,
        "output_root": st.just("") | NAME,
        "slurm_rank": st.integers(0, 9),
        "slurm_world": st.integers(10, 99),
        "variation": OPTIONAL_NAME,
        "log_dir": st.just("") | NAME,
    },
    InferenceConfig: {
        "character": NAME,
        "total_videos": st.integers(1, 10**6),
        "steps": st.none() | st.integers(1, 10**6),
        "base_seed": st.integers(0, 2**63 - 1),
        "scheduler": OPTIONAL_NAME,
        "eta": st.none() | st.floats(0, 1),
        "checkpoint_path": OPTIONAL_NAME,
        "checkpoint_epoch": st.none() | st.integers(0, 10**6),
        "size_name": OPTIONAL_NAME,
        "split": OPTIONAL_NAME,
        "experiment_name": OPTIONAL_NAME,
        "output_dir": NAME,
    },
}
"""A strategy for every field that is no configuration itself."""


def configs() -> st.SearchStrategy[InferenceConfig]:
    nested = {name: st.builds(kind, **EVERY_FIELD[kind]) for name, kind in NESTED.items()}
    return st.builds(InferenceConfig, **EVERY_FIELD[InferenceConfig], **nested)


def test_the_strategies_leave_no_field_out():
    for kind, strategies in EVERY_FIELD.items():
        fields = {field.name for field in attrs.fields(kind)}
        assert fields - set(NESTED) == set(strategies), kind


@settings(max_examples=40, deadline=None)
@given(configs())
def test_plain_data_loses_nothing(config: InferenceConfig):
    data = config.to_dict()
    assert InferenceConfig.from_dict(data) == config
    assert InferenceConfig.from_dict(json.loads(json.dumps(data, allow_nan=False))) == config
    for name, kind in NESTED.items():
        part = getattr(config, name)
        assert type(part) is kind
        assert kind.from_dict(part.to_dict()) == part


def test_every_setting_of_a_run_has_its_place_but_those_of_the_command_line():
    places = {*mapping.SETTINGS, *mapping.CHECKPOINT, *mapping.WORKER, *mapping.COMPOSED}
    assert places - {"preset"} == {f.name for f in attrs.fields(RunConfig)} - {
        "denoiser", "per_character", "threads", "fsync",
    }  # fmt: skip
    assert set(documents._NESTED) == set(NESTED), "which a file is known by, without torch"


def toml(value: Any) -> str:
    """A value in TOML, None left out: it has no word for it, and None is the default wherever it is allowed."""
    if isinstance(value, dict):
        inner = (f"{json.dumps(k, ensure_ascii=False)} = {toml(v)}" for k, v in value.items() if v is not None)
        return "{" + ", ".join(inner) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return repr(value) if type(value) is float else json.dumps(value, ensure_ascii=False)


@settings(max_examples=40, deadline=None)
@given(configs())
def test_a_toml_file_loses_nothing(tmp_path_factory: pytest.TempPathFactory, config: InferenceConfig):
    path = tmp_path_factory.getbasetemp() / "config.toml"
    lines = (f"{key} = {toml(value)}\n" for key, value in config.to_dict().items() if value is not None)
    path.write_text("".join(lines), encoding="utf-8")
    assert InferenceConfig.from_dict(read_file(path)) == config


def test_what_is_left_out_has_its_default():
    assert InferenceConfig.from_dict({}) == InferenceConfig()
    config = InferenceConfig.from_dict({"seed": 3, "num_inference_steps": 7, "drift": {"enabled": True, "scale": 1}})
    assert config == InferenceConfig(base_seed=3, steps=7, drift=DriftConfig(enabled=True, noise_scale=1.0))


ODD = (
    *(None, True, 0, 1, 2**70, 2.5, float("nan"), "", "x", "1", b"x", [], ["A"], {}, {"a": 1}, Path("x"), object()),
    *(np.int64(5), np.float32(7.5), np.bool_(True), np.str_("npy"), np.array(3), np.arange(3), tensor(4), tensor(0.5)),
)


@pytest.mark.parametrize("kind", EVERY_FIELD)
def test_constructors_take_what_plain_data_may_say_and_nothing_else(kind: Any):
    """In every spelling of every setting, whatever its value."""
    for spelling, name in aliases(kind).items():
        for value in ODD:
            made = []
            data = {spelling: value, **({"preset": "blend"} if spelling == "preset_args" else {})}
            for make in (lambda data: kind(**data), kind.from_dict):
                try:
                    config = make(data)
                except ConfigError as error:
                    made.append(str(error))
                else:
                    assert json.loads(json.dumps(config.to_dict())) == config.to_dict()
                    made.append(config)
            assert made[0] == made[1], (name, value)


def test_values_of_numpy_and_paths_are_plain_ones(tmp_path: Path):
    config = InferenceConfig(
        seed=np.int64(5),
        num_inference_steps=np.int32(7),
        character=np.str_("B"),
        output_dir=tmp_path / "runs",
        force={
            "guidance_scale": np.float32(7.5),
            "force_stack": [{"name": "f", "k": [np.float64(0.5)], "p": tmp_path}],
        },
        drift=DriftConfig(enabled=np.bool_(True), scale=tensor(0.25)),
        capture={"save_every": np.array(3)},
    )
    plain = InferenceConfig(
        base_seed=5,
        steps=7,
        character="B",
        output_dir=str(tmp_path / "runs"),
        force=ForceConfig(guidance_scale=7.5, force_stack=[{"name": "f", "k": [0.5], "p": str(tmp_path)}]),
        drift=DriftConfig(enabled=True, noise_scale=0.25),
        capture=CaptureConfig(save_every=3),
    )
    assert config == plain
    assert json.dumps(config.to_dict()) == json.dumps(plain.to_dict())
    run = RunConfig(
        seed=np.int64(5), num_inference_steps=np.uint8(7), guidance_scale=np.float32(7.5), output=tmp_path,
        guides={"weak": tmp_path / "w"}, forces=(ComponentConfig("f", np.float32(2), {"k": np.int64(1)}),),
    )  # fmt: skip
    said = {
        "seed": 5, "steps": 7, "guidance_scale": 7.5, "output": str(tmp_path),
        "guides": {"weak": str(tmp_path / "w")}, "forces": [{"name": "f", "weight": 2.0, "k": 1}],
    }  # fmt: skip
    assert run == resolve(said) == resolve(scalars_of(said))
    assert json.dumps(to_dict(run)) == json.dumps(to_dict(resolve(said)))


def scalars_of(data: Any) -> Any:
    """The same with numpy's numbers and paths for text."""
    if isinstance(data, dict):
        return {key: scalars_of(value) for key, value in data.items()}
    if isinstance(data, list):
        return [scalars_of(value) for value in data]
    return {int: np.int64, float: np.float32}.get(type(data), lambda same: same)(data)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": "ten"}, r"RunConfig: steps: expected a whole number, got 'ten'"),
        ({"steps": 0}, r"'steps' must be >= 1"),
        ({"seed": 2.5}, "seed: expected a whole number"),
        ({"stesp": 3}, "'stesp' — did you mean 'steps'"),
        ({"base_seed": 3, "seed": 3}, "repeats"),
        ({"precision": "fp8"}, "precision: expected auto, fp32"),
        ({"output": "a\0b"}, "null character"),
    ],
)
def test_a_run_configuration_refuses_on_construction_what_files_may_not_say(settings: Any, message: str):
    with pytest.raises(ConfigError, match=message):
        RunConfig(**settings)
    with pytest.raises(ConfigError):
        resolve(settings)


def test_forces_may_be_written_in_any_form():
    expected = (
        ComponentConfig("attract_class", 2.0, {"target_class": "B"}),
        ComponentConfig("repel_class", 1.0, {"target": "C"}),
        ComponentConfig("attract_class"),
    )
    stack = [
        {"name": "attract_class", "target_class": "B", "weight": 2},
        {"name": "repel_class", "cfg": {"target": "C"}},
        "attract_class",
    ]
    assert ForceConfig(force_stack=stack).force_stack == expected
    assert ForceConfig.from_dict({"force_stack": stack}).force_stack == expected
    assert ForceConfig(force_stack=expected).force_stack == expected


def test_a_configuration_does_not_follow_the_data_it_was_made_from():
    data = {"values": [1, 2]}
    config = ForceConfig(force_stack=[{"name": "f", "cfg": data}], global_cfg=data)
    before = config.to_dict()
    data["values"].append(3)
    assert config.to_dict() == before
    ForceConfig().global_cfg["x"] = 1
    assert ForceConfig().global_cfg == {}


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ({"stps": 3}, UnknownName, r"'stps' — did you mean 'steps'"),
        ({"capture": {"save_evry": 2}}, UnknownName, r"CaptureConfig: 'save_evry' — did you mean 'save_every'"),
        ({"forces": {}}, UnknownName, r"'forces' — did you mean 'force'"),
        ({"capture": 3}, ConfigError, "capture = 3: must be a CaptureConfig, or a table of its settings"),
        ({"steps": "many"}, ConfigError, "steps = 'many': must be a whole number"),
        ({"steps": True}, ConfigError, "steps = True: must be a whole number"),
        ({"seed": 1, "base_seed": 2}, ConfigError, "repeats"),
        ({"force": {"force_stack": "attract_class"}}, ConfigError, "force_stack = 'attract_class': must be a list"),
        ({"force": {"force_stack": [{"weight": 2}]}}, ConfigError, r"force_stack\[0\]: a component needs a name"),
        ({"force": {"force_stack": [{"name": "f", "weight": "x"}]}}, ConfigError, r"\[0\]: weight: .* got 'x'"),
        ({"force": {"global_cfg": []}}, ConfigError, "global_cfg"),
        (["steps"], ConfigError, "expected a table of settings"),
    ],
)
def test_bad_data_is_named(data: Any, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        InferenceConfig.from_dict(data)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: InferenceConfig(steps=0), r"InferenceConfig\.steps = 0: must be a whole number, at least 1"),
        (
            lambda: InferenceConfig(base_seed=2**63),
            "base_seed = 9223372036854775808: must be a whole number, less than 9223372036854775808",
        ),
        (lambda: InferenceConfig(total_videos=2.5), "total_videos = 2.5: must be a whole number"),
        (lambda: InferenceConfig(character=""), "character = ''"),
        (lambda: InferenceConfig(force=3), "force = 3: must be a ForceConfig, or a table of its settings"),
        (lambda: CaptureConfig(delta_dtype="int8"), r"delta_dtype = 'int8': must be 'float16' or 'float32'"),
        (lambda: CaptureConfig(save_latents=1), "save_latents = 1: must be True or False"),
        (lambda: ForceConfig(guidance_scale=float("nan")), "guidance_scale = nan: must be a finite number"),
        (lambda: ForceConfig(force_stack=[{"name": "f", "fn": object()}]), "settings.fn = <object.*plugin"),
        (lambda: ForceConfig(force_stack=[{"name": "f", "fn": dict}]), "settings.fn = <class 'dict'>.*plugin"),
        (lambda: ForceConfig(clip_abs=0.0), r"ForceConfig\.clip_abs = 0\.0: must be a finite number, more than 0"),
        (lambda: ForceConfig(preset_args={"target": "A"}), "preset_args: needs a preset"),
        (lambda: ForceConfig(global_cfg={"a": [float("inf")]}), r"global_cfg\.a\[0\] = inf"),
        (lambda: DriftConfig(decay=1.5), r"DriftConfig\.decay = 1\.5: must be a finite number from 0 to 1"),
        (lambda: EnvironmentConfig(slurm_rank=2, slurm_world=2), "slurm_rank = 2: must be less than slurm_world = 2"),
    ],
)
def test_bad_values_are_named_on_construction(make: Any, message: str):
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_run_configuration_has_the_recommendations_and_what_was_said(mixture_file: Path):
    plain = InferenceConfig(checkpoint_path=mixture_file).to_run_config()
    assert plain == RunConfig(
        checkpoint=str(mixture_file),
        steps=6,
        guidance_scale=1.5,
        scheduler=ComponentConfig("ddim", settings={"eta": 0.25}),
    )
    config = InferenceConfig(
        character="b",
        total_videos=3,
        steps=9,
        base_seed=5,
        scheduler="ddpm",
        output_dir="here",
        experiment_name="first",
        force=ForceConfig(
            guidance_scale=2,
            base="uncond",
            force_stack=[{"name": "force_attract_class", "target_class": "C"}, "repel_class"],
            global_cfg={"target": "A", "strength": 0.5},
        ),
        drift=DriftConfig(enabled=True, custom_cfg={"skip_last": False}),
        env=EnvironmentConfig(
            output_root="/data", device="cpu", batch_size=2, micro_batch=4, cache_root=mixture_file.parent
        ),
    )
    assert config.to_run_config() == RunConfig(
        checkpoint=str(mixture_file),
        character="b",
        total_videos=3,
        steps=9,
        seed=5,
        scheduler=ComponentConfig("ddpm"),
        base="uncond",
        guidance_scale=2.0,
        forces=(
            ComponentConfig("force_attract_class", settings={"strength": 0.5, "target_class": "C"}),
            ComponentConfig("repel_class", settings={"target": "A", "strength": 0.5}),
        ),
        drifts=(ComponentConfig("default", settings={"noise_scale": 0.03, "decay": 0.0, "skip_last": False}),),
        output="/data/here/first",
        device="cpu",
        batch_size=2,
        micro_batch=4,
    )


def test_steps_default_to_no_more_than_the_model_was_trained_with(mixture: CheckpointInfo, tmp_path: Path):
    schedule = attrs.evolve(mixture.header.schedule, train_timesteps=20)
    header = attrs.evolve(mixture.header, recommended={}, schedule=schedule)
    checkpoint.save(tmp_path / "short.safetensors", header, {"nothing": zeros(1)})
    assert InferenceConfig(checkpoint_path=tmp_path / "short.safetensors").to_run_config().steps == 20


def test_a_bad_recommendation_is_the_checkpoints_fault(mixture: CheckpointInfo, tmp_path: Path):
    header = attrs.evolve(mixture.header, recommended={"stepps": 3})
    checkpoint.save(tmp_path / "odd.safetensors", header, {"nothing": zeros(1)})
    with pytest.raises(CheckpointError, match=r"odd\.safetensors: its recommended settings .*'steps'"):
        InferenceConfig(checkpoint_path=tmp_path / "odd.safetensors").to_run_config()


def test_a_worker_runs_its_share(mixture_file: Path):
    config = InferenceConfig(checkpoint_path=mixture_file, env=EnvironmentConfig(slurm_rank=2, slurm_world=3))
    run = config.to_run_config()
    assert (run.rank, run.world_size) == (2, 3)


def test_eta_keeps_the_recommended_scheduler(mixture_file: Path):
    run = InferenceConfig(checkpoint_path=mixture_file, eta=1).to_run_config()
    assert run.scheduler == ComponentConfig("ddim", settings={"eta": 1})


def test_eta_means_ddim_where_the_recommended_scheduler_has_none(mixture: CheckpointInfo, tmp_path: Path):
    header = attrs.evolve(mixture.header, recommended={"scheduler": "unipc"})
    path = tmp_path / "unipc.safetensors"
    checkpoint.save(path, header, {"nothing": zeros(1)})
    assert InferenceConfig(checkpoint_path=path).to_run_config().scheduler == ComponentConfig("unipc")
    assert InferenceConfig(checkpoint_path=path, eta=0.5).to_run_config().scheduler.settings == {"eta": 0.5}
    built = build_scheduler(load_checkpoint(path), eta=0.5)
    assert (built.name, built.settings["eta"]) == ("ddim", 0.5)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (InferenceConfig(split="balanced"), r"InferenceConfig\.split = 'balanced' is not supported yet"),
        (InferenceConfig(env=EnvironmentConfig(variation="ema")), r"EnvironmentConfig\.variation = 'ema'"),
        (InferenceConfig(env=EnvironmentConfig(log_dir="logs")), r"EnvironmentConfig\.log_dir = 'logs'"),
        (InferenceConfig(checkpoint_epoch=3), "checkpoint_epoch = 3: chooses from a directory"),
        (InferenceConfig(size_name="small"), "size_name = 'small': is a directory within EnvironmentConfig.cache_root"),
        (InferenceConfig(force=ForceConfig(global_cfg={"target": "A"})), "global_cfg: 'target' is for forces"),
        (
            InferenceConfig(force=ForceConfig(force_stack=["attract_class"], global_cfg={"targt": "A"})),
            "global_cfg: 'targt' — did you mean 'target'",
        ),
        (InferenceConfig(force=ForceConfig(force_stack=["force_atract"])), "unknown force 'atract'.*'attract_class'"),
        (
            InferenceConfig(drift=DriftConfig(enabled=True, function_name="none", decay=0.5)),
            r"DriftConfig\.decay = 0\.5: drift 'none' has no such setting",
        ),
    ],
)
def test_what_cannot_be_done_is_refused(config: InferenceConfig, message: str):
    assert InferenceConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ConfigError, match=message):
        config.to_run_config()


def test_files_asked_for_become_sinks_of_a_run(mixture_file: Path):
    assert InferenceConfig(checkpoint_path=mixture_file).to_run_config().sinks is None
    config = InferenceConfig(
        checkpoint_path=mixture_file,
        capture=CaptureConfig(save_frames=True, save_meta=True, save_every=2, frame_format="jpg", latent_format="pt"),
        video=VideoConfig(write_video=True, fps=24, upscale=4, codec="mpeg4"),
    )
    assert InferenceConfig.from_dict(config.to_dict()) == config
    sinks = {sink.name: dict(sink.settings) for sink in config.to_run_config().sinks or ()}
    file = mixture_file.with_name("inference.json")
    file.write_text(json.dumps(config.to_dict()))
    assert resolve(read_layer(file)).sinks == config.to_run_config().sinks
    assert sinks == {
        "grid": {},
        "hdf5": {},
        "frames": {"format": "jpg", "every": 2, "upscale": 4},
        "metadata": {},
        "latents": {"format": "pt", "every": 2},
        "video": {"fps": 24, "codec": "mpeg4", "pixel_format": "yuv420p", "every": 2, "upscale": 4},
    }


def test_a_drift_without_noise_can_be_enabled(mixture_file: Path):
    config = InferenceConfig(checkpoint_path=mixture_file, drift=DriftConfig(enabled=True, function_name="none"))
    assert config.to_run_config().drifts == (ComponentConfig("none"),)


def test_directories_of_checkpoints(mixture_file: Path):
    root, size = mixture_file.parent.parent, mixture_file.parent.name
    nested = InferenceConfig(size_name=size, checkpoint_epoch=4, env=EnvironmentConfig(cache_root=root))
    assert nested.to_run_config().checkpoint == str(mixture_file)
    with pytest.raises(CheckpointError, match="no checkpoint of epoch 5"):
        InferenceConfig(checkpoint_path=mixture_file.parent, checkpoint_epoch=5).to_run_config()


def test_configurations_cost_no_torch():
    code = (
        "import sys, emnist_diff\n"
        "emnist_diff.InferenceConfig(force=emnist_diff.ForceConfig(guidance_scale=2)).to_dict()\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_setting_of_a_run_is_described_and_bounded_in_one_place():
    run = attrs.fields_dict(RunConfig)
    places = mapping.SETTINGS | mapping.WORKER
    places |= {"output": "output_dir", "checkpoint": "checkpoint_path", "epoch": "checkpoint_epoch"}
    for name, place in places.items():
        part, _, field = place.rpartition(".")
        owner = NESTED[part] if part else InferenceConfig
        assert attrs.fields_dict(owner)[field].metadata["help"].startswith(run[name].metadata["help"]), place
    for config, message in (
        (lambda: InferenceConfig(steps=2**20 + 1), "steps = 1048577: must be a whole number, at most 1048576"),
        (
            lambda: InferenceConfig(total_videos=2**40 + 1),
            "total_videos = 1099511627777: must be a whole",
        ),
        (lambda: EnvironmentConfig(precision="fp8"), "precision = 'fp8': must be 'auto' or 'fp32' or"),
        (lambda: EnvironmentConfig(slurm_world=0), "slurm_world = 0: must be a whole number, at least 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            config()
