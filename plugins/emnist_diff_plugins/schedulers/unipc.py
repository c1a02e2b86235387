"""UniPC: a multistep predictor whose steps are corrected by the evaluation that the next step takes anyway."""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs
import numpy as np
from attrs import validators as v
from torch import Tensor

from emnist_diff.steps import SchedulerResult, SchedulerStep
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.schedulers._diffusion import Diffusion, spacing_field
from emnist_diff_plugins.schedulers._estimates import Estimates
from emnist_diff_plugins.schedulers._moves import log_snr, sigma_before
from emnist_diff_plugins.schedulers._scheduler import Estimator


@attrs.frozen(eq=False)
class _Stride:
    """One stride of the solver in lambda = ln(signal / noise).

    x: (B, *shape) where it starts.  rates, rates_next: (signal, noise) at its ends.  h: its length.
    images: estimates at its start and, newest first, before it.  nodes: where those before it stand, in units of h
    from its start; negative.
    """

    x: Tensor
    rates: tuple[float, float]
    rates_next: tuple[float, float]
    h: float
    images: list[Tensor]
    nodes: list[float]
    variant: str

    @property
    def _b_h(self) -> float:
        if self.variant == "bh1" and math.isfinite(self.h):  # a stride from no signal at all is infinitely long
            return -self.h
        return math.expm1(-self.h)

    def weights(self, nodes: list[float]) -> list[float]:
        """Of the differences at `nodes`: the solution of R rho = b, arXiv:2302.04867, equation 5 for data
        prediction."""
        hh, count = -self.h, len(nodes)
        phi, factorial, b = math.expm1(hh) / hh - 1.0, 1, []
        for k in range(1, count + 1):
            b.append(phi * factorial / self._b_h)
            factorial *= k + 1
            phi = phi / hh - 1.0 / factorial
        rows = [[node**k for node in nodes] for k in range(count)]
        return [float(w) for w in np.linalg.solve(np.array(rows), np.array(b))]

    def base(self) -> Tensor:
        """The first-order stride, exact for an image estimate that does not change."""
        (_, noise), (signal_next, noise_next) = self.rates, self.rates_next
        return noise_next / noise * self.x - signal_next * math.expm1(-self.h) * self.images[0]

    def predicted(self) -> Tensor:
        """UniP, of the order that the images allow."""
        weights = [0.5] if len(self.nodes) == 1 else self.weights(self.nodes) if self.nodes else []
        return self._with(weights, self.nodes)

    def corrected(self, arrived: Tensor) -> Tensor:
        """UniC, one order more, with the image estimate made where the predictor arrived."""
        weights = self.weights([*self.nodes, 1.0]) if self.nodes else [0.5]
        out = self._with(weights[:-1], self.nodes)
        return out - self.rates_next[0] * self._b_h * weights[-1] * (arrived - self.images[0])

    def _with(self, weights: list[float], nodes: list[float]) -> Tensor:
        out = self.base()
        for weight, node, image in zip(weights, nodes, self.images[1:], strict=True):
            out = out - self.rates_next[0] * self._b_h * weight / node * (image - self.images[0])
        return out


@attrs.frozen(kw_only=True)
class UniPc(Diffusion):
    """UniPC: Zhao et al., 2023, arXiv:2302.04867, in data prediction, with lower orders at the start and at the end.
    One evaluation a step; the order of accuracy is one more than `order` where the corrector acts.

    The correction is added to what the predictor arrived at, so that what drifts did to the state stays.

    Example: ``--scheduler "unipc:order=2" --steps 10``
    """

    flow_counterpart = "flow_dpmpp_2m"
    spacing: str = spacing_field("karras")
    order: int = attrs.field(
        default=2,
        validator=v.and_(v.ge(1), v.le(3)),
        metadata={"help": "of the predictor, 1 … 3", "aliases": ("solver_order",)},
    )
    variant: str = attrs.field(
        default="bh2",
        validator=v.in_(("bh1", "bh2")),
        metadata={"help": "the function B(h): bh1 is h, bh2 is e^h - 1", "aliases": ("solver_type",)},
    )

    def move(self, start: Estimates, step: SchedulerStep, estimate: Estimator) -> SchedulerResult:
        at = step.at
        x, memory = step.x, step.memory
        if memory:
            stride = self._stride(memory["start"], _images(memory), step.timeline.at(at.index - 1), step)
            x = stride.corrected(start.x0) + (x - memory["arrived"])
        if at.sigma_next == 0:
            return SchedulerResult(at.rates_next[0] * start.x0, start.x0)
        images = [start.x0, *_images(memory)]
        stride = self._stride(x, images, at, step)
        arrived = stride.predicted()
        kept = {f"x0_{k}": image for k, image in enumerate(images[: self.order])}
        return SchedulerResult(arrived, start.x0, {"start": x, "arrived": arrived, **kept})

    def _stride(self, x: Tensor, images: list[Tensor], at: StepInfo, step: SchedulerStep) -> _Stride:
        """The stride of the step `at` from the estimates there and before."""
        order = min(self.order, len(images), at.steps - at.index)
        lambda_start = log_snr(at.sigma)
        h = log_snr(at.sigma_next) - lambda_start
        before = [log_snr(sigma_before(step, step.at.index - at.index + k)) for k in range(1, order)]
        # where there was no signal, nothing can be learnt of how the image estimate changes
        nodes = [(level - lambda_start) / h for level in before if math.isfinite(level)]
        return _Stride(x, at.rates, at.rates_next, h, images[: len(nodes) + 1], nodes, self.variant)


def _images(memory: Mapping[str, Tensor]) -> list[Tensor]:
    """The image estimates that were kept, newest first."""
    return [memory[name] for name in sorted(memory) if name.startswith("x0_")]
