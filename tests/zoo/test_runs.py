"""Runs from start to end: several characters, the ledger in the file, replay, and functions of one's own."""

from __future__ import annotations

import json
import math

import h5py
import numpy as np
import pytest
import torch

from emnist_diff import (
    DriftConfig,
    ForceConfig,
    InferenceConfig,
    Trajectory,
    build_scheduler,
    generate_sample,
    generate_samples,
    load_checkpoint,
    load_unet,
)
from emnist_diff.assembly.assemble import assemble
from emnist_diff.config import ComponentConfig
from emnist_diff.discovery import installed
from emnist_diff.errors import ConfigError, TrajectoryError
from emnist_diff.running.run import execute, run
from emnist_diff.schedules import schedule
from emnist_diff.timeline import NoiseSchedule
from emnist_diff_plugins.containers import checkpoint
from emnist_diff_plugins.forecast import forecast
from emnist_diff_plugins.layers import configure
from emnist_diff_plugins.runconfig import resolve

MODEL = ("--denoiser", "gaussian-mixture:shape=[1,3,3],classes=ABCDk")
RUN = ("run", *MODEL, "--steps", "4", "--sink", "hdf5")
MIXTURE = {"name": "gaussian-mixture", "shape": [1, 3, 3], "classes": "ABCDk"}


def recorded(path) -> dict[str, bytes]:
    """Every dataset of a file but those that say how and where it was made."""
    found = {}

    def look(name, item):
        if isinstance(item, h5py.Dataset) and name not in ("config", "environment"):
            found[name] = repr(item[()]).encode() if item.dtype.hasobject else item[()].tobytes()

    with h5py.File(path) as file:
        file.visititems(look)
    assert found
    return found


# ------------------------------------------------------------------ several characters


@pytest.mark.parametrize(
    ("asked", "folder", "labels"),
    [
        (("--character", "A,B,k", "--total-videos", "7"), "A+B+k-lower", [0, 1, 4, 0, 1, 4, 0]),
        (("--character", "k,A", "--total-videos", "2"), "k-lower+A", [4, 0]),
        (("--character", "B, k", "--per-character", "2"), "B+k-lower", [1, 4, 1, 4]),
        (("--character", "all", "--total-videos", "6"), "A+B+C+D+k-lower", [0, 1, 2, 3, 4, 0]),
        (("--character", "all", "--per-character", "1"), "A+B+C+D+k-lower", [0, 1, 2, 3, 4]),
        (("--character", "A,A", "--total-videos", "2"), "A", [0, 0]),
        (("--character", "A,B,C", "--total-videos", "2"), "A+B+C", [0, 1]),
    ],
)
def test_several_characters_in_one_run(cli, tmp_path, asked, folder, labels):
    finished = cli(*RUN, *asked, "--output", tmp_path)
    assert finished.code == 0, finished.err
    assert [p.name for p in tmp_path.iterdir()] == [folder]
    with Trajectory(tmp_path / folder / "trajectory.h5") as trajectory:
        assert trajectory.labels.tolist() == labels
        assert trajectory.ids.tolist() == list(range(len(labels)))
        assert trajectory.committed == list(range(len(labels)))


def test_the_samples_of_a_class_are_guided_to_it(cli, tmp_path):
    """Sample i of a mixed run starts where sample i of any run starts, and goes where its own class is."""
    for character in ("B", "A,B"):
        assert cli(*RUN, "--character", character, "--total-videos", "4", "--output", tmp_path).code == 0
    with (
        Trajectory(tmp_path / "A+B" / "trajectory.h5") as mixed,
        Trajectory(tmp_path / "B" / "trajectory.h5") as alone,
    ):
        assert np.array_equal(mixed.x[:, 0], alone.x[:, 0])
        assert np.array_equal(mixed.x[1::2], alone.x[1::2])
        assert not np.array_equal(mixed.x[::2, 1:], alone.x[::2, 1:])


@pytest.mark.parametrize(
    ("classes", "folder"),
    [("/A", "class-8a5edab2+A"), (".", "class-cdb4ee2a"), ("..", "class-5ec1f7e7"), ("é", "e-4a99557e")],
)
def test_odd_characters_have_a_safe_folder(tmp_path, classes, folder):
    names = [classes] if classes == ".." else list(classes)
    denoiser = {"name": "gaussian-mixture", "shape": [2], "classes": names}
    asked = {"denoiser": denoiser, "character": ",".join(names), "total_videos": 1, "steps": 1, "output": str(tmp_path)}
    assert assemble(installed(), configure(installed(), asked)[0]).header.output == tmp_path / folder


def test_many_characters_have_a_short_folder(cli, tmp_path):
    finished = cli(
        *("run", "--denoiser", "gaussian-mixture:shape=[2]", "--steps", "1", "--character", "all"),
        *("--total-videos", "3", "--sink", "hdf5", "--output", tmp_path),
    )
    assert finished.code == 0, finished.err
    assert [p.name for p in tmp_path.iterdir()] == ["62-classes-b860fb9a"]


# ------------------------------------------------------------------ what the file holds

STACK = [
    {"name": "attract_class", "target": "B", "weight": {"kind": "ramp", "start": 2, "end": 0}},
    {"name": "drift_noise", "sigma": 0.3, "clip_abs": 0.2},
    {"name": "cycle_classes", "strength": 0.5, "weight": {"kind": "window", "to": 0.4}},
]


def test_the_ledger_in_the_file_adds_up(cli, tmp_path):
    bounds = ("--clip-abs", "0.3", "--clip-norm", "0.5")
    finished = cli(*RUN, "--force-stack", json.dumps(STACK), *bounds, "--drift", "default", "--output", tmp_path)
    assert finished.code == 0, finished.err
    with Trajectory(tmp_path / "A" / "trajectory.h5") as trajectory:
        names = ("00_attract_class", "01_drift_noise", "02_cycle_classes", "03_clip")
        assert trajectory.force_names == names
        total, base = trajectory.base[:], trajectory.base[:]
        for number in range(4):
            total = total + trajectory.contribution(number)[:]
        assert total.tobytes() == trajectory.prediction[:].tobytes()
        added = (total - base).reshape(*total.shape[:2], -1)
        assert np.abs(added).max() <= 0.3 + 1e-6
        assert np.sqrt((added.astype(np.float64) ** 2).sum(-1)).max() <= 0.5 + 1e-6
        assert np.abs(trajectory.contribution(1)[:]).max() == pytest.approx(0.2)
        weights = [trajectory.field(f"forces/{name}/weight")[:].tolist() for name in names]
    assert weights == [pytest.approx([2, 4 / 3, 2 / 3, 0]), [1] * 4, [1, 1, 0, 0], [1] * 4]


def test_the_plan_of_a_dry_run_is_what_the_run_does(cli, tmp_path):
    command = (*RUN, "--force-stack", json.dumps(STACK), "--character", "A,B", "--total-videos", "5")
    plan = json.loads(cli(*command, "--dry-run", "--output", tmp_path).out)["plan"]
    assert list(tmp_path.iterdir()) == []
    done = json.loads(cli(*command, "--json", "--output", tmp_path).out)
    assert (plan["samples"], plan["network_rows"], plan["micro_batch"]) == (
        5,
        done["network_rows"],
        done["micro_batch"],
    )
    assert plan["steps"] == [
        {"steps": [0, 0], "conditions": ["null", "own", "B", "A"]},
        {"steps": [1, 2], "conditions": ["null", "own", "B"]},
        {"steps": [3, 3], "conditions": ["null", "own"]},
    ]
    assert plan["network_rows"] == 5 * 3 + 2 * (3 * 3 + 2 * 2) + 5 * 2  # a sample of B has its own row for B
    assert plan["estimated_seconds"] >= 0


# ------------------------------------------------------------------ replay


@pytest.mark.parametrize(
    ("options", "scales"),
    [
        ((), [0.2]),
        (("--drift", "clamp", "--drift", "time_scaled", "--drift", "default:noise_scale=0.5"), [None, 0.2, 0.5]),
        (("--preset", "noisy.toml"), [0.2, 0.3]),
    ],
    ids=["alone", "on the command line", "of a preset"],
)
def test_drift_scale_reaches_every_drift_that_was_not_told_its_own(cli, tmp_path, monkeypatch, options, scales):
    monkeypatch.chdir(tmp_path)
    noisy = '[[drifts]]\nname = "early_noise"\n[[drifts]]\nname = "late_noise"\nnoise_scale = 0.3\n'
    (tmp_path / "noisy.toml").write_text(noisy)
    done = cli(*RUN, "--dry-run", "--drift-scale", "0.2", *options)
    assert done.code == 0, done.error
    drifts = json.loads(done.out)["config"]["drifts"]
    assert [drift["settings"].get("noise_scale") for drift in drifts] == scales


def test_a_recorded_configuration_can_be_replayed(cli, tmp_path):
    """Presets, spellings and defaults are written out in the record."""
    arguments = ("--preset", "competitive", "--preset-args", '{"classes": ["A", "B"], "strength": {"kind": "ramp"}}')
    drift = ("--drift", "early_noise:scale=0.1,weight=0.5")
    more = (*drift, "--clip-norm", "2", "--character", "B,k", "--per-character", "2")
    first = cli(*RUN, *arguments, *more, "--force", "attract:target_class=k", "--output", tmp_path / "one")
    assert first.code == 0, first.err
    with Trajectory(tmp_path / "one" / "B+k-lower" / "trajectory.h5") as trajectory:
        record = trajectory.config
    assert [f["name"] for f in record["forces"]] == ["attract_class"] * 3
    (tmp_path / "record.json").write_text(json.dumps(record))

    again = cli("run", "--config", tmp_path / "record.json", *RUN[-2:], "--output", tmp_path / "two")
    assert again.code == 0, again.err
    files = [tmp_path / name / "B+k-lower" / "trajectory.h5" for name in ("one", "two")]
    assert recorded(files[0]) == recorded(files[1])
    resumed = cli("run", "--config", tmp_path / "record.json", *RUN[-2:], "--resume", "--output", tmp_path / "one")
    assert resumed.code == 0, resumed.err


def test_a_record_names_its_checkpoint(cli, info, tmp_path):
    command = ("run", "--force", "attract_class:target=k", "--total-videos", "2", *RUN[-2:])
    assert cli(*command, "--checkpoint", info.path, "--output", tmp_path / "one").code == 0
    with Trajectory(tmp_path / "one" / "A" / "trajectory.h5") as trajectory:
        (tmp_path / "record.json").write_text(json.dumps(trajectory.config))
    replay = ("run", "--config", tmp_path / "record.json", *RUN[-2:], "--output", tmp_path / "two")
    assert cli(*replay, "--checkpoint", info.path).code == 0
    files = [tmp_path / name / "A" / "trajectory.h5" for name in ("one", "two")]
    assert recorded(files[0]) == recorded(files[1])

    other = tmp_path / "other.safetensors"
    checkpoint.save(other, info.header, {"nothing": torch.ones(1)})
    refused = cli(*replay, "--checkpoint", other, "--overwrite")
    assert refused.code == 4
    assert "is not the checkpoint that this configuration was recorded with" in refused.error


# ------------------------------------------------------------------ functions of one's own


def settings(tmp_path, weight, **more):
    return configure(
        installed(),
        {
            "denoiser": MIXTURE,
            "steps": 3,
            "total_videos": 2,
            "output": str(tmp_path),
            "forces": [{"name": "attract_class", "target": "B", "weight": weight}],
            "sinks": ["hdf5"],
            **more,
        },
    )[0]


def of_height(height):
    def bump(at):
        return max(height * (1.0 - share) for share in (at.frac,))

    return bump


def test_a_function_is_recorded_so_that_a_run_resumes_with_the_same_one_only(tmp_path):
    run(settings(tmp_path, of_height(2.0)))
    with Trajectory(tmp_path / "A" / "trajectory.h5") as trajectory:
        said = trajectory.config["forces"][0]["weight"]
    assert said["name"].endswith("of_height.<locals>.bump")
    assert run(settings(tmp_path, of_height(2.0)), resume=True).resumed == 2
    with pytest.raises(TrajectoryError):
        run(settings(tmp_path, of_height(2.5)), resume=True)
    with pytest.raises(ConfigError, match="was part of a program and cannot be loaded by name"):
        settings(tmp_path, said)


def test_a_function_does_what_its_data_would(tmp_path):
    run(settings(tmp_path / "function", of_height(2.0)))
    run(settings(tmp_path / "data", {"kind": "ramp", "start": 2, "end": 0}))
    one, other = (recorded(tmp_path / name / "A" / "trajectory.h5") for name in ("function", "data"))
    assert one == other


def push(predictions, step):
    return torch.ones_like(step.x)


def test_components_in_python_take_functions(tmp_path):
    force = ComponentConfig("user_custom", weight=lambda at: at.frac, settings={"function": push, "reads": []})
    drift = ComponentConfig("user_custom", settings={"function": lambda x, step: None})
    config = resolve({"denoiser": MIXTURE, "steps": 3, "total_videos": 2, "forces": [force], "drifts": [drift]})
    assembly = assemble(installed(), config)
    contributed = assembly.header.force_weights
    assert contributed.tolist() == [[0.0, 0.5, 1.0]]
    assert forecast(assembly)["network_rows"] == 3 * 2 * 2
    json.dumps(assembly.header.config)


@pytest.fixture(scope="module")
def info(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoints") / "mixture.safetensors"
    header = checkpoint.CheckpointHeader(
        family="gaussian-mixture",
        network={"shape": [1, 3, 3], "classes": "ABCDk"},
        classes=tuple("ABCDk"),
        null_index=5,
        schedule=NoiseSchedule(beta_schedule="linear", clip_sample=None),
        recommended={"steps": 4, "guidance_scale": 2.0},
    )
    checkpoint.save(path, header, {"nothing": torch.zeros(1)})
    return load_checkpoint(path)


def sample(info, config, index=0):
    return generate_sample(load_unet(info), build_scheduler(info), config, info, index)


def test_the_python_interface_steers_as_the_command_does(info, cli, tmp_path):
    from emnist_diff_inference.presets import subtract

    force = ForceConfig(
        base="uncond", force_stack=[*subtract("k", "B", w_pos=3.0, w_neg=2.0), *STACK], clip_abs=0.4, clip_norm=1.0
    )
    drift = DriftConfig(
        enabled=True, function_name="drift_decay_only", custom_cfg={"decay": {"kind": "ramp", "end": 0.1}}
    )
    config = InferenceConfig(character="k", total_videos=3, force=force, drift=drift, checkpoint_path=str(info.path))
    assert InferenceConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config

    arguments = (
        "--preset",
        "subtract",
        "--preset-args",
        '{"pos_class": "k", "neg_class": "B", "w_pos": 3, "w_neg": 2}',
    )
    finished = cli(
        *("run", "--checkpoint", info.path, "--character", "k", "--total-videos", "3", *arguments),
        *("--force-stack", json.dumps(STACK), "--clip-abs", "0.4", "--clip-norm", "1"),
        *("--drift", 'decay_only:decay={"kind":"ramp","end":0.1}', "--sink", "hdf5", "--output", tmp_path),
    )
    assert finished.code == 0, finished.err
    with Trajectory(tmp_path / "k-lower" / "trajectory.h5") as trajectory:
        for index in range(3):
            assert np.array_equal(sample(info, config, index).x_final.numpy(), trajectory.x[index, -1])


def test_a_preset_in_the_python_interface_brings_its_base(info):
    arguments = {"pos_class": "k", "neg_class": "B", "w_pos": 3.0}
    whole = InferenceConfig(force=ForceConfig(preset="subtract", preset_args=arguments))
    stack = [{"name": "subtract_two", "target": "k", "secondary": "B", "w_pos": 3}]
    written = InferenceConfig(force=ForceConfig(base="uncond", force_stack=stack))
    guided = InferenceConfig(force=ForceConfig(preset="subtract", preset_args=arguments, base="cfg"))
    ends = [sample(info, config).x_final for config in (whole, written, guided)]
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])
    assert InferenceConfig.from_dict(whole.to_dict()) == whole
    assert whole.to_run_config().forces == (
        ComponentConfig("subtract_two", settings=whole.to_run_config().forces[0].settings),
    )


def test_functions_in_the_python_interface(info):
    seen = []

    def watch(x, step):
        seen.append(step.at.index)

    def swell(step, steps):
        return math.sin(step / steps)

    stack = [
        {"name": "user_custom", "fn": push, "weight": swell},
        {"name": "user_schedule", "schedule": lambda at: {"B": at.frac}},
        {"name": "attract_class", "strength": [{"kind": "window"}, swell]},
    ]
    drift = DriftConfig(enabled=True, function_name="user_custom", custom_cfg={"function": watch})
    config = InferenceConfig(force=ForceConfig(force_stack=stack, global_cfg={"target": "B"}), drift=drift)
    result = sample(info, config)
    assert seen == [0, 1, 2, 3]
    assert not torch.equal(result.x_final, sample(info, InferenceConfig()).x_final)
    json.dumps(config.to_dict())
    assert config.to_dict()["force"]["force_stack"][0]["weight"]["kind"] == "function"


def test_bounds_in_the_python_interface(info):
    stack = [{"name": "attract_class", "target": "B", "weight": 4, "clip_abs": 0.1}]
    ends = [
        sample(info, InferenceConfig(force=force)).x_final
        for force in (
            ForceConfig(force_stack=stack),
            ForceConfig(force_stack=[{**stack[0], "clip_abs": None}], clip_abs=0.1),
            ForceConfig(force_stack=[{**stack[0], "clip_abs": None}]),
        )
    ]
    assert torch.allclose(ends[0], ends[1], atol=1e-5)
    assert not torch.allclose(ends[0], ends[2], atol=1e-2)
    assert ForceConfig(force_stack=stack).force_stack[0].clip_abs == 0.1
    assert ForceConfig(force_stack=stack).force_stack[0].weight == schedule(4)


def test_several_characters_in_the_python_interface(info, cli, tmp_path):
    config = InferenceConfig(character="A,k", total_videos=3)
    results = generate_samples(load_unet(info), build_scheduler(info), config, info)
    assert [(result.character, result.label) for result in results] == [("A", 0), ("k", 4), ("A", 0)]
    command = ("run", "--checkpoint", info.path, "--character", "A,k", "--total-videos", "3", "--sink", "hdf5")
    assert cli(*command, "--output", tmp_path).code == 0
    with Trajectory(tmp_path / "A+k-lower" / "trajectory.h5") as trajectory:
        for index, result in enumerate(results):
            assert np.array_equal(result.x_final.numpy(), trajectory.x[index, -1])


def test_one_class_a_sample_in_the_python_interface(info):
    stack = [{"name": "attract_class", "target": ["B", "k", "own"], "strength": 3}]
    force = ForceConfig(base="uncond", force_stack=stack)
    config = InferenceConfig(total_videos=3, force=force)
    model, scheduler = load_unet(info), build_scheduler(info)
    each = [result.x_final for result in generate_samples(model, scheduler, config, info)]
    for index, name in enumerate(["B", "k", "A"]):
        alone = ForceConfig(base="uncond", force_stack=[{**stack[0], "target": name}])
        wanted = sample(info, InferenceConfig(total_videos=3, force=alone), index)
        assert torch.equal(each[index], wanted.x_final)
    with pytest.raises(ConfigError, match="too few for sample 3"):
        sample(info, InferenceConfig(total_videos=4, force=force), 3)


def test_execute_takes_what_assemble_made(tmp_path):
    assert execute(assemble(installed(), settings(tmp_path, 1.0))).samples == 2
