"""The bench of objectives, and the rules for them: process, rates, target and weight say one thing."""

from __future__ import annotations

import math
import typing
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import attrs
import torch
from torch import Tensor

from emnist_diff.errors import EmnistDiffError
from emnist_diff.parameterization import to_epsilon, to_x0
from emnist_diff.timeline import FlowSchedule, NoiseSchedule, PredictionType
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader
from emnist_diff_plugins.containers.recommended import require_walkable
from emnist_diff_plugins.schedulers._process import alphas_cumprod
from emnist_diff_testing.rules import rule
from emnist_diff_testing.subjects import Subject, subject
from emnist_diff_testing.traps import trap

_COUNT, _SAMPLES = 512, 6


@attrs.define(eq=False, slots=False)
class ObjectiveBench:
    """An objective, times that it drew, and samples at some of them."""

    subject: Subject

    @property
    def name(self) -> str:
        return self.subject.name

    @cached_property
    def objective(self) -> Any:
        return self.subject.make()

    @cached_property
    def process(self) -> Any:
        """Of latents."""
        return self.objective.process(None)

    @cached_property
    def times(self) -> Tensor:
        return self.drawn(0)

    def drawn(self, seed: int) -> Tensor:
        """Times that it draws with this seed."""
        times: Tensor = self.objective.timesteps(torch.Generator().manual_seed(seed), _COUNT)
        return times

    @cached_property
    def some(self) -> Tensor:
        """A few of the times, from the cleanest to the noisiest."""
        return self.times.sort().values[torch.linspace(0, _COUNT - 1, _SAMPLES).long()]

    @cached_property
    def draws(self) -> tuple[Tensor, Tensor]:
        """x_0 and eps of the samples at `some`, (B, 3, 4) each."""
        generator = torch.Generator().manual_seed(7)
        return torch.randn(_SAMPLES, 3, 4, generator=generator), torch.randn(_SAMPLES, 3, 4, generator=generator)


def bench(component: Any, name: str = "") -> ObjectiveBench:
    """The bench of an objective, a class or an object. Raises as `subject`."""
    return ObjectiveBench(subject("objective", component, name))


@rule(
    "objective",
    "the process is a diffusion's or a flow's, and goes with the prediction",
    "checkpoints hold both, and refuse what contradicts itself",
)
def process_matches(bench: ObjectiveBench) -> Iterator[str]:
    objective, known = bench.objective, typing.get_args(PredictionType)
    if objective.prediction_type not in known:
        yield f"prediction_type is {objective.prediction_type!r}, none of {', '.join(known)}"
        return
    if not isinstance(bench.process, NoiseSchedule | FlowSchedule):
        yield f"process() gives {type(bench.process).__name__}, neither NoiseSchedule nor FlowSchedule"
        return
    if bench.process.clip_sample is not None:
        yield f"process(None) clips at {bench.process.clip_sample}: latents have no range"
    pixels = objective.process(1.0)
    if isinstance(pixels, NoiseSchedule) and pixels.clip_sample != 1.0:
        yield f"process(1.0) clips at {pixels.clip_sample}"
    try:
        require_walkable(
            CheckpointHeader(
                family="checked", classes=("A",), schedule=pixels, prediction=objective.prediction_type,
                recommended=dict(objective.recommended),
            )
        )  # fmt: skip
    except EmnistDiffError as error:
        yield str(error)


@rule(
    "objective",
    "times are drawn from the generator alone, within the process",
    "a resumed training draws what it would have drawn, and a network is asked for no time that no sampler visits",
)
def times_in_range(bench: ObjectiveBench) -> Iterator[str]:
    with trap({}) as trapped:
        times = bench.drawn(1)
    if trapped.generators:
        yield f"drawn from {', '.join(trapped.generators)}"
    if not isinstance(times, Tensor) or times.shape != (_COUNT,):
        yield f"{_COUNT} times were asked for, and timesteps() gives {getattr(times, 'shape', type(times).__name__)}"
        return
    if not torch.equal(times, bench.drawn(1)) or torch.equal(times, bench.drawn(2)):
        yield "the same generator gives other times, or another one the same"
    flow = isinstance(bench.process, FlowSchedule)
    first, last = (0.0, bench.process.time_scale) if flow else (0, bench.process.train_timesteps - 1)
    low, high = float(times.min()), float(times.max())
    if not first <= low <= high <= last:
        yield f"times {low:g} … {high:g} leave {first:g} … {last:g}"


@rule(
    "objective",
    "rates are those of the process: of diffusions sqrt(a) and sqrt(1 - a), of flows 1 - s and s",
    "samplers walk the process, and a network trained on other levels is asked for what it never saw",
)
def rates_of_the_process(bench: ObjectiveBench) -> Iterator[str]:
    signal, noise = bench.objective.rates(bench.some)
    if isinstance(bench.process, FlowSchedule):
        s = bench.some.double() / bench.process.time_scale
        wanted = (1.0 - s, s)
    else:
        a = torch.from_numpy(alphas_cumprod(bench.process))[bench.some.long()].double()
        wanted = (a.sqrt(), (1.0 - a).sqrt())
    for name, rate, exact in zip(("signal", "noise"), (signal, noise), wanted, strict=True):
        if rate.shape != bench.some.shape or rate.dtype != torch.float32:
            yield f"{name} is {tuple(rate.shape)} {rate.dtype} instead of float32 {tuple(bench.some.shape)}"
        elif (off := float((rate.double() - exact).abs().max())) > 1e-4 or math.isnan(off):
            yield f"{name} is off by {off:.2g}"


@rule(
    "objective",
    "the target is what the prediction type says of x_t = signal · x_0 + noise · eps",
    "samplers take x_0 and eps out of a prediction by these formulas",
)
def target_of_the_prediction(bench: ObjectiveBench) -> Iterator[str]:
    (x0, eps), objective = bench.draws, bench.objective
    with trap({"x0": x0, "noise": eps, "t": bench.some}) as trapped:
        signal, noise = objective.rates(bench.some)
        target = objective.target(x0, eps, bench.some)
    if trapped.changed:
        yield f"it changed {', '.join(trapped.changed)}"
    if not isinstance(target, Tensor) or target.shape != x0.shape:
        yield f"the target is {getattr(target, 'shape', type(target).__name__)} of x0 {tuple(x0.shape)}"
        return
    kind = objective.prediction_type
    for row in range(_SAMPLES):
        rates = float(signal[row]), float(noise[row])
        x = rates[0] * x0[row] + rates[1] * eps[row]
        for name, wanted, convert, rate in (("x_0", x0, to_x0, rates[0]), ("eps", eps, to_epsilon, rates[1])):
            if rate > 0.05 and not torch.allclose(convert(target[row], x, rates, kind), wanted[row], atol=1e-2):
                yield f"at time {float(bench.some[row]):g} it stands for another {name}, as {kind}"
                return


@rule(
    "objective",
    "weights are finite, not negative, and one a sample, or None",
    "an infinite one ends a training, and a negative one teaches the opposite",
)
def weights(bench: ObjectiveBench) -> Iterator[str]:
    weight = bench.objective.weight(bench.times)
    if weight is None:
        return
    if not isinstance(weight, Tensor) or weight.shape != (_COUNT,):
        yield f"weight() gives {getattr(weight, 'shape', type(weight).__name__)} of {_COUNT} times"
    elif not bool(torch.isfinite(weight).all()) or float(weight.min()) < 0 or float(weight.max()) == 0:
        yield f"weights are {float(weight.min()):.3g} … {float(weight.max()):.3g}"
