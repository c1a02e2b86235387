"""Each metric is what its definition says, one step of one sample at a time in plain NumPy."""

from __future__ import annotations

import math

import attrs
import numpy as np
import pytest

from emnist_diff_plugins.metrics import steps, videos
from emnist_diff_plugins.metrics.steps import step_metrics
from emnist_diff_plugins.metrics.videos import video_metrics


def l2(v):
    return math.sqrt(sum(float(e) ** 2 for e in v))


def angle(a, b):
    lengths = l2(a) * l2(b)
    return float(np.dot(a, b)) / lengths if lengths else math.nan


def over(a, b):
    return a / b if b else math.nan


def by_definition(block, b, k):
    """The metrics of step k of sample b of an epsilon model on a diffusion."""
    levels = block.levels
    a, after = levels.alpha_bar[k], levels.alpha_bar_next[k]
    x, x_next, x0 = block.x[b, k], block.x[b, k + 1], block.x0[b, k]
    moved, prediction, base = x_next - x, block.prediction[b, k], block.base[b, k]
    pixels = block.pixels[b].astype(float)
    # x' = sqrt(a') x0 + sqrt(1-a') eps with x0 = (x - sqrt(1-a) eps) / sqrt(a)
    factor = math.sqrt(1 - after) - math.sqrt(after) * math.sqrt(1 - a) / math.sqrt(a)
    out = {
        "timestep": levels.timestep[k],
        "delta_x_l2": l2(moved),
        "delta_x_mean": moved.sum() / len(moved),
        "delta_x_std": math.sqrt(((moved - moved.sum() / len(moved)) ** 2).sum() / len(moved)),
        "delta_x_min": min(moved),
        "delta_x_max": max(moved),
        "delta_pixel_l2": l2(pixels[k + 1] - pixels[k]),
        "alpha_t": a / after,
        "beta_t": 1 - a / after,
        "alpha_cumprod_t": a,
        "step_end": k + 1,
        "snr": a / (1 - a),
        "x_l2": l2(x),
        "delta_x_cos": angle(x - block.x[b, k - 1], moved) if k else math.nan,
        "x0_l2": l2(x0),
        "x0_change_l2": l2(x0 - block.x0[b, k - 1]) if k else math.nan,
        "noise_l2": l2((x - math.sqrt(a) * x0) / math.sqrt(1 - a)),
        "prediction_l2": l2(prediction),
        "base_l2": l2(base),
        "base_share": over(np.dot(base, prediction), np.dot(prediction, prediction)),
        "drift_l2": l2(sum(drift[b, k] for drift in block.drifts.values())) if block.drifts else 0.0,
    }
    for name, force in block.forces.items():
        f = force[b, k]
        out |= {
            f"force_{name}_l2": l2(f),
            f"force_{name}_cos_base": angle(f, base),
            f"force_{name}_share": over(np.dot(f, prediction), np.dot(prediction, prediction)),
            f"force_{name}_displacement_l2": abs(factor) * l2(f),
            f"force_{name}_displacement_share": over(factor * np.dot(f, moved), np.dot(moved, moved)),
            f"force_{name}_pull": over(np.dot(factor * f, moved), l2(factor * f)),
        }
    return out | {f"drift_{name}_l2": l2(drift[b, k]) for name, drift in block.drifts.items()}


def check(block):
    found = step_metrics(block)
    assert list(found) == list(steps.names(block.forces, block.drifts))
    for b in range(block.shape[0]):
        for k in range(block.shape[1]):
            for name, value in by_definition(block, b, k).items():
                np.testing.assert_allclose(found[name][b, k], value, rtol=1e-11, atol=1e-12, err_msg=f"{name} {b} {k}")


@pytest.mark.parametrize(
    "case", [{}, {"steps": 1}, {"force_names": (), "drift_names": ()}, {"size": 1}, {"samples": 1}], ids=str
)
def test_every_metric_is_its_definition(make_block, case):
    check(make_block(**case))


def test_states_that_stand_still(make_block):
    block = make_block(x=np.full((3, 5, 6), 0.25))
    check(block)
    found = step_metrics(block)
    assert (found["delta_x_l2"] == 0).all()
    for name in ("delta_x_cos", "force_00_push_displacement_share"):
        assert np.isnan(found[name]).all(), name
    assert (found["force_00_push_pull"] == 0).all()
    assert np.isnan(video_metrics(block, found)["straightness"]).all()


def test_a_force_that_does_nothing(make_block):
    block = make_block()
    check(attrs.evolve(block, forces={"00_push": np.zeros((3, 4, 6)), "01_pull": block.forces["01_pull"]}))


def test_shares_of_the_prediction_add_up_to_one(make_block):
    found = step_metrics(make_block())
    total = found["base_share"] + found["force_00_push_share"] + found["force_01_pull_share"]
    np.testing.assert_allclose(total, 1.0, rtol=1e-12)


@pytest.mark.parametrize(
    ("kind", "path"),
    [("epsilon", "diffusion"), ("v_prediction", "diffusion"), ("sample", "diffusion"), ("flow", "flow")],
)
def test_what_a_force_displaces_is_what_a_first_order_step_moves_more(make_block, kind, path):
    """Walk one deterministic step with and without the force, by way of x0 and eps, whatever was predicted."""
    block = make_block()
    block = attrs.evolve(block, kind=kind, levels=attrs.evolve(block.levels, process=path))
    found = step_metrics(block)
    for k in range(4):
        a, after = block.levels.alpha_bar[k], block.levels.alpha_bar_next[k]
        rates = [(math.sqrt(v), math.sqrt(1 - v)) for v in (a, after)]
        if path == "flow":
            rates = [(s / (s + n), n / (s + n)) for s, n in rates]
        (s, n), (s_next, n_next) = rates

        def step(p, x, s=s, n=n, s_next=s_next, n_next=n_next):
            x0 = {"epsilon": (x - n * p) / s, "v_prediction": s * x - n * p, "sample": p, "flow": x - n * p}[kind]
            return s_next * x0 + n_next * (x - s * x0) / n

        x, f = block.x[0, k], block.forces["00_push"][0, k]
        added = step(block.base[0, k] + f, x) - step(block.base[0, k], x)
        np.testing.assert_allclose(found["force_00_push_displacement_l2"][0, k], l2(added), rtol=1e-9)
        moved = block.x[0, k + 1] - x
        np.testing.assert_allclose(found["force_00_push_pull"][0, k], np.dot(added, moved) / l2(added), rtol=1e-9)


def test_of_an_unknown_kind_nothing_is_said_of_displacements(make_block):
    found = step_metrics(make_block(kind=None))
    assert np.isnan(found["force_00_push_displacement_l2"]).all()
    assert np.isfinite(found["force_00_push_share"]).all()


def test_rows_that_span_several_steps(make_block):
    block = make_block()
    levels = attrs.evolve(block.levels, step=np.array([0, 2, 4, 5]), total=6)
    found = step_metrics(attrs.evolve(block, levels=levels))
    assert found["step_end"][0].tolist() == [2, 4, 5, 6]
    assert np.isfinite(found["force_00_push_pull"]).tolist() == [[False, False, True, True]] * 3


@pytest.mark.parametrize(
    ("fields", "empty"),
    [
        ({"x": None, "pixels": None}, {"delta_x_l2", "x_l2", "noise_l2", "delta_pixel_l2", "force_00_push_pull"}),
        ({"x0": None}, {"x0_l2", "x0_change_l2", "noise_l2"}),
        ({"pixels": None}, {"delta_pixel_l2"}),
        ({"prediction": None}, {"prediction_l2", "base_share", "force_00_push_share"}),
        ({"base": None}, {"base_l2", "force_01_pull_cos_base"}),
        ({"forces": {"00_push": None, "01_pull": None}}, {"force_00_push_l2", "force_01_pull_share"}),
        ({"drifts": {"00_walk": None, "01_fall": None}}, {"drift_l2", "drift_00_walk_l2"}),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_without_a_field_its_metrics_are_empty_and_the_others_are_not(make_block, fields, empty):
    whole, part = step_metrics(make_block()), step_metrics(make_block(**fields))
    for name in empty:
        assert np.isnan(part[name]).all(), name
    there = [name for name in part if np.isfinite(part[name]).any()]
    assert len(there) >= 10
    for name in there:
        np.testing.assert_array_equal(part[name], whole[name], err_msg=name)
    of_videos = video_metrics(make_block(**fields), part)
    assert np.isnan(of_videos["total_latent_l2"]).all() == ("x" in fields)


def test_half_precision_is_measured_as_it_is_stored(make_block):
    rough = {name: getattr(make_block(), name).astype(np.float16).astype(np.float64) for name in ("x", "x0", "base")}
    check(make_block(**rough))


def test_videos_are_sums_and_spans(make_block):
    block = make_block()
    per_step = step_metrics(block)
    found = video_metrics(block, per_step, seconds=0.5)
    assert list(found) == list(videos.names(block.forces))
    for b in range(3):
        final = block.image[b].ravel().astype(float)
        net = l2(block.x[b, -1] - block.x[b, 0])
        path = sum(l2(block.x[b, k + 1] - block.x[b, k]) for k in range(4))
        pixels = block.pixels[b].astype(float)
        expected = {
            "generation_time_sec": 0.5,
            "total_steps": 4,
            "captured_frames": 4,
            "final_mean": final.mean(),
            "final_std": final.std(),
            "final_min": final.min(),
            "final_max": final.max(),
            "total_latent_l2": path,
            "total_pixel_l2": sum(l2(pixels[k + 1] - pixels[k]) for k in range(4)),
            "gpu_mem_peak_mb": math.nan,
            "net_latent_l2": net,
            "straightness": net / path,
            "mean_delta_x_cos": np.mean([by_definition(block, b, k)["delta_x_cos"] for k in (1, 2, 3)]),
            "total_x0_change_l2": sum(l2(block.x0[b, k] - block.x0[b, k - 1]) for k in (1, 2, 3)),
            "total_drift_l2": sum(by_definition(block, b, k)["drift_l2"] for k in range(4)),
            "total_force_00_push_displacement_l2": per_step["force_00_push_displacement_l2"][b].sum(),
        }
        for name, value in expected.items():
            np.testing.assert_allclose(found[name][b], value, rtol=1e-11, err_msg=name)


def test_no_sample_looks_at_its_neighbours(make_block):
    block = make_block(samples=5)
    alone = attrs.evolve(
        block,
        **{
            name: getattr(block, name)[3:4] for name in ("ids", "labels", "seeds", "image", "x", "x0", "base", "pixels")
        },
        prediction=block.prediction[3:4],
        forces={name: value[3:4] for name, value in block.forces.items()},
        drifts={name: value[3:4] for name, value in block.drifts.items()},
    )
    whole = step_metrics(block)
    for name, values in step_metrics(alone).items():
        np.testing.assert_array_equal(values[0], whole[name][3], err_msg=name)
