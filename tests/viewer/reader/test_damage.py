"""Files that mean harm: the page's reader says in one line what is wrong, and soon."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

MUTANTS = int(os.environ.get("EMNIST_DIFF_MUTANTS", "200"))


@pytest.fixture(scope="module")
def victims(make_file: Callable[..., Path]) -> list[Path]:
    """Small files, of which much is description, to be damaged."""
    kinds = ["float32", "gzip", "h5py", "latest"]
    if importlib.util.find_spec("hdf5plugin") is not None:
        kinds.append("zstd")
    return [make_file(kind, small=True) for kind in kinds]


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


def test_damaged_files_bring_one_line(reader: Any, victims: list[Path]) -> None:
    noise = np.random.default_rng(int(os.environ.get("EMNIST_DIFF_MUTANTS_SEED", "1")))
    contents = [path.read_bytes() for path in victims]
    for path in victims:
        assert reader.request("mutate", path) == {}  # as it is
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
