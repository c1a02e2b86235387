"""What a run would do, and for how long: the plan of an assembly in plain data, and the rows that nobody reads."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Mapping
from typing import Any, Protocol

import attrs
import torch

from emnist_diff.assembly.assemble import Assembly, Parts, report_on
from emnist_diff.assembly.layout import Layout
from emnist_diff.conditions import RowConditions
from emnist_diff.config import RunConfig
from emnist_diff.direct import rows_of
from emnist_diff.engine.plan import Plan
from emnist_diff.engine.state import Engine
from emnist_diff.plugins import Registry
from emnist_diff.protocols import offers


def preview(registry: Registry, settings: RunConfig) -> Layout:
    """The run that `settings` mean, laid out without reading the weights of a network. Raises as `assemble`."""
    layout = Parts.of(registry, settings).layout
    report_on(registry, layout)
    return layout


def forecast(assembly: Assembly) -> dict[str, Any]:
    """JSON-ready: the conditions of each step (equal neighbours together), network rows and calls, of each network and
    variant and in all, how many rows are computed to fill calls up and what share of the work they are, and the seconds
    that the calls would take, from the time of the smallest and the largest of each; None before weights are read.

    Steps whose forces want gradients take longer than that: the way back through the network is not timed.
    """
    plan, engine = assembly.plan, assembly.engine
    padding = Padding.of(plan, engine)
    steps = []
    first = 0
    for conditions, run in itertools.groupby(plan.evaluations.conditions):
        count = len(list(run))
        steps.append({"steps": [first, first + count - 1], "conditions": [str(cond) for cond in conditions]})
        first += count
    return {
        "samples": len(assembly.header.labels),
        "steps": steps,
        "networks": [
            {
                "denoiser": name,
                "variant": variant,
                "rows": sum(size * count for size, count in sizes.items()),
                "calls": calls_of(plan, (name, variant)),
            }
            for (name, variant), sizes in plan.networks.items()
        ],
        "steps_with_gradients": steps_with_gradients(engine),
        "network_rows": plan.rows,
        "network_calls": sum(calls_of(plan, network) for network in plan.networks),
        "micro_batch": plan.micro_batch,
        "padding_rows": padding.computed - padding.rows,
        "padding_share": round(padding.share, 3),
        "backend": assembly.backend.component.name,
        "backend_reason": assembly.backend.reason,
        "precision": assembly.backend.precision,
        "estimated_seconds": _estimated(engine, plan),
    }


def calls_of(plan: Plan, network: tuple[str, str]) -> int:
    """How often a run calls one (denoiser, variant)."""
    sizes = plan.networks.get(network, {})
    return sum(math.ceil(size / plan.micro_batch) * count for size, count in sizes.items())


class LoadsLate(Protocol):
    """A denoiser whose weights are read when they are first needed, which a plan is not worth."""

    @property
    def loaded(self) -> bool:
        """Whether they have been."""


def _estimated(engine: Engine, plan: Plan) -> float | None:
    if any(offers(each, LoadsLate) and not each.loaded for each in engine.denoisers.values()):
        return None
    return round(sum(_seconds(engine, *network, sizes) for network, sizes in plan.networks.items()), 1)


def steps_with_gradients(engine: Engine) -> list[int]:
    """The steps at which a force that acts differentiates the network."""
    forces = [force for force in engine.forces if force.differentiates]
    steps = map(engine.timeline.at, range(len(engine.timeline)))
    return [at.index for at in steps if any(force.weight(at) != 0 for force in forces)]


def _seconds(engine: Engine, denoiser: str, variant: str, sizes: Mapping[int, int]) -> float:
    """What a network's calls would take, ``{rows: how often}``: those between the smallest and the largest, which are
    timed, in proportion."""
    least, most = min(sizes), max(sizes)
    low = seconds_per_call(engine, denoiser, variant, least)
    slope = (seconds_per_call(engine, denoiser, variant, most) - low) / (most - least) if most > least else 0.0
    return sum((low + slope * (size - least)) * count for size, count in sizes.items())


def seconds_per_call(engine: Engine, denoiser: str, variant: str, rows: int, repeats: int = 2) -> float:
    """Wall time of evaluating so many rows of a network; the first time, which sets things up, is not counted."""
    evaluator = engine.evaluator(denoiser)
    size = rows + -rows % rows_of(evaluator, engine.micro_batch)
    x = torch.zeros(size, *engine.shape, device=engine.device)
    t = torch.full((size,), float(engine.timeline.timestep[0]), device=engine.device)
    conds = RowConditions(torch.zeros(size, dtype=torch.int64, device=engine.device), variant)
    times = []
    with torch.inference_mode():
        for _ in range(repeats + 1):
            started = time.perf_counter()
            evaluator(x, t, conds).sum().item()  # waits for the device
            times.append(time.perf_counter() - started)
    return min(times[1:])


@attrs.frozen
class Padding:
    """rows: that are read.  computed: those and the ones that fill up the last call of each step."""

    rows: int
    computed: int

    @classmethod
    def of(cls, plan: Plan, engine: Engine) -> Padding:
        """The padding of a plan on the evaluators of an engine."""
        computed = 0
        for (name, _), sizes in plan.networks.items():
            together = rows_of(engine.evaluator(name), engine.micro_batch)
            computed += sum(math.ceil(size / together) * together * count for size, count in sizes.items())
        return cls(plan.rows, computed)

    @property
    def share(self) -> float:
        """Of what is computed, 0 … 1."""
        return 1 - self.rows / self.computed if self.computed else 0.0
