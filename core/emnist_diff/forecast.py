"""What a run would do, and for how long: the plan of an assembly in plain data."""

from __future__ import annotations

import itertools
import time
from typing import Any

import torch

from emnist_diff.assembly import Assembly
from emnist_diff.conditions import RowConditions
from emnist_diff.engine import Engine


def forecast(assembly: Assembly) -> dict[str, Any]:
    """JSON-ready: the conditions of each step (equal neighbours together), network rows and calls, of each network and
    variant and in all, and the seconds that the calls would take, from the time of one of each.

    Steps whose forces want gradients take longer than that: the way back through the network is not timed.
    """
    plan, engine = assembly.plan, assembly.engine
    steps = []
    first = 0
    for conditions, run in itertools.groupby(plan.conditions):
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
                "calls": plan.calls_of((name, variant)),
            }
            for (name, variant), sizes in plan.networks.items()
        ],
        "steps_with_gradients": list(plan.gradients),
        "network_rows": plan.rows,
        "network_calls": plan.calls,
        "micro_batch": plan.micro_batch,
        "backend": assembly.backend.made.name,
        "backend_reason": assembly.backend.reason,
        "precision": assembly.backend.precision,
        "estimated_seconds": round(
            sum(plan.calls_of(network) * seconds_per_call(engine, *network) for network in plan.networks), 1
        ),
    }


def seconds_per_call(engine: Engine, denoiser: str = "", variant: str = "", repeats: int = 2) -> float:
    """Wall time of one call of a network, `micro_batch` rows; the first, which sets things up, is not counted."""
    evaluator, size = engine.evaluator(denoiser), engine.micro_batch
    x = torch.zeros(size, *engine.shape, device=engine.device)
    t = torch.full((size,), float(engine.timeline.timestep[0]), device=engine.device)
    rows = RowConditions(torch.zeros(size, dtype=torch.int64, device=engine.device), variant)
    times = []
    with torch.inference_mode():
        for _ in range(repeats + 1):
            started = time.perf_counter()
            evaluator(x, t, rows).sum().item()  # waits for the device
            times.append(time.perf_counter() - started)
    return min(times[1:])
