"""IDX, the file format of MNIST: a magic number, big-endian sizes, and bytes.

The format: two zero bytes, a type code (8 is uint8), the number of dimensions, one 32-bit size a dimension, the
data in C order. http://yann.lecun.com/exdb/mnist/
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from emnist_diff.errors import DatasetError

_UINT8 = 8


def read(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """The uint8 array of an IDX file, gzipped or not, that must have so many dimensions.

    Raises `DatasetError` naming the file and what is wrong with it.
    """
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if zipped else path.open("rb") as file:
            return _read(path, file, dimensions)
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


def _read(path: Path, file: IO[bytes], dimensions: int) -> npt.NDArray[np.uint8]:
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0":
        raise DatasetError(f"{path} is no IDX file")
    if head[2] != _UINT8:
        raise DatasetError(f"{path} holds IDX type {head[2]:#04x}, not uint8 (0x08)")
    if head[3] != dimensions:
        raise DatasetError(f"{path} holds an IDX array of {head[3]} dimensions, expected {dimensions}")
    sizes = file.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise DatasetError(f"{path} is truncated in its header")
    shape = tuple(np.frombuffer(sizes, ">u4").tolist())
    claimed = math.prod(shape)
    data = bytearray()
    while len(data) <= claimed and (part := file.read(min(1 << 24, claimed + 1 - len(data)))):
        data += part  # bit by bit: a header can claim more than there is memory
    if len(data) != claimed:
        what = "is truncated" if len(data) < claimed else "has more bytes than its header says"
        raise DatasetError(f"{path} {what}: {claimed} bytes expected")
    return np.frombuffer(bytes(data), np.uint8).reshape(shape)
