"""The run-time contracts. Everything that takes part in a run satisfies one of these. What
components may offer to reviews and backends beside, plugins agree on among themselves.

B is the number of samples in a batch, `*shape` the shape of one state (pixels, a latent, tokens).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeGuard, TypeVar, runtime_checkable

from emnist_diff.frames import BatchResult, Frame, Outcome, RunHeader
from emnist_diff.steps import DriftStep, ForceStep, SchedulerResult, SchedulerStep
from emnist_diff.timeline import ForwardProcess, PredictionType, StepInfo, Timeline

if TYPE_CHECKING:  # the contracts can be read without paying for torch
    from torch import Tensor

    from emnist_diff.conditions import Cond, Predictions, RowConditions
    from emnist_diff.spaces import ConditionSpace


_Capability = TypeVar("_Capability")


def offers(component: object, capability: type[_Capability]) -> TypeGuard[_Capability]:
    """Whether a component has everything that a capability names, also where it hands on to another by
    ``__getattr__``, of which `isinstance` says different things in different versions of Python."""
    return all(hasattr(component, name) for name in vars(capability) if not name.startswith("_"))


@runtime_checkable
class Force(Protocol):
    """A term of the prediction (score space). It may also be any of `Binds`, `Differentiates`, `HasShape`,
    `HoldsImages`, `ReadsOwn`."""

    def conditions(self, at: StepInfo) -> Iterable[Cond]:
        """The conditions that `__call__` will read at this step. Pure; may be fewer, or none, outside a window."""

    def __call__(self, predictions: Predictions, step: ForceStep) -> Tensor:
        """The contribution before its weight, (B, *shape); a new tensor."""


@runtime_checkable
class Drift(Protocol):
    """A map of the state after a step (state space). It may also be any of `Evaluates`, `HasShape`, `HoldsImages`."""

    def __call__(self, x: Tensor, step: DriftStep) -> Tensor:
        """The new state, (B, *shape); `x` itself must not be changed."""


class Binds(Protocol):
    """A force that is made for the classes of a model."""

    def bind(self, space: ConditionSpace) -> Force:
        """The force for a model with these classes, before a run. Raises `UnknownName` or `ConfigError`."""


class Differentiates(Protocol):
    """A force that may differentiate the network."""

    @property
    def gradient(self) -> bool:
        """Whether it does: then, where the force has a weight, ``step.x`` requires grad, and the predictions,
        ``step.base`` and ``step.sum`` depend on it, so that ``torch.autograd.grad(energy, step.x)`` works. Forces that
        come before enter ``step.sum`` as constants."""


class Evaluates(Protocol):
    """A drift that evaluates the network where a step ends."""

    def evaluations(self, at: StepInfo) -> int:
        """How often at most it calls ``step.evaluate(x)`` at this step. Where the step ends in the image there is
        nothing to evaluate, and it is not called."""


class HasShape(Protocol):
    """A force or drift that does not take states of every shape."""

    def require_shape(self, shape: tuple[int, ...]) -> None:
        """Raises `ConfigError` for a shape that it does not take; called before a run starts."""


class HoldsImages(Protocol):
    """A force or drift that holds images, or masks over them, which are states of models of pixels alone."""

    def encoded(self, denoiser: Denoiser) -> Force | Drift:
        """The same with its states for them, see `Encodes`; called before `require_shape`. Raises `ConfigError`."""


class ReadsOwn(Protocol):
    """A force that may read the samples' own classes otherwise than by its conditions."""

    @property
    def reads_own(self) -> bool:
        """Whether it does."""


@runtime_checkable
class Scheduler(Protocol):
    """What turns a prediction into the next state."""

    def plan(self, steps: int) -> Timeline:
        """The timeline of a run of `steps` steps. Raises `ConfigError` when that is impossible."""

    def step(self, prediction: Tensor, step: SchedulerStep) -> SchedulerResult:
        """One step: from the prediction (B, *shape) at ``step.x`` and ``step.at`` to where ``step.at`` ends.

        ``step.noise`` is called only when the rule is stochastic here. A rule that evaluates more than once names the
        levels in its timeline and calls ``step.evaluate``; one that remembers reads ``step.memory``.
        """


@runtime_checkable
class SchedulerFactory(Protocol):
    """What a `SchedulerSpec` names: an attrs class of settings that becomes a scheduler for a forward process."""

    def bind(self, process: ForwardProcess, prediction_type: PredictionType) -> Scheduler:
        """The scheduler for networks trained on `process` with this prediction type.

        Raises `ConfigError` where it cannot walk that process, with the scheduler that can.
        """


class HasImageShape(Protocol):
    """A denoiser that knows the shape of its images; another one decodes a state before a run to see."""

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(C, H, W)."""


@runtime_checkable
class Denoiser(Protocol):
    """A network ready to be evaluated, with all that the engine must know of it. It may also be any of `HasImageShape`,
    `Encodes`, `Captures`."""

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
class Encodes(Protocol):
    """What a `Denoiser` also offers whose states are made of images, such as one over the latents of an autoencoder."""

    def encode(self, images: Tensor) -> Tensor:
        """States (B, *shape) of images (B, C, H, W) in [0, 1], which `Denoiser.decode` shows again."""


@runtime_checkable
class Captures(Protocol):
    """What a `Denoiser` also offers whose inner activations can be recorded. A sink requests them by name, or all of a
    group (``hidden``), and the frame of a step then holds (B, conditions, *shape), see `frames.Frame.conditions`."""

    @property
    def capturable(self) -> tuple[str, ...]:
        """The requests that it understands, names or groups: ``("hidden",)``."""

    def activations(self, requests: Iterable[str]) -> Mapping[str, tuple[int, ...]]:
        """What these requests mean: name, with a group before a slash (``hidden/mid``) → the shape of a row's
        activation. Requests for what is not inside the network mean nothing. Raises `ConfigError` for settings that
        cannot be, and `UnknownName` for a place that the network does not have."""

    def capture(self, x: Tensor, t: Tensor, conds: RowConditions, requests: Iterable[str]) -> Mapping[str, Tensor]:
        """These activations while the network evaluates the rows, (R, *shape) each; arguments as of
        `Denoiser.predict`, which is called beside it and must give what it always does."""


@runtime_checkable
class Sink(Protocol):
    """What records a run."""

    def wants(self, at: StepInfo) -> frozenset[str]:
        """The fields of this step for `write`, or groups of them, by name; see `frames`. Pure."""

    def open(self, header: RunHeader) -> frozenset[int] | None:
        """Get ready; returns the positions of samples that are already safely recorded, or None when the sink keeps
        no such account (then it has no say in what a resumed run leaves out)."""

    def write(self, frame: Frame) -> None:
        """Take one step of one batch; of every step there is a frame, also where no sink requests anything."""

    def commit(self, batch: BatchResult) -> None:
        """A batch is finished: make it durable."""

    def close(self, outcome: Outcome) -> None:
        """Always called, exactly once, also after an error."""
