"""``emnist-diff export``, and the flags of ``emnist-diff run`` that stand for sinks."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from emnist_diff.frames import BatchResult
from emnist_diff_plugins.sinks import _recorded

SMALL = (
    *("run", "--denoiser", "gaussian-mixture:shape=[1,4,4],classes=AB", "--total-videos", "2", "--steps", "3"),
    "--no-progress",
)

PLUGIN = """
import attrs
from emnist_diff_trajectory.files import write_bytes
from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import SinkSpec

@hookimpl
def emnist_diff_sinks():
    yield SinkSpec(name="brightness", factory="{module}:Brightness", summary="mean of each state", flag="brightness")

@attrs.define(eq=False)
class Brightness:
    digits: int = 3
    _lines: list = attrs.field(init=False, factory=list)
    _output: object = attrs.field(init=False, default=None)

    def wants(self, at):
        return frozenset({{"x"}})

    def open(self, header):
        self._output = header.output

    def write(self, frame):
        means = frame["x"].flatten(1).mean(1).tolist()
        self._lines += [f"{{p}} {{frame.at.index}} {{m:.{{self.digits}}f}}" for p, m in zip(frame.positions, means)]

    def commit(self, batch):
        pass

    def close(self, outcome):
        write_bytes(self._output / "brightness.txt", "\\n".join(sorted(self._lines)).encode())
"""


def sinks(cli, *arguments) -> dict[str, dict[str, object]]:
    """The sinks that a command line means, with the settings it says."""
    asked = json.loads(cli(*SMALL, "--dry-run", *arguments).out)["config"]["sinks"]
    return {sink["name"]: sink["settings"] for sink in asked}


def test_flags_are_shorthands_for_sinks(cli):
    assert sinks(cli, "--save-video") == {"grid": {}, "hdf5": {}, "video": {}}
    assert sinks(cli, "--save-frames", "--save-deltas", "--save-latents", "--save-meta", "--sink", "hdf5") == {
        "hdf5": {}, "frames": {}, "deltas": {}, "latents": {}, "metadata": {},
    }  # fmt: skip
    assert sinks(cli, "--sink", "video:fps=10", "--save-video", "--sink", "hdf5") == {"video": {"fps": 10}, "hdf5": {}}
    assert sinks(cli, "--sink", "video", "--sink", "hdf5", "--no-video") == {"hdf5": {}}
    assert "video" not in sinks(cli, "--no-video")
    for text in ("--save-metadata", "--save-meta"):
        assert sinks(cli, text) == {"grid": {}, "hdf5": {}, "metadata": {}}
    for text in ("--no-metadata", "--no-meta"):
        assert sinks(cli, "--sink", "metadata", "--sink", "hdf5", text) == {"hdf5": {}}


def test_fps_and_upscale_reach_the_sinks_that_know_them(cli):
    assert sinks(cli, "--save-video", "--save-frames", "--fps", "12", "--upscale", "4", "--sink", "hdf5") == {
        "hdf5": {},
        "frames": {"upscale": 4},
        "video": {"fps": 12, "upscale": 4},
    }
    assert sinks(cli, "--sink", "video:fps=10", "--fps", "12") == {"video": {"fps": 10}}
    lost = cli(*SMALL, "--fps", "12")
    assert lost.code == 2
    assert (
        "--fps 12: no sink of this run has the setting 'fps' (sinks: grid, hdf5) — add one that does: --sink video"
        in (lost.error)
    )


def test_attention_is_recorded_beside_what_sinks_record_already(cli):
    def recorded(*arguments: str) -> dict[str, object]:
        asked = ("run", "--steps", "2", "--dry-run", "--record-attention", *arguments)
        return next(s for s in json.loads(cli(*asked).out)["config"]["sinks"] if s["name"] == "hdf5")["settings"]

    assert recorded() == {"activations": "attention"}
    more = "hdf5:activations=hidden/mid_block.resnets.1"
    assert recorded("--sink", more) == {"activations": ["hidden/mid_block.resnets.1", "attention"]}
    assert recorded("--sink", 'hdf5:attention={"heads": "all"}') == {"attention": {"heads": "all"}}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--prompt cat", "prompt belongs to models that take texts, and denoiser 'gaussian-mixture' does not"),
        ("--lora x", "lora belongs to models that take texts, and denoiser 'gaussian-mixture' does not — use --ch"),
        ("--record-attention", "which this run does not have; it has x, x0, prediction, base — change the sink's "
         "settings, or leave --record-attention out"),
        ("--drift clamp --drift-scale 1", "(drifts: clamp) — add one that does: --drift default or "),
    ],
)  # fmt: skip
def test_switches_that_do_not_suit_the_run_are_named(cli, arguments: str, message: str, tmp_path: Path):
    refused = cli(*SMALL, *arguments.split(), "--output", tmp_path)
    assert refused.code == 2
    assert message in refused.error


def test_flags_work_with_a_configuration_file(cli, tmp_path: Path):
    file = tmp_path / "run.toml"
    file.write_text('sinks = ["hdf5", { name = "video", format = "gif" }]\n')
    assert sinks(cli, "--config", file, "--save-frames", "--upscale", "2") == {
        "hdf5": {},
        "video": {"format": "gif", "upscale": 2},
        "frames": {"upscale": 2},
    }


def test_help_lists_the_flags_and_what_can_be_exported(cli):
    text = cli("run", "--help").out
    for flag in (
        "--save-latents",
        "--save-frames",
        "--save-deltas",
        "--save-video",
        "--no-video",
        "--fps",
        "--upscale",
    ):
        assert flag in text
    text = cli("export", "--help").out
    for flag in ("frames", "deltas", "latents", "video", "grid", "strip", "npz", "metadata"):
        assert f"--{flag}" in text


def test_export_makes_what_a_run_makes(cli, tmp_path: Path):
    flags = ("--save-frames", "--save-deltas", "--save-latents", "--upscale", "3")
    done = cli(*SMALL, "--output", tmp_path, *flags)
    assert done.code == 0, done.err
    assert f"{tmp_path}/A/frames/  (8 files)" in done.out
    file = tmp_path / "A/trajectory.h5"
    exported = cli(
        "export", file, "--frames", "--deltas", "--latents", "--upscale", "3", "--output", tmp_path / "x", "--json"
    )
    assert exported.code == 0, exported.err
    assert json.loads(exported.out) == {
        "output": str(tmp_path / "x"), "samples": 2, "sinks": ["deltas", "frames", "latents"],
    }  # fmt: skip
    for folder in ("frames", "deltas", "latents"):
        live = {p.name: p.read_bytes() for p in (tmp_path / "A" / folder).iterdir()}
        assert live == {p.name: p.read_bytes() for p in (tmp_path / "x" / folder).iterdir()}


def test_export_writes_beside_the_file(cli, tmp_path: Path):
    cli(*SMALL, "--output", tmp_path, "--sink", "hdf5")
    assert cli("export", tmp_path / "A/trajectory.h5", "--sink", "video:format=webp,fps=20", "--strip").code == 0
    there = {str(p.relative_to(tmp_path / "A")) for p in (tmp_path / "A").rglob("v00*")}
    assert there == {"videos/v000.webp", "videos/v001.webp", "strips/v000.png", "strips/v001.png"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "nothing to make — use one or more of --deltas, --frames"),
        (("--sink", "hdf5"), 2, "is a trajectory file already"),
        (("--sink", "vidoe"), 2, "unknown sink 'vidoe' — did you mean 'video'?"),
        (("--frames", "--sink", "frames:every=2"), 2, "'frames' is given twice"),
        (("--frames", "--resume", "--overwrite"), 2, "exclude each other"),
        (("--npz", "--fps", "3"), 2, "no sink of this run has the setting 'fps' (sinks: npz)"),
        (("--video", "--fps", "0"), 2, "'fps' must be >= 1: 0"),
        (("--video", "--upscale", "0"), 2, "'upscale' must be >= 1: 0"),
    ],
)
def test_wrong_exports_are_one_line(arguments, code: int, message: str, cli, trajectory_file: Path, tmp_path: Path):
    wrong = cli("export", trajectory_file, "--output", tmp_path, *arguments)
    assert wrong.code == code
    assert message in wrong.error
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_none_is_one_line(cli, tmp_path: Path):
    wrong = cli("export", tmp_path / "nope.h5", "--frames")
    assert (wrong.code, "does not exist" in wrong.error) == (5, True)


def test_a_sink_in_a_plugin_file_records_and_exports(cli, tmp_path: Path):
    plugin = tmp_path / "brightness_plugin.py"
    plugin.write_text(PLUGIN.format(module=plugin.stem))
    done = cli(*SMALL, "--output", tmp_path, "--plugin-file", plugin, "--sink", "hdf5", "--sink", "brightness:digits=2")
    assert done.code == 0, done.err
    live = (tmp_path / "A/brightness.txt").read_text()
    assert len(live.splitlines()) == 2 * 3
    again = cli(
        *("export", tmp_path / "A/trajectory.h5", "--plugin-file", plugin, "--sink", "brightness:digits=2"),
        *("--output", tmp_path / "x"),
    )
    assert again.code == 0, again.err
    assert (tmp_path / "x/brightness.txt").read_text() == live


@pytest.mark.parametrize(("what", "again"), [(("--frames",), 4), (("--frames", "--grid"), 2)], ids=str)
def test_an_interrupted_export_is_finished_to_the_same_files(
    cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what, again
):
    cli(*SMALL, "--output", tmp_path, "--sink", "hdf5", "--total-videos", "5")
    file = tmp_path / "A/trajectory.h5"
    assert cli("export", file, *what, "--output", tmp_path / "whole").code == 0
    events = _recorded.Recorded.events

    def interrupted(*arguments):
        for event in events(*arguments):
            if isinstance(event, BatchResult):
                signal.raise_signal(signal.SIGINT)
            yield event

    monkeypatch.setattr(_recorded, "_BATCH", 2)
    monkeypatch.setattr(_recorded.Recorded, "events", interrupted)
    out = tmp_path / "x"
    for resume, count in (((), 2), (("--resume",), again)):
        stopped = cli("export", file, *what, "--output", out, *resume)
        assert stopped.code == 130
        assert stopped.error == (
            f"emnist-diff: interrupted: {count} of 5 samples are exported to {out} — repeat the command with --resume "
            "to finish"
        )
    monkeypatch.undo()
    assert cli("export", file, *what, "--output", out, "--resume").code == 0
    whole = {p.name: p.read_bytes() for p in (tmp_path / "whole").rglob("*.png")}
    assert {p.name: p.read_bytes() for p in out.rglob("*.png")} == whole
