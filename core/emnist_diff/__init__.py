"""emnist-diff: steer and record diffusion.

The names a user needs are importable from here and loaded on first use, so that
``import emnist_diff`` costs nothing and imports no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emnist_diff.api import (
        CaptureConfig as CaptureConfig,
    )
    from emnist_diff.api import (
        DriftConfig as DriftConfig,
    )
    from emnist_diff.api import (
        EnvironmentConfig as EnvironmentConfig,
    )
    from emnist_diff.api import (
        ForceConfig as ForceConfig,
    )
    from emnist_diff.api import (
        InferenceConfig as InferenceConfig,
    )
    from emnist_diff.api import (
        VideoConfig as VideoConfig,
    )
    from emnist_diff.api import (
        build_scheduler as build_scheduler,
    )
    from emnist_diff.api import (
        generate_sample as generate_sample,
    )
    from emnist_diff.api import (
        load_checkpoint as load_checkpoint,
    )
    from emnist_diff.api import (
        load_unet as load_unet,
    )
    from emnist_diff.config import RunConfig as RunConfig
    from emnist_diff.hookspecs import hookimpl as hookimpl
    from emnist_diff.run import run as run
    from emnist_diff.trajectory.reader import Trajectory as Trajectory

__version__ = "0.1.0"

_WHERE = {
    **dict.fromkeys(
        (
            "CaptureConfig",
            "DriftConfig",
            "EnvironmentConfig",
            "ForceConfig",
            "InferenceConfig",
            "VideoConfig",
            "build_scheduler",
            "generate_sample",
            "load_checkpoint",
            "load_unet",
        ),
        "emnist_diff.api",
    ),
    "RunConfig": "emnist_diff.config",
    "Trajectory": "emnist_diff.trajectory.reader",
    "hookimpl": "emnist_diff.hookspecs",
    "run": "emnist_diff.run",
}
__all__ = sorted([*_WHERE, "__version__"])


if not TYPE_CHECKING:  # to a type checker this would make every unknown name an object

    def __getattr__(name: str) -> object:
        if name not in _WHERE:
            raise AttributeError(f"module 'emnist_diff' has no attribute {name!r}")
        return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return __all__
