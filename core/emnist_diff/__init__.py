"""emnist-diff: steer and record diffusion.

The names a user needs are importable from here and loaded on first use, so that
``import emnist_diff`` costs nothing and imports no torch.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as typing has it, which need not be imported for this
if TYPE_CHECKING:
    from emnist_diff.config import RunConfig as RunConfig
    from emnist_diff.discovery import installed as installed
    from emnist_diff.hookspecs import hookimpl as hookimpl
    from emnist_diff.running.run import run as run
    from emnist_diff_inference.capture import CaptureConfig as CaptureConfig
    from emnist_diff_inference.capture import VideoConfig as VideoConfig
    from emnist_diff_inference.checkpoints import BuiltScheduler as BuiltScheduler
    from emnist_diff_inference.checkpoints import CheckpointInfo as CheckpointInfo
    from emnist_diff_inference.checkpoints import LoadedDenoiser as LoadedDenoiser
    from emnist_diff_inference.checkpoints import build_scheduler as build_scheduler
    from emnist_diff_inference.checkpoints import load_checkpoint as load_checkpoint
    from emnist_diff_inference.checkpoints import load_unet as load_unet
    from emnist_diff_inference.config import DriftConfig as DriftConfig
    from emnist_diff_inference.config import EnvironmentConfig as EnvironmentConfig
    from emnist_diff_inference.config import ForceConfig as ForceConfig
    from emnist_diff_inference.config import InferenceConfig as InferenceConfig
    from emnist_diff_inference.frames import FrameData as FrameData
    from emnist_diff_inference.frames import GenerationResult as GenerationResult
    from emnist_diff_inference.generate import generate_sample as generate_sample
    from emnist_diff_inference.generate import generate_samples as generate_samples
    from emnist_diff_plugins.forms import read_layer as read_layer
    from emnist_diff_plugins.layers import configure as configure
    from emnist_diff_plugins.runconfig import resolve as resolve
    from emnist_diff_plugins.terminal import main as main
    from emnist_diff_trajectory.reader import Trajectory as Trajectory

__version__ = "0.1.0"

_NAMES = {
    "emnist_diff.config": "RunConfig",
    "emnist_diff.discovery": "installed",
    "emnist_diff.hookspecs": "hookimpl",
    "emnist_diff.running.run": "run",
    "emnist_diff_inference.capture": "CaptureConfig VideoConfig",
    "emnist_diff_inference.checkpoints": "BuiltScheduler CheckpointInfo LoadedDenoiser build_scheduler load_checkpoint "
    "load_unet",
    "emnist_diff_inference.config": "DriftConfig EnvironmentConfig ForceConfig InferenceConfig",
    "emnist_diff_inference.frames": "FrameData GenerationResult",
    "emnist_diff_inference.generate": "generate_sample generate_samples",
    "emnist_diff_plugins.forms": "read_layer",
    "emnist_diff_plugins.layers": "configure",
    "emnist_diff_plugins.runconfig": "resolve",
    "emnist_diff_plugins.terminal": "main",
    "emnist_diff_trajectory.reader": "Trajectory",
}
_WHERE = {name: module for module, names in _NAMES.items() for name in names.split()}
__all__ = sorted([*_WHERE, "__version__"])


if not TYPE_CHECKING:  # to a type checker this would make every unknown name an object

    def __getattr__(name: str) -> object:
        if name not in _WHERE:
            raise AttributeError(f"module 'emnist_diff' has no attribute {name!r}")
        import importlib

        return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return __all__
