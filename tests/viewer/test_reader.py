"""The page's reader of HDF5, run by node, against h5py: every byte, files that mean harm, and what it costs."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import os
import select
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from emnist_diff import resolve, run
from emnist_diff.errors import ConfigError
from emnist_diff_trajectory.merge import merge
from emnist_diff_trajectory.pack import Packing, pack

VIEWER = Path(__file__).parents[2] / "plugins" / "viewer"
RANGES = 600
MUTANTS = int(os.environ.get("EMNIST_DIFF_MUTANTS", "200"))
LIMIT = 20.0
"""Seconds that any answer may take, on a busy machine."""


class Reader:
    """The reader in a process of node: it is started once, and speaks in lines of JSON."""

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


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """The reader, built for node."""
    missing = "node" if shutil.which("node") is None else "" if (VIEWER / "node_modules").is_dir() else "node_modules"
    if missing:
        message = f"{missing} is not there: npm ci --ignore-scripts --prefix plugins/viewer"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    folder = tmp_path_factory.mktemp("reader")
    subprocess.run(
        ["npx", "vite", "build", "-c", "vite.reader.config.ts", "--logLevel", "warn"],
        cwd=VIEWER,
        check=True,
        env={**os.environ, "READER_OUT": str(folder)},
    )
    reader = Reader(folder / "reader.mjs")
    yield reader
    reader.close()


def record(folder: Path, sink: Mapping[str, Any] | None = None, **settings: Any) -> Path:
    """A run's file: an exact denoiser, two forces and a drift."""
    config = {
        "denoiser": {"name": "gaussian-mixture", "shape": [1, 16, 16], "classes": "AB"},
        "character": "A,B",
        "total_videos": 12,
        "steps": 10,
        "forces": [{"name": "attract_class", "target": "B"}, {"name": "repel_class", "target": "A"}],
        "drifts": ["early_noise"],
        "sinks": [{"name": "hdf5", **(sink or {})}],
        "output": str(folder),
    }
    run(resolve({**config, **settings}))
    return next(iter(sorted(folder.rglob("trajectory*.h5"))))


def every_kind(path: Path, small: bool = False, **options: Any) -> Path:
    """Layouts, types and attributes that h5py writes, also those that our own files have not."""
    noise = np.random.default_rng(3)
    deep = noise.normal(size=(3 if small else 9, 7, 5, 3))
    with h5py.File(path, "w", **options) as file:
        for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"):
            file[f"types/{kind}"] = (deep * 50).astype(f"<{kind}")
            file[f"types/big/{kind}"] = (deep * 50).astype(f">{kind}")
        file["types/half"] = np.arange(1 << 16, dtype=np.uint16).view(np.float16)[:: 999 if small else 1]
        file["types/bool"] = deep > 0
        chunked = {"chunks": (2, 3, 5, 2)}
        file.create_dataset("chunks/plain", data=deep, **chunked)
        file.create_dataset("chunks/gzip", data=deep, compression="gzip", **chunked)
        file.create_dataset("chunks/shuffled", data=deep.astype("f4"), compression="gzip", shuffle=True, **chunked)
        file.create_dataset("chunks/checked", data=deep, fletcher32=True, compression="gzip", **chunked)
        file.create_dataset("chunks/one", data=deep, chunks=deep.shape, compression="gzip")
        file.create_dataset("chunks/room", data=deep, maxshape=(20, 7, 5, 3), **chunked)
        file.create_dataset(
            "chunks/many", data=np.arange(10000.0).reshape(200, 50)[: 10 if small else None], chunks=(3, 2)
        )
        sparse = file.create_dataset("chunks/sparse", (40, 40), "f4", chunks=(8, 8), fillvalue=2.5, compression="gzip")
        sparse[9:11, 30:33] = 1
        file.create_dataset("fill", (4, 5), "i2", fillvalue=-7)
        file.create_dataset("empty", (0, 5), "f4")
        file["null"] = h5py.Empty("f4")
        file["number"] = 1.5
        file["compact"] = np.arange(12.0)
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((3, 4))
        h5py.h5d.create(file.id, b"small", h5py.h5t.IEEE_F64LE, space, plist).write(
            h5py.h5s.ALL, h5py.h5s.ALL, deep[0, :3, :4, 0].copy()
        )
        file["texts/one"] = "première — 文字"
        file.create_dataset("texts/many", data=["a", "", "é" * 300, "z" * 5000], dtype=h5py.string_dtype())
        file["texts/fixed"] = np.array([b"ab", b"abcdef", b""], dtype="S6")
        file.create_dataset(
            "texts/packed", data=["x", "y", "zz"], dtype=h5py.string_dtype(), chunks=(2,), compression="gzip"
        )
        for i in range(20 if small else 400):
            file[f"group/{i:03}"] = i
        for i in range(40):
            file["group"].attrs[f"number {i}"] = i * 2**40
        file["group"].attrs["words"] = ["one", "two"]
        file["group"].attrs["fixed"] = np.bytes_("fixed")
        file["group"].attrs["matrix"] = np.arange(6.0).reshape(2, 3)
        file["group"].attrs["none"] = h5py.Empty("f4")
        file["group"].attrs["huge"] = np.uint64(2**64 - 1)
    return path


Make = Callable[[Path], Path]


def packed(codec: str, **settings: Any) -> Make:
    """A run's file, packed."""

    def make(folder: Path) -> Path:
        if codec != "gzip":
            pytest.importorskip("hdf5plugin")
        try:
            return pack(record(folder, **settings), packing=Packing(codec)).path
        except ConfigError as error:
            pytest.skip(str(error))

    return make


def merged(folder: Path) -> Path:
    """A file of two workers', joined by copying."""
    for rank in range(2):
        record(folder, rank=rank, world_size=2)
    files = sorted(folder.rglob("trajectory-*.h5"))
    target = files[0].with_name("joined.h5")
    merge(files, target, copy=True)
    return target


FILES: Mapping[str, Make] = {
    "float32": record,
    "float16": lambda folder: record(folder, {"dtype": "float16"}),
    "parts": lambda folder: record(folder, {"every": 3, "samples": 5}),
    "gzip": packed("gzip"),
    "zstd": packed("zstd"),
    "zstd, float16": packed("zstd", sink={"dtype": "float16"}),
    "merged": merged,
    "h5py": lambda folder: every_kind(folder / "kinds.h5"),
    "ordered": lambda folder: every_kind(folder / "ordered.h5", track_order=True),
    "HDF5 1.8": lambda folder: every_kind(folder / "old.h5", libver=("v108", "v108")),
    "latest": lambda folder: every_kind(folder / "latest.h5", libver="latest"),
}


@pytest.fixture(scope="module", params=list(FILES))
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file of each kind."""
    return FILES[request.param](tmp_path_factory.mktemp("files"))


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


def test_every_byte_is_what_h5py_reads(reader: Reader, file: Path) -> None:
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


@pytest.fixture(scope="module")
def victims(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Small files, of which much is description, to be damaged."""
    folder = tmp_path_factory.mktemp("victims")
    few = {"total_videos": 2, "steps": 2, "denoiser": {"name": "gaussian-mixture", "shape": [1, 4, 4], "classes": "AB"}}
    files = [record(folder / "run", **few), pack(record(folder / "gzip", **few), packing=Packing("gzip")).path]
    if importlib.util.find_spec("hdf5plugin") is not None:
        files.append(pack(record(folder / "zstd", **few), packing=Packing("zstd")).path)
    files.append(every_kind(folder / "kinds.h5", small=True))
    files.append(every_kind(folder / "latest.h5", small=True, libver="latest"))
    return files


def damage(noise: np.random.Generator, size: int, content: bytes) -> dict[str, Any]:
    """Changes of a file: bytes at random, numbers that claim much, addresses that lead elsewhere, an end too early."""
    out: dict[str, Any] = {"changes": []}
    kind = noise.integers(0, 8)
    if kind == 0:
        return {"length": int(noise.integers(0, size))}
    for _ in range(int(noise.integers(1, 9))):
        place = int(noise.integers(0, size))
        if kind < 4:
            new = bytes([int(noise.choice([0, 1, 2, 127, 128, 255, int(noise.integers(0, 256))]))])
        elif kind < 6:
            new = ([2**16, 2**31 - 1, 2**32 - 1, 2**53, 2**63, 2**64 - 1][noise.integers(0, 6)]).to_bytes(8, "little")
        else:
            # what is an address probably: another one that the file holds, or any
            words = [
                i
                for i in range(place, min(place + 4096, size - 8))
                if 0 < int.from_bytes(content[i : i + 8], "little") < size
            ]
            place = int(noise.choice(words)) if words else place
            other = int(noise.integers(0, size - 8))
            new = content[other : other + 8] if noise.random() < 0.5 else (other // 8 * 8).to_bytes(8, "little")
        out["changes"] += [[place + i, byte] for i, byte in enumerate(new)]
    return out


def test_damaged_files_bring_one_line(reader: Reader, victims: list[Path]) -> None:
    noise = np.random.default_rng(int(os.environ.get("EMNIST_DIFF_MUTANTS_SEED", "1")))
    contents = [path.read_bytes() for path in victims]
    found = 0
    for i in range(MUTANTS):
        which = i % len(victims)
        content = contents[which]
        answer = reader.request("mutate", victims[which], **damage(noise, len(content), content))
        if (problem := answer.get("problem")) is not None:
            found += 1
            assert problem.startswith("damaged.h5: "), problem
            assert "\n" not in problem
            assert len(problem) < 400, problem
    assert found > MUTANTS / 10
