"""Second networks of a run: evaluated by name, fitted up front, recorded, and asked for again on replay."""

from __future__ import annotations

import json

import attrs
import numpy as np
import pytest
import torch

from emnist_diff.assembly.assemble import assemble
from emnist_diff.conditions import OWN, Cond, RowConditions, pack
from emnist_diff.discovery import installed
from emnist_diff.engine.base import Base
from emnist_diff.engine.plan import Evaluations, Labels, WeightedForce, make_plan
from emnist_diff.engine.state import Engine
from emnist_diff.errors import CheckpointError, ConfigError
from emnist_diff.parameterization import convert
from emnist_diff.running.run import run
from emnist_diff.timeline import NoiseSchedule
from emnist_diff_plugins.analysis.replay import replay
from emnist_diff_plugins.containers import checkpoint
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture
from emnist_diff_plugins.forecast import calls_of
from emnist_diff_plugins.layers import configure
from emnist_diff_plugins.pluginfiles import with_files
from emnist_diff_plugins.rebuild import settings_of
from emnist_diff_plugins.runconfig import resolve, to_dict
from emnist_diff_plugins.schedulers.ddim import Ddim
from emnist_diff_plugins.spaces import ClassSpace
from emnist_diff_trajectory import files
from emnist_diff_trajectory.identity import canonical_json
from emnist_diff_trajectory.reader import Trajectory

WEAK = Cond("own", denoiser="weak")


@attrs.frozen
class AwayFromWeak:
    """e_own − e_own of the guide."""

    def conditions(self, at):
        return (OWN, WEAK)

    def __call__(self, predictions, step):
        return predictions[OWN] - predictions[WEAK]


# ------------------------------------------------------------------ in the engine

MAIN = GaussianMixture(shape=(3,), classes="ABC", seed=1)


def engine_with(weak, micro_batch=3):
    main = MAIN.denoiser()
    bound = Ddim().bind(main.process, main.prediction_type)
    terms = [WeightedForce("away", AwayFromWeak(), lambda at: 0.5)]
    return Engine({"": main, "weak": weak}, bound, bound.plan(4), Base("cond"), terms, micro_batch=micro_batch)


def test_rows_of_a_guide_are_its_own(walk_all):
    weak = GaussianMixture(shape=(3,), classes="ABC", seed=2, spread=0.6).denoiser()
    for frame in walk_all(engine_with(weak), label=(0, 1, 2, 0)).frames:
        t, own = torch.full((4,), frame.at.timestep), RowConditions(torch.tensor([0, 1, 2, 0]))
        expected = MAIN.denoiser().predict(frame["x"], t, own) - weak.predict(frame["x"], t, own)
        torch.testing.assert_close(frame.group("forces")[0], 0.5 * expected, rtol=1e-6, atol=1e-6)


def test_a_guides_classes_are_found_by_name(walk_all):
    """It counts them in another order, and knows one more."""
    weak = GaussianMixture(shape=(3,), classes="XCBA", seed=2)
    means = weak.mean_array()
    straight = attrs.evolve(weak, classes="ABC", means=tuple(tuple(map(tuple, means[i])) for i in (3, 2, 1)))
    one, other = (
        walk_all(engine_with(w.denoiser()), label=(0, 1, 2, 1)).stacked("prediction") for w in (weak, straight)
    )
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", ["v_prediction", "sample"])
def test_another_prediction_type_is_converted(walk_all, kind):
    weak = GaussianMixture(shape=(3,), classes="ABC", seed=2, spread=0.6)
    other = attrs.evolve(weak, prediction=kind)
    one, two = (walk_all(engine_with(w.denoiser())).stacked("prediction") for w in (weak, other))
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("path", ["diffusion", "flow"])
def test_conversions_agree_with_the_states_they_describe(path):
    rng = np.random.default_rng(0)
    x0, eps = (torch.from_numpy(rng.standard_normal((4, 3))) for _ in range(2))
    signal, noise = (0.6, 0.8) if path == "diffusion" else (0.3, 0.7)
    x = signal * x0 + noise * eps
    said = {"epsilon": eps, "sample": x0}
    said |= {"v_prediction": signal * eps - noise * x0} if path == "diffusion" else {"flow": eps - x0}
    for source, prediction in said.items():
        for target, expected in said.items():
            torch.testing.assert_close(convert(prediction, x, (signal, noise), source, target), expected)


def test_rows_of_each_network_are_planned():
    engine = engine_with(GaussianMixture(shape=(3,), classes="ABC", seed=2).denoiser())
    spaces = {name: d.conditions for name, d in engine.denoisers.items()}
    evaluations = Evaluations.of(engine.timeline, engine.base, engine.forces)
    plan = make_plan(evaluations, spaces, Labels((0, 1, 2), range(5)), 2, 2)
    assert plan.networks == {("", ""): {2: 8, 1: 4}, ("weak", ""): {2: 8, 1: 4}}
    assert [plan.rows, *(calls_of(plan, (name, "")) for name in ("", "weak", "other"))] == [40, 12, 12, 0]


def test_an_unknown_guide_is_named():
    with pytest.raises(ConfigError, match=r"unknown guide 'weak' .*use --guide weak=FILE"):
        pack([WEAK], [0], {"": ClassSpace(("A",))})


# ------------------------------------------------------------------ in a run

PLUGIN = """
import attrs
from emnist_diff.conditions import NULL, OWN, Cond
from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import ForceSpec

@hookimpl
def emnist_diff_forces():
    yield ForceSpec(name="away_from_weak", factory="{module}:Away", summary="what a guide would not say")

@attrs.frozen
class Away:
    gradient = False

    def conditions(self, at):
        return (OWN, Cond("own", denoiser="weak"))

    def __call__(self, predictions, step):
        return predictions[OWN] - predictions[Cond("own", denoiser="weak")]
"""


def mixture_file(path, **more):
    """An analytic mixture as a checkpoint."""
    network = {"shape": [1, 4, 4], "classes": "ABC", "seed": 2} | more.pop("network", {})
    said = {
        "family": "gaussian-mixture",
        "network": network,
        "classes": tuple(network["classes"]),
        "null_index": len(network["classes"]),
        "schedule": NoiseSchedule(beta_schedule="linear", clip_sample=None),
    }
    checkpoint.save(path, checkpoint.CheckpointHeader(**said | more), {"nothing": torch.zeros(1)})
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guides")
    (folder / "force_with_a_guide.py").write_text(PLUGIN.format(module="force_with_a_guide"))
    mixture_file(folder / "main.safetensors", network={"seed": 1})
    mixture_file(folder / "weak.safetensors", network={"spread": 0.6})
    mixture_file(folder / "other.safetensors", network={"spread": 0.7})
    return folder


@pytest.fixture(scope="module")
def registry(place):
    return with_files([place / "force_with_a_guide.py"])


def asked(place, **more):
    return {
        "checkpoint": str(place / "main.safetensors"),
        "guides": {"weak": str(place / "weak.safetensors")},
        "forces": [{"name": "away_from_weak", "weight": 0.5}],
        "character": "A,B",
        "total_videos": 3,
        "steps": 4,
        "sinks": ["hdf5"],
    } | more


@pytest.fixture(scope="module")
def recorded(place, registry):
    settings, _ = configure(registry, asked(place, output=str(place / "out")))
    return run(settings, registry=registry).output / "trajectory.h5"


def test_the_record_holds_the_guides_hash_and_facts(recorded, place):
    sha256 = files.sha256(place / "weak.safetensors")
    with Trajectory(recorded) as trajectory:
        assert trajectory.config["guide_sha256"] == {"weak": sha256}
        assert "guides" not in trajectory.config
        facts = trajectory.environment["guides"]["weak"]
        assert facts["sha256"] == sha256
        assert facts["file"] == "weak.safetensors"
        assert str(place) not in json.dumps([trajectory.config, trajectory.environment])


def test_the_file_is_what_the_two_networks_say(recorded, registry):
    with Trajectory(recorded) as trajectory:
        x, base = (trajectory.field(f"trajectory/{name}", 0) for name in ("x", "base"))
        away = trajectory.field("forces/00_away_from_weak/contribution", 0)
        timesteps = trajectory.timestep
    weak = GaussianMixture(shape=(1, 4, 4), classes="ABC", seed=2, spread=0.6).denoiser()
    main = GaussianMixture(shape=(1, 4, 4), classes="ABC", seed=1).denoiser()
    t, own = torch.from_numpy(timesteps).float(), RowConditions(torch.zeros(4, dtype=torch.int64))
    at = torch.from_numpy(np.asarray(x[:4]))
    np.testing.assert_allclose(away, 0.5 * (main.predict(at, t, own) - weak.predict(at, t, own)), rtol=1e-5, atol=1e-5)
    assert base.shape == away.shape


def test_a_recorded_configuration_is_run_again(recorded, place, registry, tmp_path):
    with Trajectory(recorded) as trajectory:
        config = json.loads(canonical_json(trajectory.config))
    more = {"checkpoint": str(place / "main.safetensors"), "output": str(tmp_path), "sinks": ["hdf5"]}
    with pytest.raises(CheckpointError, match=r"made with the guide 'weak' of sha256 .* — use --guide weak=FILE"):
        configure(registry, config, more)
    with pytest.raises(CheckpointError, match=r"'weak' of sha256 .* and .*other\.safetensors is another"):
        configure(registry, config, more | {"guides": {"weak": str(place / "other.safetensors")}})
    weak = {"weak": str(place / "weak.safetensors")}
    with pytest.raises(CheckpointError, match="made without the guide 'more' — leave it out"):
        configure(registry, config, more | {"guides": weak | {"more": weak["weak"]}})
    settings, _ = configure(registry, config, more | {"guides": weak})
    again = run(settings, registry=registry).output / "trajectory.h5"
    with Trajectory(recorded) as one, Trajectory(again) as other:
        assert one.config == other.config
        np.testing.assert_array_equal(one.field("trajectory/x", 2), other.field("trajectory/x", 2))


def test_replay(recorded, place, registry):
    main = str(place / "main.safetensors")
    with Trajectory(recorded) as trajectory:
        assert settings_of(trajectory, registry, main).guides == {}
        with pytest.raises(CheckpointError, match=r"'weak' of sha256 .* and .*other\.safetensors is another"):
            replay(trajectory, registry, checkpoint=main, guides={"weak": str(place / "other.safetensors")})
        done = replay(trajectory, registry)  # main and guide are found by their hashes
    assert done.bitwise
    assert done.environment == ()


def test_resume_wants_the_same_guide(recorded, place, registry):
    settings, _ = configure(registry, asked(place, output=str(place / "out")))
    assert run(settings, resume=True, registry=registry).resumed == 3
    other = attrs.evolve(settings, guides={"weak": str(place / "other.safetensors")})
    with pytest.raises(Exception, match="guide_sha256"):
        run(other, resume=True, registry=registry)


def test_a_run_without_guides_records_none(place, registry, tmp_path):
    settings, _ = configure(registry, asked(place, output=str(tmp_path), guides={}, forces=[]))
    output = run(settings, registry=registry).output
    with Trajectory(output / "trajectory.h5") as trajectory:
        assert "guide_sha256" not in trajectory.config
        assert "guides" not in trajectory.environment


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ({"network": {"classes": "AB"}}, "guide 'weak' has no class 'C'"),
        ({"network": {"shape": [1, 5, 5]}}, r"guide 'weak' has states of shape \(1, 5, 5\), the run's .*\(1, 4, 4\)"),
        ({"schedule": NoiseSchedule(train_timesteps=500)}, "another forward process .*train_timesteps 500 instead of"),
    ],
)
def test_a_guide_that_does_not_fit(place, registry, tmp_path, what, message):
    odd = mixture_file(tmp_path / "odd.safetensors", **what)
    with pytest.raises(ConfigError, match=message):
        assemble(registry, configure(registry, asked(place, guides={"weak": str(odd)}))[0])


def test_how_x0_is_clipped_does_not_matter(place, registry, tmp_path):
    clipped = mixture_file(tmp_path / "c.safetensors", schedule=NoiseSchedule(beta_schedule="linear", clip_sample=1.0))
    assert assemble(registry, configure(registry, asked(place, guides={"weak": str(clipped)}))[0])


def test_a_flow_is_no_guide_of_a_diffusion():
    from emnist_diff_plugins.reviews.guides import require_fit

    diffusion = GaussianMixture(shape=(3,), classes="A").source(installed())
    flow = GaussianMixture(shape=(3,), classes="A", prediction="flow").source(installed())
    with pytest.raises(ConfigError, match=r"another forward process .*: a flow instead of a diffusion"):
        require_fit("weak", flow, diffusion)


@pytest.mark.parametrize("name", ["", "a b", "1st", "a@b", "a~b"])
def test_names_of_guides(name):
    with pytest.raises(ConfigError, match="a guide's name is a letter"):
        resolve({"guides": {name: "file"}})


def test_guides_in_files_and_on_the_command_line(place, cli, tmp_path):
    file = tmp_path / "run.toml"
    plugin = place / "force_with_a_guide.py"
    weak, main = place / "weak.safetensors", place / "main.safetensors"
    file.write_text(f'checkpoint = "{main}"\nforces = ["away_from_weak"]\n\n[guides]\nweak = "{weak}"\n')
    done = cli("run", "--config", file, "--plugin-file", plugin, "--dry-run", "--steps", 3, "--total-videos", 2)
    assert done.code == 0, done.err
    data = json.loads(done.out)
    assert data["config"]["guides"] == {"weak": str(weak)}
    assert resolve(data["config"]).guides == {"weak": str(weak)}
    assert data["plan"]["networks"] == [
        {"denoiser": "", "variant": "", "rows": 12, "calls": 3},
        {"denoiser": "weak", "variant": "", "rows": 6, "calls": 3},
    ]
    assert "own@weak" in data["plan"]["steps"][0]["conditions"]
    done = cli("run", "--checkpoint", main, "--force", "away_from_weak", "--plugin-file", plugin, "--dry-run")
    assert done.code == 2
    assert done.error.startswith("emnist-diff: unknown guide 'weak'")
    for wrong in ("weak", "=file", "weak="):
        assert cli("run", "--guide", wrong).error.startswith(f"emnist-diff: --guide {wrong!r}: write it as NAME=FILE")
    assert "given twice" in cli("run", "--guide", "a=b", "--guide", "a=c").error


def test_replay_on_the_command_line(recorded, place, cli):
    main, weak = place / "main.safetensors", place / "weak.safetensors"
    plugin = place / "force_with_a_guide.py"
    told = ("replay", recorded, "--checkpoint", main, "--plugin-file", plugin)
    assert cli(*told).code == 0  # found by its hash, beside the run
    assert cli(*told, "--guide", f"weak={weak}").code == 0
    done = cli(
        "whatif", recorded, "--without", "forces", "--checkpoint", main, "--plugin-file", plugin,
        "--guide", f"weak={weak}", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err


def test_to_dict_and_back():
    settings = resolve({"guides": {"weak": "a.safetensors"}})
    assert resolve(to_dict(settings)) == settings


def test_the_python_api_makes_the_samples_of_the_run(recorded, place, registry, monkeypatch):
    from emnist_diff import ForceConfig, InferenceConfig, build_scheduler, generate_samples, load_checkpoint, load_unet
    from emnist_diff_inference import generate, mapping

    for module in (generate, mapping):
        monkeypatch.setattr(module, "installed", lambda: registry)
    weak, main = place / "weak.safetensors", place / "main.safetensors"
    said = asked(place)
    config = InferenceConfig(
        checkpoint_path=main,
        character=said["character"],
        total_videos=said["total_videos"],
        steps=said["steps"],
        force=ForceConfig(force_stack=said["forces"], guides={"weak": weak}),
    )
    assert InferenceConfig.from_dict(config.to_dict()) == config
    assert config.to_run_config().guides == {"weak": str(weak)}
    ckpt = load_checkpoint(main)
    model = load_unet(ckpt)
    for _ in range(2):
        made = generate_samples(model, build_scheduler(ckpt), config, ckpt)
        assert list(model.guides) == [files.sha256(weak)]
        with Trajectory(recorded) as trajectory:
            for sample in made:
                assert np.array_equal(sample.x_final.numpy(), trajectory.field("trajectory/x", sample.index)[-1])


@pytest.mark.parametrize("odd", ["weak.safetensors", {"weak": 3}, {1: "file"}])
def test_guides_of_the_python_api_are_a_table_of_files(odd):
    from emnist_diff import ForceConfig

    with pytest.raises(ConfigError, match=r"ForceConfig\.guides = .*must be a table, name → checkpoint file"):
        ForceConfig(guides=odd)
