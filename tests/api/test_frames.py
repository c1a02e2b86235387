"""Frames hold what their definitions say, and refuse what was not kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from emnist_diff import (
    CaptureConfig,
    CheckpointInfo,
    GenerationResult,
    InferenceConfig,
    LoadedDenoiser,
    VideoConfig,
    build_scheduler,
    generate_sample,
)
from emnist_diff.errors import ConfigError
from emnist_diff_inference.frames import stats, top_coordinates
from emnist_diff_trajectory.pixels import to_uint8

UPSCALE = 3


@pytest.fixture(scope="module")
def make(mixture: CheckpointInfo, model: LoadedDenoiser) -> Any:
    """A sample of the mixture, with these capture settings."""

    def call(**capture: Any) -> GenerationResult:
        config = InferenceConfig(steps=7, capture=CaptureConfig(**capture), video=VideoConfig(upscale=UPSCALE))
        return generate_sample(model, build_scheduler(mixture), config, mixture)

    return call


@pytest.fixture(scope="module")
def whole(make: Any) -> GenerationResult:
    """Everything kept."""
    return make(archive_mode="tier2", delta_dtype="float32", active_latent_threshold=0.3, active_pixel_threshold=20)


def test_states_follow_each_other(whole: GenerationResult):
    before = whole.x_init
    for frame in whole.frames:
        assert torch.equal(frame.x_before, before)
        assert torch.equal(frame.x_after, frame.latent)
        assert torch.equal(frame.delta_x, frame.latent - before)
        before = frame.latent
    assert torch.equal(before, whole.x_final)
    replayed = whole.x_init + whole.delta_x_stack.sum(0)
    assert torch.allclose(replayed, whole.x_final, atol=1e-5)


def test_changes_of_the_state(whole: GenerationResult):
    for i, frame in enumerate(whole.frames):
        change = frame.delta_x.numpy().astype(np.float64)
        assert frame.delta_x_l2 == pytest.approx(np.sqrt((change**2).sum()), rel=1e-12)
        assert whole.delta_x_l2[i] == frame.delta_x_l2
        assert frame.stats_delta_x["mean"] == pytest.approx(change.mean())
        assert frame.stats_delta_x["std"] == pytest.approx(np.sqrt(((change - change.mean()) ** 2).mean()))
        assert (frame.stats_delta_x["min"], frame.stats_delta_x["max"]) == (change.min(), change.max())
        assert np.array_equal(frame.active_latent_mask.numpy(), np.abs(frame.delta_x.numpy()) > np.float32(0.3))
        assert frame.active_latent_mask.any()
        assert not frame.active_latent_mask.all()
        assert np.array_equal(frame.delta_x_l2_map, np.abs(change[0]))
        top = frame.top_latent_coords
        assert len(top) == 36
        assert top[0][2] == np.abs(change).max()
        assert [value for _, _, value in top] == sorted(np.abs(change).ravel(), reverse=True)
        assert all(abs(change[0, row, column]) == value for row, column, value in top)
    assert whole.delta_x_l2_map.shape == (7, 6, 6)


def test_images(whole: GenerationResult):
    previous = None
    for i, frame in enumerate(whole.frames):
        image = np.rint(np.clip((frame.latent.numpy()[0] + 1) / 2, 0, 1) * 255)
        assert np.array_equal(frame.latent_u8, image)
        assert frame.latent_u8.dtype == frame.frame_u8.dtype == np.uint8
        assert np.array_equal(frame.frame_u8, np.kron(image, np.ones((UPSCALE, UPSCALE))))
        change = np.zeros_like(image) if previous is None else image - previous
        large = np.kron(change, np.ones((UPSCALE, UPSCALE)))
        assert frame.delta_pixel.dtype == np.int16
        assert np.array_equal(frame.delta_pixel, large)
        assert frame.delta_pixel_l2 == whole.delta_pixel_l2[i] == pytest.approx(np.sqrt((large**2).sum()))
        assert frame.stats_pixel == pytest.approx(stats(frame.frame_u8))
        assert frame.stats_delta_pixel == pytest.approx(stats(large))
        assert np.array_equal(frame.active_pixel_mask, np.abs(large) > 20)
        assert np.array_equal(frame.delta_pixel_l2_map, np.abs(large))
        assert frame.top_pixel_coords[0][2] == np.abs(large).max()
        previous = image
    assert np.array_equal(whole.final_image, previous)
    assert whole.delta_pixel_l2_map.shape == (7, 6 * UPSCALE, 6 * UPSCALE)


def test_the_schedule(whole: GenerationResult, mixture: CheckpointInfo):
    timeline = build_scheduler(mixture).scheduler.plan(7)
    assert [frame.k for frame in whole.frames] == list(range(7))
    assert [frame.t_index for frame in whole.frames] == [frame.step_index for frame in whole.frames] == list(range(7))
    assert [frame.timestep for frame in whole.frames] == list(timeline.timestep)
    assert [frame.alpha_cumprod_t for frame in whole.frames] == list(timeline.alpha_bar)
    product = np.cumprod([frame.alpha_t for frame in reversed(whole.frames)])
    assert product[::-1] == pytest.approx(timeline.alpha_bar)
    assert all(frame.alpha_t + frame.beta_t == 1 for frame in whole.frames)
    clock = [frame.wall_dt for frame in whole.frames]
    assert clock == sorted(clock)
    assert 0 < clock[-1] <= whole.total_time


def test_only_some_steps(make: Any, whole: GenerationResult):
    some = make(save_every=4)
    assert [(frame.k, frame.step_index) for frame in some.frames] == [(0, 0), (1, 4), (2, 6)]
    for frame in some.frames:
        twin = whole.frames[frame.step_index]
        assert torch.equal(frame.latent, twin.latent)
        assert torch.equal(frame.delta_x, twin.delta_x.half())
    change = some.frames[1].delta_pixel + some.frames[2].delta_pixel  # to the frame kept before, not the step before
    assert np.array_equal(change, whole.frames[6].frame_u8.astype(int) - whole.frames[0].frame_u8)


def plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


LATENTS = ("latent", "delta_x", "delta_x_l2", "stats_delta_x", "active_latent_mask", "top_latent_coords")
PIXELS = ("latent_u8", "frame_u8", "stats_pixel")
DELTAS = ("delta_pixel", "delta_pixel_l2", "stats_delta_pixel", "active_pixel_mask", "top_pixel_coords")
MAPS = ("delta_x_l2_map", "delta_pixel_l2_map")
STATES = ("x_before", "x_after")


@pytest.mark.parametrize(
    ("switch", "names"),
    [
        ("save_latents", LATENTS),
        ("save_pixels", PIXELS),
        ("save_deltas", DELTAS),
        ("save_l2_maps", MAPS),
        ("save_x_before_after", STATES),
    ],
)
def test_each_switch_gives_its_own_and_nothing_else(switch: str, names: tuple[str, ...], make: Any, whole: Any):
    off = dict.fromkeys(("save_latents", "save_pixels", "save_deltas"), False)
    frame, twin = make(**{**off, switch: True, "delta_dtype": "float32"}).frames[-1], whole.frames[-1]
    for name in (*LATENTS, *PIXELS, *DELTAS, *MAPS, *STATES):
        if name not in names:
            with pytest.raises(ConfigError, match=rf"FrameData\.{name} was not kept — use CaptureConfig\(save_"):
                getattr(frame, name)
        elif name not in ("active_latent_mask", "active_pixel_mask"):  # of other thresholds
            assert plain(getattr(frame, name)) == plain(getattr(twin, name))


def test_top_coordinates():
    assert top_coordinates(np.array([[1.0, 5.0], [5.0, -2.0]]), 3) == [(0, 1, 5.0), (1, 0, 5.0), (0, 0, 1.0)]
    assert top_coordinates(np.zeros((2, 2)), 0) == []
    assert top_coordinates(np.zeros(3), 2) == []


def test_colour_images_stand_channels_last():
    image = torch.tensor([0.0, 0.5, 1.0]).reshape(3, 1, 1).expand(3, 2, 4)
    pixels = to_uint8(image)
    assert pixels.shape == (2, 4, 3)
    assert pixels[0, 0].tolist() == [0, 128, 255]
