"""Folders and requests that cannot be run: one line each, which names the thing and the way out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emnist_diff.assembly.sources import opened
from emnist_diff.discovery import installed
from emnist_diff.errors import CheckpointError, ConfigError, EmnistDiffError
from emnist_diff_plugins.denoisers.pipelines.prompts import Fragment, fragments
from emnist_diff_plugins.layers import configure

Folder = Callable[[str], Path]


@pytest.fixture
def copied(pipeline: Folder, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pipeline("sdxl"), tmp_path / "model"))


def _without_index(folder: Path) -> None:
    (folder / "model_index.json").unlink()


def _without_part(folder: Path) -> None:
    shutil.rmtree(folder / "text_encoder_2")


def _truncated(folder: Path) -> None:
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def _truncated_table(folder: Path) -> None:
    (folder / "unet" / "config.json").write_text('{"sample_size": 16')


def _pickled(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))


def _renamed(part: str, name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "model_index.json"
        index = json.loads(path.read_text())
        index[part] = name if part.startswith("_") else [index[part][0], name]
        path.write_text(json.dumps(index))

    return change


def _without_tokens(folder: Path) -> None:
    (folder / "tokenizer" / "tokenizer.json").unlink()


def _without_settings_of_tokens(folder: Path) -> None:
    (folder / "tokenizer_2" / "tokenizer_config.json").unlink()


def _without_shard(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.unlink()
    table = {"weight_map": {"a": "diffusion_pytorch_model-00001-of-00002.safetensors"}}
    weights.with_suffix(".safetensors.index.json").write_text(json.dumps(table))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without_index, "model has no model_index.json, which marks a folder of a pipeline"),
        (_without_part, "lacks the folder of its part 'text_encoder_2' — download the pipeline whole"),
        (_truncated, "vae/diffusion_pytorch_model.safetensors is truncated"),
        (_truncated_table, "cannot read .*unet/config.json: it is no JSON, or is truncated — download it again"),
        (_pickled, "diffusion_pytorch_model.bin is a pickle, which may run code"),
        (_renamed("unet", "UNetOfMine"), "part 'unet' is a UNetOfMine, which is not run — only UNet2DConditionModel"),
        (_renamed("_class_name", "KandinskyPipeline"), "holds a KandinskyPipeline, which no family runs"),
        (_without_tokens, "tokenizer holds none of tokenizer.json, vocab.json, spiece.model — download the part"),
        (_without_settings_of_tokens, "cannot read .*tokenizer_2/tokenizer_config.json: No such file"),
        (_without_shard, "00001-of-00002.safetensors is missing, which .*index.json names"),
    ],
)
def test_folders_that_are_not_whole(copied: Path, change: Callable[[Path], None], message: str):
    change(copied)
    with pytest.raises(CheckpointError, match=message):
        opened(installed(), str(copied))


@pytest.mark.parametrize(
    ("kind", "layer", "message"),
    [
        ("sdxl", {"height": 100}, "height = 100 is no multiple of 8 — use 96 or 104"),
        ("sd3", {"width": 2048}, "2048x2048 pixels|2048 pixels are more than this network has positions for"),
        ("schnell", {"guidance": 3.5}, "is given no guidance, as schnell is not"),
        ("flux", {"height": 24}, "height = 24 is no multiple of 16 — use 16 or 32"),
    ],
)
def test_settings_that_a_network_cannot_have(pipeline: Folder, kind: str, layer: dict[str, Any], message: str):
    family = {"name": kind if kind != "schnell" else "flux", "path": str(pipeline(kind)), **layer}
    with pytest.raises(ConfigError, match=message):
        configure(installed(), {"denoiser": family, "prompt": "a cat"})


def test_prompts_that_are_none(cli: Any, pipeline: Folder, tmp_path: Path):
    folder, many, empty = pipeline("sdxl"), tmp_path / "many", tmp_path / "empty"
    empty.write_text("\n")
    many.write_text("\n".join(f"prompt number {number}" for number in range(200)))
    run = ("run", "--checkpoint", folder, "--dry-run")
    for more, message in (
        (("--prompt", ""), "a prompt is empty, which is the null condition — use --base uncond"),
        ((), 'this model makes what a text says — use --prompt "…"'),
        (("--prompt", f"@{empty}"), "the file holds no prompt — write one a line"),
        (("--prompt", "@nowhere"), "cannot read 'nowhere'"),
        (("--prompt", "a (cat:11)"), "the weight 11 is not within 0 … 10"),
        (("--prompt", "a cat", "--negative-prompt", "a (dog:12)"), "the weight 12 is not within 0 … 10"),
        (("--prompt", "a cat", "--character", "a dog"), "prompt and character exclude each other"),
    ):
        refused = cli(*run, *more)
        assert refused.code == 2
        assert message in refused.error
    for setting, text in (("prompt", "a cat"), ("negative_prompt", "blurry")):
        refused = cli("run", f"--{setting.replace('_', '-')}", text, "--dry-run")
        assert f"{setting} belongs to models that take texts, and denoiser 'unet2d' does not" in refused.error
    made = cli(
        *run[:-1],
        "--prompt",
        f"@{many}",
        "--steps",
        "1",
        "--sink",
        "metadata",
        "--total-videos",
        "4",
        "--output",
        tmp_path / "out",
    )
    assert made.code == 0, made.error
    assert "'prompt number 11' and 188 more in " in made.out
    assert len(next((tmp_path / "out").iterdir()).name) < 40


def test_a_folder_of_nothing(cli: Any, tmp_path: Path):
    refused = cli("run", "--checkpoint", tmp_path, "--prompt", "a cat")
    assert refused.code == 4
    assert "or the folder of a pipeline, which has a model_index.json" in refused.error


def test_weights_of_words():
    assert fragments("a (red:1.3) house") == (Fragment("a "), Fragment("red", 1.3), Fragment(" house"))
    assert fragments(r"smile \(wide\) (note: so) (ok)") == (Fragment("smile (wide) (note: so) (ok)"),)
    assert fragments("") == (Fragment(""),)
    with pytest.raises(EmnistDiffError, match="the weight -1 is not within"):
        fragments("a (cat:-1)")
