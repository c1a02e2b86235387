"""Every example of the page on text to image is run, on tiny pipelines."""

from __future__ import annotations

import glob
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from emnist_diff.assembly.assemble import assemble
from emnist_diff.conditions import Cond, RowConditions
from emnist_diff.discovery import installed
from emnist_diff.engine.state import Batch
from emnist_diff.engine.walk import walk
from emnist_diff_plugins.layers import configure

PAGE = (Path(__file__).parents[2] / "docs" / "text-to-image.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
    if line.startswith("emnist-diff ")
]
RECIPES = re.findall(r"^\| [^|]+ \| `(--force '[^`]+')`", PAGE, re.MULTILINE)

SMALLER = {"height=768,width=1152": "height=64,width=96", "layers=[7,8,9]": "layers=[1,2]"}
"""What tiny networks cannot have, or take long for."""


@pytest.fixture(scope="module")
def folder(pipeline: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with everything that the page names, which is the current one."""
    from diffusers import AutoencoderTiny, DiffusionPipeline
    from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model

    before, place = Path.cwd(), tmp_path_factory.mktemp("page")
    os.chdir(place)
    for name, kind in (("FOLDER", "sdxl"), ("ELSEWHERE", "sdxl"), ("SD3.5-MEDIUM", "sd3")):
        shutil.copytree(pipeline(kind), name)
        config = Path(name) / ("unet" if kind == "sdxl" else "transformer") / "config.json"
        config.write_text(re.sub(r'"sample_size": \d+', '"sample_size": 8', config.read_text()))  # 64 x 64 pixels
    blocks = {"encoder_block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4}
    AutoencoderTiny(**blocks, num_encoder_blocks=(1,) * 4, num_decoder_blocks=(1,) * 4).save_pretrained("TAESD")
    Path("prompts.txt").write_text("a cat\na dog\n")
    pipe = DiffusionPipeline.from_pretrained(pipeline("sdxl"), local_files_only=True)
    inject_adapter_in_model(LoraConfig(r=2, target_modules=["to_q"], init_lora_weights=False), pipe.unet)
    pipe.save_lora_weights("lora", unet_lora_layers=get_peft_model_state_dict(pipe.unet))
    for name in ("style", "detail"):
        shutil.copy("lora/pytorch_lora_weights.safetensors", f"{name}.safetensors")
    yield place
    os.chdir(before)


def _arguments(command: str) -> list[str]:
    for large, small in SMALLER.items():
        command = command.replace(large, small)
    program, *arguments = shlex.split(command)
    assert program == "emnist-diff"
    few = ["--steps", "2"] if arguments[0] == "run" else []
    return [path for word in arguments for path in (sorted(glob.glob(word)) if "*" in word else [word])] + few


def test_every_command_runs(cli: Any, folder: Path):
    pytest.importorskip("emnist_diff_forces_contrib", reason="some forces are contributed")
    assert len(COMMANDS) >= 8
    for number, command in enumerate(COMMANDS):
        apart = ("--output", f"output{number}") if number and " run " in command else ()
        done = cli(*_arguments(command), *apart)
        assert done.code == 0, f"{command}: {done.error}"


def test_every_recipe_of_forces_steers(cli: Any, folder: Path):
    pytest.importorskip("emnist_diff_forces_contrib", reason="the force regional is contributed")
    assert [re.split("[ ':]", recipe)[2] for recipe in RECIPES] == [
        "blend_two", "ramp_attract", "repel_class", "switch_two", "regional",
    ]  # fmt: skip
    model = ("run", "--denoiser", "sdxl:path=FOLDER,height=64,width=64", "--prompt", "a cat", "--base", "cond")
    ends = set()
    for number, recipe in enumerate(["", *RECIPES]):
        out = Path(f"recipe{number}")
        done = cli(*model, *shlex.split(recipe), "--steps", "2", "--seed", "1", "--sink", "latents", "--output", out)
        assert done.code == 0, f"{recipe}: {done.error}"
        (last,) = out.rglob("*final*.npy")
        ends.add(last.read_bytes())
    assert len(ends) == 1 + len(RECIPES)


def test_the_file_runs(cli: Any, folder: Path):
    (text,) = re.findall(r"^```text\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    Path("prompts.toml").write_text(text)
    done = cli("run", "--config", "prompts.toml", "--steps", "1", "--sink", "metadata", "--output", "named")
    assert done.code == 0, done.error
    assert "2 samples" in done.out


def test_regions_of_flux_are_places_of_the_picture(pipeline: Callable[[str], Path]):
    pytest.importorskip("emnist_diff_forces_contrib", reason="the force regional is contributed")

    def first(**force: Any) -> torch.Tensor:
        registry = installed()
        model = {"name": "flux", "path": str(pipeline("flux")), "height": 32, "width": 64}
        layer = {"denoiser": model, "prompt": "a cat", "steps": 1, "sinks": [], "device": "cpu", "base": "cond"}
        settings, found = configure(registry, layer | {"forces": [{"name": "regional", "scale": 5, **force}]})
        run = assemble(registry, settings, denoiser=found)
        with torch.inference_mode():
            frame, _ = walk(run.engine, Batch((0,), (0,), (0,), (1,)), lambda at: frozenset({"prediction"}))
        return frame["prediction"]

    halves = first(targets=["a sky", "a sea"], masks=["top", "bottom"])
    sky, sea = (first(targets=[name], masks=[[0, 0, 1, 1]]) for name in ("a sky", "a sea"))
    torch.testing.assert_close(halves[:, :, :2], sky[:, :, :2], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(halves[:, :, 2:], sea[:, :, 2:], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(sky, sea, rtol=1e-3)


@pytest.mark.parametrize(("kind", "settings"), [("flux", {"guidance": 2.0}), ("sdxl", {"original_size": [512, 512]})])
def test_numbers_beside_a_text_are_those_of_a_row(pipeline: Callable[[str], Path], kind: str, settings: dict[str, Any]):
    (cond,) = (
        cond
        for text in re.findall(r"`(Cond\([^`]+\))`", PAGE)
        if ("guidance" in dict((cond := eval(text, {"Cond": Cond})).inputs)) == (kind == "flux")
    )

    def denoiser(**more: Any) -> Any:
        registry = installed()
        model = {"name": kind, "path": str(pipeline(kind)), "height": 32, "width": 32, **more}
        layer = {"denoiser": model, "prompt": "a cat", "sinks": [], "device": "cpu", "steps": 1}
        chosen, found = configure(registry, layer)
        return assemble(registry, chosen, denoiser=found).engine.denoisers[""]

    plain, other = denoiser(), denoiser(**settings)
    x, t = torch.ones(1, *plain.shape), torch.tensor([500.0])
    index = plain.conditions.index("a cat", cond.inputs)
    own = plain.predict(x, t, RowConditions(torch.tensor([index])))
    assert torch.equal(own, other.predict(x, t, RowConditions(torch.tensor([0]))))
    assert not torch.equal(own, plain.predict(x, t, RowConditions(torch.tensor([0]))))


def test_a_guide_of_another_size_is_refused(cli: Any, pipeline: Callable[[str], Path]):
    model = f"sdxl:path={pipeline('sdxl')},height=64,width=64"
    refused = cli("run", "--denoiser", model, "--guide", f"weak={pipeline('sdxl')}", "--prompt", "a cat", "--dry-run")
    assert refused.code == 2
    assert (
        "guide 'weak' has states of shape (4, 16, 16), the run's model (4, 8, 8) — use one of the same" in refused.error
    )
