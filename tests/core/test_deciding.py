"""What decides samples and stands in no setting is recorded, and held against what is there later."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from pathlib import Path

import attrs
import numpy as np
import pytest

from emnist_diff.components import Component
from emnist_diff.errors import ConfigError, PluginError
from emnist_diff.schedules import schedule
from emnist_diff_plugins.reviews.files import content_sha256, recorded_files
from emnist_diff_testing.rules import rules_of
from emnist_diff_testing.subjects import Subject
from emnist_diff_trajectory.other_files import differing
from emnist_diff_trajectory.reader import Trajectory

PLUGIN = '''
import attrs, numpy as np
from emnist_diff.families import Source
from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import DenoiserSpec, DriftSpec
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture

@attrs.frozen
class Read:
    """A mixture whose means are in a file."""
    file: str = attrs.field(metadata={"help": "the means, .npy"})
    def source(self, registry):
        return Source.of(self.denoiser)
    def denoiser(self, device):
        means = np.load(self.file).tolist()
        return GaussianMixture(shape=(1, 2, 2), classes="AB", components=1, means=means).denoiser(device)

@attrs.frozen
class Shift:
    """x + a number in a file that no setting names."""
    def files(self):
        return {"shift": "shift.txt"}
    def __call__(self, x, step):
        return x + float(open("shift.txt").read())

@hookimpl
def emnist_diff_denoisers():
    return [DenoiserSpec(name="read", factory="strange:Read", summary="reads")]

@hookimpl
def emnist_diff_drifts():
    return [DriftSpec(name="shift", factory="strange:Shift", summary="shifts")]
'''


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A directory with everything that a run reads, to stand in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("strange", "pull"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    Path("strange.py").write_text(PLUGIN)
    Path("pull.py").write_text(
        "def pull(predictions, step):\n    return 0.1 * step.x\n\ndef half(at):\n    return 0.5\n"
    )
    Path("shift.txt").write_text("0.25")
    np.save("means.npy", np.linspace(-1, 1, 8).reshape(2, 1, 4))
    weight = json.dumps({"kind": "function", "name": "pull:half"})
    return (
        *("run", "--plugin-file", tmp_path / "strange.py", "--denoiser", "read:file=means.npy", "--total-videos", "4"),
        *("--steps", "3", "--sink", "hdf5", "--output", "out"),
        *("--force-stack", f'[{{"name": "user_custom", "function": "pull:pull", "weight": {weight}}}]'),
        *("--drift", "shift"),
    )


def test_every_file_is_recorded_and_another_content_is_another_run(cli, here):
    assert cli(*here, "--rank", "0", "--world-size", "2").code == 0
    first = Path("out/A/trajectory-0000-of-0002.h5")
    with Trajectory(first) as trajectory:
        files = trajectory.config["files"]
    names = {
        "denoiser.file": "means.npy", "forces[0].function": "pull.py", "forces[0].weight": "pull.py",
        "drifts[0].shift": "shift.txt", "plugin strange.py": "strange.py",
    }  # fmt: skip
    assert files == {place: {"name": name, "sha256": sha256(Path(name))} for place, name in names.items()}
    replay = ("replay", first, "--plugin-file", here[2])
    assert cli(*replay).code == 0

    kept = {name: Path(name).read_bytes() for name in names.values()}
    np.save("means.npy", np.linspace(-1, 1, 8)[::-1].reshape(2, 1, 4))
    resumed = cli(*here, "--rank", "0", "--world-size", "2", "--resume")
    replayed = cli(*replay)
    assert cli(*here, "--rank", "1", "--world-size", "2").code == 0
    merged = cli("merge", "out/A")
    for refused in (resumed, replayed, merged):
        assert refused.code == 5
        assert "denoiser.file, 'means.npy', has SHA-256" in refused.error
        assert "pull.py" not in refused.error

    Path("means.npy").write_bytes(kept["means.npy"])
    for name in ("pull.py", "shift.txt", "strange.py"):
        Path(name).write_bytes(kept[name] + b"\n")
        refused = cli(*here, "--rank", "0", "--world-size", "2", "--resume")
        assert refused.code == 5
        assert repr(name) in refused.error
        Path(name).write_bytes(kept[name])
    assert cli(*here, "--rank", "0", "--world-size", "2", "--resume").code == 0


def test_a_recorded_configuration_wants_its_files(cli, here):
    assert cli(*here).code == 0
    with Trajectory("out/A/trajectory.h5") as trajectory:
        Path("record.json").write_text(json.dumps(trajectory.config))
    again = ("run", "--plugin-file", here[2], "--config", "record.json", "--output", "again")
    assert cli(*again).code == 0
    Path("shift.txt").write_text("0.75")
    refused = cli(*again, "--overwrite")
    assert refused.code == 2
    assert "drifts[0].shift, 'shift.txt', has SHA-256" in refused.error


@attrs.frozen
class Everything:
    """Settings of all sorts."""

    plain: str = "A"
    path: Path | None = None
    marked: str = attrs.field(default="", metadata={"file": True})
    several: tuple[str, ...] = ()
    numbers: tuple[float, ...] = ()


def made(**settings):
    return Component("everything", Everything(**settings), "strangers", "1.0", {})


def test_what_counts_as_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    for name in ("A", "w.pt", "folder/sub/x", "folder/y"):
        Path(name).write_text(name)

    def places(**settings):
        return recorded_files({"forces[0]": made(**settings)}).keys()

    assert places(plain="A") == set()  # a class, though there is a file of its name
    assert places(plain="w.pt") == {"forces[0].plain"}
    assert places(marked="A") == {"forces[0].marked"}
    assert places(path=Path("A")) == {"forces[0].path"}
    assert places(several=("w.pt", "B")) == {"forces[0].several[0]"}
    assert places(plain="gone.pt", marked="gone", numbers=(1.0,) * 5) == set()
    assert places(plain="x" * 5000 + ".pt", marked="\0") == set()
    with pytest.raises(ConfigError, match=r"cannot read 'gone\.pt': No such file"):
        places(path=Path("gone.pt"))

    before = content_sha256(folder)
    (folder / "y").rename(folder / "z")
    assert content_sha256(folder) != before
    assert recorded_files({"weight": schedule(math.sin)}) == {}  # built in
    monkeypatch.setattr(Everything, "files", lambda self: ["A"], raising=False)
    with pytest.raises(PluginError, match=r"'everything' of strangers: files\(\) returned no table"):
        places()


def test_many_files_are_told_in_one_line():
    there = {"files": {f"forces[{i}].file": {"name": "w", "sha256": "0" * 64} for i in range(9)}}
    assert differing(there, {}).endswith("; and 5 more")
    assert differing({"files": "no table"}, {"files": {"a": 3}}) == ""


def test_the_kit_reminds_of_a_setting_that_is_called_like_a_file():
    @attrs.frozen
    class Forgetful:
        """Reads."""

        weights: str = attrs.field(default="", metadata={"help": "what it reads"})
        mask_file: str = attrs.field(default="", metadata={"help": "what it reads", "file": True})
        profile: str = attrs.field(default="", metadata={"help": "no file"})

    (rule,) = (rule for rule in rules_of("any") if rule.name == "files_marked")
    bench = type("Bench", (), {"subject": Subject("force", "forgetful", Forgetful, {}), "name": "forgetful"})
    assert [finding.message.partition(":")[0] for finding in rule.findings(bench)] == ["weights"]
    assert rule.warning
