"""What a person watches while a network trains: pictures, and TensorBoard where it is installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emnist_diff.errors import ConfigError
from emnist_diff.events import get_logger
from emnist_diff_plugins.pictures import save_png
from emnist_diff_plugins.training.config import TrainConfig
from emnist_diff_plugins.training.experiment import write_figures
from emnist_diff_plugins.training.layout import Layout
from emnist_diff_plugins.training.pictures import Picture
from emnist_diff_plugins.training.record import Record
from emnist_diff_plugins.validation.boards import MISSING, TensorBoard

log = get_logger()


class Report:
    """Writes pictures where the layout says and, if wanted, TensorBoard events under ``tensorboard/``. When those can
    no longer be written, the training is told so and goes on without them.

    step: of the state that the training goes on from.

    Raises `ConfigError` when TensorBoard was asked for and is not installed.
    """

    def __init__(self, layout: Layout, config: TrainConfig, step: int) -> None:
        self.layout = layout
        self._board: TensorBoard | None = None
        if config.tensorboard is False:
            return
        try:  # events after the state, which a killed run may have left, would be shown twice
            self._board = TensorBoard(layout.output / "tensorboard", purge_step=step + 1)
        except ImportError as error:
            if config.tensorboard:
                raise ConfigError(MISSING) from error
            if layout.experiment:
                log.info("train.no_tensorboard", reason=MISSING)

    def __enter__(self) -> Report:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._board is not None:
            self._board.close()

    def flush(self) -> None:
        """Write what is still in memory: once the state is saved, nobody will draw the events before it again."""
        if self._board is not None:
            self._board.flush()

    def step(self, step: int, loss: float, grad_norm: float, lr: float) -> None:
        """The latest figures after `step` steps."""
        self._scalars(step, {"train/loss": loss, "train/grad_norm": grad_norm, "train/lr": lr})

    def judged(self, record: Record, step: int, total: int) -> None:
        """The newest figures of a record, after `step` steps of `total`. Raises `OutputError` when an experiment's
        cannot be written."""
        values = {"held_out/loss": record.validations[-1]["held_out_loss"]}
        row = record.rows[-1] if record.rows else None
        if row is not None and self.layout.experiment:
            write_figures(self.layout, record, step, total)
        if row is not None and row["epoch"] == record.validations[-1]["epoch"]:
            values |= {f"epoch/{name}": row[name] for name in ("loss_mean", "samples_per_sec", "ema_delta_norm")}
            for error in (e for e in record.errors if e["epoch"] == row["epoch"]):
                level = f"x0_error/t{error['timestep']:g}" if "timestep" in error else "held_out"
                values |= {f"{level}/{name}": error[name] for name in error.keys() - {"epoch", "timestep"}}
        self._scalars(step, values)

    def pictures(self, at: str, step: int, pictures: Sequence[Picture]) -> None:
        """What was drawn after `step` steps, at the moment `at`. Raises `OutputError` when it cannot be written."""
        for picture in pictures:
            path = self.layout.picture(picture.kind, at, picture.name)
            if path is not None:
                save_png(picture.pixels, path, picture.scale)
            tag = "/".join(part for part in (picture.kind, picture.name) if part)
            if self._board is not None:
                self._board.image(tag, picture.pixels, step)

    def _scalars(self, step: int, values: Mapping[str, float]) -> None:
        if self._board is not None:
            self._board.scalars(values, step)
