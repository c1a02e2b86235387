"""The parts of a pipeline, loaded one at a time: local files, safetensors, and classes of a list alone."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any

import torch

from emnist_diff.errors import CheckpointError, ConfigError, EmnistDiffError
from emnist_diff.shortage import out_of_memory
from emnist_diff_plugins.contract import MemoryShort
from emnist_diff_plugins.denoisers.pipelines.folder import PipelineFolder

CLASSES = {
    "UNet2DConditionModel": "diffusers",
    "SD3Transformer2DModel": "diffusers",
    "FluxTransformer2DModel": "diffusers",
    "AutoencoderKL": "diffusers",
    "AutoencoderTiny": "diffusers",
    "CLIPTextModel": "transformers",
    "CLIPTextModelWithProjection": "transformers",
    "T5EncoderModel": "transformers",
    "CLIPTokenizer": "transformers",
    "CLIPTokenizerFast": "transformers",
    "T5Tokenizer": "transformers",
    "T5TokenizerFast": "transformers",
}
"""What is loaded, by name, and the library that it comes from."""

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""What a network computes in, by precision."""

EXTRA = "pip install 'emnist-diff[pipelines]'"
_NEEDED = ("transformers", "accelerate", "sentencepiece")


def available(name: str) -> bool:
    """Whether a library can be imported."""
    return importlib.util.find_spec(name) is not None


def require_installed() -> None:
    """Raise `ConfigError` naming what has to be installed before a pipeline can be loaded."""
    if absent := [name for name in _NEEDED if not available(name)]:
        raise ConfigError(f"pipelines need {', '.join(absent)}, which is not installed — {EXTRA}")


def versions() -> dict[str, str]:
    """The versions of the libraries that evaluate a pipeline."""
    return {name: metadata.version(name) for name in ("diffusers", "transformers")}


def part(folder: PipelineFolder, name: str, device: str, dtype: torch.dtype | None = None) -> Any:
    """A network of a folder in main memory, in eval mode and without gradients of its weights.

    device: where it will compute.
    dtype: what it computes in; that of its file when left out, but never half precision on a CPU, which is slow there.
    Raises `CheckpointError` for files that do not hold it whole, `MemoryShort` where memory does not hold it.
    """
    held = str(folder.part_class(name))
    weights = folder.weights(name, CLASSES[held])
    if dtype is None:
        half = torch.device(device).type != "cpu"
        dtype = DTYPES[precision_of(weights.dtypes)] if half else torch.float32
    more: dict[str, Any] = {"torch_dtype" if CLASSES[held] == "diffusers" else "dtype": dtype}
    if weights.variant:
        more["variant"] = weights.variant
    with loading(folder, name, device):
        module, info = _class(held).from_pretrained(
            str(folder.path / name), local_files_only=True, use_safetensors=True, output_loading_info=True, **more
        )
        if missing := sorted(info["missing_keys"]):
            raise CheckpointError(
                f"{folder.path / name}: tensor {missing[0]!r} of {len(missing)} is missing — download the part again"
            )
        return module.eval().requires_grad_(False)


def tokenizer(folder: PipelineFolder, name: str) -> Any:
    """A tokenizer of a folder. Raises `CheckpointError` for files that do not hold it."""
    with loading(folder, name, "cpu"):
        return _class(str(folder.part_class(name))).from_pretrained(str(folder.path / name), local_files_only=True)


def _class(name: str) -> Any:
    return getattr(importlib.import_module(CLASSES[name]), name)


def precision_of(dtypes: frozenset[str]) -> str:
    """The precision to compute in for tensors of these types, as safetensors calls them."""
    return "fp32" if "F32" in dtypes else "bf16" if "BF16" in dtypes else "fp16"


@contextmanager
def loading(folder: PipelineFolder, name: str, device: str) -> Iterator[None]:
    """Outside inference mode, whose tensors cannot be differentiated through, and with errors in one line. Raises
    `MemoryShort` where memory does not suffice, `CheckpointError` for whatever else the libraries raise."""
    require_installed()
    try:
        with torch.inference_mode(False), torch.no_grad(), _quiet():
            yield
    except EmnistDiffError:
        raise
    except Exception as error:
        if out_of_memory(error):
            gpu = torch.device(device).type != "cpu"
            helps = "--offload sequential, a folder in half precision, or --device cpu" if gpu else "a smaller model"
            raise MemoryShort(
                f"the memory of {device} does not hold {name} of {folder.path.name} — use {helps}; what was committed "
                "stays"
            ) from error
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{folder.path / name} cannot be loaded: {reason} — download the part again") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the libraries' own progress bars and warnings, and with their settings as they were behind it."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    libraries = (diffusers_logging, transformers_logging)
    before = [library.get_verbosity() for library in libraries]
    bars = [library.is_progress_bar_enabled() for library in libraries]
    for library in libraries:
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="peft")  # of a second LoRA, that it is the second
            yield
    finally:
        for library, verbosity, bar in zip(libraries, before, bars, strict=True):
            library.set_verbosity(verbosity)
            if bar:
                library.enable_progress_bar()
