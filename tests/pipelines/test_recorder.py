"""Calls of diffusers' pipelines as trajectory files."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from emnist_diff.assembly.assemble import assemble
from emnist_diff.discovery import installed
from emnist_diff.engine.state import Batch
from emnist_diff.engine.walk import walk
from emnist_diff.errors import ConfigError, OutputError, RunFailed, TrajectoryError
from emnist_diff.timeline import rates
from emnist_diff_plugins.diffusers import Recorder
from emnist_diff_plugins.diffusers.levels import KINDS
from emnist_diff_plugins.layers import configure
from emnist_diff_plugins.rebuild import settings_of
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.verify import unchecked, verify

Folder = Callable[[str], Path]


class Loop:
    """The loop of every pipeline, around a network of one line, whose images are its last states."""

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler

    def __call__(
        self, prompt: Any = None, num_inference_steps: int = 4, generator: Any = None, first: int = 0, fail: int = -1
    ) -> Any:
        scheduler = self.scheduler
        scheduler.set_timesteps(num_inference_steps)
        timesteps = scheduler.timesteps[first * scheduler.order :]  # of img2img, a part of the walk
        if first and hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(first * scheduler.order)
        x = torch.randn(2, 3, 8, 8, generator=generator)
        if hasattr(scheduler, "init_noise_sigma"):
            x = x * (
                float(scheduler.sigmas[first * scheduler.order]) if first and scheduler.init_noise_sigma > 1.5 else 1
            )
            x = x if first else x * scheduler.init_noise_sigma
        draws = {"generator": generator} if "generator" in inspect.signature(scheduler.step).parameters else {}
        for number, t in enumerate(timesteps):
            if number == fail:
                raise KeyboardInterrupt
            seen = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
            x = scheduler.step(0.3 * seen + 0.1 * seen.roll(1, 0), t, x, return_dict=False, **draws)[0]
        return SimpleNamespace(images=x)


def scheduler_of(name: str, **settings: Any) -> Any:
    kind = getattr(diffusers, name)
    known = inspect.signature(kind.__init__).parameters
    usual = {"clip_sample": False, "set_alpha_to_one": True, "skip_prk_steps": True, "lower_order_final": True}
    return kind(**{key: value for key, value in usual.items() if key in known}, **settings)


def drawn(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


CASES = [
    *((name, {}, 0) for name in KINDS),
    ("DDIMScheduler", {"prediction_type": "v_prediction"}, 2),
    ("EulerDiscreteScheduler", {"prediction_type": "v_prediction", "timestep_spacing": "trailing"}, 0),
    ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}, 2),
    ("UniPCMultistepScheduler", {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}, 0),
    ("HeunDiscreteScheduler", {}, 2),
    ("PNDMScheduler", {}, 2),
]
TWICE = ("HeunDiscreteScheduler", "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler")
EXACT = ("DDIMScheduler", "EulerDiscreteScheduler", "FlowMatchEulerDiscreteScheduler")
"""Of these a step ends in the noise and the image of its start, mixed for the next level."""


@pytest.mark.parametrize(("name", "settings", "first"), CASES)
def test_every_scheduler(name: str, settings: dict[str, Any], first: int, tmp_path: Path):
    plain = Loop(scheduler_of(name, **settings))(generator=drawn(), first=first).images
    loop = Loop(scheduler_of(name, **settings))
    with Recorder(loop, tmp_path / "out") as recorder:
        recorded = loop("a cat", generator=drawn(), first=first).images
    assert torch.equal(recorded, plain)
    assert type(loop) is Loop
    assert "step" not in vars(loop.scheduler)
    (folder,) = recorder.outputs
    assert verify(folder / "trajectory.h5") == unchecked(folder / "trajectory.h5") == []
    with Trajectory(folder / "trajectory.h5") as file:
        steps, flow = 4 - first, "Flow" in name or "use_flow_sigmas" in settings
        assert (file.steps, file.forward_process) == (steps, "flow" if flow else "diffusion")
        twice = [2] * (steps - 1) + [1] if name in (*TWICE, "FlowMatchHeunDiscreteScheduler") else [1] * steps
        assert file.evaluations.tolist() == ([2] + [1] * (steps - 1) if name == "PNDMScheduler" else twice)
        assert file.seeds.tolist() == [3, 3]
        assert file.classes == ("a cat",)
        x, x0 = np.asarray(file.x[:], np.float64), np.asarray(file.field("x0")[:], np.float64)
        np.testing.assert_array_equal(x[:, -1], recorded.numpy())
        assert np.abs(file.predicted_x0(1) - x0[1]).max() < 1e-6 * np.abs(x0).max()
        assert 0.7 < x[:, 0].std() < 1.2  # whatever the scale of the scheduler
        if name in EXACT:
            for step in range(steps - 1):
                signal, noise = rates(float(file.alpha_bar[step + 1]), "flow" if flow else "diffusion")
                mixed = signal * x0[1, step] + noise * file.epsilon(1, step)
                assert np.abs(x[1, step + 1] - mixed).max() < 1e-5 * np.abs(x[1, step + 1]).max()


def theirs(folder: Path) -> Any:
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.parametrize("kind", ["sdxl", "sd3", "flux"])
def test_the_file_is_that_of_our_own_run(kind: str, pipeline: Folder, tmp_path: Path):
    registry, steps = installed(), 4
    layer = {
        "checkpoint": str(pipeline(kind)),
        "prompt": "a cat, sitting",
        "steps": steps,
        "sinks": [],
        "device": "cpu",
    }
    if kind == "flux":
        layer["denoiser"] = {"name": "flux", "path": layer.pop("checkpoint"), "height": 128, "width": 96}
    else:
        layer["guidance_scale"] = 5.0
    settings, found = configure(registry, layer)
    run = assemble(registry, settings, denoiser=found)
    with torch.inference_mode():
        *frames, last = walk(run.engine, Batch((0,), (0,), (0,), (0,)), lambda at: frozenset({"x", "prediction"}))
    other = theirs(pipeline(kind))
    start, wide = frames[0]["x"].clone(), 96 if kind == "flux" else 128
    more: dict[str, Any] = {"sdxl": {"guidance_scale": 5.0}, "sd3": {"guidance_scale": 5.0}, "flux": {}}[kind]
    if kind == "sd3":
        more["sigmas"] = [1 - i / steps for i in range(steps)]
    if kind == "flux":
        start = other._pack_latents(start, 1, 16, 16, 12)
    given = {"prompt": "a cat, sitting", "num_inference_steps": steps, "height": 128, "width": wide, **more}
    plain = other(latents=start, output_type="np", **given).images
    with Recorder(other, tmp_path / kind) as recorder:
        images = other(latents=start, output_type="np", **given).images
        latents = other(latents=start, output_type="latent", return_dict=False, **given)[0]
    np.testing.assert_array_equal(images, plain)
    assert recorder.outputs == [tmp_path / kind, tmp_path / f"{kind}-2"]
    with (
        Trajectory(tmp_path / kind / "trajectory.h5") as file,
        Trajectory(recorder.outputs[1] / "trajectory.h5") as two,
    ):
        assert file.x.shape[2:] == tuple(last.x.shape[1:])
        for step, frame in enumerate(frames):
            for field, limit in (("x", 1e-5), ("prediction", 1e-4)):
                own = frame[field][0].numpy()
                assert np.abs(file.field(field)[0, step] - own).max() < limit * np.abs(own).max(), (field, step)
        assert np.abs(file.x[0, -1] - last.x[0].numpy()).max() < 1e-5 * np.abs(last.x.numpy()).max()
        assert np.abs(file.images[:].astype(int) - two.images[:]).max() <= 1  # decoded as the pipeline does
        np.testing.assert_array_equal(file.x[:], two.x[:])
        assert latents.shape[0] == 1
        assert file.config["arguments"]["num_inference_steps"] == steps
        assert file.config["scheduler"]["name"] == type(other.scheduler).__name__
        assert file.config["scheduler"]["settings"]["num_train_timesteps"] == 1000
        assert "path" not in str(file.environment["checkpoint"])


def test_commands_read_what_was_recorded(cli: Any, pipeline: Folder, tmp_path: Path):
    other = theirs(pipeline("sdxl"))
    torch.rand(1)  # so that no seed tells what torch's own generator will give
    wanted = ["hdf5", "strip", {"name": "images", "upscale": 1}, "metadata"]
    with Recorder(other, tmp_path / "out", sinks=wanted) as recorder:
        other(["a cat", "a dog"], num_inference_steps=2, height=128, width=128, num_images_per_prompt=2)
        other("a cat", num_inference_steps=2, height=128, width=128)
    file, second = (folder / "trajectory.h5" for folder in recorder.outputs)
    with Trajectory(file) as trajectory:
        assert trajectory.classes == ("a cat", "a dog")
        assert trajectory.labels.tolist() == [0, 0, 1, 1]
        assert trajectory.config["seed"] is None
        with pytest.raises(TrajectoryError, match="is a recording of StableDiffusionXLPipeline by"):
            settings_of(trajectory, installed())
    names = ["StableDiffusionXLPipeline_000000_a-cat.png", "StableDiffusionXLPipeline_000003_a-dog.png"]
    assert {*names} <= {path.name for path in (tmp_path / "out" / "images").iterdir()}
    assert len(list((tmp_path / "out" / "strips").glob("*.png"))) == 4
    for command in (
        ("inspect", file), ("verify", file), ("metrics", file), ("export", file, "--sink", "npz", "--output", tmp_path),
        ("compare", file, second, "--output", tmp_path / "compared.html"),
        ("plot", file, "--plot", "l2_velocity", "--output", tmp_path / "plots"),
        ("select", file, tmp_path / "one.h5", "--sample", "1"),
    ):  # fmt: skip
        done = cli(*command)
        assert done.code == 0, (command, done.error)
    assert cli("diff", file, second).code == 1
    assert cli("replay", file).code != 0


def test_everything_is_restored_and_what_cannot_be_recorded_is_refused(tmp_path: Path):
    loop = Loop(scheduler_of("DDIMScheduler"))
    with Recorder(loop, tmp_path / "out") as recorder:
        with pytest.raises(ConfigError, match="Loop is being recorded already — end the block"), recorder:
            pass
        with pytest.raises(KeyboardInterrupt):
            loop(fail=3)
        assert "step" not in vars(loop.scheduler)
        loop(generator=drawn())
        loop(generator=[drawn(1), drawn(2)][0])
    assert type(loop) is Loop
    with recorder:  # again
        loop()
    assert [folder.name for folder in recorder.outputs] == ["out", "out-2", "out-3"]
    with pytest.raises(OutputError, match=r"out is not empty — choose another output, or give overwrite=True"):
        Recorder(loop, tmp_path / "out").__enter__()
    with Recorder(loop, tmp_path / "out", overwrite=True):
        loop(num_inference_steps=2)
    with Trajectory(tmp_path / "out" / "trajectory.h5") as file:
        assert file.steps == 2
    with pytest.raises(ConfigError, match=r"steps of DDIMInverseScheduler cannot be recorded — use one of DDIMPar"):
        Recorder(Loop(diffusers.DDIMInverseScheduler()), tmp_path / "inverse").__enter__()
    with pytest.raises(ConfigError, match="evaluates four times a step at first — set skip_prk_steps=True"):
        Recorder(Loop(diffusers.PNDMScheduler()), tmp_path / "pndm").__enter__()
    with pytest.raises(ConfigError, match="Recorder: int is no pipeline"):
        Recorder(3, tmp_path / "int")
    with pytest.raises(ConfigError, match="took no step by its scheduler"), Recorder(loop, tmp_path / "none"):
        loop(first=4)


def test_steps_that_are_no_walk_are_refused(tmp_path: Path):
    class Panorama(Loop):
        def __call__(self) -> Any:
            self.scheduler.set_timesteps(4)
            for _ in range(2):
                self.scheduler.step(torch.zeros(1, 1, 4, 4), self.scheduler.timesteps[0], torch.zeros(1, 1, 4, 4))

    loop = Panorama(scheduler_of("DDIMScheduler"))
    with (
        pytest.raises(ConfigError, match="DDIMScheduler steps twice at one noise level"),
        Recorder(loop, tmp_path / "p"),
    ):
        loop()
    assert type(loop) is Panorama
    assert not (tmp_path / "p").exists()


def test_images_are_not_lost_with_a_file_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    loop, images = Loop(scheduler_of("DDIMScheduler")), None
    (tmp_path / "file").write_text("")
    with pytest.raises((OutputError, RunFailed), match="file"), Recorder(loop, tmp_path / "file" / "out"):
        images = loop().images
    assert images is not None


KILLED = """
import os, signal, sys
sys.path.insert(0, {folder!r})
from test_recorder import Loop, scheduler_of
from emnist_diff_plugins.diffusers import Recorder
loop = Loop(scheduler_of("DDIMScheduler"))
with Recorder(loop, {output!r}):
    loop()
    scheduler = loop.scheduler
    step, calls = scheduler.step, []
    def deadly(*args, **kwargs):
        calls.append(0)
        if len(calls) == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(*args, **kwargs)
    deadly.__signature__ = __import__("inspect").signature(step)
    scheduler.step = deadly
    loop()
"""


def test_a_killed_program_keeps_the_calls_before(tmp_path: Path):
    program = KILLED.format(folder=str(Path(__file__).parent), output=str(tmp_path / "out"))
    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    assert verify(tmp_path / "out" / "trajectory.h5") == []
    with Trajectory(tmp_path / "out" / "trajectory.h5") as file:
        assert file.committed == [0, 1]
    assert not (tmp_path / "out-2").exists()


PAGE = Path(__file__).parents[2] / "docs" / "diffusers.md"


def test_the_examples_of_the_page(pipeline: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("FOLDER").symlink_to(pipeline("sdxl"))
    namespace: dict[str, Any] = {}
    blocks = re.findall(r"```python no-run\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), namespace)
    for name in ("cat", "steered"):
        assert verify(f"output/{name}/trajectory.h5") == unchecked(f"output/{name}/trajectory.h5") == []
    with Trajectory("output/steered/trajectory.h5") as file:
        assert file.force_names == ("00_repel_class", "01_attract_class")
