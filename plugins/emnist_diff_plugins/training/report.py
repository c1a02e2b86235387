"""What a person watches while a network trains: grids of samples, and TensorBoard where it is installed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from emnist_diff.errors import ConfigError
from emnist_diff.pixels import to_uint8
from emnist_diff_plugins.pictures import save_png, table
from emnist_diff_plugins.training.config import TrainConfig


class Report:
    """Writes ``samples/epochNNN.png`` and, if wanted, TensorBoard events under ``tensorboard/``.

    Raises `ConfigError` when TensorBoard was asked for and is not installed.
    """

    def __init__(self, output: Path, config: TrainConfig, step: int) -> None:
        self._output, self._scale = output, 3
        self._board = None
        if config.tensorboard is False:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            if config.tensorboard:
                raise ConfigError("tensorboard is not installed — pip install 'emnist-diff[train]'") from error
            return
        # events after the saved state, which a killed run may have left, would be shown twice
        self._board = SummaryWriter(str(output / "tensorboard"), purge_step=step)

    def __enter__(self) -> Report:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._board is not None:
            self._board.close()

    def step(self, step: int, loss: float, grad_norm: float, lr: float) -> None:
        """The latest figures after `step` steps."""
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
        """An epoch's row of metrics, its x0 errors, and its samples (N, C, H, W) in [0, 1], if some were drawn."""
        if images is not None:
            pixels = table(list(to_uint8(images)), math.ceil(math.sqrt(len(images) * 1.6)))
            save_png(pixels, self._output / "samples" / f"epoch{epoch:03d}.png", self._scale)
        if self._board is None:
            return
        for name in ("loss_mean", "samples_per_sec", "ema_delta_norm"):
            self._board.add_scalar(f"epoch/{name}", row[name], step)
        for error in errors:
            for shown in ("right", "null", "wrong"):
                self._board.add_scalar(f"x0_error/t{error['timestep']}/{shown}", error[shown], step)
        if images is not None:
            self._board.add_image("samples", pixels, step, dataformats="HW" if pixels.ndim == 2 else "HWC")
        self._board.flush()
