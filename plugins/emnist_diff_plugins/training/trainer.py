"""The training loop: every step is a pure function of the state before it, so that stopping loses nothing."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import attrs
import torch
from torch import Tensor

from emnist_diff.discovery import installed
from emnist_diff.errors import CheckpointError, ConfigError, Interrupted, RunFailed
from emnist_diff.events import get_logger
from emnist_diff.plugins import Registry
from emnist_diff.running.interrupts import STOP_SIGNALS, stop_requests
from emnist_diff.structuring import unstructure
from emnist_diff_plugins.training import experiment, folder, objective, state
from emnist_diff_plugins.training.batches import Batches
from emnist_diff_plugins.training.config import TrainConfig, to_dict
from emnist_diff_plugins.training.layout import Layout
from emnist_diff_plugins.training.learner import Learner
from emnist_diff_plugins.training.prepare import prepare
from emnist_diff_plugins.training.record import Record
from emnist_diff_plugins.training.report import Report
from emnist_diff_plugins.training.state import Facts
from emnist_diff_plugins.training.task import Task
from emnist_diff_plugins.training.workers import Workers

log = get_logger()

_CHECK_EVERY, _CHECK_SECONDS = 20, 1.0
"""Most steps, and about the seconds, between looks at the loss and at what the other workers want: each look waits
for the device."""

_SIGNALS = (*STOP_SIGNALS, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else []))
"""SIGUSR1 is what SLURM can be asked to send before the time of a job is over."""

OnProgress = Callable[[int, int, float], None]
"""Called every few steps, in the first worker, with the steps done, the steps in all, and the latest loss."""


@attrs.frozen
class TrainResult:
    """What a training run leaves: its directory, the newest checkpoint, and whether all epochs are done.

    rank: of the worker that returns this; the first speaks for all.
    """

    output: Path
    checkpoint: Path | None
    steps: int
    finished: bool
    rank: int = 0


def train(
    config: TrainConfig,
    *,
    resume: bool = False,
    registry: Registry | None = None,
    on_progress: OnProgress | None = None,
) -> TrainResult:
    """Train what `config` describes into its output directory.

    resume: continue the training that is there (start, when there is none).

    Raises `DatasetError`, `CheckpointError` and `ConfigError` before any work; `OutputError` when the directory holds
    a training and `resume` is false, or cannot be written; `RunFailed` when the loss is no longer finite;
    `Interrupted` after SIGINT, SIGTERM or SIGUSR1, with the state saved.
    """
    began = time.monotonic()
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    workers = Workers.join(config.device)
    if config.experiment is not None:  # whose directory is called by the time, which is another in each worker
        config = attrs.evolve(config, output=workers.shared(config.output))
    layout = Layout.of(config)
    with (
        experiment.listening(layout.experiment and workers.first) as journal,
        torch.random.fork_rng(devices=[workers.device] if workers.device.type == "cuda" else []),
        ExitStack() as held,
    ):
        before = folder.earlier(config, resume, workers, held)
        training = Training.of(config, prepare(config, registry or installed(), before, workers.device), workers)
        if before is not None:
            training.restore(*before)
        else:
            workers.first_only(lambda: folder.lock(layout, held))
            training.save()  # a directory that cannot be written is found out now, not in an hour
        report = held.enter_context(Report(layout, config, training.step)) if workers.first else None
        if report is not None and layout.experiment:
            experiment.write_settings(layout, config)
            journal.open(layout.output / "training.log")
        return training.run(began, report, on_progress)


@attrs.define(eq=False)
class Training:
    """A training under way.

    step: steps done.  losses, grad_norms: (steps an epoch,), this worker's, on the device; of the epoch in hand, as
    far as it is done.  epoch_seconds: spent in that epoch, stops left out.
    """

    config: TrainConfig
    workers: Workers
    learner: Learner
    batches: Batches
    record: Record
    losses: Tensor
    grad_norms: Tensor
    step: int = 0
    epoch_seconds: float = 0.0

    # -------------------------------------------------------------- beginning, saving, restoring

    @classmethod
    def of(cls, config: TrainConfig, task: Task, workers: Workers) -> Training:
        """A training that has learnt nothing yet. Raises `ConfigError` when the batches do not fit the images."""
        batches, device = task.batches(workers), workers.device
        return cls(
            config,
            workers,
            Learner.of(config, task, workers),
            batches,
            Record(config, task),
            torch.zeros(batches.steps_per_epoch, device=device),
            torch.zeros(batches.steps_per_epoch, device=device),
        )

    def save(self) -> None:
        """Write the state, which is everybody's. All workers must ask. Raises `OutputError`."""
        done = self.step % self.batches.steps_per_epoch
        losses = self.workers.mean(self.losses)[:done]
        self.workers.first_only(lambda: self._write(losses))

    def _write(self, losses: Tensor) -> None:
        task = self.record.task
        header = task.header
        facts = Facts(
            config=to_dict(self.config),
            data=header.provenance["data"],
            workers=self.workers.count,
            step=self.step,
            rows=self.record.rows,
            errors=self.record.errors,
            validations=self.record.validations,
            epoch_seconds=self.epoch_seconds,
            scaler=self.learner.scaler.state_dict(),
            network=dict(header.network),
            origin=None if task.origin is None else dict(task.origin),
            codec=None if header.role == "codec" else unstructure(header.codec),
        )
        figures = {"epoch/losses": losses, "epoch/grad_norms": self.grad_norms[: len(losses)]}
        state.save(
            state.path_in(Path(self.config.output)), facts, self.learner.tensors() | figures | dict(task.resumable())
        )

    def restore(self, facts: Facts, tensors: Mapping[str, Tensor]) -> None:
        """Become the training that `save` saved. Raises `ConfigError` for another number of workers, and
        `CheckpointError` for a state that cannot be this training's."""
        if facts.workers != self.workers.count:
            raise ConfigError(
                f"cannot resume with {self.workers.count} workers: the training began with {facts.workers}"
            )
        done = facts.step % self.batches.steps_per_epoch
        figures = [tensors[key] for key in ("epoch/losses", "epoch/grad_norms") if key in tensors]
        if not 0 <= facts.step <= self.total or [t.shape for t in figures] != [(done,), (done,)]:
            raise CheckpointError(f"the training state is damaged: its figures do not fit step {facts.step}")
        self.learner.restore(tensors, facts.scaler)
        for own, was in zip((self.losses, self.grad_norms), figures, strict=True):
            own[:done] = was
        self.step, self.epoch_seconds = facts.step, facts.epoch_seconds
        record = self.record
        record.rows, record.errors, record.validations = list(facts.rows), list(facts.errors), list(facts.validations)

    # -------------------------------------------------------------- the loop

    @property
    def total(self) -> int:
        """Steps of the whole training."""
        return self.config.epochs * self.batches.steps_per_epoch

    def run(self, began: float, report: Report | None, on_progress: OnProgress | None) -> TrainResult:
        """From where the training stands to its last epoch, or to the first reason to stop.

        began: when the time budget began, as `time.monotonic` says.  report: of the first worker.
        """
        config, output, budget = self.config, Path(self.config.output), 60 * (self.config.max_minutes or math.inf)
        log.info("train.started", output=str(output), step=self.step, steps=self.total, epochs=config.epochs)
        saved = checked = time.monotonic()
        seen, next_check = self.step, self.step + 1
        with stop_requests(_SIGNALS) as stopping:
            while self.step < self.total:
                self.advance()
                judging = self.epoch_ends or self.sampling
                if not judging and self.step < next_check and not (self.workers.count == 1 and stopping.is_set()):
                    continue
                loss, norm = self._check()
                now = time.monotonic()
                pace = (now - checked) / (self.step - seen)
                self.epoch_seconds += now - checked
                if report is not None:
                    report.step(self.step, loss, norm, self.rate(self.step - 1))
                if self.workers.first and on_progress is not None:
                    on_progress(self.step, self.total, loss)
                if judging:
                    self._judge(report, stopping.is_set)
                    now = time.monotonic()
                # together: a worker that alone went on, saved or stopped would wait for the others for ever
                signalled, late, due, pace = self.workers.agree(
                    stopping.is_set(), now - began >= budget, now - saved >= 60 * config.save_minutes, pace
                )
                if signalled or late or due or self.epoch_ends:
                    if report is not None:
                        report.flush()
                    self.save()
                    saved = time.monotonic()
                checked, seen = time.monotonic(), self.step
                next_check = self.step + max(1, min(_CHECK_EVERY, int(_CHECK_SECONDS / max(pace, 1e-9))))
                if self.step < self.total and signalled:
                    where = f"{self.step / self.batches.steps_per_epoch:.2f} of {config.epochs} epochs are in {output}"
                    raise Interrupted(f"interrupted: {where} — repeat the command with --resume to go on")
                if self.step < self.total and late:
                    log.info("train.stopped", reason="max_minutes", step=self.step, steps=self.total)
                    break
            self.workers.first_only(lambda: self._finish(report, stopping.is_set))
        return TrainResult(output, self.record.newest, self.step, self.step >= self.total, self.workers.rank)

    def advance(self) -> None:
        """One step."""
        place = self.step % self.batches.steps_per_epoch
        draw, seed = self.batches.draw(self.step), self.batches.network_seed(self.step)
        loss, norm = self.learner.advance(draw, seed, self.rate(self.step), self.step)
        self.losses[place], self.grad_norms[place] = loss, norm
        self.step += 1

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        config = self.config
        return objective.learning_rate(step, self.total, config.lr, config.lr_schedule, config.warmup_steps)

    def _check(self) -> tuple[float, float]:
        """The latest loss and gradient norm, over all workers; raises `RunFailed` in all of them before anything that
        is not finite can be saved."""
        place = (self.step - 1) % self.batches.steps_per_epoch
        losses = self.losses[: place + 1]
        figures = torch.stack([losses[-1], losses.sum(), self.grad_norms[place]])
        loss, all_losses, norm = self.workers.mean(figures).tolist()
        # a loss scale is meant to overflow now and then: it skips such a step
        wrong = [("loss", all_losses)] + ([] if self.learner.scaler.is_enabled() else [("gradient", norm)])
        for what, value in wrong:
            if not math.isfinite(value):
                raise RunFailed(
                    f"the {what} is {value} at step {self.step} — lower --lr, or use --precision fp32; "
                    "--resume goes back to the last saved state"
                )
        return loss, norm

    @property
    def epoch_ends(self) -> bool:
        """Whether the step was the last of its epoch."""
        return self.step % self.batches.steps_per_epoch == 0

    @property
    def sampling(self) -> bool:
        """Whether pictures are due after the step, whatever the epoch."""
        every = self.config.sample_every_steps
        return every > 0 and self.step % every == 0

    def _judge(self, report: Report | None, stopping: Callable[[], bool]) -> None:
        """Ask what was learnt, where an epoch ends or pictures are due. All workers must ask."""
        if self.epoch_ends:
            losses = self.workers.mean(self.losses)
            self.workers.first_only(lambda: self._record(report, stopping, losses))
            self.epoch_seconds = 0.0
        elif self.sampling:
            self.workers.first_only(lambda: self._record(report, stopping, None))

    def _record(self, report: Report | None, stopping: Callable[[], bool], losses: Tensor | None) -> None:
        """What the first worker does of `_judge`.  losses: of the epoch, where one ends."""
        config, record, learner = self.config, self.record, self.learner
        epochs = self.step / self.batches.steps_per_epoch
        snapshot = record.validate(learner, self.step, epochs)
        at, due = f"step{self.step:06d}", self.sampling
        if losses is not None:
            norms = self.grad_norms.cpu().double().numpy()
            figures = (losses.cpu().double().numpy(), norms, self.rate(self.step - 1), self.epoch_seconds)
            record.add(snapshot, learner, *figures)
            at = f"epoch{round(epochs):03d}"
            due = due or bool(config.sample_every and round(epochs) % config.sample_every == 0)
        pictures = record.task.pictures(snapshot.trained.ready, learner.device, stopping) if due else None
        if report is not None:
            report.judged(record, self.step, self.total)
            report.pictures(at, self.step, pictures or [])

    def _finish(self, report: Report | None, stopping: Callable[[], bool]) -> None:
        """What the first worker draws of the finished model, in an experiment."""
        if self.step >= self.total and report is not None and report.layout.experiment:
            trained, _ = self.record.trained(self.learner)
            pictures = self.record.task.last_pictures(trained.ready, self.learner.device, stopping)
            report.pictures("", self.step, pictures or [])
