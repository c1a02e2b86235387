"""The loop: walks a batch of samples down the trajectory. Pure: no I/O, no clock, no global state.

A step is one packed evaluation of the denoiser, a sum, a move::

    prediction = base(predictions) + Σ weight_k(step) · force_k(predictions, step)
    x_{t-1}, x0 = scheduler.step(prediction, x_t)
    x_{t-1}     = drifts(x_{t-1})

A scheduler that evaluates more than once has base and forces evaluated at every stage, and so has a drift that
evaluates. The ledger that is recorded is that of the first. All of it runs in torch's inference mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import torch

from emnist_diff.engine.batch import BatchEngine
from emnist_diff.engine.capture import captured
from emnist_diff.engine.evaluation import evaluate
from emnist_diff.engine.memory import Memory
from emnist_diff.engine.state import Batch, Engine, WalkState
from emnist_diff.engine.transitions import apply_drifts, apply_scheduler
from emnist_diff.errors import RunFailed
from emnist_diff.frames import BatchResult, Frame, is_requested
from emnist_diff.timeline import StepInfo


def walk(
    engine: Engine,
    batch: Batch,
    wants: Callable[[StepInfo], frozenset[str]],
    start: WalkState | None = None,
    after_step: Callable[[WalkState], None] | None = None,
) -> Iterator[Frame | BatchResult]:
    """Yield a `Frame` for each step, then the `BatchResult`.

    wants: the fields that the frame of a step shall hold, or groups of them; see `frames`.
    start: where an earlier walk of the same batch stopped; what follows is what followed there, bit for bit.
    after_step: called with each such place.

    Raises `RunFailed` naming component, step and samples when one raises or returns a wrong shape or a
    non-finite value; on a device other than a CPU the latter is raised before the `BatchResult`, not at its step.
    """
    run = BatchEngine.of(engine, batch)
    state = start or run.begin()
    while state.index < len(engine.timeline):
        fields = wants(engine.timeline.at(state.index))
        try:
            with torch.inference_mode():
                state, frame = step(run, state, fields)
        except RunFailed:
            run.checks.settle()  # what failed may have been fed what another component broke before
            raise
        if after_step is not None:
            run.checks.settle()
            after_step(state)
        yield frame
    run.checks.settle()
    yield BatchResult(batch.positions, state.x, engine.decode(state.x))


def step(run: BatchEngine, state: WalkState, fields: frozenset[str]) -> tuple[WalkState, Frame]:
    """One step: where it leads, and those of its fields that are requested."""
    at, x = run.engine.timeline.at(state.index), state.x
    memory = Memory(state.memory, len(run.batch.sample_ids))
    evaluation = evaluate(run, at, x, memory)
    result = apply_scheduler(run, at, x, evaluation.sum, memory)
    states = apply_drifts(run, at, evaluation, result.x_prev, memory)
    record = [x, result.x0, evaluation.sum, evaluation.base, *evaluation.contributions]
    if any(request.partition("/")[0] == "drifts" for request in fields):
        record += [after - before for before, after in pairwise(states)]
    tensors = {field: tensor for field, tensor in zip(run.fields, record, strict=False) if is_requested(field, fields)}
    conditions, activations = captured(run, at, x, evaluation.packing, fields)
    frame = Frame(at, run.batch.positions, tensors | activations, conditions)
    return WalkState(state.index + 1, states[-1], memory.left), frame
