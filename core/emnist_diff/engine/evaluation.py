"""The prediction at a state and a level: base + Σ weight · force, from one packed evaluation of the networks.

Where a force differentiates the network, that is evaluated with gradients, and the force alone acts outside of torch's
inference mode.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from emnist_diff.conditions import Packing, Predictions
from emnist_diff.engine.batch import BatchEngine
from emnist_diff.engine.calls import PackedCalls
from emnist_diff.engine.checks import blamed_on, require_tensor
from emnist_diff.engine.gradients import Tape, autograd_enabled
from emnist_diff.engine.memory import Memory
from emnist_diff.engine.plan import WeightedForce, conditions_at
from emnist_diff.onethread import one_thread
from emnist_diff.steps import ForceStep
from emnist_diff.timeline import StepInfo


@attrs.frozen(eq=False)
class Evaluation:
    """The prediction at a state x, and what it is made of, (B, *shape) each; `packing` says which rows were evaluated.

    The ledger is exact in the arithmetic of the state: adding the contributions to the base in order gives the sum,
    bit for bit.
    """

    x: Tensor
    base: Tensor
    sum: Tensor
    contributions: tuple[Tensor, ...]
    packing: Packing


def evaluate(run: BatchEngine, at: StepInfo, x: Tensor, memory: Memory, suffix: str = "") -> Evaluation:
    """Base and forces at x (B, *shape).  suffix: sets the noise of further evaluations apart from that of the first."""
    engine = run.engine
    conds = conditions_at(at, engine.base, engine.forces)
    weights = [_weight(force, at) for force in engine.forces]
    live = any(weight != 0 and force.differentiates for force, weight in zip(engine.forces, weights, strict=True))
    calls = run.calls(conds, live)
    if live:
        with one_thread(engine.device):
            tape = Tape.of(x, lambda leaf: calls(leaf, at))
        outputs = [output.detach() for output in tape.outputs]
    else:
        tape, outputs = None, calls(x, at)
    predictions = Predictions(calls.packing, outputs)
    base = engine.base(predictions)
    run.checks.require_state(base, x, "the denoiser", at)

    total, contributions = base, []
    for force, weight in zip(engine.forces, weights, strict=True):
        if weight == 0:
            contributions.append(torch.zeros_like(x))
            continue
        handed = run.handed(at, x, force.stream, memory, suffix)
        step = ForceStep(**handed, base=base, sum=total, remember=memory.remembering(force.stream))
        if tape is not None and force.differentiates:
            pull = _differentiated(run, force, calls, tape, step)
        else:
            with blamed_on(force.label, at):
                pull = force.force(predictions, step)
        require_tensor(pull, force.label, at)
        pull = weight * pull
        run.checks.require_state(pull, x, force.label, at)  # before the bound, which would make an infinity finite
        contributions.append(force.clip(pull))
        total = total + contributions[-1]
    return Evaluation(x, base, total, tuple(contributions), calls.packing)


def _weight(force: WeightedForce, at: StepInfo) -> float:
    with blamed_on(force.label, at):
        return force.weight(at)


def _differentiated(run: BatchEngine, force: WeightedForce, calls: PackedCalls, tape: Tape, step: ForceStep) -> Tensor:
    """What a force that differentiates the network contributes, detached."""
    with autograd_enabled(), one_thread(run.engine.device):
        leaf, outputs = tape.fresh()
        predictions = Predictions(calls.packing, outputs)
        base = run.engine.base(predictions)
        total = step.sum.clone() + (base - base.detach())  # what earlier forces added is a constant here
        memory = {name: value.clone() for name, value in step.memory.items()}  # autograd takes no inference tensors
        live = attrs.evolve(step, x=leaf, base=base, sum=total, memory=memory)
        with blamed_on(force.label, step.at):
            pull = force.force(predictions, live)
    return pull.detach() if isinstance(pull, Tensor) else pull
