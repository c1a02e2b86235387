"""The command line as people meet it: help without torch, one-line errors, documented exit codes."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys

import pytest

from emnist_diff.discovery import installed
from emnist_diff_trajectory.contract import CommandSpec
from emnist_diff_trajectory.reader import Trajectory

MIXTURE = ("--denoiser", "gaussian-mixture:shape=[1,4,4],classes=ABC")

COMMANDS = [(), ("plugins",), ("plugins", "list"), ("plugins", "show")]
COMMANDS += [
    tuple(filter(None, (e.spec.group, e.spec.name))) for e in installed().of(CommandSpec) if e.spec.name != "plugins"
]


@pytest.fixture(scope="module")
def no_torch(tmp_path_factory):
    """An environment in which importing torch raises."""
    folder = tmp_path_factory.mktemp("no_torch")
    (folder / "torch.py").write_text("raise RuntimeError('torch was imported')\n")
    environment = {"PYTHONPATH": str(folder)}
    blocked = subprocess.run(
        [sys.executable, "-c", "import torch"], env=environment, capture_output=True, text=True, check=False
    )
    assert "torch was imported" in blocked.stderr
    return environment


@pytest.mark.parametrize(
    "command", [("--help",), ("plugins", "list"), ("plugins", "list", "--json"), ("run", "--help"), ("--version",)]
)
def test_no_torch_on_the_light_path(process, no_torch, command):
    finished = process(*command, **no_torch)
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    assert finished.stdout
    assert "torch was imported" not in finished.stdout


@pytest.mark.parametrize("command", [("--help",), ("plugins", "list")])
def test_the_light_path_costs_little_cpu_time(process, command):
    def cost() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert process(*command).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    costs = []
    for _ in range(8):  # the machine may have other work
        costs.append(cost())
        if costs[-1] < 0.4:
            return
    pytest.fail(f"CPU seconds: {costs}")


def test_a_broken_plugin_breaks_neither_help_nor_list(process, tmp_path):
    (tmp_path / "shattered.py").write_text("raise RuntimeError('in pieces')\n")
    info = tmp_path / "shattered-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shattered\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[emnist_diff]\nbits = shattered\n")
    environment = {"PYTHONPATH": str(tmp_path)}
    assert process("--help", **environment).returncode == 0
    listed = process("plugins", "list", **environment)
    assert listed.returncode == 0
    assert "broken: shattered 1.0 [bits]: RuntimeError: in pieces" in listed.stdout
    assert "attract_class" in listed.stdout
    strict = process("plugins", "list", "--strict-plugins", **environment)
    assert strict.returncode == 3
    assert strict.stderr.startswith("emnist-diff: broken plugins: shattered")
    assert "broken" not in process("plugins", "list", EMNIST_DIFF_PLUGINS="", **environment).stdout


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(cli, command):
    finished = cli(*command, "--help")
    assert finished.code == 0
    assert "Usage" in finished.out
    assert "--help" in finished.out
    assert finished.err == ""


def test_the_help_of_train_shows_how_to_train_on_a_folder(cli):
    assert "\n    emnist-diff train unet2d --dataset folder --data DIR " in cli("train", "--help").out


@pytest.mark.parametrize(
    "command", [("train", "unet2d", "--data", "any"), ("run", *MIXTURE)], ids=lambda words: words[0]
)
def test_threads_are_bounded_wherever_they_are_asked_for(cli, command):
    assert cli(*command, "--threads", "1", "--dry-run").code == 0
    finished = cli(*command, "--threads", "257", "--dry-run")
    assert finished.code == 2
    assert "'threads' must be <= 256: 257" in finished.error


def test_the_help_names_every_command(cli):
    out = cli("--help").out
    for command in {c[0] for c in COMMANDS if c}:
        assert f"\n  {command} " in out
    assert "Exit codes" in out


@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        (["--character", "AA"], 2, ["class 'AA'"]),
        (["--scheduler", "dimm"], 2, ["'dimm'", "did you mean 'ddim'"]),
        (["--scheduler", "ddim:etaa=1"], 2, ["'etaa'", "did you mean 'eta'"]),
        (["--scheduler", "ddim:eta=lots"], 2, ["eta", "'lots'"]),
        (["--scheduler", "ddim:eta"], 2, ["a setting needs a value", "ddim:eta=VALUE"]),
        (["--force", "atract_class"], 2, ["'atract_class'", "did you mean 'attract_class'"]),
        (["--force", "attract_class:target=Q"], 2, ["class 'Q'"]),
        (["--force", "attract_class:target=A,target=B"], 2, ["--force", "'target' is given twice"]),
        (["--drift", "defualt"], 2, ["'defualt'", "did you mean 'default'"]),
        (["--drift", "default:noise_scale=-1"], 2, ["noise_scale", "-1"]),
        (["--sink", "hdf6"], 2, ["'hdf6'", "did you mean 'hdf5'"]),
        (["--base", "cgf"], 2, ["base", "cgf"]),
        (["--steps", "1001"], 2, ["1001", "1000"]),
        (["--steps", "0"], 2, ["steps", "0"]),
        (["--total-videos", "0"], 2, ["total_videos", "0"]),
        (["--total-videos", "1099511627777"], 2, ["total_videos", "1099511627776", "1099511627777"]),
        (["--total-videos", "4194305"], 2, ["4194305 samples", "1 worker,", "at most 4194304", "--blocks 2 or more"]),
        (["--per-character", "1099511627776", "--character", "A,B"], 2, ["2199023255552 samples", "1099511627776"]),
        (["--threads", "100000"], 2, ["threads", "256", "100000"]),
        (["--epoch", "3"], 2, ["epoch 3", "--checkpoint"]),
        (["--drift-scale", "0.2", "--drift", "clamp"], 2, ["--drift-scale 0.2", "'noise_scale'", "(drifts: clamp)"]),
        (["--sink", "frames", "--sink", "frames:every=2"], 2, ["sink 'frames' is given twice"]),
        (["--sink", "hdf5", "--sink", "hdf5:dtype=float16"], 2, ["'hdf5'", "twice", "filename 'trajectory.h5'"]),
        (["--seed", "-1"], 2, ["seed", "-1"]),
        (["--force-stack", "[{"], 2, ["--force-stack", "not valid JSON"]),
        (
            ["--force-stack", "@nope.json"],
            2,
            ["--force-stack: cannot read 'nope.json': No such file"],
        ),
        (["--force-stack", '{"name": "attract_class"}'], 2, ["forces", "expected a list"]),
        (["--force-stack", "[]", "--force", "attract_class"], 2, ["--force-stack", "exclude each other"]),
        (["--resume", "--overwrite"], 2, ["--resume and --overwrite exclude each other"]),
        (["--config", "missing.toml"], 2, ["missing.toml", "No such file"]),
        (["--config", "."], 2, ["directory"]),
        (["--device", "warp"], 2, ["'warp'"]),
        (["--checkpoint", "x.safetensors"], 2, ["exclude each other"]),
    ],
    ids=lambda value: " ".join(map(str, value))[:50] if isinstance(value, list) else str(value),
)
def test_a_mistake_is_one_line_that_names_it(cli, tmp_path, monkeypatch, arguments, code, parts):
    monkeypatch.chdir(tmp_path)
    finished = cli("run", *MIXTURE, *arguments)
    assert finished.code == code
    assert finished.error.startswith("emnist-diff: ")
    for part in parts:
        assert part in finished.error + "\n"
    assert finished.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("stepss = 3", ["'stepss'", "did you mean 'steps'"]),
        ("steps = 'many'", ["steps", "'many'"]),
        ("steps = ", ["settings.toml", "not valid TOML"]),
        ("forces = [{name = 'attract_class', targt = 'B'}]", ["attract_class", "'targt'", "did you mean 'target'"]),
    ],
)
def test_a_mistake_in_a_file_is_one_line_too(cli, tmp_path, monkeypatch, text, parts):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.toml").write_text(text)
    finished = cli("run", *MIXTURE, "--config", "settings.toml")
    assert finished.code == 2
    assert all(part in finished.error for part in ["emnist-diff: ", *parts]), finished.error


def test_a_missing_checkpoint_has_its_own_exit_code(cli, tmp_path):
    (tmp_path / "epoch_1.safetensors").write_bytes(b"short")
    for path in (tmp_path / "epoch_2.safetensors", tmp_path, tmp_path / "epoch_1.safetensors"):
        finished = cli("run", "--checkpoint", path)
        assert finished.code == 4
        assert finished.error.startswith("emnist-diff: ")
        assert "epoch_" in finished.error


def test_errors_of_a_real_process_have_no_traceback(process):
    finished = process("run", *MIXTURE, "--force", "atract_class")
    assert finished.returncode == 2
    assert finished.stderr.count("\n") == 1
    assert finished.stderr.startswith("emnist-diff: unknown force 'atract_class'")


@pytest.mark.parametrize("command", ["verify", "replay", "pack", "export"])
def test_an_interrupt_is_said(cli, monkeypatch, command):
    def interrupted(self, path):
        raise KeyboardInterrupt  # not by a signal: whoever runs the tests in the background ignores those

    monkeypatch.setattr(Trajectory, "__init__", interrupted)
    finished = cli(command, "any.h5", *(["--frames"] if command == "export" else []))
    assert (finished.code, finished.error) == (130, "emnist-diff: stopped")


def test_classes_that_get_no_sample_are_said(cli):
    for count, said in ((2, True), (3, False)):
        finished = cli("run", *MIXTURE, "--character", "all", "--total-videos", str(count), "--dry-run")
        assert finished.code == 0
        lines = [json.loads(line) for line in finished.err.splitlines()]
        events = [(line["classes"], line["samples"]) for line in lines if line["event"] == "classes.without_samples"]
        assert events == ([("C", 2)] if said else [])


def test_a_dry_run_prints_configuration_and_plan(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.toml").write_text("steps = 20\nseed = 3\nforces = ['repel_class']\n")
    finished = cli(
        *("run", *MIXTURE, "-c", "settings.toml", "--steps", "7", "--dry-run"),
        *("--force", 'attract_class:target="B",strength={"kind":"window","from":0.5}', "--drift", "none"),
    )
    # a dry run returns instead of raising, and typer exits with 0
    assert finished.code == 0, finished.err
    data = json.loads(finished.out)
    config, plan = data["config"], data["plan"]
    assert (config["steps"], config["seed"]) == (7, 3)
    (force,) = config["forces"]
    assert (force["name"], force["weight"]) == ("attract_class", 1.0)
    assert force["settings"] == {"target": "B", "strength": {"kind": "window", "from": 0.5}}
    assert config["denoiser"]["settings"] == {"shape": [1, 4, 4], "classes": "ABC"}
    assert plan["steps"] == [
        {"steps": [0, 2], "conditions": ["null", "own"]},
        {"steps": [3, 6], "conditions": ["null", "own", "B"]},
    ]
    assert plan["network_rows"] == 10 * (3 * 2 + 4 * 3)
    assert plan["estimated_seconds"] >= 0
    assert [p.name for p in tmp_path.iterdir()] == ["settings.toml"]
    again = tmp_path / "again.json"
    again.write_text(json.dumps(config))
    assert json.loads(cli("run", "-c", again, "--dry-run").out)["config"] == config


@pytest.mark.parametrize("name", ["attract_class", "force_attract_class", "emnist-diff:attract_class"])
def test_show_describes_a_component(cli, name):
    finished = cli("plugins", "show", name, "--kind", "force", "--json")
    assert finished.code == 0
    (item,) = json.loads(finished.out)
    assert (item["kind"], item["name"]) == ("force", "attract_class")
    target, strength = item["settings"]
    assert target["name"] == "target"
    assert target["aliases"] == ["target_class"]
    assert strength["default"] == "1.0"
    assert "target" in cli("plugins", "show", name, "--kind", "force").out


def test_settings_are_shown_as_a_table_spells_them(cli):
    assert (
        "\n    from: float | None = None  — where it begins" in cli("plugins", "show", "ramp", "--kind", "schedule").out
    )


def test_show_of_an_unknown_component_suggests(cli):
    finished = cli("plugins", "show", "atract_class")
    assert finished.code == 2
    assert "did you mean 'attract_class'" in finished.error
    assert cli("plugins", "show", "ddim", "--kind", "forse").code == 2


def test_list_can_be_narrowed_to_a_kind(cli):
    data = json.loads(cli("plugins", "list", "--kind", "scheduler", "--json").out)
    assert {c["name"] for c in data["components"]} >= {"ddim", "ddpm"}
    assert {c["kind"] for c in data["components"]} == {"scheduler"}


PLUGIN = """
from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import DriftSpec, ForceSpec, SchedulerSpec
from emnist_diff_plugins.contract import PresetSpec

@hookimpl
def emnist_diff_forces():
    yield ForceSpec(name="own_force", factory="{module}:Own", summary="of a file")
    yield ForceSpec(name="hollow", factory="{module}:Gone", summary="of a file")

@hookimpl
def emnist_diff_drifts():
    yield DriftSpec(name="own_drift", factory="{module}:Own", summary="of a file")

@hookimpl
def emnist_diff_presets():
    yield PresetSpec(name="own_preset", factory="{module}:Own", summary="of a file")

@hookimpl
def emnist_diff_schedulers():
    yield SchedulerSpec(name="own_scheduler", factory="{module}:Own", summary="of a file", predictions=("epsilon",))

class Own:
    pass
"""


def test_the_lists_know_plugin_files(cli, tmp_path):
    file = tmp_path / "listed_plugin.py"
    file.write_text(PLUGIN.format(module=file.stem))
    for kind in ("force", "drift", "preset"):
        assert f"own_{kind}  of a file  [listed_plugin.py]\n" in _spaced(cli(f"{kind}s", "--plugin-file", file).out)
        assert f"own_{kind}" not in cli(f"{kind}s").out
    assert "own_scheduler" in cli("schedulers", "--plugin-file", file).out
    assert "own_scheduler" in cli("plugins", "list", "--plugin-file", file).out
    broken = cli("run", *MIXTURE, "--force", "hollow", "--plugin-file", file)
    assert "force 'hollow' of listed_plugin.py is broken: listed_plugin:Gone cannot be loaded" in broken.error
    shown = cli("plugins", "show", "own_force", "--plugin-file", file)
    assert shown.out.startswith("force own_force  [listed_plugin.py]\n  of a file\n")


def _spaced(table: str) -> str:
    """A table whose columns are two spaces apart."""
    return re.sub("  +", "  ", table)


@pytest.mark.parametrize(
    ("words", "offered"), [("repl", "replay"), ("run --sche", "--scheduler"), ("plugins l", "list"), ("ver", "verify")]
)
def test_the_shell_completes(process, words, offered):
    count = str(len(words.split()))
    done = process(_EMNIST_DIFF_COMPLETE="complete_bash", COMP_WORDS=f"emnist-diff {words}", COMP_CWORD=count)
    assert done.stdout.split() == [offered]


def test_rights_to_read_are_learnt_by_reading(cli, tmp_path, monkeypatch):
    """Nobody asks for them beforehand, in other words and with another exit code than those of a trajectory file."""
    (tmp_path / "text.h5").write_text("no HDF5")
    monkeypatch.setattr("os.access", lambda path, mode: False)
    for command in ("inspect", "attend", "view"):
        done = cli(command, tmp_path / "text.h5")
        assert (done.code, "is no HDF5 file" in done.err) == (5, True), done.err
