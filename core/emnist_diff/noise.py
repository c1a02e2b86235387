"""Noise keyed by (run seed, sample id, step, stream), the same on every machine and in any order.

Bits come from Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), a
counter-based generator: the key is made of seed and stream, the counter of step and sample, so any draw can be
made alone, and no two share bits. `torch.Generator` would not do: its CPU engine keeps 32 bits of the seed.
The normal transform is Box-Muller (1958) in float64, rounded to float32: libraries that differ in the last bits
of a logarithm or a cosine still agree after rounding.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

INITIAL = -1
"""The step under which the starting state is drawn."""


def standard_normal(seed: int, sample_id: int, step: int, stream: str, count: int) -> npt.NDArray[np.float32]:
    """`count` standard normal float32 numbers of one key.

    seed: 0 … 2**64-1.  sample_id: 0 … 2**63-1.  step: -1 (the starting state) … 2**62.  stream: any text.
    """
    digest = hashlib.blake2b(struct.pack("<Q", seed) + stream.encode(), digest_size=16).digest()
    key = np.frombuffer(digest, dtype="<u8").astype(np.uint64)
    counter = np.array([0, 0, step + 1, sample_id], dtype=np.uint64)  # the lowest word counts the blocks drawn
    half = (count + 1) // 2
    bits = np.random.Philox(key=key, counter=counter).random_raw(2 * half)
    uniform = ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53  # inside (0, 1): no log of zero
    radius = np.sqrt(-2.0 * np.log(uniform[:half]))
    angle = (2.0 * np.pi) * uniform[half:]
    out = np.concatenate((radius * np.cos(angle), radius * np.sin(angle)))
    return out[:count].astype(np.float32)


def batch_normal(
    seeds: Sequence[int], sample_ids: Sequence[int], step: int, stream: str, shape: tuple[int, ...]
) -> Tensor:
    """(B, *shape) float32 standard normal noise on the CPU, one key a sample."""
    count = int(np.prod(shape))
    rows = [standard_normal(s, i, step, stream, count) for s, i in zip(seeds, sample_ids, strict=True)]
    return torch.from_numpy(np.stack(rows).reshape(len(rows), *shape))
