"""Legacy checkpoints: pickles that want to run something, that never end, or that unfold."""

from __future__ import annotations

import io
import os
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

NUMBERS: tuple[Any, ...] = (0, -1, 1, 255, 10**6, 2**31, 2**62, 1e300, None, "1", [10**9], [8] * 1000)


class _Call:
    def __reduce__(self) -> Any:
        return os.system, ("echo root: owned",)


def legacy(folder: Path, rng: random.Random) -> bytes:
    """A .pt file: with other numbers, foreign calls, opcodes without end, parts that unfold."""
    import torch

    how = rng.randrange(8)
    if how == 0:
        return pickle.dumps(_Call(), protocol=2)
    if how == 1:
        return b"\x80\x02" + b"]" * rng.choice((10**4, 3 * 10**6)) + b"."
    if how == 2:
        return b"\x80\x02)q\x00" + b"h\x00h\x00\x86q\x00" * 200 + b"."
    if how == 3:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x/data.pkl", bytes(50_000_000))
        return out.getvalue()
    if how == 4:
        data = bytearray((folder / "good.pt").read_bytes())
        for _ in range(rng.choice((1, 30))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        return bytes(data)
    said = torch.load(folder / "good.pt", weights_only=True)
    key = rng.choice(
        ("classes", "size", "channels", "scheduler", "num_class_embeds", "null_class_index", "unet_config")
    )
    said[key] = rng.choice(
        (
            *NUMBERS,
            {"num_train_timesteps": 10**9},
            ["x" * 10**6],
            {"sample_size": 2**40},
            {"beta_end": 1e300, "beta_schedule": "linear"},
            "\x1b[2J",
            {"layers_per_block": 10**9},
        )
    )
    if how == 5:
        first = next(iter(said["unet"]))
        said["unet"][first] = torch.zeros(1).expand(10**9) if rng.random() < 0.5 else torch.zeros(0)
    out = io.BytesIO()
    torch.save(said, out)
    return out.getvalue()
