"""Datasets for `train`: IDX files, archives, MATLAB files and pictures that claim or unpack to gigabytes, folders with
loops of links, pipes, and names of a terminal's commands.
"""

from __future__ import annotations

import gzip
import os
import random
import shutil
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from siege import Input

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
EMNIST = ("emnist-digits-train-images-idx3-ubyte", "emnist-digits-train-labels-idx1-ubyte")


def _idx(shape: tuple[int, ...], data: bytes, kind: int = 8) -> bytes:
    return bytes((0, 0, kind, len(shape) % 256)) + b"".join(struct.pack(">I", n % 2**32) for n in shape) + data


@cache
def _bomb(size: int, head: bytes = b"") -> bytes:
    """Zeros, gzipped."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    out = [packer.compress(head)]
    for _ in range(size >> 20):
        out.append(packer.compress(bytes(1 << 20)))
    return b"".join([*out, packer.flush()])


@cache
def _zeros(size: int) -> bytes:
    """Packed by zlib; making hundreds of megabytes of them takes seconds."""
    return zlib.compress(bytes(size), 9)


@cache
def _matrix() -> bytes:
    """An element of a MATLAB file that unpacks to hundreds of megabytes."""
    return zlib.compress(struct.pack("<II", 14, 800 << 20) + bytes(300 << 20), 9)


def _png(width: int, height: int, data: bytes | int, depth: int = 8, colour: int = 0, more: bytes = b"") -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + more
        + chunk(b"IDAT", _zeros(data) if isinstance(data, int) else zlib.compress(data, 9))
        + chunk(b"IEND", b"")
    )


def idx(folder: Path, rng: random.Random, names: tuple[str, ...] = NAMES) -> str:
    good = [_idx((6, 4, 4), bytes(range(96))), _idx((6,), bytes(6)), _idx((6, 4, 4), bytes(96)), _idx((6,), bytes(6))]
    bad = rng.choice(
        (
            _idx((2**32 - 1, 2**32 - 1, 2**32 - 1), b"x"),
            _idx((10**6, 28, 28), bytes(100)),
            _idx((1, 60000, 60000), b""),
            _idx((0, 4, 4), b""),
            _idx((6, 4, 4), bytes(97)),
            _idx((6,) * 200, bytes(6)),
            b"",
            b"\0\0\x08",
            b"\x1f\x8b",
            rng.randbytes(999),
            _idx((6, 4, 4), bytes(96), kind=rng.choice((9, 11, 13, 14))),
            _idx((6,), bytes((1, 2, 99, 255, 0, 0))),
            _idx((6, 1, 96 // 6), bytes(96)),
            _bomb(900 << 20, _idx((900, 1024, 1024), b"")),
            _bomb(2 << 30, _idx((2**31 - 1,), b"")),
            gzip.compress(good[0])[:-9],
            gzip.compress(_idx((6, 1, 1), bytes(6))),
            _idx((1, 5000, 5000), bytes(25_000_000)),
            _idx((6, 2, 8), bytes(96)),
        )
    )
    which = rng.randrange(len(names))
    for place, name in enumerate(names):
        data = bad if place == which else good[place]
        (folder / (name + (".gz" if data[:2] == b"\x1f\x8b" else ""))).write_bytes(data)
    if names == EMNIST and rng.random() < 0.4:
        (folder / "emnist-digits-mapping.txt").write_bytes(
            rng.choice(
                (
                    b"0 27\n",
                    b"0 99999999999\n",
                    b"\xff\xfe",
                    b"0 48\n0 49\n",
                    b"0 48 " * 10**6,
                    b"7 48\n",
                    b"\x1b[2J\n" * 9,
                    b"\n" * 10**6,
                    b"".join(b"%d %d\n" % (n, n + 0x4E00) for n in range(20_000)),
                )
            )
        )
    return "mnist" if names == NAMES else "emnist:split=digits"


def emnist(folder: Path, rng: random.Random) -> str:
    return idx(folder, rng, EMNIST)


def archive(folder: Path, rng: random.Random) -> str:
    path = folder / rng.choice(("gzip.zip", "archive.zip", "\x1b[2J.zip"))
    how = rng.randrange(5)
    if how == 0:
        path.write_bytes(rng.choice((b"", b"PK\x03\x04" + bytes(99), b"PK\x05\x06" + bytes(18), rng.randbytes(500))))
        return "emnist:split=digits"
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        warnings.filterwarnings("ignore", "Duplicate name")  # they are part of the harm
        for name in EMNIST:
            if how == 1:
                with out.open(name, "w") as file:
                    for _ in range(700):
                        file.write(bytes(1 << 20))
            elif how == 2:
                out.writestr(f"../../../../tmp/{name}", _idx((6, 4, 4) if "images" in name else (6,), bytes(96)))
            elif how == 3:
                out.writestr(f"gzip/{name}.gz", _bomb(600 << 20, _idx((600, 1024, 1024), b"")))
            else:
                for number in range(20_000):
                    out.writestr(f"{number}\x1b[2J/{name}" if number < 9 else f"x{number}", b"")
    if rng.random() < 0.3:
        data = bytearray(path.read_bytes())
        for _ in range(9):
            data[-rng.randrange(1, min(len(data), 400))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
    return "emnist:split=digits"


def matlab(folder: Path, rng: random.Random) -> str:
    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    body = rng.choice(
        (
            b"",
            rng.randbytes(2000),
            struct.pack("<II", 15, 2**31) + zlib.compress(bytes(99)),
            struct.pack("<II", 14, 2**32 - 1),
            struct.pack("<II", 15, len(_matrix())) + _matrix(),
            struct.pack("<IIIIIIIIII", 14, 56, 6, 8, 9, 0, 5, 8, 2**31 - 1, 2**31 - 1) + bytes(64),
        )
    )
    (folder / "emnist-digits.mat").write_bytes(rng.choice((head + body, b"", b"\x89HDF\r\n\x1a\n" + bytes(600))))
    return "emnist:split=digits"


def pictures(folder: Path, rng: random.Random) -> str:
    plain = _png(4, 4, b"".join(b"\0" + bytes((40 * r, 9, 200, 0)) for r in range(4)))
    for name in ("A", "B"):
        (folder / name).mkdir()
        (folder / name / "ok.png").write_bytes(plain)
    text = _zeros(90 << 20)
    body = b"k\0\0" + text
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    bad = rng.choice(
        (
            _png(2**31 - 1, 2**31 - 1, b""),
            _png(60_000, 60_000, b""),
            _png(9000, 9000, 9001 * 9000),
            _png(5500, 5500, (5500 * 8 + 1) * 5500, 16, 6),
            _png(8100, 8100, (8100 * 4 + 1) * 8100, 8, 6),
            _png(9000, 9000, (9000 * 2 + 1) * 9000, 16, 0),
            _png(4, 4, 20, more=chunk),
            _png(1, 80_000_000, b""),
            plain[:40],
            b"",
            b"GIF89a" + struct.pack("<HH", 65535, 65535) + bytes(40),
            b"P5 100000 100000 255\n",
            b"P6 -1 4 255\n",
            b"BM" + rng.randbytes(60),
            b"II*\0\x08\0\0\0" + rng.randbytes(200),
            rng.randbytes(3000),
            b"\xff\xd8\xff\xe0" + rng.randbytes(400),
            b"RIFF\xff\xff\xff\xffWEBPVP8 ",
            _png(20_000, 1, 20_001),
            b"%!PS\nquit",
            b"\0" * 10_000_000,
        )
    )
    name = rng.choice(
        ("bad.png", "\x1b[2J.png", "bad.gif", "x" * 250 + ".png", os.fsdecode(b"caf\xe9.png"), "a\nb.png", "bad.tiff")
    )
    (folder / "B" / name).write_bytes(bad)
    return "folder:size=8"


def folders(folder: Path, rng: random.Random) -> str:
    plain = _png(4, 4, 20)
    names = rng.choice(
        (
            ["A", "\x1b[2J"],
            ["A", "a\nb"],
            ["A", "x" * 255],
            ["A", os.fsdecode(b"\xe9")],
            [f"c{n}" for n in range(300)],
            ["train"],
            ["9" * 200, "8" * 200],
            ["A", " "],
            ["A", "B"],
        )
    )
    for name in names:
        (folder / name).mkdir()
        (folder / name / "1.png").write_bytes(plain)
    how = rng.randrange(6)
    inside = folder / names[0]
    if how == 0:
        (folder / "loop").symlink_to(folder)
        (inside / "loop").symlink_to("loop")
    elif how == 1:
        os.mkfifo(inside / "pipe.png")
    elif how == 2:
        (inside / "zero.png").symlink_to("/dev/zero")
    elif how == 3:
        (inside / "secret.png").symlink_to("/etc/passwd")
    elif how == 4:
        deep = inside
        for _ in range(60):
            deep = deep / "d"
            deep.mkdir()
    return "folder:size=" + rng.choice(("8", "8", "100000", "2000000000", "0", "[1]"))


KINDS = (idx, idx, emnist, emnist, archive, matlab, pictures, pictures, folders)


def inputs(folder: Path, rng: random.Random, count: int) -> Iterator[Input]:
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        data = folder / "data"
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir()
        reader = kind(data, rng)
        place = (
            str(data)
            if rng.random() < 0.93
            else rng.choice(("x" * 5000, "/dev/zero", "/proc/self", "\x1b[2J", "", "/root/../x"))
        )
        words = (
            "train",
            "unet2d",
            "--data",
            place,
            "--dataset",
            reader,
            "--epochs",
            "1",
            "--sample-every",
            "0",
            "--output",
            str(folder / "t"),
            "--batch-size",
            "4",
            "--no-tensorboard",
            "--no-progress",
            "--threads",
            "1",
            "--max-minutes",
            "0.02",
            "--network",
            "block_out_channels=[8]",
            "--network",
            "attention=[false]",
            "--network",
            "attention_head_dim=4",
            "--network",
            "norm_num_groups=4",
        )
        out = folder / "t"
        yield Input(kind.__name__, (("train", words),), before=lambda out=out: shutil.rmtree(out, ignore_errors=True))
