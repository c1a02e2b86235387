"""The training loop: every step is a pure function of the state before it, so that stopping loses nothing."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import structlog
import torch
from torch import Tensor, nn

from emnist_diff import __version__, checkpoint
from emnist_diff.checkpoint import CheckpointHeader
from emnist_diff.components import Made, make
from emnist_diff.config import Component
from emnist_diff.errors import ConfigError, EmnistDiffError, Interrupted, OutputError, RunFailed
from emnist_diff.interrupts import STOP_SIGNALS, stop_requests
from emnist_diff.plugins import Registry, installed
from emnist_diff.protocols import NoiseSchedule, TrainableFamily
from emnist_diff.records import DatasetSpec, DenoiserSpec
from emnist_diff.structuring import unstructure
from emnist_diff_plugins.datasets.images import Images
from emnist_diff_plugins.schedulers._diffusion import alphas_cumprod
from emnist_diff_plugins.training import evaluate, metrics, objective, state
from emnist_diff_plugins.training.batches import Batches, key
from emnist_diff_plugins.training.config import TrainConfig, check_resumable, resolve, to_dict
from emnist_diff_plugins.training.ema import Ema
from emnist_diff_plugins.training.report import Report
from emnist_diff_plugins.training.workers import Workers

log = structlog.get_logger()

_LOOK_EVERY = 20
"""Steps between looks at the loss, and at what the other workers want: each look waits for the device."""

_SIGNALS = (*STOP_SIGNALS, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else []))
"""SIGUSR1 is what SLURM can be asked to send before the time of a job is over."""

OnProgress = Callable[[int, int, float], None]
"""Called every few steps with the steps done, the steps in all, and the latest loss."""


@attrs.frozen
class TrainResult:
    """What a training run leaves: its directory, the newest checkpoint, and whether all epochs are done."""

    output: Path
    checkpoint: Path | None
    steps: int
    finished: bool


def train(
    config: TrainConfig,
    *,
    resume: bool = False,
    registry: Registry | None = None,
    on_progress: OnProgress | None = None,
) -> TrainResult:
    """Train what `config` describes into its output directory.

    resume: continue the training that is there (start, when there is none).

    Raises `DatasetError` and `ConfigError` before any work; `OutputError` when the directory holds a training and
    `resume` is false, or cannot be written; `RunFailed` when the loss is no longer finite; `Interrupted` after
    SIGINT, SIGTERM or SIGUSR1, with the state saved.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    workers = Workers.join(config.device)
    output = Path(config.output)
    before = _earlier(output, config, resume)
    with torch.random.fork_rng(devices=[workers.device] if workers.device.type == "cuda" else []):
        training = Training.begin(config, workers, registry or installed())
        if before is not None:
            training.restore(*before)
        else:
            training.save()  # a directory that cannot be written is found out now, not in an hour
        with Report(output, config, training.step) if workers.first else nullcontext() as report:
            return training.run(report, on_progress)


def saved_config(output: Path) -> dict[str, Any]:
    """The configuration of the training in a directory, as a layer; empty when there is none. Its time budget is
    left out: that was for one sitting."""
    path = state.path_in(output)
    config = state.load(path)[0]["config"] if path.exists() else {}
    return {name: value for name, value in config.items() if name != "max_minutes"}


def _earlier(output: Path, config: TrainConfig, resume: bool) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    path = state.path_in(output)
    if not path.exists():
        if any(output.glob(f"{config.family.name}_epoch*.safetensors")):
            raise OutputError(f"{output} holds checkpoints of another training — name another --output")
        return None
    if not resume:
        raise OutputError(f"{output} holds a training — say --resume to continue it, or name another --output")
    facts, tensors = state.load(path)
    check_resumable(resolve(facts["config"]), config)
    return facts, tensors


@attrs.define(eq=False)
class Training:
    """A training under way."""

    config: TrainConfig
    workers: Workers
    family: TrainableFamily
    header: CheckpointHeader
    network: nn.Module
    wrapped: nn.Module
    ema: Ema
    optimizer: torch.optim.AdamW
    scaler: torch.amp.GradScaler
    batches: Batches
    alpha_bar: Tensor
    probe: evaluate.Probe
    step: int = 0
    rows: list[dict[str, Any]] = attrs.field(factory=list)
    errors: list[dict[str, Any]] = attrs.field(factory=list)
    epoch_seconds: float = 0.0
    losses: list[Tensor] = attrs.field(factory=list)
    grad_norms: list[Tensor] = attrs.field(factory=list)

    # -------------------------------------------------------------- beginning, saving, restoring

    @classmethod
    def begin(cls, config: TrainConfig, workers: Workers, registry: Registry) -> Training:
        """Data decoded, network initialised, nothing learnt yet."""
        start = None if config.init_from is None else checkpoint.load(checkpoint.discover(Path(config.init_from)))
        asked = _over(config.family, start)
        make(registry, DenoiserSpec, asked)  # a mistake in the settings is said before the data is decoded
        images = _load(registry, config.dataset)
        held_out = _held_out(registry, config.dataset) or images
        shape = tuple(images.images.shape[1:])
        made = _family(registry, asked, shape, len(images.classes))
        header = CheckpointHeader(
            family=made.name,
            network=made.settings,
            classes=images.classes,
            null_index=len(images.classes),
            merged=dict(images.merged),
            schedule=NoiseSchedule(train_timesteps=config.train_timesteps, beta_schedule=config.beta_schedule),
            prediction=config.prediction,
            recommended=dict(config.recommended),
            provenance={
                **config.provenance,
                "data": dict(images.provenance),
                "trained_with": {"emnist_diff": __version__, "torch": torch.__version__, **_method(config)},
            },
        )
        torch.manual_seed(key(config.seed, 4))
        network = made.object.network()
        if start is not None:
            _fit(start, header, network)
        layout = torch.channels_last if workers.device.type == "cpu" and len(shape) == 3 else torch.contiguous_format
        network = network.to(workers.device, memory_format=layout).train()
        parameters = list(network.parameters())
        return cls(
            config,
            workers,
            made.object,
            header,
            network,
            workers.wrapped(network),
            Ema.of(parameters, config.ema_decay),
            torch.optim.AdamW(
                parameters, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, foreach=True
            ),
            torch.amp.GradScaler(workers.device.type, enabled=config.precision == "fp16"),
            Batches(
                torch.from_numpy(images.images).to(workers.device),
                torch.from_numpy(images.labels).to(workers.device),
                len(images.classes),
                config.batch_size,
                config.train_timesteps,
                config.label_dropout,
                config.seed,
                workers.rank,
                workers.count,
            ),
            torch.from_numpy(alphas_cumprod(header.schedule)).to(workers.device, torch.float32),
            evaluate.Probe.of(held_out.images, held_out.labels, config.seed),
        )

    def save(self) -> None:
        """Write the state; the first worker's is everybody's."""
        if not self.workers.first:
            return
        names = [name for name, _ in self.network.named_parameters()]
        tensors = {f"network/{name}": t for name, t in self.network.state_dict().items()}
        tensors |= {f"ema/{name}": t for name, t in zip(names, self.ema.averages, strict=True)}
        for index, kept in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{names[index]}/{what}": t for what, t in kept.items()}
        tensors |= {"epoch/losses": _stacked(self.losses), "epoch/grad_norms": _stacked(self.grad_norms)}
        facts = {
            "config": to_dict(self.config),
            "data": self.header.provenance["data"],
            "workers": self.workers.count,
            "step": self.step,
            "rows": self.rows,
            "errors": self.errors,
            "epoch_seconds": self.epoch_seconds,
            "scaler": self.scaler.state_dict(),
        }
        state.save(state.path_in(Path(self.config.output)), facts, tensors)

    def restore(self, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Become the training that `save` saved. Raises `ConfigError` when the data is not what it was."""
        if facts["data"] != self.header.provenance["data"]:
            raise ConfigError("cannot resume: the dataset's files are not those that the training began with")
        if facts["workers"] != self.workers.count:
            raise ConfigError(f"cannot resume: the training began with {facts['workers']} workers")
        parameters = dict(self.network.named_parameters())
        self.network.load_state_dict({n: tensors[f"network/{n}"] for n in self.network.state_dict()})
        for name, average in zip(parameters, self.ema.averages, strict=True):
            average.copy_(tensors[f"ema/{name}"])
        kept: dict[int, dict[str, Tensor]] = {}
        for index, (name, parameter) in enumerate(parameters.items()):
            prefix = f"optimizer/{name}/"
            found = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
            if found:  # in the parameter's own memory layout, without which every update is slower
                kept[index] = {
                    what: torch.empty_like(parameter).copy_(t) if t.shape == parameter.shape else t
                    for what, t in found.items()
                }
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": kept})
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(facts["scaler"])
        self.step, self.epoch_seconds = facts["step"], facts["epoch_seconds"]
        self.rows, self.errors = list(facts["rows"]), list(facts["errors"])
        self.losses, self.grad_norms = (list(tensors[f"epoch/{w}"].unbind()) for w in ("losses", "grad_norms"))

    # -------------------------------------------------------------- the loop

    @property
    def total(self) -> int:
        return self.config.epochs * self.batches.steps_per_epoch

    def run(self, report: Report | None, on_progress: OnProgress | None) -> TrainResult:
        """From where the training stands to its last epoch, or to the first reason to stop."""
        config, output = self.config, Path(self.config.output)
        log.info("train.started", output=str(output), step=self.step, steps=self.total, epochs=config.epochs)
        began = saved = looked = time.monotonic()
        with stop_requests(_SIGNALS) as stopping:
            while self.step < self.total:
                self.losses.append(self.advance())
                epoch, place = divmod(self.step, self.batches.steps_per_epoch)
                if place and self.step % _LOOK_EVERY and not (self.workers.count == 1 and stopping.is_set()):
                    continue
                loss = self._look()
                now = time.monotonic()
                self.epoch_seconds, looked = self.epoch_seconds + now - looked, now
                if on_progress is not None:
                    on_progress(self.step, self.total, loss)
                if report is not None:
                    report.step(self.step, loss, float(self.grad_norms[-1]), self.rate(self.step - 1))
                if place == 0:
                    self._end_epoch(epoch, report)
                    looked = time.monotonic()
                limit = config.max_minutes is not None and now - began >= 60 * config.max_minutes
                stop = self.workers.any(stopping.is_set() or limit)
                if stop or place == 0 or now - saved >= 60 * config.save_minutes:
                    self.save()
                    saved = looked = time.monotonic()
                if stop and self.step < self.total:
                    where = f"{self.step / self.batches.steps_per_epoch:.2f} of {config.epochs} epochs are in {output}"
                    if stopping.is_set():
                        raise Interrupted(f"interrupted: {where} — repeat the command with --resume to go on")
                    log.info("train.stopped", reason="max_minutes", step=self.step, steps=self.total)
                    break
        newest = checkpoint.discover(output) if any(output.glob("*_epoch*.safetensors")) else None
        return TrainResult(output, newest, self.step, self.step >= self.total)

    def advance(self) -> Tensor:
        """One step; returns its loss, still on the device."""
        config, device = self.config, self.workers.device
        draw = self.batches.draw(self.step)
        alpha_bar = self.alpha_bar[draw.timestep]
        x = objective.noised(draw.x0, draw.noise, alpha_bar)
        if device.type == "cpu" and x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        wanted = objective.target(draw.x0, draw.noise, alpha_bar, config.prediction)
        weight = None
        if config.weighting == "min-snr":
            weight = objective.min_snr_weight(alpha_bar, config.prediction, config.min_snr_gamma)
        torch.manual_seed(self.batches.network_seed(self.step))
        half = torch.bfloat16 if config.precision == "bf16" else torch.float16
        with torch.autocast(device.type, half, enabled=config.precision != "fp32"):
            answer = self.family.evaluate(self.wrapped, x, draw.timestep.float(), draw.index)
        loss = objective.loss(answer, wanted, weight)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        parameters = list(self.network.parameters())
        norm = torch.nn.utils.clip_grad_norm_(parameters, config.clip_norm or math.inf, foreach=True)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(self.step)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step += 1
        self.ema.update(parameters, self.step)
        self.grad_norms.append(norm.detach())
        return loss.detach()

    def rate(self, step: int) -> float:
        config = self.config
        return objective.learning_rate(step, self.total, config.lr, config.lr_schedule, config.warmup_steps)

    def _look(self) -> float:
        """The latest loss; raises `RunFailed` before anything that is not finite can be saved."""
        loss = float(self.losses[-1])
        if not math.isfinite(loss):
            raise RunFailed(
                f"the loss is {loss} at step {self.step} — lower --lr, or use --precision fp32; "
                "--resume goes back to the last saved state"
            )
        return loss

    # -------------------------------------------------------------- the end of an epoch

    def _end_epoch(self, epoch: int, report: Report | None) -> None:
        losses = self.workers.mean(_stacked(self.losses)).cpu().double().numpy()
        if not np.isfinite(losses).all():
            raise RunFailed(f"the loss was not finite in epoch {epoch} — lower --lr, or use --precision fp32")
        self.workers.wait()
        if report is not None:
            self._record_epoch(epoch, losses, report)
        self.workers.wait()
        self.losses, self.grad_norms, self.epoch_seconds = [], [], 0.0

    def _record_epoch(self, epoch: int, losses: np.ndarray, report: Report) -> None:
        config = self.config
        row = metrics.epoch_row(
            epoch=epoch,
            losses=losses,
            grad_norms=_stacked(self.grad_norms).cpu().double().numpy(),
            lr=self.rate(self.step - 1),
            seconds=self.epoch_seconds,
            images=len(losses) * config.batch_size,
            ema_distance=self.ema.distance(self.network.parameters()),
            gpu_memory=_gpu_memory(self.workers.device),
            wall_clock=time.time(),
            before=self.rows[-1] if self.rows else None,
        )
        weights = self.averaged()
        header = attrs.evolve(self.header, epoch=epoch)
        denoiser = self.family.denoiser(weights, header, str(self.workers.device))
        errors = [{"epoch": epoch, **e} for e in evaluate.x0_error(denoiser, header, self.probe, self.workers.device)]
        self.rows.append(row)
        self.errors += errors
        facts = {"images_seen": row["cumulative_samples"], "seconds": round(row["cumulative_time_sec"], 1)}
        header = attrs.evolve(
            header,
            provenance={
                **header.provenance,
                "trained_with": {**header.provenance["trained_with"], **facts},
                "x0_error": [{k: v if k == "timestep" else round(v, 5) for k, v in e.items()} for e in errors],
            },
        )
        if config.half:
            weights = {name: _halved(name, t) for name, t in weights.items()}
        output = Path(config.output)
        path = output / f"{config.family.name}_epoch{epoch:03d}.safetensors"
        checkpoint.save(path, header, weights)
        metrics.write(output, config.family.name, self.rows, self.errors)
        images = None
        if config.sample_every and epoch % config.sample_every == 0:
            images = evaluate.samples(denoiser, header, config.recommended, self.workers.device)
        report.epoch(epoch, self.step, row, errors, images)
        if config.keep:
            for old in sorted(output.glob(f"{config.family.name}_epoch*.safetensors"))[: -config.keep]:
                old.unlink()
        log.info("train.epoch", epoch=epoch, checkpoint=str(path), loss=round(row["loss_mean"], 5))

    def averaged(self) -> dict[str, Tensor]:
        """The network's state with averaged weights, on the CPU."""
        names = [name for name, _ in self.network.named_parameters()]
        average = dict(zip(names, self.ema.averages, strict=True))
        held = self.network.state_dict()
        return {name: average.get(name, t).detach().cpu().contiguous().clone() for name, t in held.items()}


def _load(registry: Registry, asked: Component) -> Images:
    loaded: Images = make(registry, DatasetSpec, asked).object.load()
    return loaded


def _held_out(registry: Registry, asked: Component) -> Images | None:
    """The reader's test part, where it has one."""
    try:
        return _load(registry, attrs.evolve(asked, settings={**asked.settings, "part": "test"}))
    except EmnistDiffError as error:
        log.info("train.no_test_part", reason=str(error), instead="the training images")
        return None


def _over(asked: Component, start: tuple[CheckpointHeader, Any] | None) -> Component:
    """The family as asked for, over the settings of a checkpoint to start from."""
    below = {} if start is None else start[0].network
    return attrs.evolve(asked, settings={**below, **asked.settings})


def _family(registry: Registry, asked: Component, shape: tuple[int, ...], classes: int) -> Made:
    """The family with the settings that the data decides."""
    factory = registry.load(DenoiserSpec, asked.name)
    if not all(hasattr(factory, name) for name in ("fitted", "network", "evaluate")):
        raise ConfigError(f"denoiser {asked.name!r} cannot be trained")
    fitted = dict(factory.fitted(shape, classes))
    for name in fitted.keys() & asked.settings.keys():
        if fitted[name] != asked.settings[name]:
            raise ConfigError(f"{name} = {asked.settings[name]!r} does not fit the data, which needs {fitted[name]!r}")
    return make(registry, DenoiserSpec, attrs.evolve(asked, settings={**asked.settings, **fitted}))


def _fit(start: tuple[CheckpointHeader, dict[str, Tensor]], header: CheckpointHeader, network: nn.Module) -> None:
    """Load a checkpoint's weights to start from; it must be of the same network and classes."""
    was, weights = start
    for name in ("family", "network", "classes"):
        if getattr(was, name) != getattr(header, name):
            raise ConfigError(
                f"init_from: the checkpoint has {name} = {unstructure(getattr(was, name))!r}, the training "
                f"{unstructure(getattr(header, name))!r}"
            )
    network.load_state_dict(weights)


def _method(config: TrainConfig) -> dict[str, Any]:
    """How the weights came to be, as checkpoints record it; no paths."""
    said = ("epochs", "batch_size", "lr", "lr_schedule", "warmup_steps", "weight_decay", "betas", "clip_norm",
            "label_dropout", "ema_decay", "weighting", "precision", "seed")  # fmt: skip
    everything = to_dict(config)
    return {name: everything[name] for name in said}


def _halved(name: str, tensor: Tensor) -> Tensor:
    half = tensor.half() if tensor.is_floating_point() else tensor
    if not bool(torch.isfinite(half).all()):
        raise RunFailed(f"weight {name!r} does not fit float16 — train without half")
    return half


def _stacked(values: list[Tensor]) -> Tensor:
    return torch.stack(values).float() if values else torch.zeros(0)


def _gpu_memory(device: torch.device) -> tuple[float, float, float]:
    """Allocated, reserved and peak, in MB; zeros on a CPU."""
    if device.type != "cuda":
        return (0.0, 0.0, 0.0)
    read = (torch.cuda.memory_allocated, torch.cuda.memory_reserved, torch.cuda.max_memory_allocated)
    allocated, reserved, peak = (f(device) / 1e6 for f in read)
    return (allocated, reserved, peak)
