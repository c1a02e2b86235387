"""The page's reader of HDF5 as a process of node, and files of all kinds for it."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from emnist_diff_trajectory.merge import merge
from emnist_diff_trajectory.pack import Packing, pack

sys.path.insert(0, str(Path(__file__).parents[1]))

import recorded_runs

LIMIT = 30.0
"""Seconds that any answer may take, on a busy machine."""


class Reader:
    """The reader in a process of node, which is started once and speaks in lines of JSON."""

    def __init__(self, script: Path) -> None:
        self.process = subprocess.Popen(
            ["node", str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def request(self, action: str, file: Path | str, **more: Any) -> dict[str, Any]:
        """An answer within the limit that is none of a crash."""
        process = self.process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"do": action, "file": str(file), **more}).encode() + b"\n")
        process.stdin.flush()
        ready = select.select([process.stdout], [], [], LIMIT)[0]
        assert ready, f"no answer within {LIMIT} s to {action} of {file}: {more}"
        answer = json.loads(process.stdout.readline())
        assert "crash" not in answer, (answer["crash"], action, file, more)
        return dict(answer)

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="session")
def reader(built_for_node: Callable[[str], Path]) -> Iterator[Reader]:
    """The reader, built for node."""
    reader = Reader(built_for_node("tests/reader/serve.ts"))
    yield reader
    reader.close()


def record(folder: Path, small: bool, sink: dict[str, Any] | None = None, **settings: Any) -> Path:
    """A run's file, a small one for damage."""
    shape, samples, steps = ([1, 4, 4], 2, 2) if small else ([1, 16, 16], 12, 10)
    denoiser = {"name": "gaussian-mixture", "shape": shape, "classes": "AB"}
    usual = {"denoiser": denoiser, "total_videos": samples, "steps": steps}
    return recorded_runs.record(folder, sink, **{**usual, **settings})


def attention(folder: Path, small: bool) -> Path:
    """A run of the shipped network with its attention."""
    settings = {"denoiser": None, "forces": [], "drifts": [], "total_videos": 2, "steps": 2}
    return record(folder, small, {"activations": ["attention"], "dtype": "float16"}, **settings)


def packed(codec: str, **sink: Any) -> Callable[[Path, bool], Path]:
    """A run's file, packed."""

    def make(folder: Path, small: bool) -> Path:
        if codec != "gzip":
            pytest.importorskip("hdf5plugin")
        return pack(record(folder, small, sink), packing=Packing(codec)).path

    return make


def merged(folder: Path, small: bool, copy: bool = True) -> Path:
    """Two workers' files, joined by copying or by an index."""
    for rank in range(2):
        record(folder, small, rank=rank, world_size=2)
    files = sorted(folder.rglob("trajectory-*.h5"))
    target = files[0].with_name("joined.h5")
    merge(files, target, copy=copy)
    return target


def of_h5py(**options: Any) -> Callable[[Path, bool], Path]:
    """A file of layouts, types and attributes that h5py writes, also of those that a run's file has not."""

    def make(folder: Path, small: bool) -> Path:
        values = np.random.default_rng(3).normal(size=(3 if small else 9, 7, 5, 3))
        with h5py.File(folder / "kinds.h5", "w", **options) as file:
            add_types(file, values, small)
            add_chunks(file.create_group("chunks"), values, small)
            add_odd(file, values)
            add_texts(file.create_group("texts"))
            add_many(file.create_group("group"), 20 if small else 400)
        return folder / "kinds.h5"

    return make


def add_types(file: Any, values: Any, small: bool) -> None:
    """Numbers of all widths, and all that there are of half precision."""
    for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"):
        numbers = values * 50 if kind[0] != "u" else np.abs(values * 50)
        file[f"types/{kind}"] = numbers.astype(f"<{kind}")
        file[f"types/big/{kind}"] = numbers.astype(f">{kind}")
    file["types/half"] = np.arange(1 << 16, dtype=np.uint16).view(np.float16)[:: 999 if small else 1]
    file["types/bool"] = values > 0


def add_chunks(group: Any, values: Any, small: bool) -> None:
    """Chunks of all kinds."""
    chunked = {"chunks": (2, 3, 5, 2)}
    group.create_dataset("plain", data=values, **chunked)
    group.create_dataset("gzip", data=values, compression="gzip", **chunked)
    group.create_dataset("shuffled", data=values.astype("f4"), compression="gzip", shuffle=True, **chunked)
    group.create_dataset("checked", data=values, fletcher32=True, compression="gzip", **chunked)
    group.create_dataset("checksums", data=values, fletcher32=True, **chunked)
    group.create_dataset("one", data=values, chunks=values.shape, compression="gzip")
    group.create_dataset("room", data=values, maxshape=(20, 9, 5, 3), **chunked)
    group.create_dataset("growing", data=values, maxshape=(None, 7, None, 3), compression="gzip", **chunked)
    many = np.arange(10000.0).reshape(200, 50)[: 10 if small else None]
    group.create_dataset("many", data=many, chunks=(3, 2))
    group.create_dataset("many growing", data=many, chunks=(3, 2), maxshape=(None, None))
    sparse = group.create_dataset("sparse", (40, 40), "f4", chunks=(8, 8), fillvalue=2.5, compression="gzip")
    sparse[9:11, 30:33] = 1


def add_odd(file: Any, values: Any) -> None:
    """Datasets without values, with one, with those of the header."""
    file.create_dataset("fill", (4, 5), "i2", fillvalue=-7)
    file.create_dataset("empty", (0, 5), "f4")
    file["null"] = h5py.Empty("f4")
    file["number"] = 1.5
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple((3, 4))
    compact = h5py.h5d.create(file.id, b"compact", h5py.h5t.IEEE_F64LE, space, properties)
    compact.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ascontiguousarray(values[0, :3, :4, 0]))


def add_texts(group: Any) -> None:
    """Texts of any length and of a fixed one."""
    group["one"] = "première — 文字"
    group.create_dataset("many", data=["a", "", "é" * 300, "z" * 5000], dtype=h5py.string_dtype())
    group["fixed"] = np.array([b"ab", b"abcdef", b""], dtype="S6")
    chunked = {"chunks": (2,), "compression": "gzip"}
    group.create_dataset("packed", data=["x", "y", "zz"], dtype=h5py.string_dtype(), **chunked)


def add_many(group: Any, count: int) -> None:
    """More names and attributes than a header holds."""
    for i in range(count):
        group[f"{i:03}"] = i
    for i in range(40):
        group.attrs[f"number {i}"] = i * 2**40
    group.attrs["words"] = ["one", "two"]
    group.attrs["fixed"] = np.bytes_("fixed")
    group.attrs["matrix"] = np.arange(6.0).reshape(2, 3)
    group.attrs["none"] = h5py.Empty("f4")
    group.attrs["huge"] = np.uint64(2**64 - 1)


FILES: Mapping[str, Callable[[Path, bool], Path]] = {
    "float32": record,
    "float16": lambda folder, small: record(folder, small, {"dtype": "float16"}),
    "parts": lambda folder, small: record(folder, small, {"every": 3, "samples": 5}),
    "attention": attention,
    "gzip": packed("gzip"),
    "zstd": packed("zstd"),
    "zstd, float16": packed("zstd", dtype="float16"),
    "blosc": packed("blosc"),
    "merged": merged,
    "index": lambda folder, small: merged(folder, small, copy=False),
    "h5py": of_h5py(),
    "ordered": of_h5py(track_order=True),
    "HDF5 1.8": of_h5py(libver=("v108", "v108")),
    "latest": of_h5py(libver="latest"),
}


@pytest.fixture(scope="session")
def make_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A file of a kind, by its name in `FILES`; small ones hold little but descriptions."""

    def make(kind: str, small: bool = False) -> Path:
        return FILES[kind](tmp_path_factory.mktemp("files"), small)

    return make
