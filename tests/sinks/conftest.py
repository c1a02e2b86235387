"""A run that every sink took part in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from emnist_diff.assembly.assemble import assemble
from emnist_diff.components import make
from emnist_diff.config import ComponentConfig
from emnist_diff.discovery import installed
from emnist_diff.records import SinkSpec
from emnist_diff.running.run import execute
from emnist_diff.timeline import NoiseSchedule
from emnist_diff_plugins.containers import checkpoint
from emnist_diff_plugins.exporting.decoder import FileDecoder
from emnist_diff_plugins.exporting.feeding import feed
from emnist_diff_plugins.layers import configure
from emnist_diff_plugins.runconfig import component
from emnist_diff_plugins.sinks._recorded import Recorded
from emnist_diff_trajectory.reader import Trajectory

ALL = ("images", "frames", "deltas", "latents", "video", "strip", "npz", "grid", "metadata")
RUN = {
    "denoiser": {"name": "gaussian-mixture", "shape": [1, 6, 5], "classes": "AB"},
    "character": "A,B",
    "total_videos": 3,
    "steps": 5,
    "scheduler": "ddpm",
    "forces": [{"name": "attract_class", "target": "B", "weight": 0.5}],
    "drifts": [{"name": "default", "noise_scale": 0.02}],
    "batch_size": 2,
}
"""Two batches, of two samples and of one."""


class Work:
    """Runs, exports, and what they leave."""

    all = ALL
    settings = RUN

    @staticmethod
    def run(output: Path, sinks: Sequence[Any], resume: bool = False, overwrite: bool = False, **more: Any) -> Path:
        """A run in this process; gives its directory."""
        settings, _ = configure(installed(), {**RUN, "output": str(output), "sinks": list(sinks), **more})
        return execute(assemble(installed(), settings), resume=resume, overwrite=overwrite).output

    @staticmethod
    def export(file: Path, output: Path, *sinks: Any, checkpoint: str | None = None, **how: bool) -> int:
        """An export in this process; gives the number of samples."""
        made = {}
        for sink in sinks:
            data = component(sink, "sink")
            item = make(installed(), SinkSpec, ComponentConfig(data["name"], settings=data.get("settings", {})))
            made[item.name] = item.object
        with Trajectory(file) as trajectory:
            recorded = Recorded(trajectory, FileDecoder(trajectory, installed(), checkpoint))
            return feed(recorded, made, output, **how)

    @staticmethod
    def files(folder: Path) -> dict[str, bytes]:
        """Every file below a folder, hidden ones left out."""
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
        return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture(scope="session")
def work() -> type[Work]:
    """Runs and exports."""
    return Work


@pytest.fixture(scope="session")
def latent_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a model whose states, two numbers each, are no pictures."""
    path = tmp_path_factory.mktemp("checkpoints") / "latents_epoch004.safetensors"
    header = checkpoint.CheckpointHeader(
        family="gaussian-mixture",
        network={"shape": [2], "classes": "AB"},
        classes=("A", "B"),
        null_index=2,
        schedule=NoiseSchedule(beta_schedule="linear", clip_sample=None),
        epoch=4,
    )
    checkpoint.save(path, header, {"nothing": torch.zeros(1)})
    return path


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a finished run with every sink."""
    return Work.run(tmp_path_factory.mktemp("recorded"), ["hdf5", *ALL])


@pytest.fixture(scope="session")
def trajectory_file(recorded: Path) -> Path:
    return recorded / "trajectory.h5"
