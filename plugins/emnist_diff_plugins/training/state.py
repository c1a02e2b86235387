"""The state to resume from: tensors and JSON in one safetensors file, nothing that can execute."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import safetensors
from safetensors import safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from emnist_diff.errors import CheckpointError
from emnist_diff.structuring import unstructure
from emnist_diff_plugins.containers import tensorfile
from emnist_diff_plugins.containers.headers import HeaderFormat
from emnist_diff_trajectory.files import write_bytes

FORMAT_VERSION = 1
_KEY = "emnist_diff_training"
_REMEDY = "name another --output; --init-from starts it from the last checkpoint's weights"


@attrs.frozen(kw_only=True)
class Facts:
    """What a state says beside its tensors; JSON-ready.

    config: the training's, as `config.to_dict` gives it.  data: provenance of the images.  workers: how many.
    step: steps done.  rows, errors, validations: the figures so far, see `record.Record`.
    epoch_seconds: spent in the epoch in hand.
    scaler: state of the loss scaler.  network: the full settings of the family, None in states of the first days.
    origin: file and hash of the checkpoint that the weights started from, if there was one.
    codec: header of the codec whose latents are learnt, if there is one; its tensors are in the state.
    """

    format_version: int = FORMAT_VERSION
    config: dict[str, Any]
    data: dict[str, Any]
    workers: int
    step: int
    rows: list[dict[str, Any]]
    errors: list[dict[str, Any]]
    validations: list[dict[str, Any]] = attrs.field(factory=list)
    epoch_seconds: float
    scaler: dict[str, Any]
    network: dict[str, Any] | None = None
    origin: dict[str, Any] | None = None
    codec: dict[str, Any] | None = None


def path_in(output: Path) -> Path:
    """Where a training run keeps its state."""
    return output / "resume" / "state.safetensors"


def save(path: Path, facts: Facts, tensors: Mapping[str, Tensor]) -> None:
    """Replace the state durably. Raises `OutputError` when it cannot be written; the old one is then as it was."""
    text = json.dumps(unstructure(facts), allow_nan=False)
    # copies, because the format refuses tensors that share memory, as a network's own may
    copies = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}
    write_bytes(path, to_bytes(copies, {_KEY: text}))


_FORMAT = HeaderFormat(
    _KEY,
    FORMAT_VERSION,
    Facts,
    "state format",
    "training state",
    lambda file: "training state of emnist-diff — name another --output",
    _REMEDY,
)


def read_facts(path: Path) -> Facts:
    """What a state says, read without its tensors. Raises `CheckpointError` when it is foreign, damaged or newer."""
    try:
        file = tensorfile.read(path)
    except CheckpointError as error:
        raise CheckpointError(f"{error} — {_REMEDY}") from error
    return _FORMAT.read(path, file)


def load(path: Path) -> tuple[Facts, dict[str, Tensor]]:
    """Facts and tensors of a state. Raises as `read_facts`."""
    facts = read_facts(path)
    try:
        with safe_open(path, "pt") as file:
            return facts, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
    except (safetensors.SafetensorError, OSError, RuntimeError) as error:
        raise _FORMAT.damaged(path, error) from error
