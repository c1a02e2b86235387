"""Values that are not finite are found, and the first component that returned one is named."""

from __future__ import annotations

import math

import pytest
import torch

from emnist_diff.engine import checks
from emnist_diff.engine.checks import Checks
from emnist_diff.errors import RunFailed


class Elsewhere(torch.Tensor):
    """A tensor that says it is on another device."""

    @property
    def device(self):
        return torch.device("cuda")


def with_at(value: float, sample: int, shape=(4, 1, 5)) -> torch.Tensor:
    out = torch.zeros(shape)
    out[sample] = value
    return out


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("shape", [(4,), (4, 3), (4, 1, 5, 5)])
def test_on_a_cpu_it_is_told_at_once(value, shape):
    watch = Checks((30, 31, 32, 33))
    watch.require_finite(torch.zeros(shape), "force 'calm'", 0)
    with pytest.raises(RunFailed, match=r"^force 'wild' returned non-finite values \(step 3, sample 32\) — lower"):
        watch.require_finite(with_at(value, 2, shape), "force 'wild'", 3)


def test_infinities_that_cancel_are_found():
    watch = Checks((0, 1))
    with pytest.raises(RunFailed, match="sample 0, 1"):
        watch.require_finite(torch.tensor([[math.inf], [-math.inf]]), "drift 'd'", 0)


def test_large_values_are_no_error_though_their_sum_is_not_finite():
    watch = Checks((0, 1))
    value = torch.full((2, 100), torch.finfo(torch.float32).max)
    assert not math.isfinite(value.sum().item())
    watch.require_finite(value, "force 'huge'", 0)
    watch.settle()


def test_elsewhere_nothing_is_told_before_the_end_and_then_the_first_of_all():
    watch = Checks((30, 31, 32, 33))
    for what, value, sample, step in (
        ("force 'calm'", 0.0, 0, 0),
        ("drift 'wild'", math.nan, 1, 2),
        ("the denoiser", math.nan, 3, 3),
    ):
        watch.require_finite(with_at(value, sample).as_subclass(Elsewhere), what, step)
    with pytest.raises(RunFailed, match=r"^drift 'wild' returned non-finite values \(step 2, sample 31\)"):
        watch.settle()


def test_elsewhere_what_is_finite_passes_and_is_let_go():
    watch = Checks((0, 1, 2, 3))
    watch.require_finite(with_at(1.0, 0).as_subclass(Elsewhere), "the denoiser", 0)
    watch.settle()
    assert watch._kept == []


def test_a_walk_elsewhere_names_what_broke_first_and_not_what_failed_of_it(make_engine, walk_all, monkeypatch):
    """A force returns NaN at step 1; at step 2 a drift refuses what came of it."""
    import attrs

    @attrs.frozen
    class Breaks:
        def conditions(self, at):
            return ()

        def __call__(self, predictions, step):
            return torch.full_like(step.x, math.nan if step.at.index == 1 else 0.0)

    @attrs.frozen
    class Refuses:
        def __call__(self, x, step):
            if x.isnan().any() and step.at.index == 2:
                raise ValueError("not a number")
            return x.clone()

    def require_finite(self, value, what, step):
        self._kept.append((checks._not_finite(value), what, step))

    monkeypatch.setattr(Checks, "require_finite", require_finite)  # as on a device
    for drifts in ([Refuses()], []):
        engine = make_engine(forces=[(Breaks(), 1.0)], drifts=drifts)
        with pytest.raises(RunFailed, match=r"force 'Breaks' returned non-finite values \(step 1, sample 5, 6\)"):
            walk_all(engine, (5, 6))
