"""The state to resume from: tensors and JSON in one safetensors file, nothing that can execute."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
from safetensors import safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from emnist_diff.errors import CheckpointError
from emnist_diff.files import write_bytes

FORMAT_VERSION = 1
_KEY = "emnist_diff_training"


def path_in(output: Path) -> Path:
    """Where a training run keeps its state."""
    return output / "resume" / "state.safetensors"


def save(path: Path, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Replace the state durably; `facts` is JSON-ready. Raises `OutputError` when it cannot be written."""
    text = json.dumps({"format_version": FORMAT_VERSION, **facts}, allow_nan=False)
    write_bytes(path, to_bytes({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, {_KEY: text}))


def load(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Facts and tensors of a state. Raises `CheckpointError` when it is foreign, damaged or newer."""
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(_KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged: {error} — remove it to start afresh") from error
    if text is None:
        raise CheckpointError(f"{path} is no training state of emnist-diff")
    facts = json.loads(text)
    if facts["format_version"] > FORMAT_VERSION:
        raise CheckpointError(f"{path} has state format {facts['format_version']} — upgrade emnist-diff")
    return facts, tensors
