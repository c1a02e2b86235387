"""The bench of drifts, and the rules for them alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor

from emnist_diff.engine.plan import WeightedDrift
from emnist_diff.engine.state import Engine
from emnist_diff.protocols import Denoiser, HasShape, HoldsImages, offers
from emnist_diff.schedules import Constant
from emnist_diff.steps import DriftStep
from emnist_diff_testing.models import Model, as_models
from emnist_diff_testing.rules import first, rule
from emnist_diff_testing.steering import Steering, spot
from emnist_diff_testing.subjects import subject
from emnist_diff_testing.walks import Walk, walked
from emnist_diff_testing.watching import Call, WatchedDrift


class DriftBench(Steering):
    """A drift, and models walked with it."""

    def engine(self, model: Model, component: Any, calls: list[Call] | None, weight: float) -> Engine:
        if offers(component, HoldsImages):
            component = component.encoded(model.denoiser)
        if offers(component, HasShape):
            component.require_shape(tuple(model.denoiser.shape))
        watched = component if calls is None else WatchedDrift(component, calls)
        return model.engine(drifts=[WeightedDrift("tried", watched, "drift.tried", Constant(weight))])

    def blank(self, model: Model) -> Walk:
        calls: list[Call] = []

        def engine() -> Engine:
            plain = self.engine(model, self.subject.make(), calls, 1.0)
            return attrs.evolve(plain, drifts=[WeightedDrift("blank", _zeros), *plain.drifts])

        return walked(model, engine, calls=calls)


def _zeros(x: Tensor, step: DriftStep) -> Tensor:
    return torch.zeros_like(x)


def bench(component: Any, name: str = "", models: Sequence[Model | Denoiser] | None = None) -> DriftBench:
    """The bench of a drift, a class or an object. Raises as `subject`."""
    return DriftBench(subject("drift", component, name), as_models(models))


@rule(
    "drift",
    "what is recorded of it is what it changed, and a weight is the share of its way",
    "the delta in the trajectory file says what each drift did, which holds only if nothing is done beside it",
)
def ledger(bench: DriftBench) -> Iterator[str]:
    for whole in bench.whole:
        half = bench.walk(whole.model, watch=True, weight=0.5)
        for frame, call in zip(half.frames, half.calls, strict=True):
            after = call.like + 0.5 * (call.returned - call.like)
            if not torch.equal(after - call.like, frame.group("drifts")[0]):
                yield f"on {whole.model.label} at step {frame.at.index}: at weight 0.5 not half of its way was recorded"
                return


@rule(
    "drift",
    "where idle() says so, the state stays as it is",
    "a run warns of a drift that is idle at every step; one that acts all the same would be taken out for nothing",
)
def idle(bench: DriftBench) -> Iterator[str]:
    yield from first(
        f"{spot(model, call)}: idle() said so, and the state is another"
        for model, call in bench.calls
        if call.idle and isinstance(call.returned, Tensor) and not torch.equal(call.returned, call.like)
    )


@rule(
    "drift",
    "step.evaluate is called no more often than evaluations() says",
    "rows of the network are counted before the run: the plan, the forecast and the size of a call depend on it",
)
def declared_evaluations(bench: DriftBench) -> Iterator[str]:
    for model, call in bench.calls:
        if call.evaluated > call.evaluations:
            allowed = f"evaluations() returned {call.evaluations}"
            yield f"{spot(model, call)}: it evaluated {call.evaluated} times, and {allowed}"
            return
