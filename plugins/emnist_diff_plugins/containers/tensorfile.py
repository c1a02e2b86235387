"""The header of a safetensors file, read and checked before anything is allocated for what it claims.

The format: 8 bytes with the length of a JSON header, little endian; the header, tensor name → ``dtype``, ``shape`` and
``data_offsets``, with a table of texts under ``__metadata__``; the tensors' bytes, without gaps.
https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import math
import os
import stat
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from emnist_diff.errors import CheckpointError
from emnist_diff.shown import shown
from emnist_diff_plugins.containers import foreign
from emnist_diff_trajectory.plaindata import from_json

LARGEST_HEADER = 8 << 20
"""Bytes, enough for tens of thousands of tensors. Read into memory it takes up to thirty times as much."""

_MOST_DIMENSIONS = 16
_BITS = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64,
    "U64": 64,
}  # fmt: skip
"""Of a number of each type of safetensors."""


@attrs.frozen
class TensorInfo:
    """A tensor as the file describes it: safetensors dtype name, shape, and bytes."""

    dtype: str
    shape: tuple[int, ...]
    size: int


@attrs.frozen
class TensorFile:
    """What a safetensors file says of itself.  metadata: its table of texts.  tensors: by name."""

    metadata: Mapping[str, Any]
    tensors: Mapping[str, TensorInfo]


def read(path: Path) -> TensorFile:
    """The checked header of a safetensors file: its tensors have the bytes that their shapes need, and together they
    are the rest of the file.

    Raises `CheckpointError` for a missing, foreign, truncated or contradictory file.
    """
    text, room = _header(path)
    try:
        data = from_json(text.decode("utf-8"), names=True)
    except ValueError as error:
        raise CheckpointError(f"{path} is no safetensors file: its header is no JSON ({error})") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} is no safetensors file: its header is no table")
    metadata = data.pop("__metadata__", {})
    found = [_described(path, name, item) for name, item in data.items()]
    place = 0
    for start, name, info in sorted(found, key=lambda item: item[0]):
        if start != place:
            raise CheckpointError(
                f"{path} is damaged: tensor {shown(name)} does not begin where the one before it ends"
            )
        place += info.size
    if place != room:
        size, needed = os.path.getsize(path), os.path.getsize(path) - room + place
        what = "truncated" if place > room else "damaged"
        raise CheckpointError(f"{path} is {what}: its tensors need {needed} bytes, it has {size}")
    return TensorFile(metadata if isinstance(metadata, dict) else {}, {name: info for _, name, info in found})


def _header(path: Path) -> tuple[bytes, int]:
    """The bytes of the header, and how many follow it."""
    try:
        facts = os.stat(path)
        if not stat.S_ISREG(facts.st_mode):
            raise CheckpointError(f"cannot read checkpoint {str(path)!r}: it is no ordinary file")
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else facts.st_size
            if length > facts.st_size - 8:
                what = foreign.file(path)
                raise CheckpointError(f"{path} is {what or 'no safetensors file, or is truncated'}")
            if length > LARGEST_HEADER:
                raise CheckpointError(f"{path} has a header of {length} bytes, the most is {LARGEST_HEADER}")
            return file.read(length), facts.st_size - 8 - length
    except OSError as error:
        raise CheckpointError(f"cannot read checkpoint {str(path)!r}: {error.strerror}") from error


def _described(path: Path, name: str, item: Any) -> tuple[int, str, TensorInfo]:
    """Where a tensor begins, its name, and what it is."""
    entry = item if isinstance(item, dict) else {}
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    wrong = f"{path} is damaged: tensor {shown(name)}"
    if not isinstance(shape, list) or not isinstance(offsets, list) or not isinstance(dtype, str) or len(offsets) != 2:
        raise CheckpointError(f"{wrong} is not described as safetensors does")
    if not all(type(n) is int and 0 <= n < 2**63 for n in (*offsets, *shape)) or offsets[0] > offsets[1]:
        raise CheckpointError(f"{wrong} is not described as safetensors does")
    if dtype not in _BITS:
        raise CheckpointError(f"{wrong} is of type {shown(dtype)}, which this emnist-diff does not know")
    if len(shape) > _MOST_DIMENSIONS:
        raise CheckpointError(f"{wrong} has {len(shape)} dimensions, the most is {_MOST_DIMENSIONS}")
    size = offsets[1] - offsets[0]
    if math.prod(shape) * _BITS[dtype] != size * 8:
        raise CheckpointError(f"{wrong} has {size} bytes, not those of {dtype} {shown(shape)}")
    return offsets[0], name, TensorInfo(dtype, tuple(shape), size)
