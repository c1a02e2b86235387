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
from emnist_diff.errors import CheckpointError, ConfigError
from emnist_diff_plugins.layers import configure

pytest.importorskip("peft", reason="these tests need pip install 'emnist-diff[pipelines]'")

Folder = Callable[[str], Path]


def written(pipe: Any, path: Path) -> Path:
    """A LoRA of random numbers for the network of a pipeline."""
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    network = pipe.unet if hasattr(pipe, "unet") else pipe.transformer
    network.add_adapter(LoraConfig(r=4, lora_alpha=8, target_modules=["to_q", "to_v"]))
    generator = torch.Generator().manual_seed(3)
    for name, weight in network.named_parameters():
        if "lora_" in name:
            weight.data = 0.3 * torch.randn(weight.shape, generator=generator)
    layers = {("unet" if hasattr(pipe, "unet") else "transformer") + "_lora_layers": get_peft_model_state_dict(network)}
    pipe.save_lora_weights(path, **layers)
    network.delete_adapters("default")
    return path / "pytorch_lora_weights.safetensors"


def loaded(folder: Path) -> Any:
    from diffusers import DiffusionPipeline

    return DiffusionPipeline.from_pretrained(folder, local_files_only=True)


def denoiser(**layer: Any) -> Any:
    registry = installed()
    settings, found = configure(registry, {"sinks": [], "device": "cpu", "steps": 2, "prompt": "a cat"} | layer)
    return assemble(registry, settings, denoiser=found).engine.denoisers[""]


def test_lora_is_what_diffusers_adds(pipeline: Folder, tmp_path: Path):
    pipe = loaded(pipeline("sdxl"))
    file = written(pipe, tmp_path)
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
