"""emnist-diff: steer and record diffusion.

The names a user needs are importable from here and loaded on first use, so that
``import emnist_diff`` costs nothing and imports no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emnist_diff.config import RunConfig as RunConfig
    from emnist_diff.hookspecs import hookimpl as hookimpl
    from emnist_diff.trajectory.reader import Trajectory as Trajectory

__version__ = "0.1.0"

_WHERE = {
    "RunConfig": "emnist_diff.config",
    "Trajectory": "emnist_diff.trajectory.reader",
    "hookimpl": "emnist_diff.hookspecs",
}
__all__ = sorted([*_WHERE, "__version__"])


if not TYPE_CHECKING:  # to a type checker this would make every unknown name an object

    def __getattr__(name: str) -> object:
        if name not in _WHERE:
            raise AttributeError(f"module 'emnist_diff' has no attribute {name!r}")
        return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return __all__
