"""Options of ``run`` in all the forms that people write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from emnist_diff import CaptureConfig, EnvironmentConfig, InferenceConfig
from emnist_diff.config import RunConfig
from emnist_diff.discovery import installed
from emnist_diff.errors import ConfigError
from emnist_diff.running.run import run
from emnist_diff.seeds import DrawnSeed
from emnist_diff_plugins.containers import checkpoint
from emnist_diff_plugins.layers import configure
from emnist_diff_plugins.runconfig import to_dict
from emnist_diff_trajectory.reader import Trajectory

MIXTURE = {"name": "gaussian-mixture", "shape": [1, 4, 4], "classes": "ABC"}
RUN = ("run", "--denoiser", "gaussian-mixture:shape=[1,4,4],classes=ABC", "--steps", "3", "--total-videos", "2")


def asked(cli: Any, *arguments: Any) -> dict[str, Any]:
    """The configuration that a command means."""
    finished = cli(*arguments, "--dry-run")
    assert finished.code == 0, finished.err
    return json.loads(finished.out)["config"]


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "net.safetensors"
    header = checkpoint.CheckpointHeader(
        family="gaussian-mixture",
        network={"shape": [1, 4, 4], "classes": "ABC"},
        classes=("A", "B", "C"),
        null_index=3,
        recommended={"steps": 5, "guidance_scale": 1.5, "scheduler": "ddim"},
    )
    checkpoint.save(path, header, {})
    return path


def test_every_setting_is_an_option_under_each_of_its_spellings(cli):
    page = cli("run", "--help").out
    for field in attrs.fields(RunConfig):
        text = page.partition(f"--{field.name.replace('_', '-').removesuffix('s')}")[2]
        assert text, field.name
        assert " ".join(field.metadata["help"].split()[1:3]) in " ".join(text.split())
    values = {"class": "B", "base-seed": "7", "num-inference-steps": "2", "output-dir": "there"}
    found = asked(cli, "run", *RUN[1:3], *(word for name, value in values.items() for word in (f"--{name}", value)))
    wanted = {"character": "B", "seed": 7, "steps": 2, "output": "there"}
    assert {key: found[key] for key in wanted} == wanted
    assert found["scheduler"]["name"] == "ddim"  # the default one of the installed plugins


# ------------------------------------------------------------------ seeds


def test_a_random_seed_is_drawn_once_recorded_and_said(cli, tmp_path):
    command = (*RUN, "--seed", "random", "--sink", "hdf5", "--output", tmp_path)
    finished = cli(*command)
    with Trajectory(tmp_path / "A" / "trajectory.h5") as there:
        drawn = there.config["seed"]
        assert there.seeds.tolist() == [drawn, drawn]
    assert f"seed {drawn}" in finished.out
    assert f'"seed": {drawn}, "event": "seed.drawn"' in finished.err
    again = cli(*command, "--resume", "--json")
    assert again.code == 0, again.err
    assert {key: json.loads(again.out)[key] for key in ("seed", "resumed", "samples")} == {
        "seed": drawn, "resumed": 2, "samples": 0,
    }  # fmt: skip
    assert json.loads(cli(*command, "--overwrite", "--json").out)["seed"] != drawn


def test_a_resumed_run_takes_the_seed_that_was_drawn_from_metadata_too(tmp_path):
    drawn = configure(installed(), {"denoiser": MIXTURE, "seed": "random", "steps": 2, "total_videos": 1,
                                    "sinks": ["metadata"], "output": str(tmp_path)})[0]  # fmt: skip
    first = run(drawn)
    assert run(RunConfig(**{**vars_of(drawn), "seed": "random"}), resume=True).seed == first.seed == drawn.seed


def vars_of(settings: RunConfig) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in to_dict(settings)}


def test_a_configuration_in_python_holds_the_seed_that_was_drawn(network):
    config = InferenceConfig(seed="random", checkpoint_path=network)
    assert isinstance(config.base_seed, DrawnSeed)
    assert config.to_run_config().seed == config.base_seed
    assert InferenceConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert InferenceConfig.from_dict({"base_seed": "random"}).base_seed != config.base_seed
    with pytest.raises(ConfigError, match="base_seed = 'Random'"):
        InferenceConfig(base_seed="Random")


def test_several_workers_are_given_one_seed(cli, tmp_path):
    worker = (*RUN, "--seed", "random", "--sink", "hdf5", "--output", tmp_path, "--rank", "1", "--world-size", "2")
    finished = cli(*worker)
    assert finished.code == 2
    assert "seed random would be another for each of 2 workers — give all one number" in finished.error
    assert cli(*RUN, "--seed", "1e3").error == (
        "emnist-diff: --seed '1e3': expected a whole number, or random for one that is drawn"
    )


def test_a_worker_that_left_nothing_resumes_with_the_seed_of_the_others(cli, tmp_path):
    share = (*RUN, "--total-videos", "2", "--sink", "hdf5", "--output", tmp_path, "--world-size", "2")
    assert cli(*share, "--seed", "77", "--rank", "0").code == 0
    assert json.loads(cli(*share, "--seed", "random", "--rank", "1", "--resume", "--json").out)["seed"] == 77


# ------------------------------------------------------------------ presets and sinks


def test_a_preset_is_written_like_every_other_component(cli, tmp_path):
    beside = asked(cli, *RUN, "--preset", "attract_class:target=B,strength=2")
    assert beside == asked(cli, *RUN, "--preset", "attract_class", "--preset-args", '{"target": "B", "strength": 2}')
    assert beside == asked(cli, *RUN, "--preset", "attract_class:target=B", "--preset-args", '{"strength": 2}')
    assert beside["forces"][0]["settings"] == {"target": "B", "strength": 2.0}
    twice = cli(*RUN, "--preset", "attract_class:target=B", "--preset-args", '{"target": "C"}')
    assert "'target' is set twice" in twice.error
    (tmp_path / "of=mine.toml").write_text("steps = 4\n")
    assert asked(cli, "run", "--denoiser", RUN[2], "--preset", tmp_path / "of=mine.toml")["steps"] == 4


def test_save_switches_sinks_on(cli):
    def names(*arguments: str) -> list[str]:
        return [sink["name"] for sink in asked(cli, *RUN, "--sink", "hdf5", *arguments)["sinks"]]

    assert names("--save", "latents,video", "--save", "metadata") == ["hdf5", "latents", "video", "metadata"]
    everything = {"hdf5", "images", "frames", "deltas", "latents", "video", "metadata", "metrics"}
    assert everything <= set(names("--save", "all"))
    assert "video" not in names("--save", "all", "--no-video")
    assert cli(*RUN, "--save", "vidoe").error == (
        "emnist-diff: unknown sink of --save: 'vidoe' — did you mean 'video'?"
    )  # fmt: skip


# ------------------------------------------------------------------ files of settings


def test_a_file_may_be_an_inference_config(cli, tmp_path, network):
    config = InferenceConfig(
        character="B", total_videos=3, base_seed=5, scheduler="ddim", eta=0.5, output_dir=str(tmp_path / "runs"),
        checkpoint_path=network, capture=CaptureConfig(save_deltas=True, save_every=2),
        force={"preset": "attract_class", "preset_args": {"target": "C"}, "force_stack": ["repel_class"]},
        drift={"enabled": True, "scale": 0.1}, env=EnvironmentConfig(batch_size=2),
    )  # fmt: skip
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config.to_dict()))
    wanted = to_dict(config.to_run_config())
    found = asked(cli, "run", "--config", file)
    assert {key: value for key, value in found.items() if value != wanted[key]}.keys() <= {"threads"}
    weaker = asked(cli, "run", "--config", file, "--seed", "9", "--per-character", "2", "--force", "none")
    assert (weaker["seed"], weaker["per_character"], len(weaker["forces"])) == (9, 2, 2)
    file.write_text(json.dumps(InferenceConfig(eta=1.0).to_dict()))
    assert asked(cli, "run", "--config", file, "--checkpoint", network)["scheduler"]["settings"] == {"eta": 1.0}
    file.write_text('{"capture": {"save_evry": 2}}')
    assert "CaptureConfig: 'save_evry' — did you mean 'save_every'" in cli("run", "--config", file).error


def test_settings_of_the_machine_stand_where_an_inference_config_leaves_its_defaults(cli, tmp_path, monkeypatch):
    (tmp_path / "machine.toml").write_text('[run]\nbackend = "eager"\nmicro_batch = 3\n')
    monkeypatch.setenv("EMNIST_DIFF_CONFIG", str(tmp_path / "machine.toml"))
    (tmp_path / "config.json").write_text(json.dumps(InferenceConfig(steps=2).to_dict()))
    found = asked(cli, "run", "--config", tmp_path / "config.json")
    assert (found["backend"]["name"], found["micro_batch"], found["steps"]) == ("eager", 3, 2)


@pytest.mark.parametrize("with_weights", [False, True])
def test_a_run_is_repeated_from_its_metadata(cli, tmp_path, network, with_weights):
    model = ("--checkpoint", network) if with_weights else RUN[1:3]
    steer = ("--preset", "attract_class:target=B", "--drift", "default:noise_scale=0.1", "--seed", "random")
    assert cli("run", *model, *steer, "--total-videos", "2", "--save-metadata", "--output", tmp_path / "one").code == 0
    again = ("run", "--config", tmp_path / "one" / "A" / "metadata.json", *(model if with_weights else ()))
    finished = cli(*again, "--output", tmp_path / "two")
    assert finished.code == 0, finished.err
    said = cli("diff", *(tmp_path / name / "A" / "trajectory.h5" for name in ("one", "two")))
    assert (said.code, said.out[:8]) == (0, "the same")


def test_a_run_writes_what_capture_asks_for(tmp_path, network):
    def files(**capture: Any) -> set[str]:
        out = tmp_path / "-".join(map(str, capture.items()))
        config = InferenceConfig(
            checkpoint_path=network, steps=2, total_videos=1, output_dir=out, capture=CaptureConfig(**capture)
        )
        folder = run(config.to_run_config()).output
        return {str(path.relative_to(folder)) for path in folder.rglob("v*")}

    latents = {"latents/v000_t0999.npy", "latents/v000_t0499.npy", "latents/v000_final.npy"}
    deltas = {"deltas/v000_d0001.npy", "deltas/v000_d0002.npy"}
    assert files() == files(save_latents=False, latent_format="npy") == set()
    assert files(save_latents=True) == files(latent_format="npy") == latents
    assert files(save_latents=True, save_deltas=True) == latents | deltas
    assert files(save_latents=True, latent_format="pt") == {name.replace("npy", "pt") for name in latents}
