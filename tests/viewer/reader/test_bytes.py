"""The page's reader of HDF5 against h5py: every byte of every kind of file."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

RANGES = 600
"""Of each kind of file."""
KINDS = (
    "float32",
    "float16",
    "parts",
    "attention",
    "gzip",
    "zstd",
    "zstd, float16",
    "merged",
    "h5py",
    "ordered",
    "HDF5 1.8",
    "latest",
)


@pytest.fixture(scope="module", params=KINDS)
def file(request: pytest.FixtureRequest, make_file: Callable[..., Path]) -> Path:
    """One file of each kind."""
    return make_file(request.param)


def texts_of(dataset: Any) -> list[str]:
    """The texts of a dataset, in order."""
    return [value.decode() if isinstance(value, bytes) else value for value in np.ravel(dataset[()]).tolist()]


def as_numbers(values: Any) -> Any:
    """Values as the reader gives them: little-endian, in no less than single precision."""
    values = np.asarray(values)
    if values.dtype == bool:
        return values.astype(np.int8)
    return values.astype(
        np.float32 if values.dtype.itemsize == 2 and values.dtype.kind == "f" else values.dtype.newbyteorder("<")
    )


def some_range(noise: np.random.Generator, shape: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """A part of an array: on each axis all of it, one value, or some."""
    start, count = [], []
    for length in shape:
        low, high = sorted(int(value) for value in noise.integers(0, length + 1, 2))
        if (whole := noise.random()) < 0.35:
            low, high = 0, length
        elif whole < 0.6 and length:
            low = min(low, length - 1)
            high = low + 1
        start.append(low)
        count.append(high - low)
    return start, count


def test_every_byte_is_what_h5py_reads(reader: Any, file: Path) -> None:
    tree = reader.request("open", file)["tree"]
    noise = np.random.default_rng(5)
    with h5py.File(file) as original:
        names = {"": original}
        original.visititems(lambda name, item: names.__setitem__(name, item))
        assert set(tree) == set(names)
        numbers = []
        for name, item in names.items():
            check_attributes(tree[name]["attributes"], item.attrs)
            if not isinstance(item, h5py.Dataset):
                continue
            assert tuple(tree[name]["shape"]) == (item.shape if item.shape is not None else (0,)), name
            if item.dtype.kind in "OS":
                assert reader.request("texts", file, dataset=name)["texts"] == texts_of(item)
            elif item.shape is not None:
                numbers.append(item)
        wide = [item for item in numbers if item.size > 1]
        for item in [*numbers, *(wide[i] for i in noise.integers(0, len(wide), RANGES))]:
            start, count = some_range(noise, item.shape)
            expected = as_numbers(item[tuple(slice(a, a + n) for a, n in zip(start, count, strict=True))])
            answer = reader.request("read", file, dataset=item.name[1:], start=start, count=count)
            assert (answer["length"], answer["sha256"]) == (expected.size, sha256(expected)), (item.name, start, count)


def sha256(values: Any) -> str:
    """The hash of an array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def check_attributes(found: Mapping[str, Any], attrs: Any) -> None:
    """Raise where attributes are others than those that h5py reads."""
    expected = {name: value for name, value in attrs.items() if not isinstance(value, h5py.Empty)}
    assert set(found) == set(expected)
    for name, value in expected.items():
        values = np.ravel(value).tolist() if isinstance(value, np.ndarray) else value
        if isinstance(values, bytes):
            values = values.decode()
        assert found[name] == values or math.isclose(found[name], values), name
