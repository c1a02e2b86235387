"""Pipelines of the engine beside diffusers' own, from the same initial latents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from emnist_diff.assembly.layers import configure

from emnist_diff.assembly.assemble import assemble
from emnist_diff.discovery import installed
from emnist_diff.engine.state import Batch
from emnist_diff.engine.walk import walk

ALIKE = 1e-5
"""Of the largest latent."""


def ours(layer: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor, Any]:
    """Initial and final latents of the first sample of a run, and its assembly."""
    registry = installed()
    settings, found = configure(registry, {"sinks": [], "device": "cpu"} | layer)
    run = assemble(registry, settings, denoiser=found)
    batch = Batch((0,), (0,), (0,), (settings.seed,))
    with torch.inference_mode():
        *frames, last = walk(run.engine, batch, lambda at: frozenset({"x"}))
    return frames[0]["x"], last.x, run


def theirs(folder: Path) -> Any:
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def require_alike(own: torch.Tensor, other: torch.Tensor) -> None:
    assert (own - other).abs().max() / other.abs().max() < ALIKE


@pytest.mark.parametrize(("negative", "guidance", "steps"), [(None, 7.5, 10), ("blurry", 5.0, 6), ("", 5.0, 6)])
def test_sdxl(pipeline: Callable[[str], Path], negative: str | None, guidance: float, steps: int):
    layer = {"checkpoint": str(pipeline("sdxl")), "prompt": "a cat, sitting", "steps": steps}
    layer["guidance_scale"] = guidance
    start, end, run = ours(layer | ({} if negative is None else {"negative_prompt": negative}))
    assert run.config.scheduler.name == "euler"
    assert run.config.scheduler.settings == {"spacing": "leading", "steps_offset": 1}
    expected = theirs(pipeline("sdxl"))(
        "a cat, sitting", negative_prompt=negative, num_inference_steps=steps, guidance_scale=guidance,
        height=128, width=128, latents=start, output_type="latent",
    ).images  # fmt: skip
    require_alike(end, expected)
