"""The drifts in whole walks of an exact mixture, through what a user types."""

from __future__ import annotations

import numpy as np
import pytest
from emnist_diff.assembly.assemble import assemble
from emnist_diff.engine.state import Batch
from emnist_diff.engine.walk import walk
from emnist_diff.frames import FIELDS
from emnist_diff_plugins.layers import configure

MIXTURE = {"name": "gaussian-mixture", "shape": [1, 8, 8], "classes": "ABC"}


@pytest.fixture
def walked(registry):
    """(frames, final states) of a run with one drift."""

    def make(drift, steps=12, **said):
        layers = {"denoiser": MIXTURE, "steps": steps, "total_videos": 4, "sinks": [], "drifts": [drift], **said}
        assembly = assemble(registry, configure(registry, layers)[0])
        header = assembly.header
        batch = Batch(tuple(range(4)), tuple(range(4)), tuple(header.labels.tolist()), tuple(header.seeds.tolist()))
        *frames, end = walk(assembly.engine, batch, lambda at: frozenset(FIELDS))
        return frames, end.x.numpy(), assembly

    return make


@pytest.fixture
def image(save):
    return save("image.npy", np.random.default_rng(0).uniform(-1, 1, (1, 8, 8)).astype(np.float32))


@pytest.mark.parametrize("scheduler", ["ddim", "ddpm", "heun", "dpmpp_2m"])
def test_inpaint_keeps_what_is_known_with_every_scheduler(walked, image, scheduler):
    _, end, _ = walked({"name": "inpaint", "image": image, "mask": "left"}, scheduler=scheduler)
    np.testing.assert_allclose(end[..., :4], np.broadcast_to(np.load(image)[..., :4], end[..., :4].shape), atol=1e-6)
    assert abs(end[..., 4:] - np.load(image)[..., 4:]).max() > 0.1


def test_the_recorded_walk_of_sdedit_shows_the_image_vanishing_in_its_noise(walked, image):
    frames, _, assembly = walked({"name": "sdedit", "image": image, "strength": 0.5})
    states = [frame["x"].numpy().astype(np.float64) for frame in frames]
    noises = []
    for index in range(1, 7):  # where the steps before the start end
        alpha_bar = assembly.engine.timeline.alpha_bar[index]
        noises.append((states[index] - np.sqrt(alpha_bar) * np.load(image)) / np.sqrt(1 - alpha_bar))
    for noise in noises:
        np.testing.assert_allclose(noise, noises[0], atol=1e-4)
    assert abs(noises[0].std() - 1) < 0.15
    assert all(not frame.group("drifts")[0].any() for frame in frames[6:])


def test_schedulers_without_memory_take_nothing_of_sdedits_walk_before_its_start(walked, image):
    def ends(scheduler):
        pull = {"name": "attract_class", "target": "B", "weight": {"kind": "window", "to": 0.47}}
        drift = {"name": "sdedit", "image": image, "strength": 0.5}
        return [walked(drift, scheduler=scheduler, forces=forces)[1] for forces in ([], [pull])]

    for scheduler in ("ddim", "ddpm", "euler"):
        plain, pulled = ends(scheduler)
        assert np.array_equal(plain, pulled), scheduler
    for scheduler in ("unipc", "dpmpp_2m", "lms"):
        plain, pulled = ends(scheduler)
        assert not np.array_equal(plain, pulled), scheduler


def test_evaluations_of_langevin_are_in_the_plan(walked):
    plain = walked({"name": "none"})[2].plan
    steps, points = 2, 3
    for said, looks in (({}, steps), ({"acceptance": True, "points": points}, 1 + steps * (points - 1))):
        plan = walked({"name": "langevin", "steps": steps, **said})[2].plan
        assert plan.rows == plain.rows * (12 + 11 * looks) // 12


def test_two_runs_are_one(walked, image):
    for drift in ({"name": "langevin", "acceptance": True}, {"name": "low_pass", "reference": image, "factor": 2}):
        assert np.array_equal(walked(drift)[1], walked(drift)[1])
        assert not np.array_equal(walked(drift)[1], walked(drift, seed=3)[1])


def test_a_symmetric_walk_ends_in_symmetric_images(walked):
    _, end, _ = walked({"name": "symmetry", "group": "d4"})
    np.testing.assert_allclose(end, end[..., ::-1], atol=1e-6)
    np.testing.assert_allclose(end, end.swapaxes(-1, -2), atol=1e-6)
