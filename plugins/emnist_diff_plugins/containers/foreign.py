"""What a file or folder is that was named as a checkpoint and is none, and what to do about it. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from emnist_diff_trajectory.plaindata import from_json, read_text

_MAGIC = (
    (b"version https://git-lfs", "a Git LFS pointer, not the weights it stands for — run git lfs pull"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as trajectories and Keras models are — name a checkpoint"),
    (b"GGUF", "a GGUF file of a language model — name a checkpoint"),
    (b"\x1f\x8b", "packed with gzip — unpack it first"),
    (b"<!DOCTYPE", "a web page: the download went wrong — fetch it again"),
    (b"<html", "a web page: the download went wrong — fetch it again"),
)
_TORCH = ((b"PK\x03\x04", "a zip file"), (b"\x80\x02", "a pickle"))

FROM_DIFFUSERS = "docs/checkpoints.md, 'From diffusers', shows how to add class names and noise schedule to it"

ONE_FILE = (
    "one of SDXL or SD3 is run as a folder, which diffusers writes: "
    "StableDiffusionXLPipeline.from_single_file(FILE).save_pretrained(FOLDER)"
)


def file(path: Path) -> str | None:
    """What the first bytes of a file say that it is, and the way out; None for what is not recognised.

    Raises `OSError` when it cannot be read.
    """
    with path.open("rb") as opened:
        start = opened.read(64)
    for magic, what in _MAGIC:
        if start.lower().startswith(magic.lower()):
            return what
    for magic, what in _TORCH:
        if start.startswith(magic):
            return f"{what}, as torch.save writes — convert it: emnist-diff checkpoint convert {path}"
    return None


def folder(path: Path) -> str | None:
    """What a folder of another program is, and the way out; None for what is not recognised."""
    if (path / "model_index.json").is_file() and (path / "text_encoder").is_dir():
        return f'the folder of a pipeline that takes texts — run it: emnist-diff run --checkpoint {path} --prompt "…"'
    for name in ("model_index.json", "config.json", "scheduler_config.json"):
        class_name = _class_name(path / name)
        if class_name is not None:
            return f"a diffusers folder of {class_name!r}, which names no classes — {FROM_DIFFUSERS}"
    return None


def weights(names: Collection[str]) -> str:
    """What tensors of these names are when nothing else is known of them, and the way out."""
    if any(name.startswith("model.diffusion_model.") for name in names):
        return f"the weights of a Stable Diffusion model in one file — {ONE_FILE}"
    if any(".lora_" in name or name.startswith("lora_") for name in names):
        return "a LoRA, a change of another network's weights, and no network"
    if any(name.startswith("optimizer/") for name in names):
        return "the state that a training resumes from — name the checkpoint beside its folder"
    what = f"{len(names)} tensors without class names and noise schedule"
    example = f", such as {min(names)!r}" if names else ""
    return f"{what}{example} — {FROM_DIFFUSERS}"


def _class_name(path: Path) -> str | None:
    """The class that a configuration of diffusers is of."""
    try:
        data = from_json(read_text(path))
    except ValueError:
        return None
    name = data.get("_class_name") if isinstance(data, dict) else None
    return name[:80] if isinstance(name, str) else None
