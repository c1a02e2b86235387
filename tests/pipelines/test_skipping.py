"""Layers of pipelines' networks skipped, beside what diffusers makes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline

from emnist_diff.assembly.assemble import assemble
from emnist_diff.conditions import RowConditions
from emnist_diff.discovery import installed
from emnist_diff.engine.state import Batch
from emnist_diff.engine.walk import walk
from emnist_diff.errors import ConfigError
from emnist_diff_plugins.denoisers.pipelines.skipping import layers_of
from emnist_diff_plugins.layers import configure

Folder = Callable[[str], Path]


def assembled(**layer: Any) -> Any:
    registry = installed()
    settings, found = configure(registry, {"sinks": [], "device": "cpu", "prompt": "a cat"} | layer)
    return assemble(registry, settings, denoiser=found)


def test_it_is_skip_layer_guidance_of_diffusers(pipeline: Folder):
    pytest.importorskip("emnist_diff_forces_contrib", reason="the force skip_layers is contributed")
    force = {"name": "skip_layers", "layers": [1, 2], "strength": 2.8, "start": 0.01, "stop": 0.7}
    run = assembled(checkpoint=str(pipeline("sd3")), steps=6, guidance_scale=5.0, forces=[force])
    with torch.inference_mode():
        *frames, last = walk(run.engine, Batch((0,), (0,), (0,), (run.config.seed,)), lambda at: frozenset({"x"}))
    pipe = DiffusionPipeline.from_pretrained(pipeline("sd3"), local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    arguments = {
        "sigmas": [1 - i / 6 for i in range(6)], "num_inference_steps": 6, "guidance_scale": 5.0, "height": 128,
        "width": 128, "latents": frames[0]["x"], "output_type": "latent",
    }  # fmt: skip
    skips = {"skip_guidance_layers": [1, 2], "skip_layer_guidance_scale": 2.8, "skip_layer_guidance_stop": 0.7}
    expected = pipe("a cat", **arguments, **skips).images
    assert (last.x - expected).abs().max() / expected.abs().max() < 1e-5
    plain = pipe("a cat", **arguments).images
    assert (plain - expected).abs().max() / expected.abs().max() > 1e-3


@pytest.mark.parametrize(("kind", "count"), [("sdxl", 8), ("sd3", 3), ("flux", 2)])
def test_layers_are_skipped_and_come_back(pipeline: Folder, kind: str, count: int):
    size = {"height": 32, "width": 32} if kind == "flux" else {}
    denoiser = assembled(denoiser={"name": kind, "path": str(pipeline(kind)), **size}, steps=1).engine.denoisers[""]
    generator = torch.Generator().manual_seed(1)
    x, t, index = torch.randn(1, *denoiser.shape, generator=generator), torch.tensor([500.0]), torch.tensor([0])

    def predicted(variant: str = "") -> torch.Tensor:
        return denoiser.predict(x, t, RowConditions(index, variant))

    plain, layers = predicted(), layers_of(denoiser.network)
    assert len(layers) == count
    for number, layer in enumerate(layers):
        hooks = [
            modules[place].register_forward_hook(_led_past(rest), with_kwargs=True) for modules, place, rest in layer
        ]
        expected = predicted()
        for hook in hooks:
            hook.remove()
        skipped = predicted(f"skip_layers@{2**number}")
        assert torch.equal(skipped, expected)
        assert not torch.equal(skipped, plain)
    everything = predicted(f"skip_layers@{2**count - 1}")
    assert torch.isfinite(everything).all()
    assert torch.equal(predicted(), plain)
    with pytest.raises(ConfigError, match=f"there is no layer {count} to skip — this network has {count}, 0 … "):
        predicted(f"skip_layers@{2**count}")


def _led_past(rest: Any) -> Callable[..., Any]:
    """What a layer returns as if it were not there: for blocks and attention what they got, in their own order."""

    def hook(module: Any, args: Any, kwargs: Any, output: Any) -> Any:
        given = args[0] if args else kwargs["hidden_states"]
        if isinstance(output, torch.Tensor):
            shortcut = module.conv_shortcut
            return given if shortcut is None else shortcut(given)
        return (given,) if len(output) == 1 else (kwargs["encoder_hidden_states"], given)

    return hook
