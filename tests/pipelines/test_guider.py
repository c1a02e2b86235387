"""Forces as a guider of diffusers' modular pipelines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import modular_pipelines
from diffusers.guiders import ClassifierFreeGuidance

from emnist_diff.assembly.assemble import assemble
from emnist_diff.discovery import installed
from emnist_diff.engine.state import Batch
from emnist_diff.engine.walk import walk
from emnist_diff.errors import ConfigError, UnknownName
from emnist_diff_plugins.diffusers import ForceGuider, Recorder
from emnist_diff_plugins.layers import configure
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.verify import unchecked, verify

Folder = Callable[[str], Path]

STEPS = 5


def modular(folder: Path, kind: str) -> Any:
    """A modular pipeline of the parts of a folder."""
    parts = diffusers.DiffusionPipeline.from_pretrained(folder, local_files_only=True).components
    blocks = {"sdxl": "StableDiffusionXLAutoBlocks", "sd3": "StableDiffusion3AutoBlocks"}[kind]
    pipeline = getattr(modular_pipelines, blocks)().init_pipeline()
    names = pipeline._component_specs
    pipeline.update_components(**{name: part for name, part in parts.items() if part is not None and name in names})
    return pipeline


@pytest.fixture(scope="module")
def sdxl(pipeline: Folder) -> Any:
    return modular(pipeline("sdxl"), "sdxl")


def latents(pipeline: Any, **given: Any) -> torch.Tensor:
    usual = {"prompt": "a cat", "negative_prompt": "blurry", "generator": torch.Generator().manual_seed(3)}
    size = {"num_inference_steps": STEPS, "height": 128, "width": 128}
    result: torch.Tensor = pipeline(**{**usual, **size, **given}, output_type="latent", output="images")
    return result


def forced(pipeline: Any, *forces: Any, **settings: Any) -> torch.Tensor:
    given = settings.pop("given", {})
    ForceGuider(forces=list(forces), **settings).attach(pipeline)
    return latents(pipeline, **given)


def guided(pipeline: Any, **settings: Any) -> torch.Tensor:
    pipeline.update_components(guider=ClassifierFreeGuidance(**settings))
    return latents(pipeline)


def test_guidance_is_that_of_diffusers(sdxl: Any):
    plain = guided(sdxl, guidance_scale=5.0)
    assert torch.equal(forced(sdxl, guidance_scale=5.0), plain)
    own = {"name": "attract_class", "target": "own", "weight": 5.0}
    torch.testing.assert_close(forced(sdxl, own, base="uncond"), plain)
    assert torch.equal(forced(sdxl, base="cond"), guided(sdxl, guidance_scale=1.0))


def test_guidance_within_an_interval_is_that_of_diffusers(sdxl: Any):
    interval = guided(sdxl, guidance_scale=5.0, start=0.2, stop=0.8)
    assert torch.equal(forced(sdxl, guidance_scale=5.0, start=0.2, stop=0.8), interval)
    window = {"kind": "window", "from": 0.2, "to": 0.8, "inside": 4.0}  # of positions 0, 1/4, … of five steps
    own = {"name": "attract_class", "target": "own", "weight": window}
    torch.testing.assert_close(forced(sdxl, own, base="cond"), interval)
    plain = guided(sdxl, guidance_scale=5.0)
    assert (interval - plain).abs().max() > 1e-3 * plain.abs().max()


FORCES = [
    {"name": "repel_class", "target": "a dog", "weight": 2.0},
    {"name": "ramp_attract", "target": "at night", "weight": {"kind": "ramp", "start": 0, "end": 1}},
    {"name": "switch_two", "a": "own", "b": "a red house", "weight": 0.5, "clip_norm": 3.0},
    {"name": "drift_noise", "weight": 0.1},
]


@pytest.mark.parametrize("kind", ["sdxl", "sd3"])
def test_forces_do_what_they_do_in_a_run(kind: str, pipeline: Folder, tmp_path: Path):
    layer = {
        "checkpoint": str(pipeline(kind)), "prompt": "a cat", "negative_prompt": "blurry", "steps": STEPS,
        "guidance_scale": 5.0, "forces": FORCES, "sinks": [], "device": "cpu", "seed": 7,
    }  # fmt: skip
    registry = installed()
    settings, found = configure(registry, layer)
    run = assemble(registry, settings, denoiser=found)
    with torch.inference_mode():
        *frames, last = walk(run.engine, Batch((0,), (0,), (0,), (7,)), lambda at: frozenset({"x", "base", "forces"}))
    other = modular(pipeline(kind), kind)
    given: dict[str, Any] = {"latents": frames[0]["x"].clone()}
    if kind == "sd3":
        given["sigmas"] = [1 - i / STEPS for i in range(STEPS)]
    with Recorder(other, tmp_path / "out"):
        end = forced(other, *FORCES, guidance_scale=5.0, seed=7, given=given)
    assert (end - last.x).abs().max() < 1e-5 * last.x.abs().max()
    path = tmp_path / "out" / "trajectory.h5"
    assert verify(path) == unchecked(path) == []  # base and contributions add up to the bit
    with Trajectory(path) as file:
        assert file.force_names == ("00_repel_class", "01_ramp_attract", "02_switch_two", "03_drift_noise")
        assert file.field("forces/01_ramp_attract/weight")[:].tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
        assert file.config["guider"]["name"] == "ForceGuider"
        for step, frame in enumerate(frames):
            for name in ("base", *(f"forces/{force}" for force in file.force_names)):
                own = frame[name][0].numpy()
                assert np.abs(file.field(name)[0, step] - own).max() <= 2e-4 * max(1e-3, np.abs(own).max()), (
                    name,
                    step,
                )


def test_each_sample_has_a_text_of_its_own(sdxl: Any):
    noise = torch.randn(1, 4, 16, 16, generator=drawn()).repeat(2, 1, 1, 1)
    both = {"prompt": ["a cat", "a cat"], "negative_prompt": ["blurry"] * 2, "latents": noise}
    target = {"name": "attract_class", "target": ["a dog", "null"], "weight": 2.0}
    first, second = forced(sdxl, target, guidance_scale=3.0, given=both)
    alone = {"latents": noise[:1]}
    one = {"name": "attract_class", "target": "a dog", "weight": 2.0}
    torch.testing.assert_close(first, forced(sdxl, one, guidance_scale=3.0, given=alone)[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(second, forced(sdxl, guidance_scale=3.0, given=alone)[0], rtol=1e-4, atol=1e-4)
    assert (first - second).abs().max() > 1e-3


def test_half_precision_is_recorded_with_its_forces(pipeline: Folder, tmp_path: Path):
    other = modular(pipeline("sdxl"), "sdxl")
    other.to(torch.bfloat16)
    plain = guided(other, guidance_scale=5.0)
    with Recorder(other, tmp_path / "out"):
        end = forced(other, FORCES[0], guidance_scale=5.0)
    assert end.dtype == torch.bfloat16
    assert verify(tmp_path / "out" / "trajectory.h5") == []
    with Trajectory(tmp_path / "out" / "trajectory.h5") as file:
        assert file.force_names == ("00_repel_class",)
        assert np.abs(file.field("forces/00_repel_class")[0]).max() > 1e-3
        assert file.environment["precision"] == "bfloat16"
        np.testing.assert_array_equal(file.x[0, -1], end[0].float().numpy())
    own = forced(other, guidance_scale=5.0)
    assert (own - plain).abs().max() < 2e-2 * plain.abs().max()


def drawn() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def test_a_guider_is_copied_and_kept_in_a_folder(tmp_path: Path):
    guider = ForceGuider(forces=FORCES, guidance_scale=5.0)
    assert guider.new(guidance_scale=2.0).config.forces == FORCES
    guider.save_pretrained(tmp_path)
    again = ForceGuider.from_pretrained(tmp_path)
    assert again.config.forces == FORCES
    assert again.config.guidance_scale == 5.0


def test_what_cannot_work_is_refused(sdxl: Any, pipeline: Folder):
    for settings, error, message in (
        ({"forces": ["nope"]}, UnknownName, "unknown force 'nope'"),
        ({"forces": [{"name": "repel_class", "weigt": 1}]}, UnknownName, "did you mean 'weight'"),
        ({"base": "both"}, ConfigError, "expected cfg, cond or uncond"),
    ):
        with pytest.raises(error, match=message):
            ForceGuider(**settings)
    guider = ForceGuider(forces=["repel_class"])
    with pytest.raises(ConfigError, match="StableDiffusionXLPipeline has no guider — ForceGuider is for modular"):
        guider.attach(diffusers.DiffusionPipeline.from_pretrained(pipeline("sdxl"), local_files_only=True))
    sdxl.update_components(guider=guider)
    with pytest.raises(ConfigError, match=r"it has no pipeline — call attach\(pipeline\)"):
        latents(sdxl)
    scheduler = sdxl.scheduler
    sdxl.update_components(scheduler=diffusers.HeunDiscreteScheduler.from_config(scheduler.config))
    try:
        with pytest.raises(
            ConfigError, match="HeunDiscreteScheduler evaluates twice a step — use a scheduler that does"
        ):
            guider.attach(sdxl)
    finally:
        sdxl.update_components(scheduler=scheduler)


@pytest.mark.parametrize(
    ("force", "message"),
    [
        (
            {"name": "energy", "function": "math:sin"},
            "'energy' of .* differentiates the network, which a guider is never",
        ),
        (
            {"name": "autoguidance", "guide": "weak"},
            "'autoguidance' of .* reads the guide 'weak', which a guider cannot",
        ),
        ({"name": "perturbed_attention"}, "reads the variant 'attention_identity', which a guider cannot give"),
    ],
)
def test_forces_that_need_more_than_predictions_are_refused(force: dict[str, Any], message: str):
    pytest.importorskip("emnist_diff_forces_contrib")
    with pytest.raises(ConfigError, match=message):
        ForceGuider(forces=[force])
