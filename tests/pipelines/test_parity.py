"""Pipelines of the engine beside diffusers' own, from the same initial latents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from emnist_diff.assembly.assemble import assemble
from emnist_diff.conditions import RowConditions
from emnist_diff.discovery import installed
from emnist_diff.engine.state import Batch
from emnist_diff.engine.walk import walk
from emnist_diff_plugins.denoisers.pipelines.flux import latents_of, tokens_of
from emnist_diff_plugins.layers import configure

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


@pytest.mark.parametrize(("negative", "guidance"), [(None, 7.0), ("blurry", 5.0)])
def test_sd3(pipeline: Callable[[str], Path], negative: str | None, guidance: float):
    layer = {"checkpoint": str(pipeline("sd3")), "prompt": "a cat, sitting", "steps": 8, "guidance_scale": guidance}
    start, end, run = ours(layer | ({} if negative is None else {"negative_prompt": negative}))
    assert run.config.scheduler.name == "flow_euler"
    assert run.config.scheduler.settings == {"shift": 3.0}
    expected = theirs(pipeline("sd3"))(
        "a cat, sitting", negative_prompt=negative, sigmas=[1 - i / 8 for i in range(8)], num_inference_steps=8,
        guidance_scale=guidance, height=128, width=128, latents=start, output_type="latent",
    ).images  # fmt: skip
    require_alike(end, expected)


@pytest.mark.parametrize(("kind", "given", "true"), [("flux", 3.5, 1.0), ("flux", 1.0, 3.0), ("schnell", None, 1.0)])
def test_flux(pipeline: Callable[[str], Path], kind: str, given: float | None, true: float):
    settings = {"path": str(pipeline(kind)), "height": 128, "width": 96}
    settings |= {} if given is None else {"guidance": given}
    layer = {"denoiser": {"name": "flux", **settings}, "prompt": "a cat, sitting", "steps": 6}
    start, end, run = ours(layer | ({"guidance_scale": true, "negative_prompt": "blurry"} if true > 1 else {}))
    assert run.config.scheduler.settings == ({"tokens": 48} if kind == "flux" else {})
    expected = theirs(pipeline(kind))(
        "a cat, sitting", negative_prompt="blurry" if true > 1 else None, true_cfg_scale=true, num_inference_steps=6,
        guidance_scale=given or 0.0, height=128, width=96, latents=tokens_of(start), output_type="latent",
    ).images  # fmt: skip
    require_alike(end, latents_of(expected, 8, 6))
    assert torch.equal(latents_of(tokens_of(start), 8, 6), start)


def test_perturbed_attention_is_that_of_diffusers(pipeline: Callable[[str], Path]):
    from diffusers import StableDiffusionXLPAGPipeline

    _, _, run = ours({"checkpoint": str(pipeline("sdxl")), "prompt": "a cat", "steps": 1})
    denoiser = run.engine.denoisers[""]
    other = StableDiffusionXLPAGPipeline.from_pipe(theirs(pipeline("sdxl")), pag_applied_layers="mid")
    other._set_pag_attn_processor(pag_applied_layers=other.pag_applied_layers, do_classifier_free_guidance=False)
    x, t, index = torch.randn(1, *denoiser.shape), torch.tensor([500.0]), torch.tensor([0])
    given = denoiser.given.rows(torch.tensor([0, 0]))
    beside = {"text_embeds": given.vector, "time_ids": given.numbers}
    with torch.no_grad():
        rows = other.unet(torch.cat((x, x)), t, encoder_hidden_states=given.tokens, added_cond_kwargs=beside).sample
        require_alike(denoiser.predict(x, t, RowConditions(index)), rows[:1])
        require_alike(denoiser.predict(x, t, RowConditions(index, "attention_identity")), rows[1:])
    assert (rows[:1] - rows[1:]).abs().max() > 0
