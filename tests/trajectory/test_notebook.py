"""Trajectories as sequences of samples, and as prompts and notebooks show them."""

from __future__ import annotations

import base64
import io
import re

import h5py
import numpy as np
import pytest
from PIL import Image

from emnist_diff.errors import TrajectoryError, UnknownName
from emnist_diff_trajectory.reader import Trajectory


def test_a_trajectory_is_a_sequence_of_samples(tmp_path, a_run):
    path = a_run.record(tmp_path / "t.h5", [[0, 2]])
    with Trajectory(path) as t:
        assert len(t) == 5
        assert (t[0].id, t[-1].id, t[np.int64(1)].id) == (100, 104, 101)
        assert [s.id for s in t[:3]] == [100, 101, 102]
        assert [s.id for s in t[::-2]] == [104, 102, 100]
        assert [s.id for s in t] == [100, 102], "the committed ones"
        assert np.array_equal(t[2]["x"], t.x[2])
        for wrong in (5, -6):
            with pytest.raises(UnknownName, match="it has 5 samples"):
                _ = t[wrong]
        with pytest.raises(TypeError, match="by positions of samples, not by 'x'"):
            _ = t["x"]
        assert repr(t) == "<Trajectory 't.h5': 2 of 5 samples committed, 4 steps, class A, é, predicts epsilon>"
        assert repr(t[1]) == f"<Sample 101 of 't.h5': class 'é', seed {2**64 - 1}>"
        assert repr(t.x) == "<trajectory/x: float32 5×5×1×4×4, contiguous>"
    assert repr(t) == "<Trajectory 't.h5': closed>"
    assert t._repr_html_() == "<p>&lt;Trajectory &#x27;t.h5&#x27;: closed&gt;</p>"


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 300, 8)])
def test_a_notebook_shows_the_final_images(tmp_path, make_run, shape):
    path = make_run(samples=30, shape=shape).record(tmp_path / "<b>.h5")
    with h5py.File(path, "r+") as file:
        file["samples/classes"][0] = '<script>"' + "x" * 1000
    with Trajectory(path) as t:
        page = t._repr_html_()
        found = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
        for position, data in enumerate(found):
            shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
            stride = -(-max(shape[1:]) // 96)
            assert np.array_equal(shown, t.images[position][::stride, ::stride])
    assert len(found) == 24
    assert "and 6 more" in page
    assert "<script>" not in page
    assert "<b>.h5" not in page
    assert len(page) < 300_000


def test_labelled_arrays_of_a_closed_file_say_so(tmp_path, a_run):
    pytest.importorskip("xarray")
    with Trajectory(a_run.record(tmp_path / "t.h5")) as t:
        data = t.to_xarray()
        x = t.x
    for ask in (
        lambda: data.x.values,
        lambda: data.images.mean().item(),
        lambda: x[0],
        lambda: np.asarray(x),
        t.to_xarray,
    ):
        with pytest.raises(TrajectoryError, match=r"t\.h5 is closed — read it within the with block"):
            ask()
