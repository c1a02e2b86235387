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
    """JSON-ready: the conditions of each step (equal neighbours together), network rows and calls, and the seconds
    that the calls would take, from the time of one."""
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
        "network_rows": plan.rows,
        "network_calls": plan.calls,
        "micro_batch": plan.micro_batch,
        "estimated_seconds": round(plan.calls * seconds_per_call(engine), 1),
    }


def seconds_per_call(engine: Engine, repeats: int = 2) -> float:
    """Wall time of one network call of `micro_batch` rows; the first, which sets things up, is not counted."""
    denoiser, size = engine.denoisers[""], engine.micro_batch
    x = torch.zeros(size, *engine.shape, device=engine.device)
    t = torch.full((size,), float(engine.timeline.timestep[0]), device=engine.device)
    rows = RowConditions(torch.zeros(size, dtype=torch.int64, device=engine.device), "")
    times = []
    with torch.inference_mode():
        for _ in range(repeats + 1):
            started = time.perf_counter()
            denoiser.predict(x, t, rows).sum().item()  # waits for the device
            times.append(time.perf_counter() - started)
    return min(times[1:])
