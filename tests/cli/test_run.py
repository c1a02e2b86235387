"""``emnist-diff run`` from start to end, on the analytic mixture."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import h5py
import pytest

from emnist_diff.engine.walk import walk
from emnist_diff_plugins.analysis import replay

SMALL = (
    *("run", "--denoiser", "gaussian-mixture:shape=[1,4,4],classes=ABC", "--total-videos", "5", "--steps", "4"),
    *("--scheduler", "ddpm", "--force", "attract_class:target=B,weight=0.5", "--drift", "default:noise_scale=0.02"),
)


def datasets(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Every dataset of a file: type, shape and bytes."""
    found = {}

    def look(name, item):
        if isinstance(item, h5py.Dataset):
            value = item[()]
            raw = value.tobytes() if hasattr(value, "tobytes") and not item.dtype.hasobject else repr(value).encode()
            found[name] = (str(item.dtype), item.shape, raw)

    with h5py.File(path) as file:
        file.visititems(look)
    assert found
    return found


def test_a_system_without_threads_to_start_is_named(cli, tmp_path, monkeypatch):
    def refused(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    done = cli(*SMALL, "--output", tmp_path, "--quiet")
    assert done.code == 2
    assert done.error.splitlines() == [
        "emnist-diff: the system starts no more threads — raise its limits of memory or of processes"
    ]
    assert not list(tmp_path.rglob("*.h5"))


def test_a_run_leaves_its_files_and_is_not_repeated_by_mistake(cli, tmp_path):
    finished = cli(*SMALL, "--output", tmp_path)
    assert finished.code == 0, finished.err
    there = {p.name for p in (tmp_path / "A").iterdir()}
    assert {"trajectory.h5", "samples.png", "strips.png"} <= there
    assert "5 samples of 'A'" in finished.out
    before = datasets(tmp_path / "A" / "trajectory.h5")

    refused = cli(*SMALL, "--output", tmp_path)
    assert refused.code == 7
    assert "--overwrite" in refused.error or "--resume" in refused.error
    assert datasets(tmp_path / "A" / "trajectory.h5") == before

    again = cli(*SMALL, "--output", tmp_path, "--resume", "--json")
    assert again.code == 0, again.err
    summary = json.loads(again.out)
    assert (summary["samples"], summary["resumed"]) == (0, 5)
    assert datasets(tmp_path / "A" / "trajectory.h5") == before
    assert "already there" in cli(*SMALL, "--output", tmp_path, "--resume").out

    other = cli(*SMALL, "--output", tmp_path, "--resume", "--seed", "5")
    assert other.code == 5
    assert "seed" in other.error
    assert datasets(tmp_path / "A" / "trajectory.h5") == before

    replaced = cli(*SMALL, "--output", tmp_path, "--overwrite", "--seed", "5")
    assert replaced.code == 0, replaced.err
    assert datasets(tmp_path / "A" / "trajectory.h5") != before


def test_the_batch_size_changes_no_byte(cli, tmp_path):
    files = []
    for size in ("1", "3", "16"):
        assert cli(*SMALL, "--output", tmp_path / size, "--batch-size", size, "--sink", "hdf5").code == 0
        assert [p.name for p in (tmp_path / size / "A").iterdir()] == ["trajectory.h5"]
        files.append(datasets(tmp_path / size / "A" / "trajectory.h5"))
    assert files[0] == files[1] == files[2]


def test_what_a_run_wrote_verifies_and_can_be_inspected(cli, tmp_path):
    assert cli(*SMALL, "--output", tmp_path, "--sink", "hdf5").code == 0
    path = tmp_path / "A" / "trajectory.h5"
    assert cli("verify", path).code == 0
    data = json.loads(cli("inspect", path, "--json").out)
    assert (data["samples"], data["committed"], data["steps"], data["classes"]) == (5, 5, 4, ["A"])


def test_an_output_that_cannot_be_written_is_one_line(cli, tmp_path):
    (tmp_path / "A").write_text("in the way")
    finished = cli(*SMALL, "--output", tmp_path)
    assert finished.code == 7
    assert str(tmp_path / "A") in finished.error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_finished_to_the_same_bytes(cli, tmp_path, number):
    command = (
        *("run", "--denoiser", "gaussian-mixture:shape=[1,4,4],classes=ABC", "--scheduler", "ddpm"),
        *("--total-videos", "12", "--steps", "200", "--batch-size", "2", "--sink", "hdf5", "--threads", "1"),
    )
    stopped = subprocess.Popen(
        [sys.executable, "-m", "emnist_diff", *command, "--output", str(tmp_path / "stopped")],
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )
    log = []
    for line in stopped.stderr:
        log.append(line)
        if "run.committed" in line:
            stopped.send_signal(number)
            break
    log += stopped.stderr.readlines()
    assert stopped.wait(60) == 130, log
    last = log[-1]
    assert last.startswith("emnist-diff: interrupted: ")
    assert "--resume" in last
    done = int(last.split()[2])
    assert 2 <= done < 12
    assert done % 2 == 0

    resumed = cli(*command, "--output", tmp_path / "stopped", "--resume", "--json")
    assert resumed.code == 0, resumed.err
    summary = json.loads(resumed.out)
    assert (summary["samples"], summary["resumed"]) == (12 - done, done)
    assert cli(*command, "--output", tmp_path / "whole").code == 0
    assert datasets(tmp_path / "stopped" / "A" / "trajectory.h5") == datasets(
        tmp_path / "whole" / "A" / "trajectory.h5"
    )


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (1, "interrupted: 0 of 5 samples of {path} are compared"),
        (3, "interrupted: 4 of 5 samples of {path} are compared, and the same, bit for bit"),
    ],
)
def test_an_interrupted_replay_says_what_it_saw(cli, tmp_path, monkeypatch, batch, said):
    assert cli(*SMALL, "--output", tmp_path, "--sink", "hdf5").code == 0
    path = tmp_path / "A" / "trajectory.h5"
    walks = []

    def interrupted(*arguments):
        walks.append(arguments)
        for number, event in enumerate(walk(*arguments)):
            if len(walks) == batch and number == 1:
                signal.raise_signal(signal.SIGINT)
            yield event

    monkeypatch.setattr(replay, "_BATCH", 2)
    monkeypatch.setattr(replay, "walk", interrupted)
    finished = cli("replay", path)
    assert (finished.code, finished.error) == (130, "emnist-diff: " + said.format(path=path))


def test_a_run_imports_nothing_that_it_does_not_need(tmp_path):
    """Libraries that would take longer than making a sample: a run of the shipped checkpoint starts without them."""
    code = (
        "import sys; from emnist_diff import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "print(*sorted(sys.modules))"
    )
    command = (
        *("run", "--total-videos", "1", "--steps", "1", "--backend", "eager", "--output", str(tmp_path)),
        *("--no-progress", "--no-user-config"),
    )
    finished = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, timeout=120, check=False
    )
    assert finished.returncode == 0, finished.stderr
    there = set(finished.stdout.splitlines()[-1].split())
    assert {"torch", "h5py", "emnist_diff.engine.walk"} <= there
    heavy = {"diffusers", "transformers", "accelerate", "scipy", "sympy", "matplotlib", "openvino", "onnxruntime"}
    assert not there & (heavy | {"torch._dynamo", "torch._inductor", "torch.fx.experimental.symbolic_shapes"})
