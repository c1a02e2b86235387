"""The order of schedulers on the shipped flow, whose velocity is a network's and no formula."""

from __future__ import annotations

import copy

import attrs
import numpy as np
import pytest
import torch
from torch import Tensor

from emnist_diff.assembly.sources import opened
from emnist_diff.conditions import RowConditions
from emnist_diff.discovery import installed
from emnist_diff.onethread import one_thread
from emnist_diff.timeline import ForwardProcess
from emnist_diff_plugins.schedulers.flow_euler import FlowEuler
from emnist_diff_plugins.schedulers.flow_heun import FlowHeun
from emnist_diff_plugins.schedulers.flow_midpoint import FlowMidpoint

COUNTS, FINE = (8, 16, 32, 64), 256


@attrs.frozen(eq=False)
class Exact:
    """A denoiser's network in float64, as `World.walk` evaluates it."""

    process: ForwardProcess
    network: torch.nn.Module

    @torch.inference_mode()
    def predict(self, x: Tensor, t: Tensor, conds: RowConditions) -> Tensor:
        """The velocity at x (B, …), of another class each."""
        with one_thread(x.device):
            velocity: Tensor = self.network(x, t, torch.arange(len(x)))
            return velocity


@pytest.fixture(scope="module")
def ends(make_world):
    """Walks a scheduler, and gives the states (4, …) that it ends in."""
    denoiser = opened(installed(), "mnist-latent-rf").load("cpu")
    world = make_world(prediction="flow")
    network = copy.deepcopy(denoiser.module("")).double()
    object.__setattr__(world, "denoiser", Exact(denoiser.process, network))  # in place of the mixture
    start = torch.randn(4, *denoiser.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return lambda scheduler, steps: world.walk(scheduler, steps, start).end


@pytest.fixture(scope="module")
def fine(ends):
    return ends(FlowMidpoint(), FINE)


@pytest.mark.parametrize(
    ("scheduler", "order", "apart"), [(FlowEuler, 1, 0.2), (FlowHeun, 2, 0.3), (FlowMidpoint, 2, 0.3)]
)
def test_errors_on_a_trained_flow_fall_at_the_order_of_the_scheduler(ends, fine, scheduler, order, apart):
    errors = [np.sqrt(np.square(ends(scheduler(), steps) - fine).mean()) for steps in COUNTS]
    slope = -np.polyfit(np.log(COUNTS), np.log(errors), 1)[0]
    assert abs(slope - order) < apart, (slope, errors)
    assert errors[-1] < (0.02 if order == 1 else 0.001)
