"""Settings of a GPU's arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def arithmetic(tf32: bool) -> Iterator[None]:
    """Inside, torch chooses deterministic kernels, and multiplies float32 with or without TF32."""
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    matmul.allow_tf32 = tf32
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=tf32):
            yield
    finally:
        matmul.allow_tf32 = before
