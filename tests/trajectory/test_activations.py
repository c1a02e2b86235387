"""Inner activations of a network in the trajectory file: recorded, resumed, joined, packed, selected, checked, read."""

from __future__ import annotations

import json
import uuid

import h5py
import numpy as np
import pytest

from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.verify import verify

PLUGIN = """
import attrs
import torch
from emnist_diff.frames import is_requested
from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import DenoiserSpec
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture, MixtureDenoiser

@hookimpl
def emnist_diff_denoisers():
    yield DenoiserSpec(name="toy", factory="{module}:Toy", summary="a mixture")

@attrs.frozen
class Toy(GaussianMixture):
    def denoiser(self, device="cpu"):
        made = super().denoiser(device)
        return ToyDenoiser(self, made.process, made.device)

class ToyDenoiser(MixtureDenoiser):
    capturable = ("hidden", "{odd}")

    def activations(self, requests):
        shapes = {{"hidden/mid": (2,), "hidden/rows": (), "{odd}": (3, 1)}}
        return {{name: shape for name, shape in shapes.items() if is_requested(name, requests)}}

    def capture(self, x, t, conds, requests):
        found = {{
            "hidden/mid": torch.stack([conds.index.float(), t], 1),
            "hidden/rows": x.flatten(1).sum(1) + len(x),  # which a call of another size would change
            "{odd}": x.flatten(1)[:, :3, None],
        }}
        return {{name: found[name] for name in self.activations(requests)}}
"""
NAMES = ("null", "own", "A")


@pytest.fixture
def toy(tmp_path, monkeypatch):
    def write(odd="probe"):
        path = tmp_path / f"toy_{uuid.uuid4().hex}.py"
        path.write_text(PLUGIN.format(module=path.stem, odd=odd))
        return path

    monkeypatch.syspath_prepend(tmp_path)
    return write


@pytest.fixture
def record(cli, tmp_path):
    """Runs the toy; gives the trajectory files.  The force that reads A has a weight at the last two of four steps."""

    def run(plugin, folder, *more, sink='hdf5:activations=["hidden","probe"]', samples=5):
        force = json.dumps({"target": "A", "weight": {"kind": "window", "from": 0.5, "to": 1.0}})
        config = tmp_path / "run.json"
        config.write_text(json.dumps({"forces": [{"name": "attract_class", **json.loads(force)}]}))
        done = cli(
            *("run", "--config", config, "--plugin-file", plugin, "--denoiser", "toy:shape=[1,4,4],classes=ABC"),
            *("--character", "B,C", "--total-videos", samples, "--steps", 4, "--base", "cfg", "--micro-batch", 4),
            *("--sink", sink, "--output", tmp_path / folder, "--quiet", *more),
        )
        assert done.code == 0, done.err
        return sorted((tmp_path / folder).rglob("*.h5"))

    return run


def contents(path):
    with Trajectory(path) as file:
        return {name: np.asarray(dataset[...]).tobytes() for name, dataset in file.datasets().items()}


def test_what_is_recorded_is_what_the_network_had_within(toy, record, cli):
    plugin = toy()
    (path,) = record(plugin, "one", "--batch-size", 3)
    assert verify(path) == []
    with Trajectory(path) as file:
        assert file.activations == ("hidden/mid", "hidden/rows", "probe")
        assert file.conditions == NAMES
        assert file.evaluated.tolist() == [[True, True, False]] * 2 + [[True, True, True]] * 2
        mid = file.activation("hidden/mid")
        assert (mid.shape, str(mid.dtype)) == ((5, 4, 3, 2), "float32")
        own = file.labels.astype(np.float32)
        assert (mid[:, :, 0, 0] == 3).all()
        assert (mid[:, :, 1, 0] == own[:, None]).all()
        assert (mid[:, :2, 2] == 0).all()
        assert (mid[:, 2:, 2, 1] == file.timestep[2:].astype(np.float32)).all()
        assert np.isnan(file.activation("hidden/mid", "A")[:, :2]).all()
        np.testing.assert_allclose(
            file.activation("hidden/rows", "own"), file.x[:, :-1].reshape(5, 4, -1).sum(2) + 4, rtol=1e-5
        )
        assert (file.activation("probe", "null")[..., 0] == file.x[:, :-1].reshape(5, 4, -1)[..., :3]).all()
        assert file[2]["hidden/mid"].shape == (4, 3, 2)
        with pytest.raises(Exception, match=r"unknown activation of .*'hidden/mod' — did you mean 'hidden/mid'"):
            file.activation("hidden/mod")
        with pytest.raises(Exception, match=r"unknown condition of .*'B'"):
            file.activation("probe", "B")
    with h5py.File(path) as plain:
        assert plain["activations/condition"].asstr()[:].tolist() == list(NAMES)
        assert plain["activations/hidden/mid"].chunks is None
    replayed = cli("replay", path, "--plugin-file", plugin)
    assert (replayed.code, "the same, bit for bit" in replayed.out) == (0, True), replayed.err


def test_no_batch_size_worker_or_interruption_changes_a_bit_and_tools_carry_them(toy, record, cli, tmp_path):
    plugin = toy()
    (path,) = record(plugin, "one", "--batch-size", 3)
    expected = contents(path)
    (other,) = record(plugin, "other", "--batch-size", 2, samples=2)
    (other,) = record(plugin, "other", "--batch-size", 1, "--resume")
    assert contents(other) == expected
    for rank in (0, 1):
        parts = record(plugin, "parts", "--rank", rank, "--world-size", 2)
    index, copy, packed, some = (tmp_path / name for name in ("parts/B+C/index.h5", "copy.h5", "packed.h5", "some.h5"))
    for command in (
        ("merge", *parts, "--output", index),
        ("merge", *parts, "--output", copy, "--copy"),
        ("pack", path, "--output", packed, "--codec", "gzip"),
        ("select", path, some, "--sample", "1,3"),
    ):
        done = cli(*command)
        assert done.code == 0, (command, done.err)
    for made in (index, copy, packed):
        assert contents(made) == expected, made
        assert verify(made) == []
        assert cli("diff", path, made).code == 0
    assert verify(some) == []
    with Trajectory(path) as whole, Trajectory(some) as part:
        assert part.conditions == whole.conditions
        assert (part.evaluated == whole.evaluated).all()
        assert (part.activation("hidden/mid")[...] == whole.activation("hidden/mid")[[1, 3]]).all()


def test_the_axis_holds_the_conditions_of_kept_steps_in_the_dtype_of_states(toy, record):
    (path,) = record(toy(), "few", sink="hdf5:activations=hidden/mid,fields=[],dtype=float16,every=4,samples=2")
    with Trajectory(path) as file:
        assert file.conditions == NAMES[:2]
        assert file.activations == ("hidden/mid",)
        mid = file.activation("hidden/mid")
        assert (mid.shape, str(mid.dtype)) == ((2, 1, 2, 2), "float16")
    assert verify(path) == []


def test_labelled_arrays_name_the_conditions(toy, record):
    pytest.importorskip("xarray")
    (path,) = record(toy(), "one")
    with Trajectory(path) as file:
        data = file.to_xarray()
        found = data["activations.hidden.mid"].sel(condition="own", step=3)
        assert (found.values == file.activation("hidden/mid")[:, 3, 1]).all()
        assert data["activations.evaluated"].sel(condition="A").values.tolist() == [False, False, True, True]


def test_damage_is_noticed(toy, record):
    (path,) = record(toy(), "one")
    with h5py.File(path, "r+") as file:
        file["activations/hidden/mid"][1, 0, 2] = 7
        file["activations/probe"][0, 1, :2] = np.inf
    found = {(problem.where, problem.what) for problem in verify(path)}
    where = "activations/hidden/mid", "sample 1 holds activations of a condition that its step does not evaluate"
    assert found == {where, ("activations/probe", "sample 0 holds values that are not finite")}
    with h5py.File(path, "r+") as file:
        del file["activations/condition"], file["activations/evaluated"]
    assert {problem.where for problem in verify(path)} == {
        "activations/hidden/mid",
        "activations/hidden/rows",
        "activations/probe",
    }


@pytest.mark.parametrize(
    ("odd", "sink", "message"),
    [
        ("probe", "hdf5:activations=attention", "requests the field 'attention', which this run does not have; it has"),
        ("probe", "hdf5:activations=x", "'x' is no activation of the network — name it in fields"),
        ("a/b/c", "hdf5:activations=a", "activation 'a/b/c' cannot be recorded: a name is GROUP/NAME or NAME"),
        ("condition", "hdf5:activations=condition", "activation 'condition' cannot be recorded: the name has another"),
    ],
)
def test_what_cannot_be_recorded_is_refused_in_one_line(cli, toy, tmp_path, odd, sink, message):
    ended = cli(
        *("run", "--plugin-file", toy(odd), "--denoiser", "toy:shape=[1,4,4],classes=ABC", "--character", "B"),
        *("--total-videos", 1, "--steps", 2, "--output", tmp_path / "out", "--sink", sink, "--quiet"),
    )
    assert ended.code in (2, 7)
    assert message in ended.err
    assert ended.err.count("\n") <= 1
    assert not list(tmp_path.rglob("*.h5"))
