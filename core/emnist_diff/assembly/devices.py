"""The torch device that a run computes on."""

from __future__ import annotations

import torch

from emnist_diff.errors import ConfigError


def choose_device(requested: str) -> str:
    """The torch device that a configuration means; ``auto`` takes a GPU when there is one.

    Raises `ConfigError` for a device that is not there.
    """
    if requested == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(requested)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch raises each, by kind of device
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {requested!r} cannot be used here: {reason} — use auto or cpu") from error
    return str(device)
