"""The rules for what schedulers sample, where that is known: one image, and one Gaussian."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from emnist_diff.timeline import PredictionType
from emnist_diff_testing.models import Model, mixture
from emnist_diff_testing.rules import rule
from emnist_diff_testing.schedulers import SchedulerBench

SAMPLES, MEAN, SPREAD = 96, 0.5, 0.4
"""Of the one Gaussian that is sampled."""


def _gaussian(bench: SchedulerBench, spread: float, steps: int) -> Model:
    """One Gaussian of numbers, on the process and with the prediction of the first model that it can walk."""
    kind: PredictionType = bench.walkable[0].denoiser.prediction_type
    means = [[[MEAN] * 16]]
    exact = mixture((16,), kind, steps, classes="A", components=1, means=means, spread=spread)
    return attrs.evolve(exact, rows=SAMPLES)


@rule(
    "scheduler",
    "where all images are one, every walk ends in it, however few its steps",
    "the estimate of the image is exact there; a rule that does not end in it has a wrong coefficient, or leaves noise",
)
def exact_on_a_point(bench: SchedulerBench) -> Iterator[str]:
    for steps in (3, 10) if bench.walkable else ():
        walk = bench.walk(_gaussian(bench, 1e-4, steps))
        if walk.end is None:
            yield f"{steps} steps: {walk.error or walk.refused}"
        elif (off := float((walk.end.x - MEAN).abs().max())) > 0.01:
            yield f"after {steps} steps the image is off by {off:.3g}"


@rule(
    "scheduler",
    "with many steps the samples of a Gaussian have its mean and its spread",
    "a sampler whose samples have another distribution than the model's makes other images than the model knows",
)
def converges(bench: SchedulerBench) -> Iterator[str]:
    if not bench.walkable:
        return
    steps = 60
    walk = bench.walk(_gaussian(bench, SPREAD, steps), range(SAMPLES))
    if walk.end is None:
        yield f"{steps} steps: {walk.error or walk.refused}"
        return
    standard = (walk.end.x.double() - MEAN) / SPREAD  # 1536 numbers: mean ± 0.026, deviation ± 0.018
    mean, deviation = float(standard.mean()), float(standard.std())
    if abs(mean) > 0.12 or abs(deviation - 1.0) > 0.12:
        yield f"after {steps} steps mean and deviation are {mean:.2f} and {deviation:.2f}, for 0 and 1"
