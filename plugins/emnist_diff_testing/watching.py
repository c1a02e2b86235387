"""A force or a drift under watch: the engine walks it as it is, and every call leaves a record."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import attrs
from torch import Tensor

from emnist_diff.conditions import Cond, Predictions
from emnist_diff.protocols import Evaluates, offers
from emnist_diff.steps import DriftStep, ForceStep
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.capabilities import Idles
from emnist_diff_testing.traps import Trapped, trap


@attrs.define(eq=False)
class Call:
    """One call of a component.

    at: the step.  like: a copy of the state that it was given.  trapped: what it did behind the engine's back.
    declared: the conditions that it said it would read.  read: those that it did.
    returned: a copy of what came back, or None where it raised.  raised: what.
    idle: what it said of the step, where it says anything.
    evaluations: at other states, as a drift declared them.  evaluated: how often it did.  waited: for that, in seconds.
    """

    at: StepInfo
    like: Tensor
    trapped: Trapped
    declared: tuple[Cond, ...] = ()
    read: tuple[Cond, ...] = ()
    returned: Any = None
    raised: Exception | None = None
    idle: bool = False
    evaluations: int = 0
    evaluated: int = 0
    waited: float = 0.0

    @property
    def seconds(self) -> float:
        """How long it took, without the network."""
        return self.trapped.seconds - self.waited

    @property
    def undeclared(self) -> tuple[Cond, ...]:
        """Conditions read and not declared."""
        return tuple(cond for cond in self.read if cond not in self.declared)


class _Reading(Predictions):
    """Predictions that remember which of them were read."""

    def __init__(self, inner: Predictions) -> None:
        self._inner = inner
        self.read: dict[Cond, None] = {}

    def __getitem__(self, cond: Cond) -> Tensor:
        self.read[cond] = None
        return self._inner[cond]

    def __iter__(self):  # type: ignore[no-untyped-def]  # Iterator[Cond], as Mapping declares
        return iter(self._inner)

    def __len__(self) -> int:
        return len(self._inner)


class _Watched:
    """The component, with all that it says of itself; `calls` is the record."""

    def __init__(self, component: Any, calls: list[Call]) -> None:
        self._component = component
        self.calls = calls

    def __getattr__(self, name: str) -> Any:
        if name == "_component":  # while it is being unpickled there is none yet
            raise AttributeError(name)
        return getattr(self._component, name)

    def _idle(self, at: StepInfo) -> bool:
        return offers(self._component, Idles) and bool(self._component.idle(at))


class WatchedForce(_Watched):
    """`protocols.Force` that records."""

    def conditions(self, at: StepInfo) -> Iterable[Cond]:
        return tuple(self._component.conditions(at))

    def __call__(self, predictions: Predictions, step: ForceStep) -> Any:
        inputs = {"step.x": step.x, "step.labels": step.labels, "step.base": step.base, "step.sum": step.sum}
        inputs |= {f"predictions[{cond}]": predictions[cond] for cond in predictions}
        reading = _Reading(predictions)
        with trap(inputs) as trapped:
            call = Call(step.at, _copy(step.x), trapped, tuple(self.conditions(step.at)))
            call.idle = self._idle(step.at)
            self.calls.append(call)
            try:
                returned = self._component(reading, step)
                call.returned = _copy(returned)
            except Exception as error:
                call.raised = error
                raise
            finally:
                call.read = tuple(reading.read)
        return returned


class WatchedDrift(_Watched):
    """`protocols.Drift` that records."""

    def __call__(self, x: Tensor, step: DriftStep) -> Any:
        inputs = {"x": x, "step.x": step.x, "step.labels": step.labels, "step.base": step.base}
        with trap(inputs) as trapped:
            evaluations = self._component.evaluations(step.at) if offers(self._component, Evaluates) else 0
            call = Call(step.at, _copy(x), trapped, idle=self._idle(step.at), evaluations=evaluations)
            self.calls.append(call)

            def counted(state: Tensor) -> Tensor:
                call.evaluated += 1
                started = time.perf_counter()
                try:
                    return step.evaluate(state)
                finally:
                    call.waited += time.perf_counter() - started

            try:
                returned = self._component(x, attrs.evolve(step, evaluate=counted))
                call.returned = _copy(returned)
            except Exception as error:
                call.raised = error
                raise
        return returned


def _copy(value: Any) -> Any:
    """What it is now, whoever writes into it later."""
    return value.detach().clone() if isinstance(value, Tensor) else value
