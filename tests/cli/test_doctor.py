"""What ``emnist-diff doctor`` says of libraries."""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NOT_FOR_USERS = {"docs", "test", "dev"}


def named(requirements):
    return {re.match(r"[\w.-]+", requirement)[0] for requirement in requirements}


def test_every_library_of_every_extra_is_listed(cli):
    extras = PROJECT["optional-dependencies"]
    wanted = named(PROJECT["dependencies"]) - {"tomli"}
    for extra in extras.keys() - NOT_FOR_USERS:
        wanted |= named(extras[extra])
    assert json.loads(cli("doctor", "--json").out)["libraries"].keys() == wanted


def test_a_library_that_is_not_there_comes_with_its_extra(cli, monkeypatch: pytest.MonkeyPatch):
    version = importlib.metadata.version

    def without(name):
        if name in ("psutil", "pyarrow", "av"):
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without)
    done = cli("doctor")
    assert done.code == 0
    for name, extra in (("psutil", "dashboard"), ("pyarrow", "parquet"), ("av", "video")):
        (line,) = [line for line in done.out.splitlines() if line.split()[:1] == [name]]
        assert "not installed" in line
        assert line.endswith(f"pip install 'emnist-diff[{extra}]')")
