"""What this package and diffusers have to say to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emnist_diff_plugins.diffusers.guider import ForceGuider as ForceGuider
    from emnist_diff_plugins.diffusers.recorder import Recorder as Recorder

_MODULES = {"ForceGuider": "guider", "Recorder": "recorder"}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
