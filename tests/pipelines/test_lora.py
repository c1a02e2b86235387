"""LoRA added to a pipeline, beside diffusers' own, and options of memory that would do nothing."""

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
from emnist_diff.errors import CheckpointError, ConfigError
from emnist_diff_plugins.denoisers.pipelines.flux import latents_of, tokens_of
from emnist_diff_plugins.layers import configure
from emnist_diff_trajectory.reader import Trajectory

pytest.importorskip("peft", reason="these tests need pip install 'emnist-diff[pipelines]'")

Folder = Callable[[str], Path]


def written(pipe: Any, path: Path, *texts: str) -> Path:
    """A LoRA of random numbers for the network of a pipeline, and for these of its text encoders, where it stays."""
    from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model

    layers = {}
    for name in ("unet" if hasattr(pipe, "unet") else "transformer", *texts):
        part, aimed = getattr(pipe, name), ["q_proj", "v_proj"] if name in texts else ["to_q", "to_v"]
        inject_adapter_in_model(LoraConfig(r=4, lora_alpha=4, target_modules=aimed), part)
        generator = torch.Generator().manual_seed(3)
        for key, weight in part.named_parameters():
            if "lora_" in key:
                weight.data = 0.3 * torch.randn(weight.shape, generator=generator)
        layers[f"{name}_lora_layers"] = get_peft_model_state_dict(part)
    pipe.save_lora_weights(path, **layers)
    return path / "pytorch_lora_weights.safetensors"


def loaded(folder: Path) -> Any:
    from diffusers import DiffusionPipeline

    return DiffusionPipeline.from_pretrained(folder, local_files_only=True)


def denoiser(**layer: Any) -> Any:
    registry = installed()
    settings, found = configure(registry, {"sinks": [], "device": "cpu", "steps": 2, "prompt": "a cat"} | layer)
    return assemble(registry, settings, denoiser=found).engine.denoisers[""]


def test_lora_is_what_diffusers_adds(pipeline: Folder, tmp_path: Path):
    file = written(loaded(pipeline("sdxl")), tmp_path)
    pipe = loaded(pipeline("sdxl"))
    pipe.load_lora_weights(file)
    pipe.set_adapters(pipe.get_active_adapters(), [0.8])
    with_it = denoiser(checkpoint=str(pipeline("sdxl")), lora=[f"{file}:0.8"])
    plain = denoiser(checkpoint=str(pipeline("sdxl")))
    x, t = torch.randn(2, *plain.shape), torch.tensor([500.0, 500.0])
    index = torch.tensor([0, -1])
    given = with_it.given.rows(index)
    beside = {"text_embeds": given.vector, "time_ids": given.numbers}
    with torch.no_grad():
        expected = pipe.unet(x, t, encoder_hidden_states=given.tokens, added_cond_kwargs=beside).sample
        own = with_it.predict(x, t, RowConditions(index))
        without = with_it.predict(x, t, RowConditions(index, "without_lora"))
        base = plain.predict(x, t, RowConditions(index))
    assert (own - expected).abs().max() / expected.abs().max() < 1e-5
    assert (own - base).abs().max() / base.abs().max() > 1e-3
    assert (without - base).abs().max() / base.abs().max() < 1e-5
    strange = denoiser(checkpoint=str(pipeline("sd3")), lora=[str(file)])
    with pytest.raises(CheckpointError, match="does not fit this network, it is of another model") as refused:
        strange.predict(torch.randn(1, *strange.shape), t[:1], RowConditions(index[:1]))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "encoders"), [("flux", ("text_encoder",)), ("sd3", ("text_encoder", "text_encoder_2"))]
)
def test_lora_of_transformers_and_text_encoders(pipeline: Folder, tmp_path: Path, kind: str, encoders: tuple[str, ...]):
    from diffusers.utils import set_weights_and_activate_adapters

    pipe = loaded(pipeline(kind))
    pipe.set_progress_bar_config(disable=True)
    file = written(pipe, tmp_path, *encoders)
    for name in ("transformer", *encoders):
        set_weights_and_activate_adapters(getattr(pipe, name), ["default"], [0.8])
    size = {"height": 32, "width": 32}
    model = {"name": kind, "path": str(pipeline(kind)), **size}
    registry, layer = installed(), {"sinks": [], "device": "cpu", "steps": 2, "prompt": "a cat", "guidance_scale": 1.0}
    ends = []
    for lora in ([f"{file}:0.8"], []):
        settings, found = configure(registry, layer | {"denoiser": model | {"lora": lora}})
        run = assemble(registry, settings, denoiser=found)
        with torch.inference_mode():
            *frames, last = walk(run.engine, Batch((0,), (0,), (0,), (settings.seed,)), lambda at: frozenset({"x"}))
        ends.append(last.x)
    start = frames[0]["x"]
    own = {"latents": tokens_of(start), "guidance_scale": 3.5} if kind == "flux" else {
        "latents": start, "guidance_scale": 1.0, "sigmas": [1.0, 0.5],
    }  # fmt: skip
    expected = pipe("a cat", num_inference_steps=2, output_type="latent", **size, **own).images
    expected = latents_of(expected, 2, 2) if kind == "flux" else expected
    assert (ends[0] - expected).abs().max() / expected.abs().max() < 1e-5
    assert (ends[1] - expected).abs().max() / expected.abs().max() > 1e-3


def test_a_lora_comes_in_over_the_steps(cli: Any, pipeline: Folder, tmp_path: Path):
    pytest.importorskip("emnist_diff_forces_contrib", reason="the force contrast is contributed")
    file = written(loaded(pipeline("sdxl")), tmp_path)
    ramp = '{"kind":"ramp","start":1,"end":0}'
    model = ("--checkpoint", pipeline("sdxl"), "--lora", f"{file}:0.8")
    run = ("run", *model, "--prompt", "a cat", "--base", "cond", "--steps", "3", "--sink", "hdf5", "--output", tmp_path)
    done = cli(*run, "--force", f"contrast:toward_variant=without_lora,away=own,weight={ramp}")
    assert done.code == 0, done.error
    (path,) = tmp_path.rglob("trajectory.h5")
    with Trajectory(path) as trajectory:
        prediction, base = (torch.from_numpy(trajectory.field(name)[0]) for name in ("prediction", "base"))
        recorded = trajectory.config["denoiser"]["settings"]["lora"]
    assert recorded == [f"{file}:0.8"]
    assert torch.equal(prediction[2], base[2])
    assert not torch.allclose(prediction[0], base[0], rtol=1e-3)
    replayed = cli("replay", path, "--checkpoint", pipeline("sdxl"))
    assert replayed.code == 0, replayed.error
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    refused = cli("replay", path, "--checkpoint", pipeline("sdxl"))
    assert refused.code != 0
    assert "lora" in refused.error


@pytest.mark.parametrize(
    ("kind", "layer", "message"),
    [
        ("sdxl", {"offload": "model"}, "this run is on the CPU — leave --offload out"),
        ("sd3", {"attention_slicing": True}, "attention_slicing does nothing to the transformer of 'sd3'"),
        ("sdxl", {"vae_slicing": True}, "images are decoded one at a time — leave it out"),
        ("sdxl", {"lora": ["style.bin:0.5"]}, "style.bin is no .safetensors file"),
        ("sdxl", {"lora": ["style.safetensors"]}, "cannot read checkpoint 'style.safetensors'"),
    ],
)
def test_what_would_do_nothing_is_refused(pipeline: Folder, kind: str, layer: dict[str, Any], message: str):
    with pytest.raises((ConfigError, CheckpointError), match=message):
        denoiser(checkpoint=str(pipeline(kind)), **layer)


def test_tiles_and_slices_are_switched_on(pipeline: Folder):
    tiled = denoiser(checkpoint=str(pipeline("sdxl")), vae_tiling=True, attention_slicing=True)
    assert tiled.codec.module.use_tiling
    assert tiled.decode(torch.randn(1, *tiled.shape)).shape == (1, 3, 128, 128)
