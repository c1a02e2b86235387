"""The run-time contracts. Everything that takes part in a run satisfies one of these.

B is the number of samples in a batch, `*shape` the shape of one state (pixels, a latent, tokens).
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import attrs
from attrs import validators as v

from emnist_diff.brief import briefly

if TYPE_CHECKING:  # the contracts can be read without paying for torch
    from contextlib import AbstractContextManager
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    import torch
    from torch import Tensor

    from emnist_diff.conditions import Cond, ConditionSpace, Predictions, RowConditions

PredictionType = Literal["epsilon", "v_prediction", "sample", "flow"]
"""What a network returns: the noise; v; the image; or, on a flow, the velocity. See `parameterization`."""

MOST_TIMESTEPS = 100_000
"""Levels of a forward process; networks are trained on thousands."""

_FARTHEST = 1e6

ProcessKind = Literal["diffusion", "flow"]
"""How signal and noise mix into a state; see `rates`."""


def rates(alpha_bar: float, process: ProcessKind) -> tuple[float, float]:
    """(signal, noise) such that x_t = signal · x_0 + noise · eps, where alpha_bar is the signal's share of the power:
    signal² / (signal² + noise²). On a diffusion the squares add up to 1, on a flow the rates do."""
    signal, noise = alpha_bar**0.5, (1.0 - alpha_bar) ** 0.5
    return (signal, noise) if process == "diffusion" else (signal / (signal + noise), noise / (signal + noise))


def _clip(instance: object, attribute: Any, value: float | None) -> None:
    if value is not None and not 0 < value <= _FARTHEST:
        raise ValueError(f"'clip_sample' must be > 0 and <= {_FARTHEST:g}: {value}")


@attrs.frozen
class NoiseSchedule:
    """The forward process x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps that a network was trained on.

    train_timesteps: number of discrete levels.
    beta_schedule: ``linear``, ``scaled_linear`` or ``squaredcos_cap_v2``.
    beta_start, beta_end: ends of the linear ones, more than 0 and less than 1; the squared cosine ignores them.
    zero_terminal_snr: rescaled so that the last level holds no signal (Lin et al., 2024, arXiv:2305.08891,
    algorithm 1).
    clip_sample: half-width of the range that x0 is clipped to while sampling, or None. Images live in [-1, 1].
    """

    train_timesteps: int = attrs.field(default=1000, validator=v.and_(v.ge(1), v.le(MOST_TIMESTEPS)))
    beta_schedule: str = attrs.field(
        default="squaredcos_cap_v2",
        validator=v.in_(("linear", "scaled_linear", "squaredcos_cap_v2")),
    )
    beta_start: float = attrs.field(default=0.0001, validator=v.and_(v.gt(0), v.lt(1)))
    beta_end: float = attrs.field(default=0.02, validator=v.and_(v.gt(0), v.lt(1)))
    clip_sample: float | None = attrs.field(default=1.0, validator=_clip)
    zero_terminal_snr: bool = False


@attrs.frozen
class FlowSchedule:
    """The forward process x_s = (1 - s) x_0 + s eps, s in [0, 1], of rectified flow (Liu, Gong and Liu, 2023,
    arXiv:2209.03003).

    time_scale: the network is shown the timestep time_scale · s.
    clip_sample: half-width of the range that x0 is clipped to while sampling, or None.
    """

    time_scale: float = attrs.field(default=1000.0, validator=[v.gt(0), v.le(_FARTHEST)])
    clip_sample: float | None = attrs.field(default=None, validator=_clip)


ForwardProcess = NoiseSchedule | FlowSchedule


@attrs.frozen
class Level:
    """A noise level inside a step, at which a scheduler evaluates a second time.

    timestep, alpha_bar: as in `StepInfo`.  offset: where in the step it stands, 0 (its start) … 1 (its end).
    """

    timestep: float
    alpha_bar: float
    offset: float


@attrs.frozen
class StepInfo:
    """What is known of a step before it happens.

    index: 0 … steps-1, from noise to image.  steps: of the run.  timestep: the training timestep shown to the network.
    alpha_bar, alpha_bar_next: signal power here and where the step ends (1 for the image).
    process: how signal and noise mix.  offset: 0, or where inside the step the scheduler evaluates again.
    inner: the levels of those evaluations.
    """

    index: int
    steps: int
    timestep: float
    alpha_bar: float
    alpha_bar_next: float
    process: ProcessKind = "diffusion"
    offset: float = 0.0
    inner: tuple[Level, ...] = ()

    @property
    def frac(self) -> float:
        """Progress 0 → 1 from noise to image; 0 for a run of one step."""
        return min(1.0, (self.index + self.offset) / max(1, self.steps - 1))

    @property
    def sigma(self) -> float:
        """Noise-to-signal ratio sqrt((1 - alpha_bar) / alpha_bar), as EDM counts it; infinite without signal."""
        return _sigma(self.alpha_bar)

    @property
    def sigma_next(self) -> float:
        """Noise-to-signal ratio where the step ends; 0 for the image."""
        return _sigma(self.alpha_bar_next)

    @property
    def rates(self) -> tuple[float, float]:
        """(signal, noise) here: x_t = signal · x_0 + noise · eps."""
        return rates(self.alpha_bar, self.process)

    @property
    def rates_next(self) -> tuple[float, float]:
        """(signal, noise) where the step ends."""
        return rates(self.alpha_bar_next, self.process)

    def inside(self, stage: int) -> StepInfo:
        """The same step, as seen from its inner level `stage`."""
        level = self.inner[stage]
        return attrs.evolve(self, timestep=level.timestep, alpha_bar=level.alpha_bar, offset=level.offset, inner=())


def _sigma(alpha_bar: float) -> float:
    return float(((1.0 - alpha_bar) / alpha_bar) ** 0.5) if alpha_bar > 0 else math.inf


@briefly
@attrs.frozen(eq=False)
class Timeline:
    """The steps of a run, noise first; each array has one float64 entry a step. Stored verbatim in the file.

    timestep: shown to the network.  alpha_bar, alpha_bar_next: signal power where a step starts, and where it ends.
    process: how signal and noise mix.  inner: for each step the levels at which its scheduler evaluates again; () where
    every step takes one evaluation.
    """

    timestep: npt.NDArray[np.float64]
    alpha_bar: npt.NDArray[np.float64]
    alpha_bar_next: npt.NDArray[np.float64]
    process: ProcessKind = "diffusion"
    inner: tuple[tuple[Level, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.timestep)

    def at(self, index: int) -> StepInfo:
        """What is known of step `index`."""
        return StepInfo(
            index,
            len(self),
            float(self.timestep[index]),
            float(self.alpha_bar[index]),
            float(self.alpha_bar_next[index]),
            self.process,
            inner=self.inner[index] if self.inner else (),
        )

    def stages(self, index: int) -> tuple[StepInfo, ...]:
        """Everything at which a scheduler has the network asked in step `index`, in order."""
        at = self.at(index)
        return (at, *(at.inside(stage) for stage in range(len(at.inner))))

    def end(self, index: int) -> StepInfo | None:
        """Step `index` as seen from the level where it ends, which is where the next one starts; None for the image."""
        if index + 1 >= len(self):
            return None
        level = Level(float(self.timestep[index + 1]), float(self.alpha_bar[index + 1]), offset=1.0)
        return attrs.evolve(self.at(index), inner=(level,)).inside(0)

    @property
    def evaluations(self) -> npt.NDArray[np.int64]:
        """How often each step asks the network."""
        import numpy as np

        return np.array([1 + (len(self.inner[i]) if self.inner else 0) for i in range(len(self))], dtype=np.int64)

    @property
    def sigma(self) -> npt.NDArray[np.float64]:
        """Noise-to-signal ratio of each step; infinite where there is no signal."""
        import numpy as np

        return np.array([_sigma(a) for a in self.alpha_bar.tolist()], dtype=np.float64)


class NoiseSource(Protocol):
    """``noise()`` is (B, *shape) standard normal, keyed by (seed, sample, step, component, stream). A component that
    needs several independent draws a step names the streams."""

    def __call__(self, stream: str = "") -> Tensor:
        """The draw of one stream; the same whenever it is asked for."""


def no_noise(stream: str = "") -> Tensor:
    """The noise source of a step that no component is acting in."""
    raise RuntimeError("noise is drawn by components while they act on a step")


def no_look(x: Tensor, stage: int = 0) -> Tensor:
    """What a step without further evaluations answers whoever asks for one."""
    raise RuntimeError(
        "there is nothing to evaluate: schedulers name the levels of further evaluations in their timeline, drifts say "
        "by evaluations(at) how often they ask, and no drift can where the step ends in the image"
    )


def not_remembered(name: str, value: Tensor) -> None:
    """Keeps nothing: for schedulers, which return their memory in a `SchedulerResult`, and at second evaluations."""


def no_decoder(x: Tensor) -> Tensor:
    """The decoder of a header that was made without a denoiser."""
    raise RuntimeError("there is no denoiser here that shows states as images")


@briefly
@attrs.define(eq=False)
class Step:
    """A step as it happens, for a batch.

    at: what was known before.  x: the state x_t, (B, *shape).
    base: the prediction before forces, (B, *shape).
    sum: the running sum base + forces so far, (B, *shape); a non-additive rule reads it and returns a difference.
    labels: (B,) the samples' own class indices.  sample_ids: (B,) ids within the run.
    prediction_type: what base, score and predictions are; `parameterization` converts.
    noise: draws the acting component's keyed noise; the only source of randomness a plugin may use.
    memory: what the acting component left at the step before, (B, …) by name; {} at the first step, and after one at
    which it left nothing.

    For forces and drifts:
    remember: keeps a tensor (B, …) under a name for the next step. At second evaluations, of the scheduler and of
    drifts, memory can be read, and what is remembered there is dropped.

    For drifts and schedulers:
    evaluate: the prediction, base and forces, at another state (B, *shape): ``evaluate(x)`` of a drift that declares
    `evaluations`, at the level where the step ends; ``evaluate(x, number)`` of a scheduler, at its inner level of that
    number.

    For schedulers alone:
    timeline: all steps of the run.
    """

    at: StepInfo
    x: Tensor
    labels: Tensor
    sample_ids: Sequence[int]
    noise: NoiseSource = no_noise
    sum: Tensor | None = None
    base: Tensor | None = None
    timeline: Timeline | None = None
    memory: Mapping[str, Tensor] = attrs.field(factory=dict)
    evaluate: Callable[..., Tensor] = no_look
    remember: Callable[[str, Tensor], None] = not_remembered
    prediction_type: PredictionType = "epsilon"


@briefly
@attrs.frozen(eq=False)
class SchedulerResult:
    """Where a scheduler went.

    x_prev: the next state, (B, *shape).  x0: the estimate of the image, (B, *shape).
    memory: tensors (B, …) that the next step of the same samples is given; nothing else may be remembered, so that
    a walk can stop after any step and go on from what was written down.
    """

    x_prev: Tensor
    x0: Tensor
    memory: Mapping[str, Tensor] = attrs.field(factory=dict)


@runtime_checkable
class Force(Protocol):
    """A term of the prediction (score space).

    An attribute or property ``gradient``, True, asks for gradients through the network: where the force has a weight,
    ``step.x`` requires grad, and `predictions`, ``step.base`` and ``step.sum`` depend on it, so that
    ``torch.autograd.grad(energy, step.x)`` works. Forces that come before enter ``step.sum`` as constants.

    One that does not take states of every shape has a method ``require_shape(shape: tuple[int, ...]) -> None``, which
    raises `ConfigError` for those that it does not take; it is asked before a run starts.

    One whose settings can leave a step alone has a method ``idle(at: StepInfo) -> bool``, True where it adds nothing
    whatever the predictions are; a run says at its start that a force is idle at every step.
    """

    def conditions(self, at: StepInfo) -> Iterable[Cond]:
        """The conditions that `__call__` will read at this step. Pure; may be fewer, or none, outside a window."""

    def __call__(self, predictions: Predictions, step: Step) -> Tensor:
        """The contribution before its weight, (B, *shape); a new tensor."""


@runtime_checkable
class Drift(Protocol):
    """A map of the state after a step (state space).

    One that asks the network has a method ``evaluations(at: StepInfo) -> int``: how often at most it will call
    ``step.evaluate(x)`` at this step. Where the step ends in the image there is nothing to ask, and it is not called.

    One that does not take states of every shape has a method ``require_shape(shape: tuple[int, ...]) -> None``, which
    raises `ConfigError` for those that it does not take; it is asked before a run starts.

    One whose settings can leave a step alone has a method ``idle(at: StepInfo) -> bool``, True where it returns the
    state as it is; a run says at its start that a drift is idle at every step.
    """

    def __call__(self, x: Tensor, step: Step) -> Tensor:
        """The new state, (B, *shape); `x` itself must not be changed."""


@runtime_checkable
class Scheduler(Protocol):
    """What turns a prediction into the next state."""

    def plan(self, steps: int) -> Timeline:
        """The timeline of a run of `steps` steps. Raises `ConfigError` when that is impossible."""

    def step(self, prediction: Tensor, step: Step) -> SchedulerResult:
        """One step: from the prediction (B, *shape) at ``step.x`` and ``step.at`` to where ``step.at`` ends.

        ``step.noise`` is called only when the rule is stochastic here. A rule that evaluates more than once names the
        levels in its timeline and asks ``step.evaluate``; one that remembers reads ``step.memory``.
        """


@runtime_checkable
class SchedulerFactory(Protocol):
    """What a `SchedulerSpec` names: an attrs class of settings that becomes a scheduler for a forward process."""

    def bind(self, schedule: ForwardProcess, prediction: PredictionType) -> Scheduler:
        """The scheduler for networks trained on `schedule` with this prediction type.

        Raises `ConfigError` where it cannot walk that process, with the scheduler that can.
        """


@runtime_checkable
class Denoiser(Protocol):
    """A network ready to be asked, with all that the engine must know of it.

    One that can be asked in other ways than the plain one lists them in an attribute ``variants``, a tuple of names as
    `variants` reads them; a condition says which (`conditions.Cond.variant`).

    An attribute ``image_shape`` says the (C, H, W) of its images; where there is none, a state is decoded before a run
    to see.
    """

    @property
    def prediction_type(self) -> PredictionType:
        """What `predict` returns."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one state."""

    @property
    def conditions(self) -> ConditionSpace:
        """The classes it knows."""

    @property
    def process(self) -> ForwardProcess:
        """The forward process it was trained on."""

    def predict(self, x: Tensor, t: Tensor, conds: RowConditions) -> Tensor:
        """The prediction of each row: x (R, *shape), t (R,) float32 timesteps → (R, *shape).

        Rows are independent: a row's value may depend on R but not on the other rows.
        """

    def decode(self, x: Tensor) -> Tensor:
        """Images in [0, 1], (B, C, H, W), from states (B, *shape)."""


@runtime_checkable
class Exportable(Protocol):
    """What a `Denoiser` also offers so that backends can compile or export its network; without it, only backends that
    call `Denoiser.predict` can serve."""

    def module(self, variant: str = "") -> torch.nn.Module:
        """The network as a plain module of tensors, in eval mode and with fixed weights:
        forward(x (R, *shape), t (R,) float32 timesteps, index (R,) int64 class indices) → (R, *shape)."""


Precision = Literal["fp32", "bf16", "fp16"]
"""What a network computes in. States, noise, sums and files are float32 whatever the network does."""


@attrs.frozen
class Workload:
    """What a backend has to be ready for.

    rows: of a call at most, constant in the run.  calls: in the whole run, all workers counted.
    device: where states are, and what is asked is.  precision: what the network computes in.
    identity: a hash of network and weights, for caches; "" where nothing is known.
    threads: of the CPU, for this process.
    """

    rows: int
    device: torch.device
    precision: Precision = "fp32"
    calls: int = 1
    identity: str = ""
    threads: int = 1


class Evaluator(Protocol):
    """A denoiser, ready to be asked by an engine.

    One that cuts calls into parts has an attribute ``rows``, how many rows a part has; `Workload.rows` where there is
    none. It is asked for whole parts.
    """

    def __call__(self, x: Tensor, t: Tensor, conds: RowConditions) -> Tensor:
        """The predictions of k · rows rows, float32 and contiguous.

        x: (k·rows, *shape) float32.  t: (k·rows,) float32 timesteps.  conds.index: (k·rows,).  k may differ from call
        to call. A row's value depends on its own inputs and on `Workload`, and on nothing else: neither on its
        neighbours nor on k.
        """


@runtime_checkable
class Backend(Protocol):
    """What a `BackendSpec` names: an attrs class of settings that makes a denoiser ready to be asked."""

    def refusal(self, denoiser: Denoiser, work: Workload) -> str | None:
        """Why it cannot serve this denoiser here (a library, the precision, the device), with the way out; or None.
        Cheap: imports nothing heavy."""

    def evaluator(self, denoiser: Denoiser, work: Workload) -> Evaluator:
        """The denoiser, set up. Raises `PluginError` or `ConfigError` with the way out."""


@runtime_checkable
class DenoiserFamily(Protocol):
    """What a `DenoiserSpec` names: an attrs class of network settings that becomes a denoiser."""

    def denoiser(self, weights: Mapping[str, Tensor] | None, header: Any, device: str) -> Denoiser:
        """The denoiser, from a checkpoint's tensors and `checkpoint.CheckpointHeader`; None where none is needed."""


@runtime_checkable
class TrainableFamily(DenoiserFamily, Protocol):
    """A family that ``emnist-diff train`` can train."""

    @staticmethod
    def fitted(shape: tuple[int, ...], classes: int) -> Mapping[str, Any]:
        """The settings that the data decides: states of `shape`, and `classes` indices with one more for "no class".
        Raises `ConfigError` for data that the family cannot take."""

    def network(self) -> torch.nn.Module:
        """The untrained network; its state is what a checkpoint holds."""

    def evaluate(self, network: torch.nn.Module, x: Tensor, t: Tensor, index: Tensor) -> Tensor:
        """The network's prediction with gradients: x (B, *shape), t (B,) float32 timesteps, index (B,) class indices
        → (B, *shape)."""


@runtime_checkable
class NamesFiles(Protocol):
    """What a component also offers that reads files which none of its settings names: see `deciding`."""

    def files(self) -> Mapping[str, str | Path]:
        """Files and directories that decide what it does, name → path. A run records their hashes under these names."""


class Field(enum.Enum):
    """What a sink can ask of a step; the values are the names in the trajectory file."""

    X = "x"
    X0 = "x0"
    PREDICTION = "prediction"
    BASE = "base"
    FORCES = "forces"
    DRIFT = "drifts"


def worker_name(name: str, rank: int, world_size: int) -> str:
    """The name of a worker's own file where all workers of a run need one: ``trajectory.h5`` of a lone one, else
    ``trajectory-0003-of-0010.h5``."""
    stem, dot, suffix = name.rpartition(".")
    if world_size == 1:
        return name
    return f"{stem or name}-{rank:04d}-of-{world_size:04d}{dot}{suffix if stem else ''}"


@briefly
@attrs.frozen(eq=False)
class RunHeader:
    """What a sink is told before the first frame.

    output: directory of the run.  config, environment: JSON-ready dictionaries.
    timeline: the steps.  shape: of one state.  image_shape: (C, H, W) of a decoded sample.
    prediction_type: what base, contributions and predictions are; `parameterization` converts.
    sample_ids, labels, seeds: (N,) int64 / int64 / uint64, all samples of the run in order.
    classes: class names in index order.  forces, drifts: names in order of use.
    conditioned: whether the base or a force reads the samples' own classes; else labels decide nothing.
    force_weights: (forces, steps) weights.
    resume: continue what is there; overwrite: replace what is there; neither: what is there is an error.
    rank, world_size: this is the share of one worker of several, which write into one directory.
    fsync: whether a sink's commit waits until what it wrote is on the disk.
    decode: images in [0, 1], (B, C, H, W), from states (B, *shape), as the denoiser shows them; cheap to ask twice in
    a row for the same states, as several sinks do.
    """

    output: Path
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    timeline: Timeline
    shape: tuple[int, ...]
    image_shape: tuple[int, ...]
    sample_ids: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    seeds: npt.NDArray[np.uint64]
    classes: tuple[str, ...]
    forces: tuple[str, ...]
    drifts: tuple[str, ...]
    force_weights: npt.NDArray[np.float64]
    resume: bool = False
    overwrite: bool = False
    rank: int = 0
    world_size: int = 1
    fsync: bool = True
    decode: Callable[[Tensor], Tensor] = no_decoder
    prediction_type: PredictionType = "epsilon"
    conditioned: bool = True

    def class_of(self, position: int) -> str | None:
        """The class that the sample at a position was made of; None where the run reads no own class."""
        return self.classes[int(self.labels[position])] if self.conditioned else None

    def own_name(self, name: str) -> str:
        """The name of this worker's file where all workers of a run need one, see `worker_name`."""
        return worker_name(name, self.rank, self.world_size)


@briefly
@attrs.frozen(eq=False)
class Frame:
    """One step of one batch, holding only the fields that some sink wanted (others are None or empty).

    at: the step.  positions: where the batch's samples stand in the header's arrays.
    x: the state that the step started from, x_t.  x0: the scheduler's estimate.  prediction: base + Σ forces.
    base: before forces.  forces: each force's weighted contribution.  drifts: each drift's change of the state.
    All tensors are (B, *shape) and must not be changed.
    """

    at: StepInfo
    positions: Sequence[int]
    x: Tensor | None = None
    x0: Tensor | None = None
    prediction: Tensor | None = None
    base: Tensor | None = None
    forces: tuple[Tensor, ...] = ()
    drifts: tuple[Tensor, ...] = ()


@briefly
@attrs.frozen(eq=False)
class BatchResult:
    """A finished batch.

    positions: where its samples stand in the header's arrays.  x: the final states, (B, *shape).
    images: those decoded, (B, C, H, W) in [0, 1].
    """

    positions: Sequence[int]
    x: Tensor
    images: Tensor


class Outcome(enum.Enum):
    """How a run ended, as sinks are told."""

    COMPLETED = "completed"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


@runtime_checkable
class Sink(Protocol):
    """What records a run."""

    def wants(self, at: StepInfo) -> frozenset[Field]:
        """The fields of this step to be handed to `write`; nothing is computed or copied for nobody."""

    def open(self, header: RunHeader) -> frozenset[int] | None:
        """Get ready; returns the positions of samples that are already safely recorded, or None when the sink keeps
        no such account (then it has no say in what a resumed run leaves out)."""

    def write(self, frame: Frame) -> None:
        """Take one step of one batch."""

    def commit(self, batch: BatchResult) -> None:
        """A batch is finished: make it durable."""

    def close(self, outcome: Outcome) -> None:
        """Always called, exactly once, also after an error."""


@runtime_checkable
class SaysMemory(Protocol):
    """What a `Sink` also offers that keeps much until a batch is committed, so that a run which cannot end well is
    refused before it starts."""

    def memory(self, header: RunHeader, batch: int) -> float:
        """Bytes of main memory that it holds at most while a batch of so many samples is made; asked before `open`."""


@runtime_checkable
class Preset(Protocol):
    """A named piece of configuration."""

    def expand(self) -> Mapping[str, Any]:
        """Configuration keys (base, forces, drifts, …) to lay under the user's own."""


@runtime_checkable
class Dataset(Protocol):
    """What a `DatasetSpec` names: an attrs class whose fields say which images, e.g. a directory and a split.

    A reader with a field ``part`` (``train`` or ``test``) lets training measure on images that it does not learn;
    asked for a part that is not there, it raises `DatasetError`.
    """

    def load(self) -> Any:
        """All images, decoded once, as an object with

        images: uint8 (N, C, H, W), upright, C 1 or 3.  labels: int64 (N,), indices into `classes`.
        classes: tuple of names in index order.  merged: names without a class of their own → the class for them.
        provenance: JSON-ready and without directories; equal whenever the images are.

        `emnist_diff_plugins.datasets.images.Images` is one, and checks all this. Raises `DatasetError` naming the
        file and what is wrong with it.
        """


@runtime_checkable
class Plot(Protocol):
    """A picture. The core asks the plot called ``schedules`` for that of a run's weights over time, and hands it an
    `layout.Layout`."""

    def png(self, subject: Any) -> bytes:
        """The picture of `subject`, as a PNG. Raises `PluginError` where a drawing library is missing."""


@briefly
@attrs.frozen(eq=False)
class EarlierRun:
    """What a file says of the run that left it.

    path: the file.  config: as recorded, or the part of it that the file holds.  environment: where it was made.
    samples: how many the file has room for; None where it holds none.
    joined: whether it was made of several workers' files.
    """

    path: Path
    config: Mapping[str, Any]
    environment: Mapping[str, Any] = attrs.field(factory=dict)
    samples: int | None = None
    joined: bool = False


@runtime_checkable
class RunReader(Protocol):
    """What a `ReaderSpec` names: knows the files of one kind that runs leave. Damaged ones are passed over."""

    def runs(self, folder: Path, rank: int, world_size: int) -> Iterable[EarlierRun]:
        """What the worker of this rank left in a run's directory, in the order of the names; a lone run has rank 0 of
        1, and may have any file of the kind."""

    def read(self, path: Path) -> EarlierRun | None:
        """What a file says; None for one of another kind, and for a damaged one."""


@attrs.frozen(eq=False)
class Shown:
    """What a display wants to be told while a run goes on.

    on_commit: called after each commit with the samples done and the samples in all; None has the log say so.
    sinks: are given every frame.
    """

    on_commit: Callable[[int, int], None] | None = None
    sinks: tuple[Sink, ...] = ()


@runtime_checkable
class Display(Protocol):
    """What a `DisplaySpec` names: shows how far a run is."""

    def refusal(self) -> str | None:
        """Why it cannot be shown here, on this terminal; or None."""

    def log(self) -> Callable[..., Any] | None:
        """A structlog processor that sees each event before it is written, and may keep it by `structlog.DropEvent`;
        None where the log goes on as it is."""

    def show(self, total: int) -> AbstractContextManager[Shown]:
        """Show a run of `total` samples for as long as the context lasts."""


@runtime_checkable
class Layer(Protocol):
    """What a `LayerSpec` names: settings from elsewhere than the command line and its file."""

    def settings(self) -> Mapping[str, Any]:
        """Settings of a `config.RunConfig`, checked. Raises `ConfigError` for what is wrong with them."""


@runtime_checkable
class Form(Protocol):
    """What a `FormSpec` names: a form of configuration file beside the plain table of settings."""

    def recognises(self, data: Mapping[str, Any]) -> bool:
        """Whether the data of a file are of this form."""

    def layer(self, data: Mapping[str, Any], registry: Any, checkpoint: str | None) -> Mapping[str, Any]:
        """The settings that they mean.  checkpoint: one that stands above the file's, or None.

        Raises `ConfigError` for what does not hold.
        """
