"""Files of runs, for the tests of the viewer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emnist_diff import resolve, run


def record(folder: Path, sink: dict[str, Any] | None = None, **settings: Any) -> Path:
    """A run's file in a folder, the first where there are several: six samples of an exact denoiser without weights,
    ten steps, two forces and a drift, or what the settings say in their place; None takes one away.

    sink: settings of the hdf5 sink.
    """
    config = {
        "denoiser": {"name": "gaussian-mixture", "shape": [1, 16, 16], "classes": "AB"},
        "character": "A,B",
        "total_videos": 6,
        "steps": 10,
        "forces": [{"name": "attract_class", "target": "B"}, {"name": "repel_class", "target": "A"}],
        "drifts": ["early_noise"],
        "sinks": [{"name": "hdf5", **(sink or {})}],
        "output": str(folder),
        **settings,
    }
    run(resolve({name: value for name, value in config.items() if value is not None}))
    return min(folder.rglob("trajectory*.h5"))
