"""Where something is computed, as files record it: versions and device, and nothing secret."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
import torch

from emnist_diff import __version__


def surroundings(device: torch.device) -> dict[str, Any]:
    """JSON-ready: versions of what every run computes with, its device, and that states are float32."""
    gpu = {"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}
    return {
        "emnist_diff": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": str(device),
        "dtype": "float32",
        **gpu,
    }
