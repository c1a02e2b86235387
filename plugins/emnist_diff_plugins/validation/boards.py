"""Where pictures and curves of a training are watched: TensorBoard, Weights & Biases.

Curves are not worth a training: a board that fails is given up with a warning, and the training goes on without it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from emnist_diff.errors import ConfigError
from emnist_diff.events import get_logger

log = get_logger()

MISSING = "tensorboard is not installed — pip install 'emnist-diff[train]'"
_NO_WANDB = "wandb is not installed — pip install wandb, and start a run with wandb.init()"


class Board(Protocol):
    """What shows pictures, uint8 (H, W) or (H, W, 3), by a tag and the step of the training."""

    def image(self, tag: str, pixels: np.ndarray, step: int) -> None:
        """Show a picture."""

    def close(self) -> None:
        """Write what is in memory, and open nothing more."""


class TensorBoard:
    """A writer of TensorBoard's events, its own or somebody's.

    folder: of the events.  purge_step: events from this step on, which a killed training may have left, are dropped.
    """

    def __init__(self, folder: Path | None = None, purge_step: int | None = None, writer: Any = None) -> None:
        """Raises `ImportError` without tensorboard."""
        self._writer, self._own = writer, writer is None
        if writer is None:
            from torch.utils.tensorboard import SummaryWriter

            with self._guarded():
                self._writer = SummaryWriter(str(folder), purge_step=purge_step)

    def image(self, tag: str, pixels: np.ndarray, step: int) -> None:
        """See `Board`."""
        with self._guarded():
            if self._writer is not None:
                self._writer.add_image(tag, pixels, step, dataformats="HW" if pixels.ndim == 2 else "HWC")

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Figures by their tags."""
        with self._guarded():
            if self._writer is not None:
                for name, value in values.items():
                    self._writer.add_scalar(name, value, step)

    def flush(self) -> None:
        """Write what is still in memory."""
        with self._guarded():
            if self._writer is not None:
                self._writer.flush()

    def close(self) -> None:
        """See `Board`. Somebody's writer stays open."""
        with self._guarded():
            if self._writer is not None:
                (self._writer.close if self._own else self._writer.flush)()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # also what the writer's thread died of
            self._writer = None
            log.warning("train.tensorboard_failed", reason=str(error), effect="no more curves")


class WeightsAndBiases:
    """A run of wandb, which somebody started. Pictures go along with what the training logs next."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def image(self, tag: str, pixels: np.ndarray, step: int) -> None:
        """See `Board`."""
        if self._run is None:
            return
        try:
            import wandb

            self._run.log({tag: wandb.Image(pixels), f"{tag}/step": step}, commit=False)
        except Exception as error:  # of a service that may be out of reach
            self._run = None
            log.warning("train.wandb_failed", reason=str(error), effect="no more pictures there")

    def close(self) -> None:
        """See `Board`: the run is somebody's, and stays."""


def tensorboard(requested: Any, folder: Path) -> TensorBoard | None:
    """The board that a setting means: None, one where TensorBoard is installed; True, one; False, none; else a
    ``SummaryWriter``. Raises `ConfigError` when it was asked for and is not installed."""
    if requested is False:
        return None
    try:
        return TensorBoard(folder) if requested in (None, True) else TensorBoard(writer=requested)
    except ImportError as error:
        if requested:
            raise ConfigError(MISSING) from error
        return None


def weights_and_biases(requested: Any) -> WeightsAndBiases | None:
    """The board that a setting means: None, the run of wandb that the program has started, if any; True, that run;
    False, none; else a run. Raises `ConfigError` for True without such a run."""
    if requested is False:
        return None
    if requested not in (None, True):
        return WeightsAndBiases(requested)
    run = getattr(sys.modules.get("wandb"), "run", None)  # a program that watches by it has imported it
    if run is None and requested:
        raise ConfigError(_NO_WANDB)
    return None if run is None else WeightsAndBiases(run)
