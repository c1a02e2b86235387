"""Paths and text files: homes, byte order marks, and what a relative path is relative to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emnist_diff import InferenceConfig
from emnist_diff.config import RunConfig
from emnist_diff.errors import ConfigError
from emnist_diff.paths import local_path
from emnist_diff_inference.config import EnvironmentConfig
from emnist_diff_plugins.benching import userconfig
from emnist_diff_plugins.containers import checkpoint
from emnist_diff_plugins.documents import read_file
from emnist_diff_plugins.metrics.tables import read_csv
from emnist_diff_plugins.runconfig import resolve
from emnist_diff_plugins.training.config import TrainConfig

MIXTURE = "gaussian-mixture:shape=[2],classes=AB"
RUN = ("run", "--denoiser", MIXTURE, "--steps", "1", "--total-videos", "1", "--sink", "hdf5")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's home; the working directory is beside it."""
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


def test_a_home_is_written_out_from_python_and_in_files(home: Path):
    assert RunConfig(output="~/runs").output == resolve({"output": "~/runs"}).output == str(home / "runs")
    assert RunConfig(checkpoint=Path("~/c"), guides={"weak": "~/w"}).guides == {"weak": str(home / "w")}
    env = EnvironmentConfig(cache_root="~/cache", output_root="~/here")
    config = InferenceConfig(output_dir=Path("there"), checkpoint_path="~/c", env=env)
    assert (config.output, config.checkpoint) == (str(home / "here" / "there"), str(home / "c"))
    assert env.cache_root == str(home / "cache")
    train = TrainConfig(family={"name": "unet2d"}, dataset={"name": "mnist"}, output="~/t", init_from="~/c")
    assert (train.output, train.init_from) == (str(home / "t"), str(home / "c"))
    assert local_path("./~") == "./~"
    with pytest.raises(
        ConfigError, match=r"'~nobody-of-this-name/x' begins with a home that nobody has here — write \./~"
    ):
        RunConfig(output="~nobody-of-this-name/x")


def test_homes_on_the_command_line(cli, home: Path, monkeypatch: pytest.MonkeyPatch):
    (home / "run.toml").write_text('output = "~/runs"\nforces = ["flat"]\n')
    (home / "flat.json").write_text("{}")
    (home / "homely.py").write_text(
        "import attrs, emnist_diff\nfrom emnist_diff.records import ForceSpec\n"
        "@attrs.frozen\nclass Flat:\n    def conditions(self, at): return ()\n"
        "    def __call__(self, predictions, step): return step.x * 0\n"
        "@emnist_diff.hookimpl\ndef emnist_diff_forces(): yield ForceSpec('flat', 'homely:Flat', 'Nothing.')\n"
        .replace("ForceSpec('flat', 'homely:Flat', 'Nothing.')",
                 "ForceSpec(name='flat', factory='homely:Flat', summary='Nothing.')")
    )  # fmt: skip
    finished = cli(*RUN, "--config=~/run.toml", "--plugin-file=~/homely.py", "--preset", "~/flat.json")
    assert finished.code == 0, finished.err
    assert (home / "runs" / "A" / "trajectory.h5").is_file()
    assert cli("select", "~/runs/A/trajectory.h5", "--sample=0", "~/one.h5").code == 0
    assert (home / "one.h5").is_file()
    assert not any(path.name.startswith("~") for path in Path().iterdir())
    monkeypatch.setenv(userconfig.VARIABLE, "~/mine.toml")
    assert userconfig.write({"threads": 2}) == home / "mine.toml"
    assert userconfig.read() == {"threads": 2}


def test_relative_paths_are_relative_to_the_working_directory(cli, home: Path):
    """And not to the file that names them: the same text means the same wherever it is written."""
    header = checkpoint.CheckpointHeader(
        family="gaussian-mixture", network={"shape": [2], "classes": "AB"}, classes=("A", "B"), null_index=2
    )
    checkpoint.save(Path("net.safetensors"), header, {})
    (Path("forces.json")).write_text('{"base": "cond"}')
    Path("extra.py").write_text("")
    (home / "run.toml").write_text(
        'output = "runs"\ncheckpoint = "net.safetensors"\npreset = "forces.json"\nguides = {weak = "net.safetensors"}\n'
        'total_videos = 1\nsteps = 1\nsinks = ["hdf5"]\n'
    )
    finished = cli("run", "--config", home / "run.toml", "--dry-run")
    assert finished.code == 0, finished.err
    assert json.loads(finished.out)["config"]["base"] == "cond"
    assert cli("run", "--config", home / "run.toml").code == 0
    assert Path("runs", "A", "trajectory.h5").is_file()
    assert not (home / "runs").exists()


BOM = b"\xef\xbb\xbf"


def test_a_byte_order_mark_is_no_part_of_the_text(cli, home: Path, monkeypatch: pytest.MonkeyPatch):
    (home / "a.toml").write_bytes(BOM + b"steps = 3\n")
    (home / "a.json").write_bytes(BOM + b'{"steps": 3}')
    assert read_file(str(home / "a.toml")) == read_file(home / "a.json") == {"steps": 3}
    monkeypatch.setenv(userconfig.VARIABLE, str(home / "b.toml"))
    (home / "b.toml").write_bytes(BOM + b"[run]\nthreads = 3\n")
    assert userconfig.read() == {"threads": 3}
    assert userconfig.write({"threads": 4})
    assert userconfig.read() == {"threads": 4}
    (home / "stack.json").write_bytes(BOM + b'["repel_class"]')
    finished = cli(*RUN, "--force-stack", f"@{home / 'stack.json'}", "--preset", home / "a.toml", "--dry-run")
    assert finished.code == 0, finished.err
    assert json.loads(finished.out)["config"]["forces"][0]["name"] == "repel_class"
    (home / "m.csv").write_bytes(BOM + b"vid_id,x\n0,1.5\n")
    assert read_csv(home / "m.csv")["vid_id"].tolist() == [0]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("suffix", ["toml", "json"])
def test_other_encodings_are_named(tmp_path: Path, encoding: str, suffix: str):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes('{"steps": 3}'.encode(encoding))
    with pytest.raises(ConfigError, match=r"a\.\w+': it is UTF-(16|32), not UTF-8 text — save it as UTF-8"):
        read_file(path)
    path.write_bytes(b'{\n"a": "\xe9"}')
    with pytest.raises(ConfigError, match=r"it is not UTF-8 text \(line 2\)"):
        read_file(path)
