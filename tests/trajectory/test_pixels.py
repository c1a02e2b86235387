"""Pixels of images and of states."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from emnist_diff_trajectory.pixels import as_images, to_uint8


def test_states_that_are_pictures_run_from_black_to_white():
    states = np.array([-3.0, -1.0, 0.0, 0.5, 1.0, 2.0], dtype=np.float32)
    np.testing.assert_array_equal(as_images(states), np.array([0, 0, 0.5, 0.75, 1, 1], dtype=np.float32))
    assert torch.equal(as_images(torch.from_numpy(states)), torch.from_numpy(as_images(states)))


@pytest.mark.parametrize("shape", [(2, 1, 5, 4), (2, 3, 5, 4), (1, 5, 4), (2, 3, 1, 5, 4)])
def test_arrays_and_tensors_give_the_same_pixels(shape):
    images = np.random.default_rng(0).uniform(-0.1, 1.1, shape).astype(np.float32)
    pixels = to_uint8(images)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, to_uint8(torch.from_numpy(images)))
    planes = np.rint(np.clip(images, 0, 1) * np.float32(255))
    expected = planes[..., 0, :, :] if shape[-3] == 1 else np.moveaxis(planes, -3, -1)
    np.testing.assert_array_equal(pixels, expected)


def test_reading_a_trajectory_needs_no_torch():
    tools = ("compare", "estimates", "labelled", "merge", "notebook", "pack", "pictures", "select", "summary", "verify")
    code = f"""
import sys
from emnist_diff import Trajectory
Trajectory.__doc__  # loaded by its first use
import {", ".join(f"emnist_diff_trajectory.{tool}" for tool in tools)}
print("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
