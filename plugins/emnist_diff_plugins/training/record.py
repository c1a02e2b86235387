"""What a training leaves: a checkpoint an epoch, rows of figures, and no more checkpoints than asked for."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from emnist_diff.errors import RunFailed
from emnist_diff.events import get_logger
from emnist_diff_plugins.containers import checkpoint
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader
from emnist_diff_plugins.training import metrics
from emnist_diff_plugins.training.config import TrainConfig
from emnist_diff_plugins.training.layout import Layout
from emnist_diff_plugins.training.learner import Learner
from emnist_diff_plugins.training.task import Task, Trained

log = get_logger()


@attrs.frozen(eq=False)
class Snapshot:
    """The averaged network at one step.

    trained: as its checkpoint would hold it, ready to be asked.  tensors: of that checkpoint.
    held_out_loss: of held-out images.
    """

    trained: Trained
    tensors: Mapping[str, Tensor]
    held_out_loss: float


@attrs.define(eq=False)
class Record:
    """The epochs done. rows: one an epoch (`metrics.Epoch.row`).  errors: one an epoch and noise level.
    validations: one for each time that held-out images were asked: epoch, with a fraction, step and loss."""

    config: TrainConfig
    task: Task
    rows: list[dict[str, Any]] = attrs.field(factory=list)
    errors: list[dict[str, Any]] = attrs.field(factory=list)
    validations: list[dict[str, Any]] = attrs.field(factory=list)

    @property
    def newest(self) -> Path | None:
        """The checkpoint of the last epoch done, unless somebody has taken it away."""
        path = self._path(self.rows[-1]["epoch"]) if self.rows else None
        return path if path is not None and path.exists() else None

    def trained(self, learner: Learner) -> tuple[Trained, dict[str, Tensor]]:
        """The averaged network as its checkpoint would hold it, and the tensors there. Raises `RunFailed` for weights
        that do not fit float16 where that is asked for."""
        stored = learner.averaged()
        if self.config.half:
            stored = {name: _halved(name, t) for name, t in stored.items()}
        shown = {name: t.float() if t.dtype == torch.float16 else t for name, t in stored.items()}
        trained = self.task.trained(shown, str(learner.device))
        beside = {name: _exact_half(t) if self.config.half else t for name, t in trained.tensors.items()}
        return trained, {trained.prefix + name: t for name, t in stored.items()} | beside

    def validate(self, learner: Learner, step: int, epoch: float) -> Snapshot:
        """Ask held-out images after `step` steps, that is `epoch` epochs, and write their table.

        Raises `RunFailed` when the network answers what is not finite, and `OutputError`.
        """
        trained, tensors = self.trained(learner)
        loss = self.task.held_out_loss(trained.ready, learner.device)
        if not math.isfinite(loss):
            raise RunFailed(f"the network's answers are not finite after step {step} — lower --lr")
        self.validations.append({"epoch": round(epoch, 4), "step": step, "held_out_loss": loss})
        metrics.write_table(Path(self.config.output), f"validation_{self.config.family.name}", self.validations)
        return Snapshot(trained, tensors, loss)

    def add(
        self,
        snapshot: Snapshot,
        learner: Learner,
        losses: np.ndarray,
        grad_norms: np.ndarray,
        lr: float,
        seconds: float,
    ) -> None:
        """Measure the next epoch and write its files; done twice, they are the same.

        losses, grad_norms: one a step.  lr: at the last step.  seconds: of the epoch.

        Raises `RunFailed` when the network answers what is not finite, and `OutputError`.
        """
        config, device, epoch = self.config, learner.device, len(self.rows) + 1
        errors = [{"epoch": epoch, **e} for e in self.task.errors(snapshot.trained.ready, device)]
        if not all(math.isfinite(value) for e in errors for value in e.values()):
            raise RunFailed(f"the network's answers are not finite after epoch {epoch} — lower --lr")
        measured = metrics.Epoch(
            epoch=epoch,
            losses=losses,
            grad_norms=grad_norms,
            lr=lr,
            seconds=seconds,
            images=len(losses) * config.batch_size,
            ema_distance=learner.ema_distance(),
            held_out_loss=snapshot.held_out_loss,
            gpu_memory=_gpu_memory(device),
            wall_clock=time.time(),
        )
        row = measured.row(self.rows[-1] if self.rows else None)
        self.rows.append(row)
        self.errors += errors
        checkpoint.save(self._path(epoch), self._header(snapshot.trained.header, row, errors), snapshot.tensors)
        metrics.write(Path(config.output), config.family.name, self.task.table, self.rows, self.errors)
        if config.keep:
            for old in self.rows[: -config.keep]:  # by their own names: what else is there is not this training's
                self._path(old["epoch"]).unlink(missing_ok=True)
        log.info("train.epoch", epoch=epoch, checkpoint=str(self._path(epoch)), loss=round(row["loss_mean"], 5))

    def _path(self, epoch: int) -> Path:
        return Layout.of(self.config).checkpoints / f"{self.config.family.name}_epoch{epoch:03d}.safetensors"

    def _header(self, header: CheckpointHeader, row: dict[str, Any], errors: list[dict[str, Any]]) -> CheckpointHeader:
        """The header of an epoch's checkpoint, with its figures."""
        origin = header.provenance
        facts = {"images_seen": row["cumulative_samples"], "seconds": round(row["cumulative_time_sec"], 1)}
        figures = [{k: v if isinstance(v, int) else round(v, 5) for k, v in e.items()} for e in errors]
        provenance = {**origin, "trained_with": {**origin["trained_with"], **facts}, self.task.table: figures}
        return attrs.evolve(header, epoch=row["epoch"], provenance=provenance)


def _halved(name: str, tensor: Tensor) -> Tensor:
    half = tensor.half() if tensor.is_floating_point() else tensor
    if not bool(torch.isfinite(half).all()):
        raise RunFailed(f"weight {name!r} does not fit float16 — use --resume --full")
    return half


def _exact_half(tensor: Tensor) -> Tensor:
    """The tensor in float16 where that loses nothing, as with a codec that was stored so: a codec is known by what its
    tensors are."""
    half = tensor.half() if tensor.is_floating_point() else tensor
    return half if torch.equal(half.to(tensor.dtype), tensor) else tensor


def _gpu_memory(device: torch.device) -> tuple[float, float, float]:
    """Allocated, reserved and peak, in MB; zeros on a CPU."""
    if device.type != "cuda":
        return (0.0, 0.0, 0.0)
    read = (torch.cuda.memory_allocated, torch.cuda.memory_reserved, torch.cuda.max_memory_allocated)
    allocated, reserved, peak = (f(device) / 1e6 for f in read)
    return (allocated, reserved, peak)
