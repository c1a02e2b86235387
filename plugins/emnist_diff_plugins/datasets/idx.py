"""IDX, the file format of MNIST: a magic number, big-endian sizes, and bytes.

The format: two zero bytes, a type code (8 is uint8), the number of dimensions, one 32-bit size a dimension, the
data in C order. http://yann.lecun.com/exdb/mnist/
"""

from __future__ import annotations

import gzip
import math
import zlib
from io import BufferedReader
from pathlib import Path

import numpy as np
import numpy.typing as npt

from emnist_diff.errors import DatasetError

_UINT8 = 8

_INFLATES = 1032
"""What a byte of a gzip file can become at most (https://zlib.net/zlib_tech.html)."""

_FREELY, DENSEST = 1 << 26, 64
"""Bytes that any file may unpack to, and how many times its own size a larger one may: pictures take a tenth of their
size, and what takes a thousandth is meant to fill the memory."""

_MOST = 1 << 34
"""Bytes of an array."""

_PART = 1 << 24
"""Bytes read at a time."""


def read(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """The uint8 array of an IDX file, gzipped or not, that must have so many dimensions and at least one element.

    Raises `DatasetError` naming the file and what is wrong with it. No more memory is used than the file's bytes
    need, whatever its header claims.
    """
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            stored = raw.seek(0, 2)
        with gzip.open(path, "rb") if zipped else path.open("rb") as file:
            return _read(path, file, dimensions, stored, zipped)
    except (OSError, EOFError, zlib.error, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "it does not fit into memory"
        raise DatasetError(f"cannot read {path}: {reason}") from error


def read_labelled(images: Path, labels: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Images (N, H, W) and their labels (N,). Raises `DatasetError`, also when they are not equally many."""
    y = read(labels, 1)
    x = read(images, 3)
    if len(x) != len(y):
        raise DatasetError(f"{images} holds {len(x)} images, but {labels.name} {len(y)} labels")
    return x, y


def _read(
    path: Path, file: BufferedReader | gzip.GzipFile, dimensions: int, stored: int, zipped: bool
) -> npt.NDArray[np.uint8]:
    """The array of an open file of `stored` bytes, packed or not."""
    most = stored * _INFLATES if zipped else stored
    head = file.read(4)
    if not head:
        raise DatasetError(f"{path} is empty")
    if len(head) < 4 or head[:2] != b"\0\0":
        raise DatasetError(f"{path} is no IDX file: it begins with {head.hex(' ')}, not 00 00 08 {dimensions:02x}")
    if head[2] != _UINT8:
        raise DatasetError(f"{path} holds IDX type {head[2]:#04x}, not uint8 (0x08)")
    if head[3] != dimensions:
        raise DatasetError(f"{path} holds an IDX array of {head[3]} dimensions, expected {dimensions}")
    sizes = file.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise DatasetError(f"{path} is truncated in its header")
    shape = tuple(np.frombuffer(sizes, ">u4").tolist())
    claimed = math.prod(shape)
    if not claimed:
        raise DatasetError(f"{path} holds no data: its header says {_times(shape)}")
    if claimed <= most and (claimed > _MOST or too_dense(claimed, stored)):
        raise DatasetError(
            f"{path} claims {_times(shape)} = {claimed} bytes, and has {stored}: no images are like that"
        )
    data = bytearray()
    # Part by part, and not at all where the file is too small for it: a header can claim more than there is memory.
    while claimed <= most and len(data) <= claimed and (part := file.read(min(_PART, claimed + 1 - len(data)))):
        data += part
    if len(data) != claimed:
        what = "is truncated" if len(data) < claimed else "goes on after its data"
        raise DatasetError(f"{path} {what}: its header says {_times(shape)} = {claimed} bytes")
    return np.frombuffer(data, np.uint8).reshape(shape)


def too_dense(claimed: int, stored: int) -> bool:
    """Whether so many bytes cannot have been packed into so few, unless to do harm."""
    return claimed > _FREELY and claimed > stored * DENSEST


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
