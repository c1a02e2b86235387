"""The loop against exact answers, and the promises it makes about batches and components."""

from __future__ import annotations

import math

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emnist_diff.conditions import NULL, OWN, named
from emnist_diff.engine.base import Base
from emnist_diff.engine.noise import INITIAL, batch_normal
from emnist_diff.engine.plan import Evaluations, Labels, WeightedForce, make_plan, streams
from emnist_diff.errors import RunFailed
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture
from emnist_diff_plugins.drifts.default import DefaultDrift
from emnist_diff_plugins.drifts.none import NoDrift
from emnist_diff_plugins.forces.attract_class import AttractClass
from emnist_diff_plugins.forces.repel_class import RepelClass
from emnist_diff_plugins.schedulers.ddim import Ddim
from emnist_diff_plugins.schedulers.ddpm import Ddpm

# ------------------------------------------------------------------ exact answers


def test_guided_ddim_with_forces_matches_a_float64_integration(make_engine, walk_all, exact):
    mixture = GaussianMixture(shape=(1, 4, 4), classes="ABCD", components=2, spread=0.3, seed=5)
    steps, count = 25, 6
    engine = make_engine(
        mixture,
        steps=steps,
        base=Base("cfg", 3.0),
        forces=[(AttractClass(target="B", strength=0.8), 0.5), (RepelClass(target="C", strength=1.5), 0.4)],
    )
    walked = walk_all(engine, range(count), label=0, seed=11)

    means = np.random.default_rng(5).uniform(-1, 1, (4, 2, 16))
    alpha_bar = exact.linear_alpha_bar()
    x = batch_normal([11] * count, range(count), INITIAL, "init", (16,)).double().numpy()
    states, predictions = [], []
    for k in range(steps):
        t = 999 - k * (1000 // steps)
        a = alpha_bar[t]
        following = alpha_bar[t - 1000 // steps] if k < steps - 1 else 1.0
        null = exact.mixture_epsilon(x, a, means.reshape(-1, 16), 0.3)
        own, b, c = (exact.mixture_epsilon(x, a, means[i], 0.3) for i in range(3))
        epsilon = null + 3.0 * (own - null) + 0.5 * 0.8 * (b - null) - 0.4 * 1.5 * (c - null)
        states.append(x)
        predictions.append(epsilon)
        x0 = (x - math.sqrt(1 - a) * epsilon) / math.sqrt(a)
        x = math.sqrt(following) * x0 + math.sqrt(1 - following) * epsilon

    for got, want in (
        (walked.stacked("x").reshape(steps, count, 16), np.stack(states)),
        (walked.stacked("prediction").reshape(steps, count, 16), np.stack(predictions)),
        (walked.x.numpy().reshape(1, count, 16), x[None]),
    ):
        assert got.dtype == np.float32
        error = np.abs(got - want).max((1, 2)) / np.abs(want).max((1, 2))
        assert error.max() < 1e-5


@pytest.mark.parametrize("scheduler", [Ddpm(), Ddim(eta=1.0), Ddim()], ids=["ddpm", "ddim-1", "ddim-0"])
def test_conditional_samples_of_a_gaussian_have_the_exact_moments(make_engine, walk_all, exact, scheduler):
    """For one Gaussian every step is linear, so the sampler's own moments follow from a recursion."""
    mean, spread, steps, count = np.array([0.7, -0.4]), 0.5, 40, 2000
    mixture = GaussianMixture(
        shape=(2,), classes="AB", components=1, spread=spread, means=((tuple(mean),), ((-1.0, 1.0),))
    )
    engine = make_engine(mixture, scheduler=scheduler, steps=steps, base=Base("cond"), micro_batch=count)
    got = walk_all(engine, range(count), fields=frozenset()).x.numpy().astype(np.float64)

    alpha_bar, eta = exact.linear_alpha_bar(), getattr(scheduler, "eta", 1.0)
    m, var = np.zeros(2), 1.0
    for k in range(steps):
        t = 999 - k * (1000 // steps)
        a, b = alpha_bar[t], (alpha_bar[t - 1000 // steps] if k < steps - 1 else 1.0)
        gain = math.sqrt(a) * spread**2 / (a * spread**2 + 1 - a)  # E[x0 | x] = mean + gain (x - sqrt(a) mean)
        added = eta**2 * (1 - b) / (1 - a) * (1 - a / b)
        noise = math.sqrt(max(1 - b - added, 0))
        slope = math.sqrt(b) * gain + noise * (1 - math.sqrt(a) * gain) / math.sqrt(1 - a)
        shift = mean * (1 - gain * math.sqrt(a))
        m = slope * m + (math.sqrt(b) - noise * math.sqrt(a) / math.sqrt(1 - a)) * shift
        var = slope**2 * var + added

    assert np.abs(got.mean(0) - m).max() < 4.5 * math.sqrt(var / count)
    covariance = np.cov(got.T)
    assert np.abs(np.diag(covariance) - var).max() < 4.5 * var * math.sqrt(2 / count)
    assert abs(covariance[0, 1]) < 4.5 * var / math.sqrt(count)
    # the sampler's own moments are those of the data, up to its discretisation (first order in the step)
    assert np.abs(m - mean).max() < 2.0 / steps
    assert abs(var / spread**2 - 1) < 12.0 / steps


@pytest.mark.parametrize("scheduler", [Ddpm(), Ddim(eta=1.0), Ddim()], ids=["ddpm", "ddim-1", "ddim-0"])
def test_unconditional_samples_have_the_mixtures_mean_and_covariance(make_engine, walk_all, scheduler):
    means, spread, count, steps = np.array([[[1.0, 0.5]], [[-0.8, 0.9]], [[0.1, -1.0]]]), 0.3, 2000, 50
    mixture = GaussianMixture(shape=(2,), classes="ABC", components=1, spread=spread, means=means.tolist())
    engine = make_engine(mixture, scheduler=scheduler, steps=steps, base=Base("uncond"), micro_batch=count)
    got = walk_all(engine, range(count), fields=frozenset()).x.numpy().astype(np.float64)

    flat = means[:, 0]
    covariance = np.cov(flat.T, bias=True) + spread**2 * np.eye(2)
    discretisation = 2.0 / steps
    assert np.abs(got.mean(0) - flat.mean(0)).max() < 4.5 * math.sqrt(covariance.max() / count) + discretisation
    error = 4.5 * covariance.max() * math.sqrt(2 / count) + discretisation
    assert np.abs(np.cov(got.T) - covariance).max() < error


# ------------------------------------------------------------------ the ledger


def test_base_plus_contributions_is_the_prediction_bit_for_bit(make_engine, walk_all):
    engine = make_engine(
        forces=[(AttractClass(target="B"), 0.7), (RepelClass(target="C"), 0.0), (RepelClass(target="C"), 0.3)],
        drifts=[DefaultDrift(noise_scale=0.1, decay=0.02)],
    )
    walked = walk_all(engine)
    assert len(walked.frames) == 6
    for frame in walked.frames:
        assert len(frame.group("forces")) == 3
        total = frame["base"].clone()
        for contribution in frame.group("forces"):
            total = total + contribution
        assert torch.equal(total, frame["prediction"])
        assert frame.group("forces")[0].abs().max() > 0
        assert frame.group("forces")[1].abs().max() == 0


def test_only_wanted_fields_are_handed_over(make_engine, walk_all):
    walked = walk_all(make_engine(), fields=frozenset({"x0"}))
    assert [set(frame) for frame in walked.frames] == [{"x0"}] * 6
    walked = walk_all(make_engine(), fields=frozenset())  # whoever counts steps needs no tensors for it
    assert [(frame.at.index, dict(frame)) for frame in walked.frames] == [(step, {}) for step in range(6)]


# ------------------------------------------------------------------ packing


class Counting:
    """A denoiser that remembers its calls."""

    def __init__(self, inner):
        self.inner = inner
        self.calls: list[list[int]] = []

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def predict(self, x, t, conds):
        assert len(x) == len(t) == len(conds.index)
        self.calls.append(conds.index.tolist())
        return self.inner.predict(x, t, conds)


FOUR = GaussianMixture(shape=(2,), classes="ABCD")
NULL_ROW = 4


@pytest.mark.parametrize(
    ("base", "forces", "rows"),
    [
        (Base("cfg", 3.0), [], {0, NULL_ROW}),
        (Base("cfg", 0.0), [], {NULL_ROW}),
        (Base("cfg", 1.0), [], {0}),
        (Base("cond"), [], {0}),
        (Base("uncond"), [], {NULL_ROW}),
        (Base("cfg", 3.0), [(AttractClass(target="A"), 1.0)], {0, NULL_ROW}),
        (Base("cfg", 3.0), [(AttractClass(), 1.0)], {0, NULL_ROW}),
        (Base("uncond"), [(AttractClass(target=c), 1.0) for c in "BCDBC"], {1, 2, 3, NULL_ROW}),
        (Base("cfg", 3.0), [(RepelClass(target=c), 1.0) for c in "BCBA"], {0, 1, 2, NULL_ROW}),
        (Base("cfg", 1.0), [(AttractClass(target="B"), 0.0)], {0}),
        (Base("cfg", 1.0), [(AttractClass(target="B", strength=0.0), 1.0)], {0}),
        (Base("cfg", 1.0), [(RepelClass(target="B", strength=0.0), 1.0)], {0}),
    ],
)
def test_each_class_and_sample_is_evaluated_once(make_engine, walk_all, base, forces, rows):
    denoiser = Counting(FOUR.denoiser())
    engine = make_engine(denoiser=denoiser, steps=1, base=base, forces=forces, micro_batch=1)
    walk_all(engine, range(5))
    assert sorted(row for call in denoiser.calls for row in call) == sorted([*rows] * 5)

    plan = make_plan(
        Evaluations.of(engine.timeline, base, engine.forces), {"": denoiser.conditions}, Labels((0,), range(5)), 5, 1
    )
    assert plan.rows == 5 * len(rows)


def test_samples_of_different_classes_share_no_more_than_they_should(make_engine, walk_all):
    denoiser = Counting(FOUR.denoiser())
    engine = make_engine(denoiser=denoiser, steps=1, forces=[(AttractClass(target="B"), 1.0)], micro_batch=1)
    walk_all(engine, range(3), label=(0, 1, 2))
    assert sorted(i for call in denoiser.calls for i in call) == sorted([0, 1, 4, 1, 4, 2, 1, 4])


@pytest.mark.parametrize("micro_batch", [1, 4, 7, 64])
def test_every_call_has_exactly_micro_batch_rows(make_engine, walk_all, micro_batch):
    denoiser = Counting(FOUR.denoiser())
    engine = make_engine(denoiser=denoiser, steps=2, forces=[(AttractClass(target="B"), 1.0)], micro_batch=micro_batch)
    walk_all(engine, range(5))
    assert {len(call) for call in denoiser.calls} == {micro_batch}
    assert len(denoiser.calls) == 2 * math.ceil(15 / micro_batch)


def test_the_planned_micro_batch_does_not_depend_on_the_batch_size(make_engine):
    engine = make_engine()
    spaces = {"": engine.denoisers[""].conditions}
    chosen = {
        make_plan(Evaluations.of(engine.timeline, engine.base), spaces, Labels((0,), range(20)), size).micro_batch
        for size in (1, 3, 16, 50)
    }
    assert chosen == {32}


@attrs.frozen
class Undeclared:
    def conditions(self, at):
        return ()

    def __call__(self, predictions, step):
        return predictions[named("C")]


def test_reading_an_undeclared_condition_names_it(make_engine, walk_all):
    with pytest.raises(RunFailed, match=r"'Undeclared'.*condition 'C' was read but not declared.*null, own"):
        walk_all(make_engine(forces=[(Undeclared(), 1.0)]))


# ------------------------------------------------------------------ batches, order, streams


def same(one, other) -> bool:
    """Bit for bit, unlike ==, which takes 0 and -0 for the same."""
    return one.numpy().tobytes() == other.numpy().tobytes()


@pytest.mark.parametrize("scheduler", [Ddim(), Ddpm(), Ddim(eta=0.5)], ids=["ddim", "ddpm", "ddim-half"])
def test_batch_size_and_order_change_no_bit(make_engine, walk_all, scheduler):
    mixture = GaussianMixture(shape=(1, 3, 3), classes="ABC")

    def engine():
        return make_engine(
            mixture,
            scheduler=scheduler,
            forces=[(AttractClass(target="B"), 0.5)],
            drifts=[DefaultDrift(noise_scale=0.05, decay=0.01)],
        )

    reference = walk_all(engine(), range(16))
    order = list(np.random.default_rng(3).permutation(16))
    splits = {
        "one": [[i] for i in range(16)],
        "three": [list(range(i, min(i + 3, 16))) for i in range(0, 16, 3)],
        "backwards": [list(range(15, -1, -1))],
        "shuffled fives": [[int(i) for i in order[k : k + 5]] for k in range(0, 16, 5)],
    }
    for name, batches in splits.items():
        for ids in batches:
            walked = walk_all(engine(), ids)
            assert same(walked.x, reference.x[ids]), name
            for frame, whole in zip(walked.frames, reference.frames, strict=True):
                for field in ("x", "x0", "prediction", "base"):
                    assert same(frame[field], whole[field][ids]), (name, field)
                assert same(frame.group("forces")[0], whole.group("forces")[0][ids]), name
                assert same(frame.group("drifts")[0], whole.group("drifts")[0][ids]), name


@attrs.frozen
class Drawing:
    """A force and a drift that draws noise and does nothing with it."""

    def conditions(self, at):
        return ()

    def __call__(self, first, step):
        step.noise()
        step.noise("scheduler")  # a stream of its own, whatever it is called
        return first if isinstance(first, torch.Tensor) else torch.zeros_like(step.x)


def test_components_that_draw_noise_shift_nobody_elses(make_engine, walk_all):
    drift = DefaultDrift(noise_scale=0.1)
    plain = walk_all(make_engine(scheduler=Ddpm(), drifts=[drift]))
    busy = walk_all(
        make_engine(scheduler=Ddpm(), forces=[(Drawing(), 1.0)], drifts=[Drawing(), NoDrift(), drift, Drawing()])
    )
    assert torch.equal(plain.x, busy.x)
    assert np.array_equal(plain.stacked("x"), busy.stacked("x"))
    assert not torch.equal(plain.x, walk_all(make_engine(scheduler=Ddpm())).x)


def test_two_drifts_of_one_name_draw_different_noise(make_engine, walk_all):
    """And the first draws what it draws alone."""
    drift = DefaultDrift(noise_scale=0.1)
    once, twice = (walk_all(make_engine(drifts=[drift] * n)).frames[0].group("drifts") for n in (1, 2))
    torch.testing.assert_close(once[0], twice[0], rtol=0, atol=1e-6)
    assert float((twice[0] - twice[1]).abs().mean()) > 0.05


def test_a_force_and_a_drift_of_one_name_do_not_share_noise():
    assert streams("force", ["n", "m", "n"]) == ["force.n", "force.m", "force.n.1"]
    assert streams("drift", ["n"]) == ["drift.n"]


def test_seed_and_sample_id_decide_the_start(make_engine, walk_all):
    engine = make_engine()
    first = walk_all(engine, (5, 6)).frames[0]["x"]
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, walk_all(engine, (5, 6), seed=8).frames[0]["x"])
    assert torch.equal(walk_all(engine, (6,)).frames[0]["x"][0], first[1])


# ------------------------------------------------------------------ base algebra


@settings(max_examples=15, deadline=None)
@given(scale=st.floats(-2, 6).map(lambda s: round(s, 3)), label=st.integers(0, 2), seed=st.integers(0, 2**40))
def test_guidance_is_attraction_to_the_own_class(scale, label, seed):
    from emnist_diff.conditions import pack
    from emnist_diff.steps import ForceStep
    from emnist_diff.timeline import StepInfo

    denoiser = GaussianMixture(shape=(3,), classes="ABC").denoiser()
    x = torch.from_numpy(np.random.default_rng(seed).standard_normal((4, 3))).float()
    packing = pack([OWN, NULL], [label] * 4, {"": denoiser.conditions})
    from emnist_diff.conditions import Predictions, RowConditions

    group = packing.groups[0]
    t = torch.full((8,), 500.0)
    out = denoiser.predict(x[group.sample], t, RowConditions(group.index))
    predictions = Predictions(packing, [out])
    at = StepInfo(0, 10, 500.0, 0.08, 0.1)
    step = ForceStep(
        at=at, x=x, labels=torch.full((4,), label), sample_ids=range(4), base=out[:4], sum=out[:4],
        noise=lambda stream="": torch.zeros(4, 3),
    )  # fmt: skip

    guided = Base("cfg", scale)(predictions)
    tolerance = {"rtol": 1e-5, "atol": 1e-5 * (1 + abs(scale))}
    from_cond = Base("cond")(predictions) + AttractClass("own", scale - 1)(predictions, step)
    from_null = Base("uncond")(predictions) + AttractClass("own", scale)(predictions, step)
    torch.testing.assert_close(from_cond, guided, **tolerance)
    torch.testing.assert_close(from_null, guided, **tolerance)
    away = Base("uncond")(predictions) + RepelClass("own", -scale)(predictions, step)
    torch.testing.assert_close(away, guided, **tolerance)


# ------------------------------------------------------------------ components that misbehave


@attrs.frozen
class Misbehaving:
    how: str

    def conditions(self, at):
        if self.how == "conditions":
            raise ZeroDivisionError("no conditions today")
        return ()

    def __call__(self, first, step):
        if self.how == "raises" and step.at.index == 2:
            raise ValueError("out of luck")
        if self.how == "nothing":
            return None
        if self.how == "shape":
            return step.x[:, :1]
        out = torch.zeros_like(step.x)
        if self.how == "nan" and step.at.index == 1:
            out[1] = math.nan
        return out


@pytest.mark.parametrize("where", ["forces", "drifts"])
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raises", r"'Misbehaving' raised ValueError: out of luck \(step 2\)"),
        ("nan", r"'Misbehaving' returned non-finite values \(step 1, sample 31\)"),
        ("shape", r"'Misbehaving' returned shape \(3, 1\) instead of \(3, 3\) \(step 0\)"),
        ("nothing", r"'Misbehaving' .*NoneType.*\(step 0\)"),
    ],
)
def test_a_misbehaving_component_is_named_with_its_step(make_engine, walk_all, where, how, message):
    asked = {"forces": [(Misbehaving(how), 1.0)]} if where == "forces" else {"drifts": [Misbehaving(how)]}
    with pytest.raises(RunFailed, match=message) as failed:
        walk_all(make_engine(**asked), (30, 31, 32))
    assert where[:-1] in str(failed.value)


def test_a_force_whose_conditions_raise_is_named_with_its_step(make_engine, walk_all):
    with pytest.raises(RunFailed, match=r"force 'Misbehaving' raised ZeroDivisionError.*\(step 0\)"):
        walk_all(make_engine(forces=[(Misbehaving("conditions"), 1.0)]))


def test_a_denoiser_that_raises_is_named_with_its_step(make_engine, walk_all):
    class Raising(Counting):
        def predict(self, x, t, conds):
            raise ArithmeticError("too much")

    with pytest.raises(RunFailed, match=r"denoiser raised ArithmeticError: too much \(step 0\)"):
        walk_all(make_engine(denoiser=Raising(FOUR.denoiser())))


def test_a_term_has_no_say_at_weight_zero(make_engine, walk_all):
    engine = make_engine(forces=[(Misbehaving("raises"), 0.0)])
    assert torch.equal(walk_all(engine).x, walk_all(make_engine()).x)
    assert isinstance(engine.forces[0], WeightedForce)
