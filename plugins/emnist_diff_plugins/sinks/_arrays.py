"""Arrays as the bytes of files that numpy and torch read."""

from __future__ import annotations

import io

import numpy as np
import torch


def npy(array: np.ndarray) -> bytes:
    """A ``.npy`` file."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
    return file.getvalue()


def pt(array: np.ndarray) -> bytes:
    """A ``.pt`` file of one plain tensor, which ``torch.load(..., weights_only=True)`` reads."""
    file = io.BytesIO()
    torch.save(torch.from_numpy(np.ascontiguousarray(array)), file)
    return file.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    """A compressed ``.npz`` file; equal arrays give equal bytes."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # numpy's own options come by keyword too
    return file.getvalue()
