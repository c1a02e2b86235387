"""The files of a dataset that are no JSON: what stands in the folder, pictures, maps, and arrays of states."""

from __future__ import annotations

import math
import os
import stat
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from emnist_diff.shown import shown
from emnist_diff_plugins.diffulizer.report import Report

TOLERANCE = 2.0**-9
"""By how much shares of attention may miss 1, in half precision."""

_DEEPEST, _MOST_ENTRIES = 8, 1_000_000
_MOST_VALUES = 1 << 30
"""Bytes of an array whose values are read."""


def listed(folder: Path, report: Report) -> dict[str, int]:
    """The files in a folder by path, with their bytes. Links, and what is neither file nor folder, are errors; none is
    followed or opened."""
    found: dict[str, int] = {}
    left = [("", 0)]
    while left:
        inside, depth = left.pop()
        try:
            with os.scandir(folder / inside) as entries:
                for entry in entries:
                    path = f"{inside}{entry.name}"
                    mode = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(mode.st_mode) and depth < _DEEPEST:
                        left.append((f"{path}/", depth + 1))
                    elif stat.S_ISREG(mode.st_mode):
                        found[path] = mode.st_size
                    else:
                        report.error(_name(path), f"is {_kind(mode.st_mode)}")
        except OSError as error:
            report.error(_name(inside), f"cannot be read: {error.strerror or error}")
        if len(found) > _MOST_ENTRIES:
            report.error("", f"the folder holds more than {_MOST_ENTRIES} files")
            break
    return found


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a link, which no reader follows"
    return "a folder within too many others" if stat.S_ISDIR(mode) else "no ordinary file"


def _name(path: str) -> str:
    return path if path.isprintable() else shown(path)


def check_picture(folder: Path, path: str, size: tuple[int, int], report: Report) -> None:
    """A picture opens, whole, and has this size, (width, height)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of what unpacks to more than memory holds
            with Image.open(folder / path, formats=["PNG"]) as image:
                if image.size != size:
                    found, expected = (f"{width} × {height}" for width, height in (image.size, size))
                    report.error(path, f"is {found}, and metadata.json says {expected}")
                    return
                image.load()
    except Exception as error:  # a decoder may raise anything for a damaged file
        report.error(path, f"is no picture that opens: {type(error).__name__}: {str(error)[:120]}")


def check_maps(folder: Path, entry: Mapping[str, Any], held: int, whole: bool | None, report: Report) -> None:
    """Maps have the bytes of their shape, and shares of attention in them, which sum to one.

    entry: of metadata.json.  held: bytes of the file.  whole: whether they do; None where nobody says, False where they
    sum to less.
    """
    path, shape = entry["path"], tuple(entry["shape"])
    if held != 2 * math.prod(shape):
        report.error(path, f"has {held} bytes, and shape {shown(list(shape))} of float16 takes {2 * math.prod(shape)}")
        return
    report.maps += 1
    if held > _MOST_VALUES:
        report.warn(path, f"has {held} bytes, too many to look at")
        return
    try:
        values = np.fromfile(folder / path, "<f2").reshape(shape)
    except (OSError, ValueError) as error:
        report.error(path, f"cannot be read: {str(error)[:120]}")
        return
    if not np.isfinite(values).all():
        report.error(path, "holds values that are no numbers")
        return
    if values.min() < 0 or values.max() > 1 + TOLERANCE:
        report.error(path, f"holds {float(values.min()):.4g} … {float(values.max()):.4g}, and shares are 0 … 1")
        return
    sums = values.sum(0 if len(shape) == 3 else -1, dtype=np.float32)
    if whole is not None and sums.max() > 1 + TOLERANCE:
        report.error(path, f"gives a place {float(sums.max()):.5f} of attention in all, and 1 is all there is")
    elif whole and sums.min() < 1 - TOLERANCE:
        report.error(path, f"gives a place {float(sums.min()):.5f} of attention in all, and not 1")


def check_arrays(path: Path, steps: int, report: Report) -> None:
    """The archive of states and predicted noise: whole, of half precision, and as many as there are steps."""
    name = path.name
    try:
        with zipfile.ZipFile(path) as archive:
            names = {info.filename: info for info in archive.infolist()}
            for key in ("latents", "predicted_noise"):
                if (info := names.get(f"{key}.npy")) is None:
                    report.error(name, f"has no {key}")
                elif info.compress_type != zipfile.ZIP_STORED and info.file_size > _MOST_VALUES:
                    report.error(name, f"{key} unpacks to {info.file_size} bytes")
                else:
                    with archive.open(info) as file:
                        _check_array(file, info.file_size, f"{name}: {key}", steps, report)
    except Exception as error:  # zip files and numpy's headers may be damaged in any manner
        report.error(name, f"cannot be read: {type(error).__name__}: {str(error)[:120]}")


def _check_array(file: Any, size: int, where: str, steps: int, report: Report) -> None:
    source: BinaryIO = file
    version = np.lib.format.read_magic(source)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(source)
    if dtype != np.dtype("<f2"):
        report.error(where, f"is {dtype}, not float16")
        return
    if not shape or shape[0] != steps:
        report.error(where, f"has shape {shown(list(shape))}, and there are {steps} steps")
        return
    left = 2 * math.prod(shape)
    if left > size:
        report.error(where, f"has {size} bytes, and shape {shown(list(shape))} takes {left}")
        return
    while left:
        block = source.read(min(left, 1 << 22) // 2 * 2)
        if not block:
            report.error(where, "ends early")
            return
        if not np.isfinite(np.frombuffer(block, "<f2")).all():
            report.error(where, "holds values that are no numbers")
            return
        left -= len(block)
