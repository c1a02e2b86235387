"""Regional masks: the formula in each place, masks of every kind, and states that have no places."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import h5py
import numpy as np
import pytest
import torch
from emnist_diff.conditions import NULL, OWN, named
from emnist_diff.errors import ConfigError, UnknownName
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture
from PIL import Image

from emnist_diff_forces_contrib._regions import Region, feathered, shares
from emnist_diff_forces_contrib.regional import Regional


def forces(**settings):
    return [{"name": "regional", "targets": ["B", "C"], "masks": ["left", [0.25, 0, 1, 0.5]], **settings}]


@attrs.frozen(eq=False)
class States:
    """As much of a denoiser as says where its states stand in a picture."""

    shape: tuple[int, ...]
    image_shape: tuple[int, ...]


def planes(masks, side=8, picture=8, feather=0.0):
    return shares([Region.read(mask) for mask in masks], feather, States((1, side, side), (1, picture, picture)))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample", "flow"])
@pytest.mark.parametrize("scale", [0, 1, 2.5])
def test_each_place_has_the_prediction_of_its_region(walked, assembled, ask, prediction, scale):
    run = {"mixture": {"prediction": prediction}, "base": "cond", "forces": forces(scale=scale)}
    denoiser = assembled(**run).engine.denoisers[""]
    left, box = np.zeros((8, 8)), np.zeros((8, 8))
    left[:, :4], box[:4, 2:] = 1, 1
    both = np.maximum(1, left + box)
    for frame in walked(**run).frames:
        own, b, c, none = (
            ask(denoiser, frame["x"].numpy(), frame.at.timestep, rows).astype(np.float64)
            for rows in ((0, 1, 2), (1,) * 3, (2,) * 3, (3,) * 3)
        )
        mixed = left / both * b + box / both * c + (1 - (left + box) / both) * own
        expected = none + scale * (mixed - none)
        tolerance = 1e-5 * max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(frame["prediction"].numpy(), expected, rtol=0, atol=tolerance)


def test_regions_of_one_class_are_plain_guidance(walked):
    regions = walked(base="uncond", character="B", forces=forces(targets=["own", "B"], scale=2, feather=0.2))
    plain = walked(base="uncond", forces=[{"name": "attract_class", "target": "B", "strength": 2}])
    np.testing.assert_allclose(regions.x, plain.x, rtol=0, atol=1e-4)


def test_boxes_cover_shares_of_pixels_and_of_latents():
    (quarter,) = planes([[0.0, 0.0, 0.3, 0.5]], side=4)
    np.testing.assert_allclose(quarter[:, :2], [[1, 0.2], [1, 0.2], [0, 0], [0, 0]], atol=1e-7)
    (small,) = planes([[0.0, 0.0, 0.3, 0.5]], side=4, picture=32)
    np.testing.assert_allclose(small, quarter, atol=1e-7)
    for name, expected in (("left", (0, 0, 0.5, 1)), ("bottom", (0, 0.5, 1, 1)), ("centre", (0.25, 0.25, 0.75, 0.75))):
        assert torch.equal(planes([name]), planes([expected]))


def test_feathers_keep_what_a_border_is_worth_and_reach_the_edge():
    plane = Region.read("left").drawn((32, 32))
    soft = feathered(plane, 2.0)
    assert float((soft[:, :1] - 1).abs().max()) < 1e-12
    np.testing.assert_allclose(soft + soft.flip(1), np.ones((32, 32)), atol=1e-12)
    assert bool((soft.diff(dim=1) <= 1e-12).all())
    assert 0.5 < float(soft[0, 15]) < 0.65
    offset = torch.arange(-6, 7, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (offset / 2) ** 2)
    assert float(soft[5, 15]) == pytest.approx(float(kernel[:7].sum() / kernel.sum()), abs=1e-12)


def test_masks_of_files_are_drawn_at_the_size_of_the_states(tmp_path):
    values = np.zeros((8, 8), np.uint8)
    values[:4, :4], values[0, 7] = 255, 51
    Image.fromarray(values).save(tmp_path / "mask.png")
    np.save(tmp_path / "mask.npy", values / 255)
    for name in ("mask.png", "mask.npy"):
        (same,) = planes([str(tmp_path / name)])
        np.testing.assert_allclose(same, values / 255, atol=1e-7)
        (latent,) = planes([str(tmp_path / name)], side=4, picture=16)
        np.testing.assert_allclose(latent, (values / 255).reshape(4, 2, 4, 2).mean((1, 3)), atol=1e-7)


BAD = [
    ({"masks": ["left"]}, r"regional: 1 masks for 2 targets"),
    ({"masks": "left"}, r"masks: expected a list of regions"),
    ({"masks": ["left", [0, 0, 1]]}, r"a box is \[left, top, right, bottom\], got \[0, 0, 1\]"),
    ({"masks": ["left", [0.5, 0, 0.2, 1]]}, r"the box \[0.5, 0, 0.2, 1\] does not lie in the picture"),
    ({"masks": ["left", "nowhere.png"]}, r"mask 'nowhere.png' cannot be read: No such file"),
    ({"masks": ["left", "bad.png"]}, r"mask 'bad.png' is no picture that can be read"),
    ({"masks": ["left", "bad.npy"]}, r"mask 'bad.npy' holds no NumPy array"),
    ({"masks": ["left", "large.npy"]}, r"mask 'large.npy' has shape \(4, 4\) and values from 0 to 7"),
    ({"feather": -1}, r"feather"),
]


@pytest.mark.parametrize(("settings", "message"), BAD)
def test_bad_masks_are_refused_in_one_line(tmp_path, monkeypatch, settings, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.png").write_text("no picture")
    (tmp_path / "bad.npy").write_text("no array")
    np.save(tmp_path / "large.npy", np.arange(16).reshape(4, 4) % 8)
    with pytest.raises((ConfigError, ValueError), match=message) as refused:
        Regional(**{"targets": ["B", "C"], "masks": ["left", "right"], **settings})
    assert "\n" not in str(refused.value.args[0])


def test_states_without_places_and_masks_that_do_not_fit_are_refused(assembled, tmp_path):
    for shape in ([16], [6, 8]):
        with pytest.raises(ConfigError, match=r"no number of them stands for a place in the picture"):
            assembled(mixture={"shape": shape}, forces=forces())
    np.save(tmp_path / "wide.npy", np.ones((4, 8)))
    np.save(tmp_path / "dark.npy", np.zeros((8, 8)))
    with pytest.raises(ConfigError, match=r"is 8 × 4, and images of this model are 8 × 8 — give one of the same"):
        assembled(forces=forces(masks=["left", str(tmp_path / "wide.npy")]))
    with pytest.raises(ConfigError, match=r"covers nothing of the picture"):
        assembled(forces=forces(masks=["left", str(tmp_path / "dark.npy")]))
    with pytest.raises(UnknownName, match="unknown class 'Q'"):
        assembled(forces=forces(targets=["Q", "B"]))


def test_the_null_class_is_read_where_the_scale_needs_it(given):
    at = given().step.at
    b, c = named("B"), named("C")
    for scale, expected in ((0, [NULL]), (1, [OWN, b, c]), (2, [NULL, OWN, b, c])):
        force = Regional(targets=["B", "C"], masks=["left", "right"], scale=scale)
        assert list(force.conditions(at)) == expected


def test_a_run_over_latents_records_the_file_of_a_mask(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("mask.npy", np.kron([[1.0, 0.0], [1.0, 1.0]], np.ones((14, 14))))
    force = 'regional:targets=["7"],masks=["mask.npy"],scale=2'
    words = ("--checkpoint", "mnist-latent-rf", "--character", "1", "--base", "cond", "--force", force)
    assert cli("run", *words, "--total-videos", "1", "--steps", "2", "--output", "out").code == 0
    (path,) = Path("out").glob("*/trajectory.h5")
    with h5py.File(path) as file:
        assert "forces[0].masks[0]" in json.loads(file["config"][()])["files"]


def test_it_is_fitted_before_it_is_used(given):
    force = Regional(targets=["B"], masks=["left"], scale=2)
    case = given()
    with pytest.raises(ConfigError, match=r"call encoded\(denoiser\) first"):
        force(case.predictions, case.step)
    fitted = force.encoded(GaussianMixture(shape=(1, 8, 8), classes="ABC").denoiser())
    assert fitted == force
