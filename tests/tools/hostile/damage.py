"""What can be done to a trajectory file. Each function takes the file, a source of chance, and a path outside the
file's directory.
"""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import h5py
import numpy as np


def flip_bits(path: Path, rng: random.Random, outside: Path) -> None:
    data = bytearray(path.read_bytes())
    # half of them where the file says what it is, not what the states are
    top = min(len(data), 8192) if rng.random() < 0.5 else len(data)
    for _ in range(rng.choice((1, 4, 40))):
        data[rng.randrange(top)] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def scramble(path: Path, rng: random.Random, outside: Path) -> None:
    data = bytearray(path.read_bytes())
    start = rng.randrange(min(len(data), 20_000))
    count = rng.choice((2, 8, 64))
    data[start : start + count] = rng.choice((rng.randbytes(count), b"\xff" * count, b"\x00" * count))
    path.write_bytes(data)


def truncate(path: Path, rng: random.Random, outside: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: rng.choice((0, 8, 96, rng.randrange(len(data)), len(data) - 1))])


def _replaced(file: Any, name: str, **how: Any) -> None:
    if name in file:
        del file[name]
    file.create_dataset(name, **how)


def swap_dtype(path: Path, rng: random.Random, outside: Path) -> None:
    with h5py.File(path, "r+") as file:
        name = rng.choice(_datasets(file))
        shape = file[name].shape
        kind: Any = rng.choice(
            (
                "i1",
                "u8",
                "f2",
                "f8",
                "c8",
                "S3",
                "S1000000",
                h5py.string_dtype(),
                h5py.ref_dtype,
                h5py.regionref_dtype,
                np.dtype([("a", "f4"), ("b", "S5")]),
                h5py.vlen_dtype("f4"),
                h5py.enum_dtype({"a": 1}),
                "?",
                "V7",
            )
        )
        _replaced(file, name, shape=shape, dtype=kind)


def swap_shape(path: Path, rng: random.Random, outside: Path) -> None:
    with h5py.File(path, "r+") as file:
        name = rng.choice(_datasets(file))
        kind, shape = file[name].dtype, list(file[name].shape)
        shape = rng.choice((shape[::-1], shape[:-1], [*shape, 2], [0, *shape[1:]], [3], [], [1] * 30))
        _replaced(file, name, shape=tuple(shape), dtype=kind)


def absurd_size(path: Path, rng: random.Random, outside: Path) -> None:
    with h5py.File(path, "r+") as file:
        name = rng.choice(_datasets(file))
        kind, shape = file[name].dtype, list(file[name].shape) or [1]
        axis = rng.randrange(len(shape))
        shape[axis] = rng.choice((1 << 20, 1 << 31, 1 << 40, (1 << 62) - 1))
        chunks = tuple(1 for _ in shape)
        if rng.random() < 0.5:  # chunks that claim as much as they may
            chunks = tuple(min(n, 1 << 28) if i == axis else 1 for i, n in enumerate(shape))
        if np.prod([float(n) for n in chunks]) * kind.itemsize >= 1 << 32:
            chunks = tuple(1 for _ in shape)
        _replaced(file, name, shape=tuple(shape), dtype=kind, chunks=chunks)


def bomb(path: Path, rng: random.Random, outside: Path) -> None:
    """Zeros that take kilobytes in the file and gigabytes out of it."""
    with h5py.File(path, "r+") as file:
        name = rng.choice(("trajectory/x", "trajectory/base", "images", "samples/id", "schedule/sigma"))
        kind = file[name].dtype
        shape = (rng.choice((3, 6)), 6, 1 << 12, 1 << 12) if "/" in name and "traj" in name else (1 << 27,)
        chunks = (1, 1, 1 << 12, 1 << 12)[: len(shape)] if len(shape) > 1 else (1 << 27,)
        _replaced(file, name, shape=shape, dtype=kind, chunks=chunks, compression="gzip")
        file[name].id.write_direct_chunk((0,) * len(shape), _zeros())


_ZEROS: list[bytes] = []


def _zeros() -> bytes:
    import zlib

    if not _ZEROS:
        packer, out = zlib.compressobj(9), []
        for _ in range(1024):
            out.append(packer.compress(bytes(1 << 20)))
        _ZEROS.append(b"".join([*out, packer.flush()]))
    return _ZEROS[0]


def links(path: Path, rng: random.Random, outside: Path) -> None:
    with h5py.File(path, "r+") as file:
        name = rng.choice([*_datasets(file), "trajectory", "samples", "schedule", "plugins"])
        how: Any = rng.choice(
            (
                h5py.ExternalLink(str(outside), "x"),
                h5py.ExternalLink("../outside.h5", "/"),
                h5py.SoftLink("/" + name),
                h5py.SoftLink("/nothing"),
                file["/"],
                file["trajectory"],
            )
        )
        if rng.random() < 0.5 and not isinstance(how, h5py.Group):
            del file[name]
            file[name] = how
        else:
            file[f"trajectory/more{rng.randrange(9)}"] = how


def far_data(path: Path, rng: random.Random, outside: Path) -> None:
    """Data said to be in another file: external storage, or virtual."""
    with h5py.File(path, "r+") as file:
        name = rng.choice([n for n in _datasets(file) if file[n].shape])
        kind, shape = file[name].dtype, file[name].shape
        if kind.hasobject:
            kind = np.dtype("S4")
        where = rng.choice((str(outside), "../outside.h5", "/dev/zero", "/etc/passwd"))
        if rng.random() < 0.5:
            size = max(1, int(np.prod(shape)) * kind.itemsize)
            _replaced(file, name, shape=shape, dtype=kind, external=[(where, 0, size)])
            return
        layout = h5py.VirtualLayout(shape, kind)
        layout[...] = h5py.VirtualSource(where, name, shape, kind)
        del file[name]
        file.create_virtual_dataset(name, layout)


def crooked_index(path: Path, rng: random.Random, outside: Path) -> None:
    """An index that points where it must not, or says of its files what is not so."""
    said = [
        {
            "file": rng.choice(
                (
                    "../outside.h5",
                    str(outside),
                    "index.h5",
                    path.name,
                    ".",
                    "",
                    "nothing.h5",
                    "link.h5",
                    "trajectory-0001-of-0002.h5",
                    "a/b.h5",
                    "\x1b[2J",
                    7,
                )
            ),
            "samples": rng.choice((3, 6, 1 << 40, "x")),
        }
    ]
    text = rng.choice((json.dumps(said[0]), "[" * 50_000, "{", "null", json.dumps(said)))
    with h5py.File(path, "r+") as file:
        name = "trajectory/x"
        shape = file[name].shape
        _replaced(file, "sources", data=[text] * rng.choice((1, 2)), dtype=h5py.string_dtype())
        target = said[0]["file"]
        layout = h5py.VirtualLayout(shape, "f4")
        layout[...] = h5py.VirtualSource(target if isinstance(target, str) and target else "nothing.h5", name, shape)
        del file[name]
        file.create_virtual_dataset(name, layout)


def attributes(path: Path, rng: random.Random, outside: Path) -> None:
    with h5py.File(path, "r+", libver=rng.choice((None, "latest"))) as file:
        owner = rng.choice([file, file["config"], file["schedule"]])
        name = rng.choice(("format", "format_version", "sha256", "path", "creator", "more"))
        value: Any = rng.choice(
            (
                np.zeros(8000),
                "x" * 60_000,
                file["config"].ref,
                np.float64(np.nan),
                np.array([1, 0, 0]),
                h5py.Empty("f4"),
                np.array([1 << 62, 0]),
                ["a"] * 1000,
                np.zeros((2, 2)),
            )
        )
        owner.attrs[name] = value


def tiny_chunks(path: Path, rng: random.Random, outside: Path) -> None:
    """Values in chunks of one, or few, each: every chunk costs a hundred bytes of memory, and time."""
    with h5py.File(path, "r+") as file:
        name = rng.choice(
            ("schedule/alpha_bar", "images", "samples/id", "trajectory/x", "schedule/sigma", "samples/label")
        )
        if name not in file:
            return
        kind, shape = file[name].dtype, list(file[name].shape)
        if rng.random() < 0.5:
            shape[rng.randrange(len(shape))] = rng.choice((1 << 20, 1 << 24, 50_000_000))
        chunks = tuple(rng.choice((1, 1, 1, 2)) for _ in shape)
        _replaced(file, name, shape=tuple(shape), dtype=kind, chunks=chunks, fillvalue=rng.choice((0, 1)))
        rows = min(shape[0], rng.choice((0, 3, 400)))
        if math.prod(shape[1:]) * rows < 1 << 20:  # writing more takes gigabytes of this process
            for number in range(rows):
                file[name][number] = 0


def control_characters(path: Path, rng: random.Random, outside: Path) -> None:
    """A terminal's commands in texts that commands show."""
    evil = rng.choice(("\x1b[2J", "\x1b]0;x\x07", "a\rb\nc", "\u202e", "\x9b31m"))
    with h5py.File(path, "r+") as file:
        where = rng.randrange(4)
        if where == 0:
            group = file.require_group("plugins").require_group(evil)
            group.attrs[evil] = evil
            group.create_dataset(evil, data=np.zeros(3))
        elif where == 1:
            file.attrs[rng.choice((evil, "creator", "format"))] = evil
        elif where == 2:
            config = json.loads(file["config"][()])
            config[rng.choice(("character", "output", "device", evil))] = evil
            config["forces"] = [{"name": evil, "settings": {evil: evil}}]
            _replaced(file, "config", data=json.dumps(config), dtype=h5py.string_dtype())
        else:
            _replaced(file, "samples/classes", data=[evil, "B"], dtype=h5py.string_dtype())


def wrong_json(path: Path, rng: random.Random, outside: Path) -> None:
    with h5py.File(path, "r+") as file:
        name = rng.choice(("config", "environment"))
        text = rng.choice(
            (
                "",
                "{",
                "[]",
                "null",
                "[" * 200_000,
                "1e999",
                '{"total_videos": 1e999}',
                '{"a": NaN}',
                "{}" * 9,
                '{"total_videos": ' + "9" * 5000 + "}",
                '{"\\ud800": "\\u0000"}',
                '{"a":' * 3000 + "1" + "}" * 3000,
                json.dumps({"forces": {"a": [1] * 10_000}}),
            )
        )
        _replaced(file, name, data=text, dtype=h5py.string_dtype())


def wrong_values(path: Path, rng: random.Random, outside: Path) -> None:
    with h5py.File(path, "r+") as file:
        name = rng.choice(
            (
                "samples/id",
                "samples/label",
                "samples/steps_done",
                "schedule/step",
                "schedule/timestep",
                "trajectory/step",
                "trajectory/sample",
                "schedule/alpha_bar",
                "schedule/evaluations",
                "trajectory/x",
                "trajectory/base",
            )
        )
        if file[name].dtype.kind in "iu":
            shape = file[name].shape
            values = rng.choice((-1, 1 << 62, 0, 3))
            _replaced(file, name, data=np.full(shape, values, np.int64))
        elif not file[name].is_virtual and file[name].size:
            file[name][...] = rng.choice((np.nan, np.inf, 1e38, -0.0))


def classes(path: Path, rng: random.Random, outside: Path) -> None:
    """Names that are long, many, or a terminal's commands."""
    with h5py.File(path, "r+") as file:
        names: Any = rng.choice(
            (["x" * (1 << 22)] * 8, ["a"] * 70_000, ["\x1b[2J\n", "B"], [b"\xff\xfe", b"\x80"], [], ["A"], [""] * 5)
        )
        kind = h5py.string_dtype() if not names or isinstance(names[0], str) else "S2"
        _replaced(file, "samples/classes", data=names, dtype=kind)


def many_objects(path: Path, rng: random.Random, outside: Path) -> None:
    with h5py.File(path, "r+") as file:
        group = file[rng.choice(("forces", "drifts", "plugins", "trajectory"))]
        for number in range(rng.choice((50, 3000))):
            if rng.random() < 0.1:
                group.create_dataset(f"{number:02d}_\u202e{number}", data=number)
            else:
                group = group.create_group(f"{number}") if number < 200 and rng.random() < 0.5 else group


MUTATIONS = (
    flip_bits,
    flip_bits,
    tiny_chunks,
    tiny_chunks,
    scramble,
    scramble,
    truncate,
    swap_dtype,
    swap_dtype,
    swap_shape,
    absurd_size,
    absurd_size,
    bomb,
    links,
    far_data,
    crooked_index,
    attributes,
    wrong_json,
    wrong_values,
    classes,
    many_objects,
    control_characters,
    control_characters,
)


def _datasets(file: Any) -> list[str]:
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return names
