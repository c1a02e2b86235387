"""The rules for denoisers that can be cast to half precision, and for families that can be trained."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from emnist_diff.protocols import offers
from emnist_diff.timeline import FlowSchedule
from emnist_diff_plugins.capabilities import Exportable
from emnist_diff_plugins.containers.families import TrainableFamily
from emnist_diff_plugins.objectives.flow import FlowObjective
from emnist_diff_plugins.training.objective import noised
from emnist_diff_testing.denoisers import ROWS, DenoiserBench, fitted_family, header_of
from emnist_diff_testing.models import seeded
from emnist_diff_testing.rules import rule


@rule(
    "denoiser",
    "module() computes in bfloat16 when it is cast, and leaves no float32 behind",
    "backends cast it with --precision bf16; a tensor that is no buffer, or a float32 table, stops the network there",
)
def castable(bench: DenoiserBench) -> Iterator[str]:
    if not offers(bench.denoiser, Exportable):
        return
    module = copy.deepcopy(bench.denoiser.module()).to(torch.bfloat16)
    times = torch.full((ROWS,), bench.levels[1])
    try:
        with torch.inference_mode():
            out: Any = module(bench.x.to(torch.bfloat16), times, bench.index)
    except RuntimeError as error:
        yield f"in bfloat16 it raises {error}"
        return
    if out.dtype != torch.bfloat16 or not bool(torch.isfinite(out).all()):
        yield f"in bfloat16 it gives {out.dtype}" + ("" if bool(torch.isfinite(out).all()) else ", not finite")


@rule(
    "denoiser",
    "a family that can be trained learns a flow as it learns a diffusion",
    "what is learnt is chosen by --objective; the network is shown a state, a float32 time and a class, and no more",
)
def trains_as_a_flow(bench: DenoiserBench) -> Iterator[str]:
    if not isinstance(bench.subject.make(), TrainableFamily):
        return
    family, objective = fitted_family(bench.subject), FlowObjective()
    with seeded(0):
        network = family.network().train()
        optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(8)
    x0, noise = (torch.randn(ROWS, *family.shape, generator=generator) for _ in range(2))
    t = objective.timesteps(generator, ROWS)
    x, target = noised(x0, noise, objective.rates(t)), objective.target(x0, noise, t)
    losses: list[Tensor] = []
    for _ in range(8):
        out = family.evaluate(network, x, t, bench.index % 10)
        if out.shape != x.shape:
            yield f"evaluate() gives {tuple(out.shape)} of states {tuple(x.shape)}"
            return
        losses.append(torch.nn.functional.mse_loss(out, target))
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    if not bool(torch.isfinite(torch.stack(losses)).all()) or losses[-1] >= losses[0]:
        yield f"eight steps leave the loss at {float(losses[-1].detach()):.4g}, from {float(losses[0].detach()):.4g}"
    header = header_of(family, FlowSchedule(), "flow")
    loaded = family.with_weights(network.state_dict(), header, "cpu")
    if loaded.process != header.schedule or loaded.prediction_type != header.prediction:
        yield (
            f"with_weights() gives a {type(loaded.process).__name__} that predicts {loaded.prediction_type!r}, and the "
            "header says a flow"
        )
