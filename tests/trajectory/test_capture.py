"""What a run keeps when it is told to keep less, and that it is right and can be continued."""

from __future__ import annotations

import numpy as np
import pytest

from emnist_diff.discovery import installed
from emnist_diff.errors import ConfigError, Interrupted, TrajectoryError
from emnist_diff.frames import FIELDS
from emnist_diff.running.run import run
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.layers import configure
from emnist_diff_plugins.sinks.hdf5 import Hdf5Sink
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.schema import Capture
from emnist_diff_trajectory.verify import verify
from emnist_diff_trajectory.writer import TrajectoryWriter

SETTINGS = {
    "denoiser": {"name": "gaussian-mixture", "shape": [1, 4, 4], "classes": "AB"},
    "character": "A,B",
    "total_videos": 5,
    "steps": 7,
    "batch_size": 2,
    "forces": [{"name": "attract_class", "target": "B", "weight": 0.5}],
    "drifts": [{"name": "default", "noise_scale": 0.1}],
}


def recorded(folder, sink, resume=False, on_commit=None, **more):
    settings, _ = configure(installed(), SETTINGS | {"output": str(folder), "sinks": [sink]} | more)
    run(settings, resume=resume, on_commit=on_commit)
    return next(folder.rglob("trajectory*.h5"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return recorded(tmp_path_factory.mktemp("whole"), "hdf5")


@pytest.mark.parametrize(
    ("capture", "steps", "samples"),
    [
        ({"every": 3}, [0, 3, 6], [0, 1, 2, 3, 4]),
        ({"every": 100}, [0], [0, 1, 2, 3, 4]),
        ({"samples": 2}, range(7), [0, 1]),
        ({"samples": [4, 1]}, range(7), [1, 4]),
        ({"every": 2, "samples": [3], "fields": ["x", "forces"]}, [0, 2, 4, 6], [3]),
    ],
)
def test_what_is_kept_is_what_the_whole_run_keeps_there(tmp_path, whole, capture, steps, samples):
    path = recorded(tmp_path, {"name": "hdf5", **capture})
    assert verify(path) == []
    with Trajectory(path) as part, Trajectory(whole) as full:
        assert part.kept_steps.tolist() == list(steps)
        assert part.kept_samples.tolist() == samples
        assert len(part) == 5
        assert part.committed == [0, 1, 2, 3, 4]
        assert np.array_equal(part.images, full.images)
        fields = capture.get("fields", FIELDS)
        assert set(part.fields) == set(fields)
        for name, dataset in part.datasets().items():
            if name == "images":
                continue
            columns = [*steps, 7] if name == "trajectory/x" else list(steps)
            expected = full.field(name)[...][samples][:, columns]
            assert dataset[...].tobytes() == expected.tobytes(), name


def test_half_precision_is_the_rounded_whole(tmp_path, whole):
    path = recorded(tmp_path, {"name": "hdf5", "dtype": "float16"})
    assert verify(path) == []
    with Trajectory(path) as half, Trajectory(whole) as full:
        for name, dataset in half.datasets().items():
            expected = full.field(name)[...]
            assert dataset[...].tobytes() == expected.astype(dataset.dtype).tobytes()
            if name != "images":
                assert np.allclose(dataset[...].astype(np.float32), expected, rtol=2**-11, atol=3e-8), name


def test_of_steps_and_samples_that_are_not_kept_nothing_is_asked():
    sink = Hdf5Sink(every=3, fields=("x0",))
    wanted = [sink.wants(StepInfo(i, 7, 0.0, 0.5, 0.5)) for i in range(7)]
    assert [index for index, fields in enumerate(wanted) if fields] == [0, 3, 6]
    assert wanted[3] == {"x0"}


@pytest.mark.parametrize("capture", [{"every": 3}, {"samples": [1, 4]}, {"samples": 0}])
def test_an_interrupted_run_is_continued_to_the_same_bytes(tmp_path, capture):
    import signal

    sink = {"name": "hdf5", **capture}
    path = recorded(tmp_path / "whole", sink)
    with pytest.raises(Interrupted):
        recorded(tmp_path / "parts", sink, on_commit=lambda done, total: signal.raise_signal(signal.SIGINT))
    again = recorded(tmp_path / "parts", sink, resume=True)
    assert again.read_bytes() == path.read_bytes()
    assert verify(path) == []


def test_a_file_that_keeps_other_things_is_not_continued(tmp_path):
    recorded(tmp_path, {"name": "hdf5", "every": 3})
    with pytest.raises(TrajectoryError, match=r"keeps other steps \(3 × .*7 × "):
        recorded(tmp_path, "hdf5", resume=True)
    with pytest.raises(TrajectoryError, match=r"keeps other samples"):
        recorded(tmp_path, {"name": "hdf5", "every": 3, "samples": 2}, resume=True)


def test_samples_without_states_are_there_without_them(tmp_path, a_run):
    path = tmp_path / "t.h5"
    capture = Capture(samples=frozenset({101, 103}))  # ids of the run start at 100
    writer = TrajectoryWriter.create(path, a_run.header, capture)
    assert writer.kept([0, 1, 2, 3, 4]) == [1, 3]
    data = a_run.data(range(5))
    for batch in ([0, 2], [1, 4, 3]):
        rows = [p for p in batch if p in (1, 3)]
        writer.commit(batch, {n: v[batch] if n == "images" else v[rows] for n, v in data.items()})
    writer.close()
    assert verify(path) == []
    with Trajectory(path) as t:
        assert np.array_equal(t.field("x", 3), data["trajectory/x"][3])
        assert np.array_equal(t.field("x", slice(1, 4)), data["trajectory/x"][[1, 3]])
        assert np.array_equal(t.field("x", -2), data["trajectory/x"][3])
        assert np.array_equal(t.images, data["images"])
        assert t.field("x", slice(0, 1)).shape == (0, 5, 1, 4, 4)
        with pytest.raises(TrajectoryError, match="keeps no states of sample 102"):
            t.field("x", 2)
        with pytest.raises(TrajectoryError, match="does not keep step 9; it keeps 0, 1, 2, 3"):
            t.column(9)


@pytest.mark.parametrize("capture", [{"every": 0}, {"samples": -1}, {"samples": []}, {"samples": [0, -3]}])
def test_impossible_captures_are_settings_errors(tmp_path, capture):
    with pytest.raises(ConfigError, match="hdf5"):
        recorded(tmp_path, {"name": "hdf5", **capture})
    assert not list(tmp_path.iterdir())
