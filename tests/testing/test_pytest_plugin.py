"""The pytest plugin: rules show by name, and a session that does not use it pays nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAD = """
import attrs
import pytest
import torch
from emnist_diff.conditions import NULL, OWN


@attrs.frozen
class Pull:
    '''Guidance.'''

    strength: float = attrs.field(default=1.0, metadata={"help": "how strongly"})

    def conditions(self, at):
        return (OWN, NULL)

    def __call__(self, predictions, step):
        return self.strength * predictions.direction(OWN)


class Herd(Pull):
    '''Guidance that looks around.'''

    def __call__(self, predictions, step):
        return predictions.direction(OWN) - step.x.mean(0)
"""


ALL = (
    HEAD
    + """
from emnist_diff_testing import mixture

small = {"models": [mixture((3,))]}

@pytest.mark.emnist_diff(Pull(), Pull(strength=2.0), Herd(), **small)
def test_rules(emnist_diff_rule):
    emnist_diff_rule()

@pytest.mark.emnist_diff(Herd, kind="force", skip=("batch_independence",), **small)
def test_some_rules(emnist_diff_rule):
    emnist_diff_rule()

@pytest.mark.emnist_diff(distribution="emnist-diff", component="attract_class")
def test_all(emnist_diff_rule):
    emnist_diff_rule()

def test_it_is_whole(emnist_diff_registry):
    assert "attract_class" in {entry.spec.name for entry in emnist_diff_registry("emnist_diff").entries}

def test_it_is_broken(emnist_diff_registry):
    emnist_diff_registry("half-made")
"""
)


def session(folder: Path, source: str, *options: str) -> tuple[int, str]:
    """pytest in a process of its own over one test file: exit code and output."""
    (folder / "test_mine.py").write_text(source)
    info = folder / "site" / "half_made-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: half-made\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[emnist_diff]\nhalf-made = half_made.plugin\n")
    paths = [str(folder / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
    plugin = ["-p", "emnist_diff_testing.pytest_plugin", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugin, *options, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTEST_ADDOPTS": "",
        },
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a session over `ALL`."""
    code, out = session(tmp_path_factory.mktemp("session"), ALL, "-v")
    assert code == 1, out
    return out


def test_each_rule_is_a_case_of_its_own_and_failures_say_why(output):
    for case in ("Pull-shape", "Pull1-shape", "Pull-json_round_trip", "Herd-finite"):
        assert f"test_mine.py::test_rules[{case}] PASSED" in output
    assert "test_rules[Herd-batch_independence] FAILED" in output
    assert "what it returns for a sample depends neither on its neighbours nor on its place in the batch" in output
    assert "why: samples are batched" in output
    assert "2 failed, " in output


def test_a_kind_and_rules_to_leave_out_can_be_said(output):
    assert "test_some_rules[Herd-ledger] PASSED" in output
    assert "test_some_rules[Herd-batch_independence]" not in output


def test_everything_of_a_distribution_can_be_checked(output):
    for case in ("force-attract_class-determinism", "preset-attract_class-round_trip", "force-attract_class-loads"):
        assert f"test_all[{case}] PASSED" in output
    assert "test_it_is_whole PASSED" in output
    assert "own_name" not in output.partition("warnings summary")[2]


def test_a_distribution_that_is_broken_fails_with_its_traceback(output):
    assert "test_it_is_broken FAILED" in output
    assert "half-made: Traceback (most recent call last)" in output
    assert "ModuleNotFoundError: No module named 'half_made'" in output


def test_a_test_without_components_is_told_so(tmp_path):
    code, out = session(tmp_path, "def test_rules(emnist_diff_rule):\n    emnist_diff_rule()\n")
    assert code != 0
    assert "test_mine.py::test_rules uses emnist_diff_rule, and no @pytest.mark.emnist_diff(COMPONENT, …)" in out


def test_an_installed_package_brings_it():
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    _, _, section = project.partition("[project.entry-points.pytest11]\n")
    assert '"emnist_diff_testing.pytest_plugin" = "emnist_diff_testing.pytest_plugin"' in section.partition("[")[0]


def test_an_unused_plugin_costs_nothing(tmp_path):
    code, out = session(
        tmp_path,
        """
import sys

def test_nothing_heavy_was_imported():
    assert "emnist_diff_testing.pytest_plugin" in sys.modules
    assert not {"torch", "numpy", "diffusers", "cattrs", "h5py", "typer", "emnist_diff.plugins"} & set(sys.modules)
""",
    )
    assert code == 0, out
