"""Same or not, and where first."""

from __future__ import annotations

import json

import attrs
import h5py
import numpy as np
import pytest

from emnist_diff.errors import TrajectoryError
from emnist_diff_trajectory.compare import Place, compare
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.schema import Capture
from emnist_diff_trajectory.writer import TrajectoryWriter


@pytest.fixture
def pair(tmp_path, a_run):
    return a_run.record(tmp_path / "a.h5"), a_run.record(tmp_path / "b.h5")


def compared(pair):
    with Trajectory(pair[0]) as a, Trajectory(pair[1]) as b:
        return compare(a, b)


def changed(path, *changes):
    with h5py.File(path, "r+") as file:
        for name, where, by in changes:
            file[name][where] = file[name][where] + by


def test_equal_files_are_the_same(pair):
    found = compared(pair)
    assert found.same
    assert (found.samples, found.states) == (5, 5)
    assert found.differences.values == 5 * (2 + 16 * (5 + 4 * 3 + 4 * 3) + 16)


def test_the_first_place_is_by_sample_step_and_field_and_the_largest_is_anywhere(pair):
    changed(
        pair[1],
        ("trajectory/x", (3, 1, 0, 0, 0), 0.25),
        ("trajectory/base", (2, 3, 0, 1, 1), 0.5),
        ("trajectory/base", (4, 0, 0, 1, 1), 2.0),
        ("drifts/00_walk/delta", (2, 2, 0, 0, 0), 0.125),
        ("images", (1, 0, 0), 1),
    )
    found = compared(pair)
    assert not found.same
    assert found.differences.first == Place("images", 101, None)
    assert found.differences.largest["trajectory/base"] == (pytest.approx(2.0), Place("trajectory/base", 104, 0))
    assert found.differences.largest["trajectory/x"][1] == Place("trajectory/x", 103, 1)
    assert set(found.differences.largest) == {"trajectory/x", "trajectory/base", "drifts/00_walk/delta", "images"}
    assert not found.differences.within(0.5)
    assert found.differences.within(2.1)


def test_the_last_bit_and_the_sign_of_zero_count(pair):
    with h5py.File(pair[0], "r+") as a, h5py.File(pair[1], "r+") as b:
        a["trajectory/x"][0, 0], b["trajectory/x"][0, 0] = 0.0, -0.0
    found = compared(pair)
    assert found.differences.first == Place("trajectory/x", 100, 0)
    assert found.differences.largest["trajectory/x"][0] == 0


def test_values_that_are_not_finite_differ_by_infinity(pair):
    changed(pair[1], ("trajectory/x", (0, 0), np.nan))
    assert compared(pair).differences.largest["trajectory/x"][0] == np.inf


def test_missing_samples_and_other_settings_make_files_differ(tmp_path, a_run, make_run):
    a = a_run.record(tmp_path / "a.h5")
    some = a_run.record(tmp_path / "some.h5", [[0, 1]])
    found = compared((a, some))
    assert not found.same
    assert found.differences.first is None
    assert found.missing == (f"samples 102, 103, 104 only in {a}",)
    other = make_run()
    other.header = attrs.evolve(other.header, config={"seed": 8, "total_videos": 5})
    found = compared((a, other.record(tmp_path / "other.h5")))
    assert found.settings == ("seed",)
    assert not found.same
    with pytest.raises(TrajectoryError, match="no committed sample in common"):
        compared((some, a_run.record(tmp_path / "rest.h5", [[3]])))


def test_what_both_keep_is_compared_however_it_was_kept(tmp_path, a_run):
    data = a_run.data(range(5))
    full = a_run.record(tmp_path / "full.h5")
    writer = TrajectoryWriter.create(tmp_path / "some.h5", a_run.header, Capture(dtype="float16", every=3, samples=103))
    kept = {n: v if n == "images" else v[:3, [0, 3, 4] if n == "trajectory/x" else [0, 3]] for n, v in data.items()}
    writer.commit(range(5), kept)
    writer.close()
    found = compared((full, tmp_path / "some.h5"))
    assert found.same
    assert found.differences.values == 3 * 16 * (3 + 2 * 6) + 5 * (2 + 16)
    assert (found.samples, found.states) == (5, 3)
    assert "states kept of samples: 5 and 3, 3 of them compared" in found.notes
    assert "steps kept: 4 and 2, 2 of them in both" in found.notes
    changed(full, ("trajectory/x", (2, 3), 1.0), ("trajectory/x", (1, 2), 1.0), ("trajectory/x", (4, 0), 1.0))
    assert compared((full, tmp_path / "some.h5")).differences.first == Place("trajectory/x", 102, 3)


def recorded_with(path, run, capture, rows):
    """A file that keeps the states of these rows alone."""
    writer = TrajectoryWriter.create(path, run.header, capture)
    data = run.data(range(5), capture.fields)
    writer.commit(range(5), {n: v if n == "images" else v[rows] for n, v in data.items() if rows or n == "images"})
    writer.close()
    return path


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [([0, 1], [3, 4], False), ([0, 1], [], False), ([0, 1], [1, 2], True), ([], [], True)],
)
def test_files_without_common_states_are_not_called_the_same(cli, tmp_path, a_run, ours, theirs, same):
    pair = []
    for name, rows in (("a", ours), ("b", theirs)):
        capture = Capture(samples=frozenset(100 + row for row in rows))
        pair.append(recorded_with(tmp_path / f"{name}.h5", a_run, capture, rows))
    found = compared(pair)
    assert found.same is same
    assert found.states == len(set(ours) & set(theirs))
    assert ("no sample has states in both files" in found.missing) is not same
    done = cli("diff", *pair)
    assert done.code == (0 if same else 1)
    assert f": 5 samples, {found.states} of them with states, " in done.out.splitlines()[0]


def test_files_without_common_fields_are_not_called_the_same(tmp_path, a_run):
    pair = [
        recorded_with(tmp_path / f"{field}.h5", a_run, Capture(frozenset({field})), [0, 1, 2, 3, 4])
        for field in ("x", "x0")
    ]
    found = compared(pair)
    assert not found.same
    assert found.states == 0


@pytest.mark.parametrize(
    ("name", "where", "value", "told"),
    [
        ("samples/seed", 2, 8, "  samples/seed: by up to "),
        ("samples/label", 2, 1, "  samples/label: by up to 1, in sample 102, samples/label"),
        ("samples/classes", 1, "B", "  settings differ: samples/classes"),
        ("forces/01_push1/weight", 3, 0.5, "  settings differ: forces/01_push1/weight"),
    ],
)
def test_what_is_said_of_samples_and_forces_is_compared(cli, pair, name, where, value, told):
    with h5py.File(pair[1], "r+") as file:
        file[name][where] = value
    done = cli("diff", *pair)
    assert done.code == 1
    assert done.out.startswith("not the same: 5 samples, 5 of them with states, ")
    assert told in done.out


def test_states_of_another_shape_cannot_be_compared(tmp_path, a_run, make_run):
    other = make_run(shape=(1, 4, 5))
    with pytest.raises(TrajectoryError, match="holds states of shape"):
        compared((a_run.record(tmp_path / "a.h5"), other.record(tmp_path / "b.h5")))


def test_the_command_line(cli, pair):
    assert cli("diff", *pair).out.startswith("the same: 5 samples, ")
    assert cli("diff", *pair).code == 0
    changed(pair[1], ("trajectory/x", (2, 3, 0, 0, 0), 0.5))
    done = cli("diff", *pair)
    assert done.code == 1
    assert done.out.splitlines()[1:] == [
        "  first differs in sample 102, step 3, trajectory/x",
        "  trajectory/x: by up to 0.5, in sample 102, step 3, trajectory/x",
    ]
    data = json.loads(cli("diff", *pair, "--json").out)
    assert data["same"] is False
    assert data["first"] == {"field": "trajectory/x", "sample": 102, "step": 3}
    assert cli("diff", pair[0], "nothing.h5").code == 5
