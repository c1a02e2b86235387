"""Folders as diffusers saves pipelines: what they hold, whether it is whole, and what it hashes to. Nothing here reads
a tensor."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from emnist_diff.errors import CheckpointError
from emnist_diff_plugins.containers import tensorfile
from emnist_diff_plugins.denoisers.pipelines.hashes import sha256

INDEX = "model_index.json"
"""What marks such a folder."""

FAMILIES = {"StableDiffusionXLPipeline": "sdxl", "StableDiffusion3Pipeline": "sd3", "FluxPipeline": "flux"}
"""Classes of pipelines, with the families that run them."""

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_STEMS = {"diffusers": "diffusion_pytorch_model", "transformers": "model"}
_VARIANTS = ("", "fp16", "bf16")
_TOKENS = ("tokenizer.json", "vocab.json", "spiece.model")
"""Where a tokenizer has its tokens: one of these."""
_LARGEST_TEXT = 16 << 20
"""Bytes of a configuration or an index of weights."""


@attrs.frozen
class Weights:
    """The files of a part's tensors.  variant: what diffusers and transformers call the set of them, or ""."""

    files: tuple[Path, ...]
    variant: str

    @property
    def dtypes(self) -> frozenset[str]:
        """Types of the tensors as safetensors calls them, ``F16``. Raises `CheckpointError` for a file that is damaged
        or truncated."""
        return frozenset(info.dtype for file in self.files for info in tensorfile.read(file).tensors.values())


@attrs.frozen
class PipelineFolder:
    """A folder of a pipeline.  index: what ``model_index.json`` says."""

    path: Path
    index: Mapping[str, Any]

    @classmethod
    def at(cls, path: Path) -> PipelineFolder:
        """The folder at a path. Raises `CheckpointError` for one without ``model_index.json``, or whose is no table."""
        if not path.is_dir():
            what = "is no folder" if path.exists() else "is not there"
            raise CheckpointError(f"{path} {what} — name a folder as diffusers saves a pipeline, with {INDEX}")
        if not (path / INDEX).is_file():
            raise CheckpointError(
                f"{path} has no {INDEX}, which marks a folder of a pipeline — name the folder above its parts, or save "
                "it with diffusers' save_pretrained"
            )
        return cls(path, read_table(path / INDEX))

    @property
    def kind(self) -> str:
        """The class of the pipeline."""
        return str(self.index.get("_class_name"))

    @property
    def family(self) -> str:
        """The family that runs it. Raises `CheckpointError` for a class of pipelines that none runs."""
        if self.kind not in FAMILIES:
            raise CheckpointError(
                f"{self.path} holds a {self.kind:.80}, which no family runs — those of {', '.join(FAMILIES)} are run"
            )
        return FAMILIES[self.kind]

    def part_class(self, part: str) -> str | None:
        """The class of a part; None where the pipeline has none."""
        entry = self.index.get(part)
        named = entry[1] if isinstance(entry, list) and len(entry) == 2 else None
        return named if isinstance(named, str) else None

    def require(self, part: str, classes: tuple[str, ...], library: str) -> str:
        """The class of a part, which is there and whole. Raises `CheckpointError` naming what is missing, truncated, a
        pickle, or of a class that is not on the list, and the way out."""
        held = self.part_class(part)
        if held is None:
            raise CheckpointError(f"{self.path} has no part {part!r} — {INDEX} must name one of {', '.join(classes)}")
        if held not in classes:
            raise CheckpointError(
                f"{self.path}: part {part!r} is a {held:.80}, which is not run — only {', '.join(classes)} is"
            )
        folder = self.path / part
        if not folder.is_dir():
            raise CheckpointError(f"{self.path} lacks the folder of its part {part!r} — download the pipeline whole")
        if part.startswith("tokenizer"):
            _require_tokens(folder)
        elif library in _STEMS:
            read_table(folder / "config.json")
            _ = self.weights(part, library).dtypes
        return held

    def config(self, part: str) -> dict[str, Any]:
        """The configuration of a part. Raises `CheckpointError` where it cannot be read."""
        name = "scheduler_config.json" if part == "scheduler" else "config.json"
        return read_table(self.path / part / name)

    def weights(self, part: str, library: str) -> Weights:
        """The files of a part's tensors, those in single precision first. Raises `CheckpointError` where there are
        none, or pickles alone, which may run code."""
        folder, stem = self.path / part, _STEMS[library]
        for variant in _VARIANTS:
            dotted = f".{variant}" if variant else ""
            if (single := folder / f"{stem}{dotted}.safetensors").is_file():
                return Weights((single,), variant)
            if (index := folder / f"{stem}.safetensors.index{dotted}.json").is_file():
                return Weights(tuple(_shards(index)), variant)
        pickles = sorted(p.name for p in folder.iterdir() if p.suffix in _PICKLES) if folder.is_dir() else []
        if pickles:
            raise CheckpointError(
                f"{folder / pickles[0]} is a pickle, which may run code, and is not read — save the pipeline again "
                "with safe_serialization=True, or download its .safetensors files"
            )
        raise CheckpointError(f"{folder} holds no {stem}.safetensors — download the part {part!r} again")

    def sha256_of(self, *parts: str) -> str:
        """The SHA-256 of what some parts hold: the names and hashes of their files."""
        digest = hashlib.sha256()
        for part in parts:
            for file in _read_files(self.path / part):
                digest.update(f"{file.relative_to(self.path).as_posix()}\0{sha256(file)}\n".encode())
        return digest.hexdigest()


def _require_tokens(folder: Path) -> None:
    """Raise `CheckpointError` for the folder of a tokenizer that is not whole. transformers makes a tokenizer of it all
    the same: without its tokens one that knows no words, without its settings one that reads texts of any length."""
    read_table(folder / "tokenizer_config.json")
    if not any((folder / name).is_file() for name in _TOKENS):
        raise CheckpointError(f"{folder} holds none of {', '.join(_TOKENS)} — download the part {folder.name!r} again")


def _read_files(folder: Path) -> list[Path]:
    """The files of a part that can decide what it does, by name."""
    if not folder.is_dir():
        return []
    return sorted(
        p for p in folder.iterdir() if p.is_file() and p.suffix in (".json", ".txt", ".model", ".safetensors")
    )


def read_table(path: Path) -> dict[str, Any]:
    """The table in a JSON file. Raises `CheckpointError` naming the file where there is none."""
    try:
        if path.stat().st_size > _LARGEST_TEXT:
            raise CheckpointError(f"{path} is too large for a configuration")
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no JSON, or is truncated"
        raise CheckpointError(f"cannot read {path}: {reason} — download it again") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} holds no table — download it again")
    return data


def _shards(index: Path) -> Iterator[Path]:
    """The files that an index of weights names, in order. Raises `CheckpointError` for one that is not there."""
    table = read_table(index).get("weight_map")
    names = sorted({str(name) for name in table.values()}) if isinstance(table, dict) else []
    for name in names:
        path = index.parent / name
        if Path(name).name != name or path.suffix != ".safetensors":
            raise CheckpointError(f"{index} names {name!r:.80}, which is no .safetensors file beside it")
        if not path.is_file():
            raise CheckpointError(f"{path} is missing, which {index.name} names — download it again")
        yield path
    if not names:
        raise CheckpointError(f"{index} names no files — download it again")
