"""Checkpoints, legacy ones and training states: numbers that no network has, shapes that are not the tensors' bytes,
headers without end, pickles that want to run something.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from of_pickles import legacy
from of_settings import ODD, _paths, _put
from siege import Input, in_child

NUMBERS: tuple[Any, ...] = (
    0,
    -1,
    1,
    2,
    3,
    255,
    10**4,
    10**5,
    10**6,
    10**9,
    2**31,
    2**62,
    2**63,
    2**70,
    10**400,
    0.0,
    -0.5,
    1e-300,
    1e300,
    None,
    "1",
    [10**9],
    [8] * 1000,
    [2**62] * 3,
    [1] * 10**5,
)
NETWORK = {
    "block_out_channels": [8, 8],
    "attention": [False, False],
    "attention_head_dim": 4,
    "norm_num_groups": 4,
    "sample_size": 8,
    "num_class_embeds": 3,
}


def _good(folder: Path) -> None:
    """A small checkpoint, and a small training that was stopped."""
    import numpy as np
    import torch

    from emnist_diff.structuring import structure, unstructure
    from emnist_diff_plugins.containers import checkpoint
    from emnist_diff_plugins.denoisers.unet2d import UNet2D
    from emnist_diff_plugins.training.config import resolve
    from emnist_diff_plugins.training.trainer import train

    family = structure(NETWORK, UNet2D, "network")
    header = checkpoint.CheckpointHeader(
        family="unet2d",
        network=unstructure(family),
        classes=("A", "B"),
        null_index=2,
        epoch=3,
        recommended={"steps": 2, "scheduler": {"name": "ddim"}},
        provenance={"data": {"images": 3}},
    )
    checkpoint.save(folder / "good.safetensors", header, family.network().state_dict())
    torch.save(
        {
            "unet": family.network().state_dict(),
            "classes": ["A", "B"],
            "size": 8,
            "channels": [8, 8],
            "scheduler": {"num_train_timesteps": 100},
            "num_class_embeds": 3,
            "null_class_index": 2,
        },
        folder / "good.pt",
    )
    data = folder / "data"
    for name in "AB":
        (data / name).mkdir(parents=True)
        from PIL import Image

        for number in range(4):
            Image.fromarray(np.full((8, 8), 40 * number, np.uint8)).save(data / name / f"{number}.png")
    train(
        resolve(
            {
                "family": {
                    "name": "unet2d",
                    "settings": {k: v for k, v in NETWORK.items() if k not in ("sample_size", "num_class_embeds")},
                },
                "dataset": {"name": "folder", "settings": {"data": str(data), "size": 8}},
                "epochs": 1,
                "batch_size": 4,
                "sample_every": 0,
                "tensorboard": False,
                "threads": 1,
                "output": str(folder / "training"),
            }
        )
    )


def _split(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def _joined(header: Any, body: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def _said(good: bytes, change: Callable[[Any], Any]) -> bytes:
    """The file with its own header changed; text stands as it is."""
    header, body = _split(good)
    for key, text in header["__metadata__"].items():
        changed = change(json.loads(text))
        header["__metadata__"][key] = changed if isinstance(changed, str) else _dumps(changed)
    return _joined(header, body)


def _dumps(data: Any) -> str:
    import sys

    sys.set_int_max_str_digits(0)
    try:
        return json.dumps(data)
    finally:
        sys.set_int_max_str_digits(4300)


def numbers(good: bytes, rng: random.Random) -> bytes:
    def change(data: Any) -> Any:
        for _ in range(rng.choice((1, 1, 3))):
            _put(data, rng.choice(_paths(data)), rng.choice(NUMBERS))
        return data

    return _said(good, change)


def schedule(good: bytes, rng: random.Random) -> bytes:
    def change(data: Any) -> Any:
        said = data.setdefault("schedule", {})
        key = rng.choice(
            ("train_timesteps", "beta_start", "beta_end", "clip_sample", "beta_schedule", "zero_terminal_snr")
        )
        said[key] = rng.choice((*NUMBERS, "linear", "scaled_linear"))
        if rng.random() < 0.5:
            said["beta_schedule"] = rng.choice(("linear", "scaled_linear", "squaredcos_cap_v2"))
        return data

    return _said(good, change)


def network(good: bytes, rng: random.Random) -> bytes:
    def change(data: Any) -> Any:
        said = data.setdefault("network", {})
        said[rng.choice([*NETWORK, "channels", "layers_per_block", "dropout"])] = rng.choice(NUMBERS)
        return data

    return _said(good, change)


def odd(good: bytes, rng: random.Random) -> bytes:
    def change(data: Any) -> Any:
        _put(data, rng.choice(_paths(data)), rng.choice(ODD))
        return data

    return _said(good, change)


def large(good: bytes, rng: random.Random) -> bytes:
    size = rng.choice((10**5, 10**6, 5 * 10**6))

    def change(data: Any) -> Any:
        key = rng.choice([*data, "x" * size])
        data[key] = rng.choice(
            ("x" * size, ["x" * 9] * (size // 9), {str(n): n for n in range(size // 15)}, [[]] * (size // 4))
        )
        return data

    return _said(good, change)


def text(good: bytes, rng: random.Random) -> bytes:
    deep = rng.choice((100, 100_000))
    return _said(
        good,
        lambda data: rng.choice(
            (
                "",
                "{",
                "[]",
                "null",
                "[" * deep,
                '{"a":' * deep,
                '{"format_version": 99}',
                "NaN",
                "\x00",
                "1e999",
                json.dumps(data).replace("1", "9" * 5000, 1),
                json.dumps(data)[: rng.randrange(300)],
                json.dumps(data).replace("{", '{"epoch": 1, "epoch": 2, ', 1),
            )
        ),
    )


def tensors(good: bytes, rng: random.Random) -> bytes:
    header, body = _split(good)
    names = [name for name in header if name != "__metadata__"]
    item = header[rng.choice(names)]
    how = rng.randrange(6)
    if how == 0:
        item["shape"] = rng.choice(([2**40], [2**62, 2**62], [], [1] * 1000, [-1], "x", [0], [10**400 % 2**200]))
    elif how == 1:
        item["dtype"] = rng.choice(("F64", "F16", "O", "x" * 10**5, None, "\x1b[2J", "BOOL", "F4"))
    elif how == 2:
        item["data_offsets"] = rng.choice(([0, 2**60], [5, 1], [0, 0], [2**63, 2**64], [], [0, len(body)], "ab"))
    elif how == 3:
        header[rng.choice(("\x1b[2J", "x" * 10**6, ""))] = header.pop(rng.choice(names))
    elif how == 4:
        header = {**{f"t{n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(60_000)}, **header}
    else:
        header["__metadata__"] = rng.choice((None, [], "x", {"a": 1}, {"emnist_diff": 5}, {}))
    return _joined(header, body)


def frame(good: bytes, rng: random.Random) -> bytes:
    how = rng.randrange(6)
    if how == 0:
        return struct.pack("<Q", rng.choice((0, 2**63, 2**64 - 1, len(good), 10**8))) + good[8:]
    if how == 1:
        return good[: rng.choice((0, 1, 8, 100, len(good) - 1))]
    if how == 2:
        return good + bytes(rng.choice((1, 1000)))
    if how == 3:
        return _joined(b" " * 9_000_000 + b"{}", b"")
    if how == 4:
        return _joined(b"[" * rng.choice((1000, 10**6)), b"")
    data = bytearray(good)
    for _ in range(rng.choice((1, 20))):
        data[rng.randrange(min(len(data), 9000))] ^= 1 << rng.randrange(8)
    return bytes(data)


def not_ours(good: bytes, rng: random.Random) -> bytes:
    return rng.choice(
        (
            b"PK\x03\x04" + bytes(50),
            b"\x80\x02}q\x00.",
            b"\x89HDF\r\n\x1a\n" + bytes(99),
            b"version https://git-lfs",
            b"",
            b"<!DOCTYPE html>\x1b[2J",
            rng.randbytes(5000),
            b"\x1f\x8b" + bytes(30),
            b"GGUF" + bytes(40),
        )
    )


KINDS = (numbers, numbers, schedule, schedule, network, network, odd, large, text, tensors, tensors, frame, not_ours)


def inputs(folder: Path, rng: random.Random, count: int) -> Iterator[Input]:
    in_child(lambda: _good(folder))
    checkpoint, state = (folder / "good.safetensors").read_bytes(), folder / "training" / "resume" / "state.safetensors"
    saved = state.read_bytes()
    file, out = folder / "bad.safetensors", str(folder / "o")
    run = (
        "run",
        "--checkpoint",
        str(file),
        "--character",
        "A",
        "--total-videos",
        "1",
        "--steps",
        "2",
        "--sink",
        "npz",
        "--output",
        out,
        "--overwrite",
        "--no-progress",
        "--backend",
        "eager",
    )
    for number in range(count):
        how = number % 8
        if how == 6:
            data, old = legacy(folder, rng), folder / "bad.pt"
            yield Input(
                "legacy",
                (("checkpoint convert", ("checkpoint", "convert", str(old), "--overwrite")),),
                before=lambda data=data, old=old: old.write_bytes(data),
            )
            continue
        kind = KINDS[rng.randrange(len(KINDS))]
        if how == 7:
            data = kind(saved, rng)
            words = ("train", "--resume", "--output", str(folder / "training"), "--epochs", "2", "--no-progress")
            yield Input(
                f"{kind.__name__} of a training state",
                (("train --resume", words),),
                before=lambda data=data: state.write_bytes(data),
            )
            continue
        data = kind(checkpoint, rng)
        commands = {
            0: ("checkpoint inspect", ("checkpoint", "inspect", str(file))),
            1: ("checkpoint inspect --json", ("checkpoint", "inspect", str(file), "--json")),
            5: (
                "bench",
                (
                    "bench",
                    "--checkpoint",
                    str(file),
                    "--quick",
                    "--backend",
                    "eager",
                    "--rows",
                    "1",
                    "--threads",
                    "1",
                    "--precision",
                    "fp32",
                    "--patience",
                    "1",
                ),
            ),
        }
        yield Input(
            f"{kind.__name__} of a checkpoint",
            (commands.get(how if rng.random() < 0.5 or how < 2 else 4, ("run", run)),),
            before=lambda data=data: file.write_bytes(data),
        )
