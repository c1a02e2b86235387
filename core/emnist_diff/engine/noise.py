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
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

INITIAL = -1
"""The step under which the starting state is drawn."""

Normal = Callable[[Sequence[int], Sequence[int], int, str, tuple[int, ...]], Tensor]
"""`batch_normal`, and what draws the same by another way."""

_AT_ONCE = 1 << 16
"""Numbers that are transformed together: what they take of memory stays in a processor's cache."""


def batch_normal(
    seeds: Sequence[int], sample_ids: Sequence[int], step: int, stream: str, shape: tuple[int, ...]
) -> Tensor:
    """(B, *shape) float32 standard normal noise on the CPU, one key a sample.

    seeds: 0 … 2**64-1.  sample_ids: 0 … 2**63-1.  step: -1 (the starting state) … 2**62.  stream: any text.
    """
    out = torch.empty(len(sample_ids), *shape)
    fill(out.numpy().reshape(len(sample_ids), -1), seeds, sample_ids, step, stream)
    return out


def fill(out: npt.NDArray[np.float32], seeds: Sequence[int], sample_ids: Sequence[int], step: int, stream: str) -> None:
    """Fill out (B, count) with the numbers of each sample's key; a row depends on its own key alone.

    Most of the time is spent where other threads can run.
    """
    half = (out.shape[1] + 1) // 2
    rows = max(1, _AT_ONCE // max(1, 2 * half))
    for first in range(0, len(out), rows):
        part = slice(first, first + rows)
        bits = _bits(seeds[part], sample_ids[part], step, stream, 2 * half)
        _box_muller(bits, out[part])


def _bits(
    seeds: Sequence[int], sample_ids: Sequence[int], step: int, stream: str, words: int
) -> npt.NDArray[np.uint64]:
    """(B, words) of Philox's output."""
    out = np.empty((len(sample_ids), words), dtype=np.uint64)
    philox = np.random.Philox(key=0)
    state = philox.state
    counter = np.array([0, 0, step + 1, 0], dtype=np.uint64)  # the lowest word counts the blocks drawn
    state["state"]["counter"] = counter
    for row, seed, sample_id in zip(out, seeds, sample_ids, strict=True):
        counter[3] = sample_id
        state["state"]["key"] = _key(seed, stream)
        philox.state = state  # takes a copy; a tenth of the time that a new generator takes
        row[:] = philox.random_raw(words)
    return out


@lru_cache(maxsize=1024)
def _key(seed: int, stream: str) -> npt.NDArray[np.uint64]:
    digest = hashlib.blake2b(struct.pack("<Q", seed) + stream.encode(), digest_size=16).digest()
    key = np.frombuffer(digest, dtype="<u8").astype(np.uint64)
    key.flags.writeable = False
    return key


def _box_muller(bits: npt.NDArray[np.uint64], out: npt.NDArray[np.float32]) -> None:
    """Normal numbers out (B, count) from bits (B, 2 * half), half the first that is not under count / 2."""
    half = bits.shape[1] // 2
    bits >>= np.uint64(11)
    uniform = bits.astype(np.float64)
    uniform += 0.5
    uniform *= 2.0**-53  # inside (0, 1): no log of zero
    radius = np.log(uniform[:, :half])
    radius *= -2.0
    np.sqrt(radius, out=radius)
    angle = uniform[:, half:]
    angle *= 2.0 * np.pi
    out[:, :half] = radius * np.cos(angle)
    out[:, half:] = (radius * np.sin(angle))[:, : out.shape[1] - half]
