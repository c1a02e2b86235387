"""The directory of a training: what is there to go on with, and the lock that keeps a second training out."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from torch import Tensor

from emnist_diff.errors import OutputError
from emnist_diff_plugins.training import state
from emnist_diff_plugins.training.config import TrainConfig, check_resumable, resolve
from emnist_diff_plugins.training.layout import Layout
from emnist_diff_plugins.training.state import Facts
from emnist_diff_plugins.training.workers import Workers
from emnist_diff_trajectory.lock import WriterLock
from emnist_diff_trajectory.temporary import remove_abandoned


def saved_config(output: Path) -> dict[str, Any]:
    """The configuration of the training in a directory, as a layer; empty when there is none. Its time budget is
    left out: that was for one sitting. Raises `CheckpointError` when the state cannot be read."""
    path = state.path_in(output)
    config = state.read_facts(path).config if path.exists() else {}
    return {name: value for name, value in config.items() if name != "max_minutes"}


def earlier(
    config: TrainConfig, resume: bool, workers: Workers, held: ExitStack
) -> tuple[Facts, dict[str, Tensor]] | None:
    """What is there to go on with, the directory locked until `held` closes; None for a fresh start, nothing touched.

    Raises `OutputError` for a directory that holds a training when `resume` is false, or that the workers do not
    share; `ConfigError` when the training there has other settings; `CheckpointError` when its state is damaged.
    """
    layout = Layout.of(config)
    output, path = layout.output, state.path_in(layout.output)
    exists = path.exists()
    if 0 < workers.agree(exists)[0] < 1:
        raise OutputError(f"some workers see a training in {output}, others none — name a directory that they share")
    if not exists:
        if any(layout.checkpoints.glob("*_epoch*.safetensors")):
            raise OutputError(f"{output} holds checkpoints of another training — name another --output")
        return None
    if not resume:
        raise OutputError(f"{output} holds a training — use --resume to continue it, or name another --output")
    workers.first_only(lambda: lock(layout, held))
    facts, tensors = state.load(path)
    check_resumable(resolve(facts.config), config)
    return facts, tensors


def lock(layout: Layout, held: ExitStack) -> None:
    """Keep other trainings out until `held` closes, and tidy up what a killed one was about to write. Raises
    `OutputError`."""
    folder = state.path_in(layout.output).parent
    path = folder / "lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.touch()
        held.callback(WriterLock(path).release)
        for place in (layout.checkpoints, folder):
            remove_abandoned(place, final=".safetensors.")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
