"""What a person watches while a network trains: grids of samples, and TensorBoard where it is installed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from emnist_diff.errors import ConfigError
from emnist_diff.events import get_logger
from emnist_diff_plugins.pictures import save_png, table
from emnist_diff_plugins.training.config import TrainConfig
from emnist_diff_trajectory.pixels import to_uint8

log = get_logger()


class Report:
    """Writes ``samples/epochNNN.png`` and, if wanted, TensorBoard events under ``tensorboard/``. When those can no
    longer be written, the training is told so and goes on without them.

    step: of the state that the training goes on from.

    Raises `ConfigError` when TensorBoard was asked for and is not installed.
    """

    def __init__(self, output: Path, config: TrainConfig, step: int) -> None:
        self._output, self._scale = output, 3
        self._board: Any = None
        if config.tensorboard is False:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            if config.tensorboard:
                raise ConfigError("tensorboard is not installed — pip install 'emnist-diff[train]'") from error
            return
        with self._guarded():  # events after the state, which a killed run may have left, would be shown twice
            self._board = SummaryWriter(str(output / "tensorboard"), purge_step=step + 1)

    def __enter__(self) -> Report:
        return self

    def __exit__(self, *exc: object) -> None:
        with self._guarded():
            if self._board is not None:
                self._board.close()

    def flush(self) -> None:
        """Write what is still in memory: once the state is saved, nobody will draw the events before it again."""
        with self._guarded():
            if self._board is not None:
                self._board.flush()

    def step(self, step: int, loss: float, grad_norm: float, lr: float) -> None:
        """The latest figures after `step` steps."""
        with self._guarded():
            if self._board is not None:
                for name, value in (("loss", loss), ("grad_norm", grad_norm), ("lr", lr)):
                    self._board.add_scalar(f"train/{name}", value, step)

    def epoch(
        self,
        epoch: int,
        step: int,
        row: Mapping[str, Any],
        errors: Sequence[Mapping[str, Any]],
        images: Tensor | None,
    ) -> None:
        """An epoch's row of metrics, its x0 errors, and its samples (N, C, H, W) in [0, 1], if some were drawn.
        Raises `OutputError` when the samples cannot be written."""
        pixels = None
        if images is not None:
            pixels = table(list(to_uint8(images)), math.ceil(math.sqrt(len(images) * 1.6)))
            save_png(pixels, self._output / "samples" / f"epoch{epoch:03d}.png", self._scale)
        with self._guarded():
            if self._board is None:
                return
            for name in ("loss_mean", "samples_per_sec", "ema_delta_norm"):
                self._board.add_scalar(f"epoch/{name}", row[name], step)
            for error in errors:
                level = f"x0_error/t{error['timestep']:g}" if "timestep" in error else "held_out"
                for name in error.keys() - {"epoch", "timestep"}:
                    self._board.add_scalar(f"{level}/{name}", error[name], step)
            if pixels is not None:
                self._board.add_image("samples", pixels, step, dataformats="HW" if pixels.ndim == 2 else "HWC")

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Curves are not worth a training: a full disk reaches its own files soon enough."""
        try:
            yield
        except Exception as error:  # also what the writer's thread died of
            self._board = None
            log.warning("train.tensorboard_failed", reason=str(error), effect="no more curves")
