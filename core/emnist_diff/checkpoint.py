"""The checkpoint format: one ``.safetensors`` file, weights and a JSON header, nothing that can execute.

The header is one JSON object under the key ``emnist_diff`` of the file's metadata. Reading it needs no torch.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from emnist_diff import foreign
from emnist_diff.errors import CheckpointError, ConfigError, nearest
from emnist_diff.files import write_bytes
from emnist_diff.protocols import NoiseSchedule, PredictionType
from emnist_diff.structuring import structure, unstructure

if TYPE_CHECKING:
    from torch import Tensor

FORMAT_VERSION = 1
METADATA_KEY = "emnist_diff"
LARGEST_HEADER = 100_000_000
"""Bytes; safetensors' own limit."""

_EPOCH = re.compile(r"epoch[_-]?(\d+)\.safetensors$")


@attrs.frozen(kw_only=True)
class CheckpointHeader:
    """What a checkpoint says of itself.

    family: the denoiser component that can run it.  network: that component's settings.
    classes: names in index order.  null_index: the row that means "no class", or None.
    merged: names folded into another class by the dataset.  schedule: the forward process.
    prediction: what the network returns.  recommended: run settings to use unless the user says otherwise.
    provenance: data, training, licence, figures; free-form.  epoch: of training, or None.

    Raises `ConfigError` for classes that are none, twice there, or cannot be printed, a negative null_index, a merge
    into what is no class, and the prediction of a flow, which is no diffusion's.
    """

    format_version: int = FORMAT_VERSION
    family: str
    network: dict[str, Any] = attrs.field(factory=dict)
    classes: tuple[str, ...]
    null_index: int | None = None
    merged: dict[str, str] = attrs.field(factory=dict)
    schedule: NoiseSchedule = attrs.field(factory=NoiseSchedule)
    prediction: PredictionType = "epsilon"
    recommended: dict[str, Any] = attrs.field(factory=dict)
    provenance: dict[str, Any] = attrs.field(factory=dict)
    epoch: int | None = None

    def __attrs_post_init__(self) -> None:
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise ConfigError("classes must be different, and at least one")
        if odd := [name for name in self.classes if not (name and name.isprintable())]:
            raise ConfigError(f"class name {odd[0]!r} is empty or cannot be printed")
        if self.prediction == "flow":
            raise ConfigError("prediction 'flow' belongs to a flow, and the schedule of a checkpoint is a diffusion's")
        if self.null_index is not None and self.null_index < 0:
            raise ConfigError(f"null_index {self.null_index} must be at least 0")
        if lost := sorted(set(self.merged.values()) - set(self.classes)):
            raise ConfigError(f"merged names {lost[0]!r}, which is no class")


@attrs.frozen
class TensorInfo:
    """A tensor as the file describes it: safetensors dtype name, shape, and bytes."""

    dtype: str
    shape: tuple[int, ...]
    size: int


def read_header(path: Path) -> CheckpointHeader:
    """The header of a checkpoint file, read without its weights.

    Raises `CheckpointError` for a missing, foreign, truncated or newer file.
    """
    return _header(path, _read_json(path))


def tensors_of(path: Path) -> dict[str, TensorInfo]:
    """What tensors a checkpoint holds, read without them. Raises as `read_header`."""
    return {
        name: TensorInfo(str(item["dtype"]), tuple(item["shape"]), item["data_offsets"][1] - item["data_offsets"][0])
        for name, item in _read_json(path).items()
        if name != "__metadata__"
    }


def load(path: Path) -> tuple[CheckpointHeader, dict[str, Tensor]]:
    """Header and weights; weights stored in half precision come back as float32. Raises as `read_header`."""
    import safetensors
    import torch
    from safetensors.torch import load_file

    header = read_header(path)
    try:
        tensors = load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    halves = (torch.float16, torch.bfloat16)
    return header, {name: t.float() if t.dtype in halves else t for name, t in tensors.items()}


def save(path: Path, header: CheckpointHeader, tensors: Mapping[str, Tensor]) -> None:
    """Write a checkpoint; `path` holds the old file or the whole new one, never a part.

    Raises `OutputError` when it cannot be written.
    """
    from safetensors.torch import save as to_bytes

    text = json.dumps(unstructure(header), allow_nan=False)
    data = to_bytes({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, {METADATA_KEY: text})
    write_bytes(path, data)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def discover(path: Path, epoch: int | None = None) -> Path:
    """The checkpoint that a path means: a file is itself; of a directory, the newest epoch by file name, or `epoch`.

    Raises `CheckpointError` naming what is there instead, `ConfigError` for an epoch that is not the file's own.
    """
    if path.is_dir():
        if (what := foreign.folder(path)) is not None:
            raise CheckpointError(f"{path} is {what}")
        files = sorted(path.glob("*.safetensors"))
        epochs: dict[int, list[Path]] = {}
        for file in files:
            if m := _EPOCH.search(file.name):
                epochs.setdefault(int(m[1]), []).append(file)
        if epoch is not None and epoch not in epochs:
            there = ", ".join(map(str, sorted(epochs))) or "none"
            raise CheckpointError(f"no checkpoint of epoch {epoch} in {path} — epochs there: {there}")
        if epochs:
            wanted = max(epochs) if epoch is None else epoch
            if len(epochs[wanted]) > 1:
                names = " and ".join(f.name for f in epochs[wanted])
                raise CheckpointError(f"{path} holds several checkpoints of epoch {wanted}: {names} — name the file")
            return epochs[wanted][0]
        if len(files) == 1:
            return files[0]
        legacy = sorted(path.glob("*.pt"))
        if legacy:
            raise CheckpointError(
                f"{path} holds only legacy checkpoints — convert one first: emnist-diff checkpoint convert {legacy[-1]}"
            )
        what = "several checkpoints without an epoch in their names" if files else "no checkpoint (*.safetensors)"
        raise CheckpointError(f"{path} holds {what} — name the file")
    if not path.exists():
        raise missing(path)
    if path.suffix == ".pt":
        raise CheckpointError(f"{path} is a legacy checkpoint — convert it: emnist-diff checkpoint convert {path}")
    if path.name.endswith(".index.json"):
        raise CheckpointError(f"{path} lists the parts of a checkpoint that was split — {foreign.FROM_DIFFUSERS}")
    if epoch is not None and epoch != (own := _epoch_of(path)):
        which = "one file, which does not say its epoch" if own is None else f"one file, of epoch {own}"
        raise ConfigError(f"epoch {epoch} was asked for, but {path} is {which} — name its directory, or no epoch")
    return path


def _epoch_of(path: Path) -> int | None:
    """The epoch in the name of a file, else that in its header; None where neither says."""
    if match := _EPOCH.search(path.name):
        return int(match[1])
    return read_header(path).epoch


def missing(path: Path) -> CheckpointError:
    """The error for a checkpoint that is not there, with the nearest files beside it."""
    near = nearest(path.name, [f.name for f in path.parent.glob("*")] if path.parent.is_dir() else [])
    hint = f" — did you mean {str(path.parent / near[0])!r}?" if near else ""
    return CheckpointError(f"checkpoint {str(path)!r} does not exist{hint}")


def _read_json(path: Path) -> dict[str, Any]:
    """The checked JSON header of a safetensors file."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else LARGEST_HEADER + 1
            if length > min(LARGEST_HEADER, size - 8):
                what = foreign.file(path)
                raise CheckpointError(f"{path} is {what or 'no safetensors file, or is truncated'}")
            text = file.read(length)
    except OSError as error:
        raise CheckpointError(f"cannot read checkpoint {str(path)!r}: {error.strerror}") from error
    try:
        data = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is no safetensors file: its header is no JSON") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} is no safetensors file: its header is no table")
    end = 0
    for name, item in data.items():
        if name == "__metadata__":
            continue
        offsets = item.get("data_offsets") if isinstance(item, dict) else None
        shape = item.get("shape") if isinstance(item, dict) else None
        if not isinstance(offsets, list) or not isinstance(shape, list) or len(offsets) != 2:
            offsets, shape = [None, None], []
        whole: list[Any] = [*offsets, *shape]
        if not all(type(n) is int and n >= 0 for n in whole) or whole[0] > whole[1] or "dtype" not in item:
            raise CheckpointError(f"{path} is damaged: tensor {name!r} is not described as safetensors does")
        end = max(end, whole[1])
    if 8 + length + end > size:
        raise CheckpointError(f"{path} is truncated: its tensors need {8 + length + end} bytes, it has {size}")
    return data


def _header(path: Path, data: Mapping[str, Any]) -> CheckpointHeader:
    metadata = data.get("__metadata__")
    text = metadata.get(METADATA_KEY) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        names = data.keys() - {"__metadata__"}
        raise CheckpointError(f"{path} is no emnist-diff checkpoint, but {foreign.weights(names)}")
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: its emnist-diff header is no JSON") from error
    version = raw.get("format_version") if isinstance(raw, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has checkpoint format {version}, this emnist-diff reads {FORMAT_VERSION} — upgrade emnist-diff"
        )
    try:
        return structure(raw, CheckpointHeader, "checkpoint header")
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from error
