"""The bench of forces, and the rules for them alone: conditions are declared, and contributions add up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from emnist_diff.conditions import Cond
from emnist_diff.engine.plan import WeightedForce
from emnist_diff.engine.state import Engine, WalkState
from emnist_diff.errors import ConfigError
from emnist_diff.protocols import Binds, Denoiser, HasShape, HoldsImages, offers
from emnist_diff.schedules import Constant
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.variants import require
from emnist_diff_testing.models import Model, as_models
from emnist_diff_testing.rules import first, rule
from emnist_diff_testing.steering import Steering, spot
from emnist_diff_testing.subjects import subject
from emnist_diff_testing.walks import IDS, Walk
from emnist_diff_testing.watching import Call, WatchedForce


class ForceBench(Steering):
    """A force, and models walked with it."""

    def engine(self, model: Model, component: Any, calls: list[Call] | None, weight: float) -> Engine:
        force = _bound(component, model)
        if offers(force, HoldsImages):
            force = force.encoded(model.denoiser)
        if offers(force, HasShape):
            force.require_shape(tuple(model.denoiser.shape))
        guides = _networks(model, force)
        watched = force if calls is None else WatchedForce(force, calls)
        return model.engine([WeightedForce("tried", watched, Constant(weight), "force.tried")], guides=guides)

    def blank(self, model: Model) -> Walk:
        zeros = torch.zeros(len(IDS), *model.denoiser.shape)
        return self.walk(model, start=WalkState(0, zeros, {}), watch=True)


def bench(component: Any, name: str = "", models: Sequence[Model | Denoiser] | None = None) -> ForceBench:
    """The bench of a force, a class or an object. Raises as `subject`."""
    return ForceBench(subject("force", component, name), as_models(models))


def _bound(force: Any, model: Model) -> Any:
    return force.bind(model.denoiser.conditions) if offers(force, Binds) else force


def _networks(model: Model, force: Any) -> list[str]:
    """The second networks that a force asks for. Raises `ConfigError` where the model lacks one, or a variant."""
    declared = (cond for i in range(model.steps) for cond in force.conditions(_somewhere(i, model.steps)))
    requested = {cond for cond in declared if isinstance(cond, Cond)}  # of others `pure_conditions` and the walk speak
    guides = sorted({cond.denoiser for cond in requested} - {""})
    if guides and model.guide is None:
        raise ConfigError(f"{model.label} has no second network for {guides[0]!r}")
    for cond in requested:
        require(model.denoiser, cond.variant, model.label)
    return guides


def _somewhere(index: int, steps: int) -> StepInfo:
    """A step like those to come: conditions depend on where it stands in the run, if on anything."""
    alpha_bar = (index + 0.5) / steps
    return StepInfo(index, steps, 999.0 * (1 - alpha_bar), alpha_bar, min(1.0, alpha_bar + 1 / steps))


@rule(
    "force",
    "only conditions that conditions() declares are read",
    "the network is asked once for all that is declared; what another force happened to declare is gone when it goes",
)
def declared_conditions(bench: ForceBench) -> Iterator[str]:
    yield from first(
        f"{spot(model, call)}: it read {_listed(call.undeclared)}, and declared {_listed(call.declared)}"
        for model, call in bench.calls
        if call.undeclared
    )


@rule(
    "force",
    "the conditions that conditions() declares are read",
    "each one is a row of the network for every sample at every step, paid for and thrown away",
    warning=True,
)
def conditions_read(bench: ForceBench) -> Iterator[str]:
    yield from first(
        f"{spot(model, call)}: it declared {_listed(idle)} and did not read that"
        for model, call in bench.calls
        if call.raised is None and (idle := tuple(cond for cond in call.declared if cond not in call.read))
    )


@rule(
    "force",
    "conditions() is pure: conditions, the same for the same step",
    "a run is planned with it, and asked again at every step; the plan must be the run",
)
def pure_conditions(bench: ForceBench) -> Iterator[str]:
    for walk in bench.walks:
        if walk.refused is not None:
            continue
        seen: dict[int, tuple[Cond, ...]] = {}
        places = 3 * [_somewhere(i, 3) for i in range(3)]
        try:
            force = _bound(bench.subject.make(), walk.model)
            answers = [tuple(force.conditions(at)) for at in places]
        except Exception:
            if walk.calls:
                raise
            continue  # it never came to a call, which is the rule `runs` to say
        for at, conds in zip(places, answers, strict=True):
            if odd := [cond for cond in conds if not isinstance(cond, Cond)]:
                yield f"on {walk.model.label}: conditions() gave {odd[0]!r}, which is no Cond"
                return
            if seen.setdefault(at.index, conds) != conds:
                both = f"first {_listed(seen[at.index])}, then {_listed(conds)}"
                yield f"on {walk.model.label} at step {at.index}: {both}"
                return


@rule(
    "force",
    "base + Σ contributions is the prediction, to the bit, and a weight is a factor",
    "the ledger in the trajectory file says what each force did, which holds only if nothing is done beside it",
)
def ledger(bench: ForceBench) -> Iterator[str]:
    for whole in bench.whole:
        half = bench.walk(whole.model, watch=True, weight=0.5)
        calls = {call.at.index: call for call in reversed(half.calls)}  # of a step the first evaluation is recorded
        for frame in half.frames:
            where = f"on {whole.model.label} at step {frame.at.index}"
            if not torch.equal(frame["base"] + frame.group("forces")[0], frame["prediction"]):
                yield f"{where}: base and contribution do not make the prediction"
                return
            if not torch.equal(0.5 * calls[frame.at.index].returned.detach(), frame.group("forces")[0]):
                yield f"{where}: at weight 0.5 not half of it was added"
                return


@rule(
    "force",
    "where idle() says so, it adds nothing",
    "a run warns of a force that is idle at every step; one that acts all the same would be taken out for nothing",
)
def idle(bench: ForceBench) -> Iterator[str]:
    yield from first(
        f"{spot(model, call)}: idle() said so, and it added something"
        for model, call in bench.calls
        if call.idle and isinstance(call.returned, torch.Tensor) and bool(call.returned.any())
    )


def _listed(conds: Sequence[Cond]) -> str:
    return ", ".join(map(str, conds)) or "none"
