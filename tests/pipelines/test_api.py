"""Folders of pipelines by the Python interface."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from emnist_diff import (
    EnvironmentConfig,
    ForceConfig,
    InferenceConfig,
    Trajectory,
    build_scheduler,
    configure,
    generate_sample,
    generate_samples,
    installed,
    load_checkpoint,
    load_unet,
    run,
)
from emnist_diff.errors import CheckpointError, ConfigError, UnknownName

Folder = Callable[[str], Path]


def test_samples_are_those_of_a_run(pipeline: Folder, tmp_path: Path):
    ckpt = load_checkpoint(pipeline("sdxl"), negative_prompt="blurry", height=128, width=192)
    assert ckpt.path == pipeline("sdxl")
    assert (ckpt.family, ckpt.classes, ckpt.recommended["steps"]) == ("sdxl", (), 30)
    model, scheduler = load_unet(ckpt), build_scheduler(ckpt)
    assert (scheduler.name, scheduler.settings["spacing"]) == ("euler", "leading")
    forces = [{"name": "repel_class", "target": "a dog, running"}]
    config = InferenceConfig(
        checkpoint_path=str(pipeline("sdxl")), character="a cat, sitting", total_videos=1, steps=2,
        force=ForceConfig(force_stack=forces), env=EnvironmentConfig(device="cpu"),
    )  # fmt: skip
    result = generate_sample(model, scheduler, config, ckpt)
    assert result.final_image.shape == (128, 192, 3)
    assert result.character == "a cat, sitting"
    two = InferenceConfig(character='["a cat", "' + "very " * 30 + 'long"]', total_videos=2, steps=2)
    assert len(generate_samples(model, scheduler, two, ckpt)) == 2
    assert torch.equal(
        generate_sample(model, scheduler, config, ckpt).x_final, result.x_final
    )  # the long one is forgotten
    layer = {
        "checkpoint": str(pipeline("sdxl")), "denoiser": {"name": "sdxl", "settings": {"height": 128, "width": 192}},
        "prompt": "a cat, sitting", "negative_prompt": "blurry", "forces": forces, "steps": 2, "device": "cpu",
        "output": str(tmp_path), "sinks": ["hdf5"],
    }  # fmt: skip
    settings, _ = configure(installed(), layer)
    with Trajectory(run(settings).output / "trajectory.h5") as file:
        np.testing.assert_array_equal(file.x[0, -1], result.x_final.numpy())
    assert config.to_run_config().checkpoint == str(pipeline("sdxl"))


def test_what_a_folder_cannot_be_given_is_refused(pipeline: Folder):
    with pytest.raises(UnknownName, match="unknown setting of denoiser 'sdxl': 'heigth' — did you mean 'height'"):
        load_checkpoint(pipeline("sdxl"), heigth=64)
    with pytest.raises(ConfigError, match="the shipped checkpoint is no folder of a pipeline, and takes no"):
        load_checkpoint(height=64)
    with pytest.raises(CheckpointError, match="is the folder of a pipeline, which has no epochs"):
        load_checkpoint(pipeline("sdxl"), epoch=3)


def test_the_example_of_the_page(pipeline: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("FOLDER").symlink_to(pipeline("sdxl"))
    page = (Path(__file__).parents[2] / "docs" / "python-api.md").read_text(encoding="utf-8")
    (block,) = (part for part in re.findall(r"```python no-run\n(.*?)```", page, re.DOTALL) if '"FOLDER"' in part)
    small = (
        block.replace("768", "128").replace("total_videos=1,", "total_videos=1, steps=2,").replace('"auto"', '"cpu"')
    )
    names: dict[str, Any] = {
        "InferenceConfig": InferenceConfig,
        "ForceConfig": ForceConfig,
        "generate_sample": generate_sample,
    }
    names |= {"load_checkpoint": load_checkpoint, "load_unet": load_unet, "build_scheduler": build_scheduler}
    exec(compile(small, "python-api.md", "exec"), names)
    assert names["result"].character == "a cat, sitting"
