"""Prompts sampled, steered, recorded and made again."""

from __future__ import annotations

import gc
import json
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from structlog.testing import capture_logs

from emnist_diff.assembly.assemble import assemble
from emnist_diff.discovery import installed
from emnist_diff.engine.state import Batch
from emnist_diff.engine.walk import walk
from emnist_diff.errors import UnknownName
from emnist_diff_plugins.denoisers.pipelines import parts
from emnist_diff_plugins.layers import configure
from emnist_diff_trajectory.reader import Trajectory

Folder = Callable[[str], Path]


def assembled(**layer: Any) -> Any:
    registry = installed()
    settings, found = configure(registry, {"sinks": [], "device": "cpu", "steps": 2} | layer)
    return assemble(registry, settings, denoiser=found)


def walked(run: Any, *ids: int) -> torch.Tensor:
    labels = tuple(int(run.header.labels[run.header.sample_ids.tolist().index(number)]) for number in ids)
    *_, last = walk(run.engine, Batch(ids, ids, labels, (run.config.seed,) * len(ids)), lambda at: frozenset())
    return last.x


def test_prompts_are_recorded_and_replayed_wherever_their_folder_is(
    cli: Any, pipeline: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(pipeline("sdxl"), "model")
    Path("texts").write_text("a dog, running\n\na cat\n")
    run = ("run", "--checkpoint", "model", "--prompt", "a cat", "--prompt", "@texts", "--negative-prompt", "blurry")
    steered = ("--force", 'attract_class:target="a red house",weight=0.5', "--guide", "weak=model", "--steps", "2")
    done = cli(*run, *steered, "--sink", "hdf5", "--output", "out")
    assert done.code == 0, done.error
    (path,) = Path("out").rglob("trajectory.h5")
    with Trajectory(path) as trajectory:
        record, environment = trajectory.config, trajectory.environment
        assert trajectory.classes[:3] == ("a cat", "a dog, running", "a red house")
        assert trajectory.labels.tolist() == [0, 1]  # one of each
        assert record["denoiser"]["name"] == "sdxl"
        assert record["denoiser"]["settings"]["negative_prompt"] == "blurry"
        assert "path" not in record["denoiser"]["settings"]
        assert environment["checkpoint"]["file"] == "model"
        assert abs(trajectory.field("forces/00_attract_class/contribution")[0]).min() > 0
        assert trajectory.images.shape[1:] == (128, 128, 3)
    assert cli(*run, *steered, "--sink", "hdf5", "--output", "out", "--resume").code == 0
    refused = cli(*run, "--negative-prompt", "grey", *steered, "--sink", "hdf5", "--output", "out", "--resume")
    assert "belongs to another run (denoiser.negative_prompt: 'blurry' there, 'grey' here) — repeat" in refused.error
    Path("elsewhere").mkdir()
    Path("model").rename("elsewhere/other")
    replayed = cli("replay", path, "--checkpoint", "elsewhere/other", "--guide", "weak=elsewhere/other")
    assert replayed.code == 0, replayed.error
    unet = Path("elsewhere/other/unet/diffusion_pytorch_model.safetensors")
    unet.write_bytes(unet.read_bytes()[:-1] + b"\x01")
    refused = cli("replay", path, "--checkpoint", "elsewhere/other", "--guide", "weak=elsewhere/other")
    assert refused.code != 0
    assert "other is another" in refused.error


def test_names_stand_for_texts(pipeline: Folder, tmp_path: Path):
    names = {"cat": "a cat, sitting", "night": "at night"}
    force = {"name": "attract_class", "target": "night"}
    run = assembled(checkpoint=str(pipeline("sdxl")), prompts=names, negative_prompt="night", forces=[force])
    assert run.header.classes == ("a cat, sitting", "at night")
    assert run.header.labels.tolist() == [0, 1]
    assert run.header.config["denoiser"]["settings"]["prompts"] == list(names.items())
    given = run.engine.denoisers[""].given
    assert torch.equal(given.tokens[1], given.tokens[-1])  # night, and the null condition
    with pytest.raises(UnknownName, match="unknown number beside a prompt 'size'"):
        run.engine.denoisers[""].conditions.index("a cat", (("size", 1.0),))


@pytest.mark.parametrize(("layer", "unused"), [({"guidance_scale": 1.0}, True), ({}, False), ({"base": "cond"}, True)])
def test_a_negative_prompt_that_nothing_reads_is_said(pipeline: Folder, layer: dict[str, Any], unused: bool):
    with capture_logs() as logs:
        assembled(checkpoint=str(pipeline("sdxl")), prompt="a cat", negative_prompt="blurry", **layer)
    assert ("negative_prompt.unused" in [log["event"] for log in logs]) == unused


def test_bits_do_not_depend_on_the_batch_and_encoders_are_dropped(pipeline: Folder, monkeypatch: pytest.MonkeyPatch):
    loaded: list[tuple[str, Any]] = []
    load = parts.part

    def noted(folder: Any, name: str, *more: Any) -> Any:
        module = load(folder, name, *more)
        loaded.append((name, weakref.ref(module)))
        return module

    monkeypatch.setattr(parts, "part", noted)
    layer = {"checkpoint": str(pipeline("sdxl")), "prompt": ["a cat", "a dog"], "total_videos": 5}
    run = assembled(**layer, batch_size=5)
    whole = walked(run, 0, 1, 2, 3, 4)
    for ids in ((1,), (3, 0)):
        assert torch.equal(walked(run, *ids), whole[list(ids)])
    gc.collect()
    assert [name for name, _ in loaded] == ["text_encoder", "text_encoder_2", "unet", "vae"]
    assert [name for name, module in loaded if module() is not None] == ["unet", "vae"]
    other = assembled(**layer, batch_size=2, rank=1, world_size=2)
    assert torch.equal(walked(other, 3), whole[3:4])


def test_a_dry_run_reads_no_weights(cli: Any, pipeline: Folder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parts, "part", None)
    monkeypatch.setattr(parts, "tokenizer", None)
    shape = f"sdxl:path={pipeline('sdxl')},height=192,width=128"
    done = cli("run", "--denoiser", shape, "--prompt", "a cat", "--dry-run")
    assert done.code == 0, done.error
    shown = json.loads(done.out)
    assert shown["config"]["character"] == ["a cat"]
    assert shown["plan"]["estimated_seconds"] is None


def test_latents_are_made_of_images_and_forces_differentiate_through_both(pipeline: Folder):
    denoiser = assembled(checkpoint=str(pipeline("sdxl")), prompt="a cat").engine.denoisers[""]
    with torch.inference_mode():  # in which everything is loaded
        images = denoiser.decode(torch.randn(2, *denoiser.shape))
        assert images.shape == (2, 3, 128, 128)
        assert 0 <= images.min() < images.max() <= 1
        latents = denoiser.encode(images)
        assert latents.shape == (2, *denoiser.shape)
        assert torch.equal(denoiser.encode(images[1:]), latents[1:])
    x = torch.randn(1, *denoiser.shape, requires_grad=True)
    (gradient,) = torch.autograd.grad(denoiser.decode(x).square().mean(), x)
    assert np.isfinite(gradient.numpy()).all()
    assert gradient.abs().max() > 0
