"""The user's configuration in ``emnist-diff run``: under everything else that is said, and only there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emnist_diff_plugins.benching import userconfig
from emnist_diff_plugins.machine.threads import default_threads

SMALL = ("run", "--dry-run", "--denoiser", "gaussian-mixture:shape=[2],classes=ABC")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's configuration."""
    path = tmp_path / "user.toml"
    path.write_text('[run]\nthreads = 1\nmicro_batch = 5\nbackend = "eager"\n')
    monkeypatch.setenv(userconfig.VARIABLE, str(path))
    return path


def planned(cli: Any, *arguments: str | Path) -> dict[str, Any]:
    """The configuration of a run that would be made."""
    done = cli(*SMALL, *arguments)
    assert done.code == 0, done.err
    config: dict[str, Any] = json.loads(done.out)["config"]
    return config


def test_it_is_under_all_that_is_said(cli: Any, file: Path, tmp_path: Path) -> None:
    config = planned(cli)
    assert (config["threads"], config["micro_batch"], config["backend"]["name"]) == (1, 5, "eager")
    assert planned(cli, "--micro-batch", "7")["micro_batch"] == 7
    said = tmp_path / "run.toml"
    said.write_text("micro_batch = 6\n")
    config = planned(cli, "--config", said)
    assert (config["threads"], config["micro_batch"]) == (1, 6)


def test_it_can_be_ignored(cli: Any, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = planned(cli, "--no-user-config")
    assert (config["micro_batch"], config["backend"]["name"]) == (None, "auto")
    assert config["threads"] == default_threads().count
    monkeypatch.setenv(userconfig.VARIABLE, "")
    assert planned(cli)["micro_batch"] is None


def test_a_mistake_in_it_is_one_line(cli: Any, file: Path) -> None:
    file.write_text("[run]\nstep = 5\n")
    done = cli(*SMALL)
    assert done.code == 2
    assert "user.toml" in done.error
