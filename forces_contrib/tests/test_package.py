"""What is shipped: light to discover, examples that run, and a package that comes and goes with pip."""

from __future__ import annotations

import inspect
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from emnist_diff.records import ForceSpec
from emnist_diff_plugins import parse

import emnist_diff_forces_contrib
from emnist_diff_forces_contrib import emnist_diff_forces

ROOT = Path(emnist_diff_forces_contrib.__file__).parents[1]
SPECS = {spec.name: spec for spec in emnist_diff_forces()}
EXAMPLE = re.compile(r"^Example: ``(.*)``$", re.MULTILINE)


def test_the_hooks_import_no_torch():
    code = (
        "import sys; from emnist_diff_forces_contrib import emnist_diff_forces; "
        "assert len(list(emnist_diff_forces())) > 10; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": _path()})


def _path() -> str:
    """Where this process finds packages, for another one."""
    return os.pathsep.join([str(ROOT), *filter(None, sys.path)])


@pytest.mark.parametrize("name", SPECS)
def test_a_docstring_has_an_example_of_its_own_force(registry, name):
    factory = registry.load(ForceSpec, name)
    found = EXAMPLE.search(inspect.getdoc(factory) or "")
    assert found is not None, f"{name} has no line 'Example: ``…``'"
    words = shlex.split(found[1])
    asked = [parse.component(value, "--force") for word, value in itertools.pairwise(words) if word == "--force"]
    assert name in [one["name"] for one in asked]


@pytest.mark.parametrize("name", SPECS)
def test_every_setting_has_a_help_text(registry, name):
    for field in registry.load(ForceSpec, name).__attrs_attrs__:
        assert not field.init or field.metadata.get("help"), f"{name}: {field.name}"


def test_pip_brings_the_forces_and_takes_them_away(found, tmp_path):
    """In a virtual environment that sees what this one has, without a network."""
    if found is None:
        pytest.skip("the package is installed here already")
    for needed in ("hatchling", "pip"):
        pytest.importorskip(needed, reason=f"installing a package from its source needs {needed}")
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    (site,) = venv.glob("lib/python*/site-packages")
    paths = [path for path in sys.path if path and Path(path) not in (ROOT, found)]
    (site / "outer.pth").write_text("\n".join(paths) + "\n")
    python = venv / "bin" / "python"
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(*words: str) -> str:
        done = subprocess.run([python, "-m", *words], env=clean, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def listed() -> set[str]:
        said = json.loads(run("emnist_diff", "plugins", "list", "--kind", "force", "--json"))
        rows = said["components"] if isinstance(said, dict) else said
        return {row["name"] for row in rows if row["distribution"] == "emnist-diff-forces-contrib"}

    assert listed() == set()
    quiet = ("--quiet", "--disable-pip-version-check")
    run("pip", "install", *quiet, "--no-deps", "--no-build-isolation", "--ignore-installed", str(ROOT))
    assert listed() == SPECS.keys()
    run("pip", "uninstall", *quiet, "--yes", "emnist-diff-forces-contrib")
    assert listed() == set()
