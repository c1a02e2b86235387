"""A file is made again from nothing but itself and its checkpoint."""

from __future__ import annotations

import getpass
import hashlib
import json
import re
import shutil
import socket
from pathlib import Path

import attrs
import h5py
import numpy as np
import pytest

from emnist_diff.discovery import installed
from emnist_diff.errors import CheckpointError, TrajectoryError, UnknownName
from emnist_diff.running.run import run
from emnist_diff_plugins.analysis.replay import replay
from emnist_diff_plugins.containers import checkpoint
from emnist_diff_plugins.containers.shipped import shipped as shipped_file
from emnist_diff_plugins.layers import configure
from emnist_diff_plugins.rebuild import decoder
from emnist_diff_trajectory.compare import Place
from emnist_diff_trajectory.merge import merge, worker_files
from emnist_diff_trajectory.reader import Trajectory

SETTINGS = {
    "denoiser": {"name": "gaussian-mixture", "shape": [1, 4, 4], "classes": "AB"},
    "character": "B,A",
    "total_videos": 5,
    "seed": 77,
    "steps": 6,
    "batch_size": 2,
    "guidance_scale": 1.5,
    "scheduler": {"name": "ddim", "eta": 0.5},
    "forces": [
        {
            "name": "attract_class",
            "target": "B",
            "weight": {"kind": "ramp", "start": 0.0, "end": 0.5},
            "clip_norm": 2.0,
        },
        {"name": "repel_class", "target": "A"},
    ],
    "clip_abs": 3.0,
    "drifts": [{"name": "default", "noise_scale": 0.1}],
    "sinks": ["hdf5"],
}


def recorded(folder, **more):
    settings, _ = configure(installed(), SETTINGS | {"output": str(folder)} | more)
    run(settings)
    return next(folder.rglob("trajectory*.h5"))


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return recorded(tmp_path_factory.mktemp("original"))


@pytest.fixture
def path(tmp_path, original):
    return Path(shutil.copy(original, tmp_path / "t.h5"))


def replayed(path, **how):
    with Trajectory(path) as trajectory:
        return replay(trajectory, installed(), **how)


def test_a_run_is_made_again_bit_for_bit(path):
    done = replayed(path)
    assert done.bitwise
    assert done.close
    assert done.samples == 5
    assert done.environment == ()
    with Trajectory(path) as t:
        assert done.differences.values == sum(d.size for d in t.datasets().values())


@pytest.mark.parametrize(
    "sink", [{"name": "hdf5", "dtype": "float16"}, {"name": "hdf5", "every": 4, "samples": [1, 3], "fields": ["x0"]}]
)
def test_what_was_kept_is_what_is_compared(tmp_path, sink):
    path = recorded(tmp_path, sinks=[sink])
    done = replayed(path)
    assert done.bitwise
    with Trajectory(path) as t:
        assert done.differences.values == sum(d.size for d in t.datasets().values())


def test_a_share_and_the_index_of_shares_are_made_again(tmp_path):
    for rank in range(2):
        recorded(tmp_path, rank=rank, world_size=2)
    files = worker_files(next(tmp_path.iterdir()))
    merge(files, files[0].with_name("trajectory.h5"))
    assert replayed(files[1]).samples == 2
    assert replayed(files[1]).bitwise
    assert replayed(files[0].with_name("trajectory.h5")).bitwise


def test_what_is_not_what_its_seeds_make_is_found(path):
    with h5py.File(path, "r+") as file:
        file["trajectory/x0"][3, 2, 0, 1, 1] += 0.25
    done = replayed(path)
    assert not done.bitwise
    assert not done.close
    assert done.differences.first == Place("trajectory/x0", 3, 2)
    assert replayed(path, tolerance=0.3).close
    assert replayed(path, samples=[0, 4]).bitwise
    assert replayed(path, samples=[0, 4]).samples == 2


def test_only_committed_samples_can_be_made_again(path):
    with h5py.File(path, "r+") as file:
        file["samples/steps_done"][1:] = 0
    assert replayed(path).samples == 1
    with pytest.raises(UnknownName, match="sample 3 is not committed"):
        replayed(path, samples=[3])


def spoilt(path, **change):
    with h5py.File(path, "r+") as file:
        config = json.loads(file["config"][()]) | change
        file["config"][()] = json.dumps(config)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"seed": 3}, "its seeds are not those that its configuration makes"),
        ({"character": "A,B"}, "its labels are not those"),
        ({"total_videos": 4}, "holds samples that its configuration does not make"),
        ({"steps": 7}, "its timesteps are not those"),
        ({"surprise": 1}, "cannot be made again: unknown setting"),
        ({"steps": "many"}, "cannot be made again: .*steps"),
    ],
)
def test_a_file_that_does_not_fit_its_configuration_is_refused(path, change, complaint):
    spoilt(path, **change)
    with pytest.raises(TrajectoryError, match=complaint):
        replayed(path)


def test_the_environment_is_compared(path):
    with h5py.File(path, "r+") as file:
        environment = json.loads(file["environment"][()]) | {"torch": "1.0", "threads": 10**9}
        file["environment"][()] = json.dumps(environment)
    done = replayed(path)
    assert done.bitwise
    assert any(re.fullmatch(r"torch: 1\.0 → .*", line) for line in done.environment)


def test_the_file_says_what_made_it_and_nothing_else(path, monkeypatch):
    with Trajectory(path) as t:
        assert t.environment.keys() <= {
            "emnist_diff", "python", "platform", "torch", "numpy", "threads", "device", "gpu", "dtype", "micro_batch",
            "checkpoint", "plugins", "slurm", "backend", "precision",
        }  # fmt: skip
        made = t.environment["plugins"]["emnist-diff"]
        assert set(made) == {"version", "sha256", "components"}
        text = json.dumps([t.config, t.environment])
    for secret in (str(Path.home()), socket.gethostname(), str(path.parent)):
        assert len(secret) < 3 or secret not in text
    assert f'"{getpass.getuser()}"' not in text


def test_a_plugin_file_is_recorded_by_its_own_hash(tmp_path, cli):
    plugin = tmp_path / "my_drifts_of_a_test.py"
    plugin.write_text(
        "import attrs\n"
        "from emnist_diff.hookspecs import hookimpl\n"
        "from emnist_diff.records import DriftSpec\n"
        "@attrs.frozen\n"
        "class Halve:\n"
        "    def __call__(self, x, step):\n"
        "        return x / 2\n"
        "@hookimpl\n"
        "def emnist_diff_drifts():\n"
        "    return [DriftSpec(name='halve', factory='my_drifts_of_a_test:Halve', summary='Halve.')]\n"
    )
    model = "gaussian-mixture:shape=[1,4,4],classes=AB"
    command = ["run", "--denoiser", model, "--steps", "3", "--drift", "halve", "--plugin-file", plugin]
    assert cli(*command, "--output", tmp_path, "--sink", "hdf5").code == 0
    path = tmp_path / "A" / "trajectory.h5"
    with Trajectory(path) as t:
        digest = hashlib.sha256(plugin.read_bytes()).hexdigest()
        assert t.environment["plugins"][plugin.name] == {"version": "", "sha256": digest, "components": ["halve"]}
    assert "bit for bit" in cli("replay", path, "--plugin-file", plugin).out
    for without in (("replay", path), (*command[:-2], "--output", tmp_path, "--sink", "hdf5", "--resume")):
        refused = cli(*without)
        assert refused.code == 2
        assert "unknown drift 'halve'" in refused.error
        assert f"came from the plugin file '{plugin.name}' — use --plugin-file with its path" in refused.error


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"plugins": {"my-drifts": {"version": "1.2", "components": ["gone"]}}},
            "distribution 'my-drifts 1.2' — install",
        ),
        ({"workers": [{}, {"plugins": {"their": {"components": ["gone"]}}}]}, "distribution 'their' — install"),
        ({"plugins": {"other": {"version": "1.2", "components": ["ddim"]}}}, None),
        ({"plugins": {"x": 3, "y": {"components": "gone"}}, "workers": 7}, None),
    ],
)
def test_an_unknown_component_names_where_it_came_from(original, tmp_path, environment, message):
    path = Path(shutil.copy(original, tmp_path / "copy.h5"))
    with h5py.File(path, "r+") as file:
        config = json.loads(file["config"].asstr()[()])
        config["drifts"][0]["name"] = "their:gone"
        del file["config"], file["environment"]
        file["config"], file["environment"] = json.dumps(config), json.dumps(environment)
    with Trajectory(path) as trajectory, pytest.raises(UnknownName) as caught:
        replay(trajectory, installed())
    assert "unknown distribution 'their'" in str(caught.value)
    assert message in str(caught.value) if message else "it came from" not in str(caught.value)


def test_the_hash_of_a_distribution_is_that_of_its_files():
    from emnist_diff_plugins.reviews.provenance import distribution_sha256

    attrs_hash = distribution_sha256("attrs")
    assert re.fullmatch("[0-9a-f]{64}", attrs_hash)
    assert attrs_hash == distribution_sha256("attrs") != distribution_sha256("pluggy")
    assert distribution_sha256("no-such-distribution") is None


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    try:
        shipped_file()
    except CheckpointError:
        pytest.skip("no checkpoint is shipped")
    settings, _ = configure(
        installed(),
        {"character": "k", "total_videos": 2, "steps": 3, "output": str(tmp_path_factory.mktemp("shipped"))}
        | {"sinks": [{"name": "hdf5", "fields": ["x"]}]},
    )
    return run(settings).output / "trajectory.h5"


def test_a_run_of_a_checkpoint_is_made_again_with_that_checkpoint_alone(tmp_path, shipped):
    assert replayed(shipped).bitwise
    copy = tmp_path / "copy.safetensors"
    shutil.copy(shipped_file(), copy)
    assert replayed(shipped, checkpoint=str(copy), samples=[1]).bitwise
    header, weights = checkpoint.load(copy)
    checkpoint.save(copy, attrs.evolve(header, provenance={"of": "a test"}), weights)
    with pytest.raises(CheckpointError, match=r"made with the checkpoint .*, and .*copy\.safetensors is another"):
        replayed(shipped, checkpoint=str(copy))
    another = Path(shutil.copy(shipped, tmp_path / "t.h5"))
    spoilt(another, checkpoint_sha256="0" * 64)
    with pytest.raises(CheckpointError, match=r"sha256 0{12}…, which is not in .* — use --checkpoint FILE"):
        replayed(another)


def test_a_checkpoint_for_a_run_without_one_is_refused(path):
    with pytest.raises(CheckpointError, match="made without a checkpoint"):
        replayed(path, checkpoint="x.safetensors")


def test_the_codec_of_the_model_shows_states(path):
    with Trajectory(path) as t:
        images = t.pictures(0, [6], decoder(t, installed()))
        assert np.abs(images[0].astype(int) - t.images[0].astype(int)).max() <= 1


def test_the_command_line(cli, path):
    done = cli("replay", path, "--sample", "0-1")
    assert done.code == 0
    assert done.out.startswith(f"{path}: the same, bit for bit: 2 samples, ")
    with h5py.File(path, "r+") as file:
        file["trajectory/x"][1, 2] += 0.5
    done = cli("replay", path)
    assert done.code == 1
    assert "first differs in sample 1, step 2, trajectory/x" in done.out
    data = json.loads(cli("replay", path, "--tolerance", "0.6", "--json").out)
    assert data["verdict"] == "close"
    assert data["largest"]["trajectory/x"]["by"] == pytest.approx(0.5, abs=1e-6)
