"""Scores, groups, the basin trace, maps of where forces act, and what if one had not been there."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from emnist_diff.discovery import installed
from emnist_diff.errors import TrajectoryError, UnknownName
from emnist_diff_inference.frames import top_coordinates
from emnist_diff_plugins.analysis import attribution as at
from emnist_diff_plugins.analysis.whatif import left_out, what_if
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture
from emnist_diff_plugins.metrics import basin, summary
from emnist_diff_plugins.metrics.reading import BlockReader
from emnist_diff_plugins.metrics.scorers import SCORERS, scores
from emnist_diff_trajectory.reader import Trajectory


@pytest.fixture(scope="module")
def file(recorded) -> Path:
    return recorded / "trajectory.h5"


# Scores


def test_scores_are_their_definitions(make_block):
    block = make_block()
    table = scores("r", block)
    assert list(table) == ["vid_id", "step_index", *sorted(SCORERS), "run"]
    for row in range(15):
        b, k = divmod(row, 5)
        x, last = block.x[b, k], block.x[b, -1]
        p, final = block.pixels[b, k].astype(float), block.pixels[b, -1].astype(float)
        expected = {
            "vid_id": block.ids[b],
            "step_index": k,
            "pearson_latent": np.corrcoef(x, last)[0, 1],
            "cosine_latent": x @ last / np.sqrt((x @ x) * (last @ last)),
            "mse_latent": -sum((x - last) ** 2) / 6,
            "l2_latent": -np.sqrt(sum((x - last) ** 2)),
            "pearson_pixel": np.corrcoef(p, final)[0, 1],
            "cosine_pixel": p @ final / np.sqrt((p @ p) * (final @ final)),
            "mse_pixel": -sum((p - final) ** 2) / 6,
        }
        for name, value in expected.items():
            assert table[name][row] == pytest.approx(value, rel=1e-9, abs=1e-12), name
    assert table["pearson_latent"][4] == pytest.approx(1.0, rel=1e-9)
    assert table["mse_pixel"][4] == table["l2_latent"][4] == 0


def test_a_state_without_variation_scores_zero_and_without_pixels_nothing(make_block):
    flat = scores("r", make_block(x=np.ones((3, 5, 6)), pixels=None))
    assert (flat["pearson_latent"] == 0).all()
    assert flat["cosine_latent"] == pytest.approx(np.ones(15))
    assert np.isnan(flat["pearson_pixel"]).all()


# Groups


def test_groups_are_described_by_numpys_own_statistics():
    noise = np.random.default_rng(1)
    table = {
        "vid_id": np.repeat(np.arange(6), 3),
        "step_index": np.tile(np.arange(3), 6),
        "full": noise.normal(size=18),
        "partly": np.where(noise.random(18) < 0.4, np.nan, noise.normal(size=18)),
        "never": np.full(18, np.nan),
        "run": np.array(["r"] * 18, object),
    }
    groups = np.repeat(["A", "B", "A", "A", "B", "A"], 3)
    found = summary.by_step(table, groups)
    assert set(found["metric"]) == {"full", "partly"}
    seen = 0
    for group, step, metric in zip(found["group"], found["step_index"], found["metric"], strict=True):
        values = table[metric][(groups == group) & (table["step_index"] == step)]
        values = values[~np.isnan(values)]
        expected = [len(values), values.mean(), values.std(), values.min(), values.max()]
        expected += [np.quantile(values, q) for q in (0.05, 0.25, 0.5, 0.75, 0.95)]
        row = [found[name][seen] for name in list(found)[3:]]
        np.testing.assert_allclose(row, expected, rtol=1e-12)
        seen += 1
    assert seen >= 6
    assert summary.describe(np.array([np.nan, np.inf]))["mean"] is None


# The basin trace


def test_leaning_is_the_cosine_from_the_middle_of_the_classes():
    means = np.array([[2.0, 0.0], [0.0, 0.0], [1.0, 3.0]])  # their middle is (1, 1)
    leans = basin.lean(np.array([[[1.5, 0.5], [1.0, 1.0]]]), means)
    np.testing.assert_allclose(leans[0, 0], [1.0, 0.0, -1 / np.sqrt(2)], atol=1e-12)
    assert np.isnan(leans[0, 1]).all()


def test_the_trace_ends_in_the_class_that_was_made(measured, tmp_path):
    steered = measured.run(
        tmp_path, "hdf5", scheduler="ddim", drifts=[], guidance_scale=1.0, total_videos=12, forces=[]
    ) / "trajectory.h5"  # fmt: skip
    for examples in ("own", steered):
        table = basin.measure([steered], installed(), examples)
        last = table["step_index"] == 4
        assert (table["basin_class"][last] == table["character"][last]).mean() >= 11 / 12
        np.testing.assert_allclose(table["basin_margin"][last], abs(table["lean_A"] - table["lean_B"])[last])
    with h5py.File(steered) as raw:
        final = raw["trajectory/x"][:, -1].reshape(12, -1).astype(np.float64)
        x0 = raw["trajectory/x0"][2, 3].ravel().astype(np.float64)
        labels = raw["samples/label"][:]
        others = (labels == labels[2]) & (np.arange(12) != 2)
        means = np.stack([final[others].mean(0), final[labels != labels[2]].mean(0)])
    directions = means - means.mean(0)
    away = x0 - means.mean(0)
    expected = directions @ away / np.linalg.norm(directions, axis=1) / np.linalg.norm(away)
    own = basin.measure([steered], installed(), "own")
    row = np.flatnonzero((own["vid_id"] == 2) & (own["step_index"] == 3))[0]
    np.testing.assert_allclose([own["lean_A"][row], own["lean_B"][row]], expected, rtol=1e-9)


def test_the_model_knows_where_its_classes_are(cli, file, measured, tmp_path):
    """From noise alone the estimate of an exact model is the mean of the class."""
    mixture = GaussianMixture(**{k: v for k, v in measured.settings["denoiser"].items() if k != "name"})
    means = mixture.mean_array().mean(1)
    found = basin.Examples.of_model(file, installed())
    assert found.classes == ("A", "B", "C")
    np.testing.assert_allclose(found.means, means, atol=0.1)
    assert cli("metrics", file, "--basin", "model", "--output", tmp_path).code == 0
    rows = measured.rows(tmp_path / "basin_trace.csv")
    assert {"lean_A", "lean_B", "lean_C"} <= rows[0].keys()
    with h5py.File(file) as raw:
        x0 = raw["trajectory/x0"][3, 2].ravel().astype(np.float64)
    row = next(row for row in rows if (row["vid_id"], row["step_index"]) == ("3", "2"))
    expected = basin.lean(x0, found.means)
    np.testing.assert_allclose([float(row[f"lean_{name}"]) for name in "ABC"], expected, rtol=1e-9)
    assert row["basin_class"] == "ABC"[int(expected.argmax())]


def test_one_class_leans_nowhere(cli, measured, tmp_path):
    folder = measured.run(tmp_path, "hdf5", character="A")
    assert "leaning is between two or more" in cli("metrics", folder / "trajectory.h5", "--basin", "own").error


# Attribution


@pytest.fixture
def maps() -> np.ndarray:
    return np.random.default_rng(5).normal(size=(3, 4, 5, 6))


def test_top_places_are_those_of_single_maps(maps):
    maps[0, 0] = np.round(maps[0, 0])  # with ties
    places = at.top_places(maps, 7)
    for b in range(3):
        for k in range(4):
            triples = zip(places.rows[b, k], places.columns[b, k], places.values[b, k], strict=True)
            assert [tuple(t) for t in triples] == top_coordinates(maps[b, k], 7)
    assert at.top_places(maps, 99).values.shape == (3, 4, 30)


def test_maps_masks_and_fractions(maps):
    states = np.stack([maps, 2 * maps], axis=-3)
    np.testing.assert_allclose(at.l2_map(states), np.sqrt(5) * abs(maps), rtol=1e-12)
    mask = at.active_mask(maps, 0.7)
    assert mask.tolist() == [[[[abs(v) > 0.7 for v in r] for r in m] for m in s] for s in maps.tolist()]
    counts = at.active_count(mask)
    assert counts[2, 1] == sum(map(sum, mask[2, 1].tolist()))
    np.testing.assert_allclose(at.active_fraction(mask), counts / 30)
    assert at.active_fraction(np.zeros((2, 0, 3), bool)).tolist() == [0.0, 0.0]
    assert at.masked_values(maps[0, 0], mask[0, 0]).tolist() == [v for v in maps[0, 0].ravel() if abs(v) > 0.7]
    normalised = at.contribution_map(np.concatenate([maps, 0 * maps[:1]]), normalised=True)
    np.testing.assert_allclose(normalised[:3].max((-2, -1)), 1.0)
    assert (normalised[3] == 0).all()
    np.testing.assert_array_equal(at.contribution_map(maps), abs(maps))


def test_places_add_up_to_a_heat_map(maps):
    heat = at.aggregated([(0, 1, 2.0), (4, 5, 1.0), (0, 1, 0.5)], (5, 6))
    assert heat[0, 1] == 2.5
    assert heat[4, 5] == 1.0
    assert np.count_nonzero(heat) == 2
    np.testing.assert_allclose(at.aggregated(at.top_places(maps, 30), (5, 6)), maps.sum((0, 1)), rtol=1e-12)
    assert not at.aggregated([], (5, 6)).any()
    for outside in ((5, 0, 1.0), (-1, 0, 1.0)):
        with pytest.raises(IndexError):
            at.aggregated([outside], (5, 6))


def test_contribution_maps_are_means_over_the_ledger(file):
    with Trajectory(file) as trajectory:
        found = at.contribution_maps(BlockReader(trajectory, installed()), [1, 4, 5])
    with h5py.File(file) as held:
        base = held["trajectory/base"][:][[1, 4, 5]]
        force = held["forces/00_attract_class/contribution"][:][[1, 4, 5]]
        x0 = held["trajectory/x0"][:][[1, 4, 5]]
    assert found.names == ("base", "00_attract_class", "01_repel_class")
    np.testing.assert_allclose(found.maps[0], np.sqrt((base.astype(float) ** 2).sum(2)).mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.signed[1], force.astype(float).sum(2).mean(0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.estimate, x0.astype(float).mean((0, 2)), rtol=1e-9, atol=1e-12)


def test_the_attribution_command_draws_and_lists(cli, file, tmp_path, measured):
    done = cli("attribution", file, "--output", tmp_path, "--character", "A", "--top", "2", "--json")
    data = json.loads(done.out)
    assert data["samples"] == 4
    assert sum(part["share"] for part in data["parts"].values()) == pytest.approx(1)
    assert (tmp_path / "attribution.png").read_bytes().startswith(b"\x89PNG")
    with np.load(tmp_path / "attribution.npz") as arrays:
        assert arrays["maps"].shape == (3, 5, 6, 5)
        place = data["parts"]["base"]["top"][0]
        total = arrays["maps"][0].sum(0)
        assert place == [*np.unravel_index(total.argmax(), total.shape), pytest.approx(total.max())]
    first = (tmp_path / "attribution.png").read_bytes()
    assert "--overwrite" in cli("attribution", file, "--output", tmp_path).error
    assert cli("attribution", file, "--output", tmp_path, "--class", "A", "--top", "2", "--overwrite").code == 0
    assert (tmp_path / "attribution.png").read_bytes() == first
    plain = measured.run(tmp_path, "hdf5", forces=[]) / "trajectory.h5"
    assert "holds no contributions of forces: it has no forces" in cli("attribution", plain).error


def test_attribution_without_recorded_forces_says_so(cli, measured, tmp_path):
    states = measured.run(tmp_path, {"name": "hdf5", "fields": ["x", "base"]}) / "trajectory.h5"
    done = cli("attribution", states)
    assert done.code == 5
    assert "holds no contributions of forces: its recorder left them out" in done.error
    assert not (states.parent / "attribution.png").exists()


# What if


def asked(file: Path, *without: str, **more):
    with Trajectory(file) as trajectory:
        return what_if(trajectory, installed(), without, **more)


def test_without_a_force_is_the_run_that_never_had_it(file, measured, tmp_path):
    with h5py.File(file) as held:
        micro_batch = json.loads(held["config"].asstr()[()])["micro_batch"]
        x = held["trajectory/x"][:].reshape(7, 6, -1).astype(float)
        image = held["images"][:]
    kept = [force for force in measured.settings["forces"] if force["name"] != "attract_class"]
    never = measured.run(tmp_path, "hdf5", forces=kept, micro_batch=micro_batch)
    with h5py.File(never / "trajectory.h5") as held:
        other, other_image = held["trajectory/x"][:].reshape(7, 6, -1).astype(float), held["images"][:]
    found = asked(file, "attract_class")
    np.testing.assert_allclose(found.x, np.linalg.norm(x - other, axis=-1), rtol=1e-12)
    assert (found.x[:, 0] == 0).all()
    assert (found.x[:, -1] > 0.001).all()
    np.testing.assert_array_equal(found.image, image)
    np.testing.assert_array_equal(found.other, other_image)
    change = (image.astype(int) - other_image).reshape(7, -1)
    np.testing.assert_array_equal(found.pixel_change.reshape(7, -1), change)
    np.testing.assert_allclose(found.pixel_mean, abs(change).mean(1))
    assert found.half_step.tolist() == [int(np.argmax(row >= row[-1] / 2)) for row in found.x]


def test_the_noise_of_what_stays_is_as_it_was(measured, tmp_path):
    """The second of two equal drifts keeps its own noise when the first is left out."""
    drift = {"name": "default", "noise_scale": 0.1, "decay": 0.0}
    folder = measured.run(tmp_path, "hdf5", drifts=[{**drift, "noise_scale": 0.0}, drift], forces=[])
    found = asked(folder / "trajectory.h5", "00_default")
    assert (found.x == 0).all()
    assert found.half_step.tolist() == [-1] * 7
    assert (asked(folder / "trajectory.h5", "01_default").x[:, 1] > 0).all()


def test_names_of_what_is_left_out(measured):
    from emnist_diff_plugins.layers import configure

    settings, _ = configure(installed(), {**measured.settings, "clip_norm": 2.0})

    def weights(*names):
        left = left_out(settings, names)
        return [item.weight.value for item in (*left.forces, *left.drifts)], left.clip_norm

    assert weights("forces") == ([0.0, 0.0, 1.0], 2.0)
    assert weights("01_repel_class", "drifts") == ([0.5, 0.0, 0.0], 2.0)
    assert weights("clip") == ([0.5, 1.0, 1.0], None)
    with pytest.raises(UnknownName, match="did you mean 'attract_class'"):
        left_out(settings, ["atract_class"])


def test_the_whatif_command(cli, file, tmp_path):
    done = cli("whatif", file, "--without", "attract_class", "--sample", "1-2", "--sample", "5", "--output", tmp_path)
    assert (done.code, done.err) == (0, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"whatif-attract_class.{suffix}" for suffix in ("csv", "json", "png")
    ]
    data = json.loads((tmp_path / "whatif-attract_class.json").read_text())
    assert [video["vid_id"] for video in data["videos"]] == [1, 2, 5]
    assert data["final_pixel_l2"]["mean"] == pytest.approx(np.mean([v["final_pixel_l2"] for v in data["videos"]]))
    assert (tmp_path / "whatif-attract_class.csv").read_text().count("\n") == 1 + 3 * 6
    assert "--overwrite" in cli("whatif", file, "--without", "attract_class", "--output", tmp_path).error
    lost = cli("whatif", file, "--without", "push", "--output", tmp_path)
    assert lost.code == 2
    assert "unknown force or drift of this run: 'push'" in lost.error
    assert cli("whatif", file, "--without", "forces", "--sample", "", "--output", tmp_path).code == 2


def test_a_long_whatif_says_how_far_it_is(cli, measured, tmp_path):
    many = measured.run(tmp_path, "hdf5", total_videos=18, steps=2) / "trajectory.h5"
    done = cli("whatif", many, "--without", "forces", "--without", "drifts", "--json")
    (line,) = map(json.loads, done.err.splitlines())
    assert (line["event"], line["done"], line["total"]) == ("whatif.walked", 16, 18)
    files = ["whatif-forces+drifts.png", "whatif-forces+drifts.csv", "whatif-forces+drifts.json"]
    assert json.loads(done.out)["files"] == files


def test_whatif_of_a_run_that_nothing_steers(cli, measured, tmp_path):
    plain = measured.run(tmp_path, "hdf5", forces=[], drifts=[]) / "trajectory.h5"
    done = cli("whatif", plain, "--without", "forces")
    assert (done.code, done.error) == (2, "emnist-diff: this run has no forces, drifts or clip that could be left out")


def test_whatif_needs_a_committed_sample(file, tmp_path):
    path = tmp_path / "trajectory.h5"
    path.write_bytes(file.read_bytes())
    with h5py.File(path, "r+") as held:
        held["samples/steps_done"][:] = 0
    with pytest.raises(TrajectoryError, match="no committed sample"):
        asked(path, "attract_class")
    with pytest.raises(UnknownName, match="sample 99 is not committed"):
        asked(file, "attract_class", samples=[99])
