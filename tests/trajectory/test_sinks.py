"""What the built-in sinks leave behind, beside what the engine walked."""

from __future__ import annotations

import signal

import numpy as np
import pytest
from PIL import Image

from emnist_diff.assembly.assemble import assemble
from emnist_diff.discovery import installed
from emnist_diff.engine.state import Batch
from emnist_diff.engine.walk import walk
from emnist_diff.errors import Interrupted, RunFailed
from emnist_diff.frames import FIELDS, BatchResult
from emnist_diff.running.run import execute
from emnist_diff_plugins.layers import configure
from emnist_diff_trajectory.reader import Trajectory

SETTINGS = {
    "denoiser": {"name": "gaussian-mixture", "shape": [1, 5, 4], "classes": "AB"},
    "total_videos": 5,
    "steps": 6,
    "batch_size": 2,
    "forces": [{"name": "attract_class", "target": "B", "weight": 0.5}, {"name": "repel_class", "target": "A"}],
    "drifts": [{"name": "default", "noise_scale": 0.1}],
    "sinks": ["hdf5", {"name": "grid", "moments": 3}],
}


@pytest.fixture
def assembled(tmp_path):
    def make(name="run", **more):
        settings, _ = configure(installed(), SETTINGS | {"output": str(tmp_path / name)} | more)
        return assemble(installed(), settings)

    return make


def test_the_file_holds_what_the_engine_walked_bit_for_bit(assembled):
    assembly = assembled()
    execute(assembly)
    header = assembly.header
    ids = tuple(range(5))
    batch = Batch(ids, ids, tuple(header.labels.tolist()), tuple(header.seeds.tolist()))
    *frames, last = walk(assembly.engine, batch, lambda at: frozenset(FIELDS))
    assert isinstance(last, BatchResult)

    def stacked(states):
        return np.stack([state.numpy() for state in states], axis=1)

    with Trajectory(header.output / "trajectory.h5") as t:
        assert np.array_equal(t.x[...], stacked([*(f["x"] for f in frames), last.x]))
        for name in ("x0", "prediction", "base"):
            assert np.array_equal(t.field(name)[...], stacked(f[name] for f in frames)), name
        for number in (0, 1):
            assert np.array_equal(t.contribution(number)[...], stacked(f.group("forces")[number] for f in frames))
        assert np.array_equal(t.field("drifts/00_default/delta")[...], stacked(f.group("drifts")[0] for f in frames))
        pixels = np.rint(np.clip((t.x[:, -1, 0] + 1) / 2, 0, 1) * 255).astype(np.uint8)
        assert np.abs(t.images[...].astype(int) - pixels).max() <= 1
        assert t.images[...].std() > 10


def test_a_resumed_run_draws_the_samples_of_both_sittings(assembled):
    whole = assembled("whole")
    execute(whole)
    parts = assembled("parts", batch_size=1)
    with pytest.raises(Interrupted, match=r"[12] of 5 samples are committed in .* — repeat the command with --resume"):
        execute(parts, on_commit=lambda done, total: signal.raise_signal(signal.SIGINT))
    names = ("samples.png", "strips.png", "trajectory.h5")
    early = {name: (parts.header.output / name).read_bytes() for name in names}

    execute(assembled("parts", batch_size=1), resume=True)

    for name in names:
        final = (parts.header.output / name).read_bytes()
        assert final == (whole.header.output / name).read_bytes(), name
        assert final != early[name], name
    with Image.open(parts.header.output / "samples.png") as picture:
        assert np.asarray(picture).std() > 10


def test_pictures_of_another_run_are_not_drawn(assembled):
    execute(assembled())
    other = assembled(seed=5, sinks=["grid"])
    execute(other, resume=True)
    alone = assembled("alone", seed=5, sinks=["grid"])
    execute(alone)
    assert (other.header.output / "samples.png").read_bytes() == (alone.header.output / "samples.png").read_bytes()


def test_a_run_that_fails_before_its_first_commit_leaves_no_file_in_the_way(assembled):
    assembly = assembled(guidance_scale=1e300)
    with pytest.raises(RunFailed, match="non-finite"):
        execute(assembly)
    assert not (assembly.header.output / "trajectory.h5").exists()
    execute(assembled())


def test_a_run_that_fails_later_leaves_what_was_committed(assembled):
    def fail(done, total):
        raise RuntimeError("after the first commit")

    assembly = assembled()
    with pytest.raises(RuntimeError, match="after the first commit"):
        execute(assembly, on_commit=fail)
    with Trajectory(assembly.header.output / "trajectory.h5") as trajectory:
        assert list(trajectory.committed) == [0, 1]
    assert execute(assembled(), resume=True).resumed == 2
