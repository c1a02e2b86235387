"""What is on its way out works, and says so once."""

from __future__ import annotations

import json
import warnings

import attrs
import pytest

from emnist_diff.components import make
from emnist_diff.config import ComponentConfig
from emnist_diff.deprecation import EmnistDiffDeprecationWarning
from emnist_diff.discovery import installed
from emnist_diff.plugins import Entry, Registry
from emnist_diff.records import DriftSpec
from emnist_diff.structuring import structure


@attrs.frozen
class Old:
    """A component with a setting that has had its time."""

    size: int = attrs.field(default=1, metadata={"help": "its size", "deprecated": "use scale, since 0.2"})
    scale: float = 1.0


def test_a_setting_works_and_warns_those_who_set_it():
    with pytest.warns(EmnistDiffDeprecationWarning, match="setting 'size' of drift 'old' is deprecated: use scale"):
        assert structure({"size": 3}, Old, "drift 'old'").size == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert structure({"scale": 3.0}, Old, "drift 'old'").size == 1


def test_a_component_works_and_warns_those_who_use_it():
    factory = "emnist_diff_plugins.drifts.clamp:Clamp"
    spec = DriftSpec(name="old_clamp", factory=factory, summary="x", deprecated="use clamp, since 0.2")
    there = Registry((*installed().entries, Entry(spec, "theirs", "1")), ())
    with pytest.warns(EmnistDiffDeprecationWarning, match="drift 'old_clamp' of theirs is deprecated: use clamp"):
        assert make(there, DriftSpec, ComponentConfig("old_clamp")).name == "old_clamp"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(there, DriftSpec, ComponentConfig("clamp"))


PLUGIN = """
from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import DriftSpec

@hookimpl
def emnist_diff_drifts():
    yield DriftSpec(name="old_clamp", factory="emnist_diff_plugins.drifts.clamp:Clamp", summary="x",
                    deprecated="use clamp, since 0.2")
"""


def test_the_command_line_logs_it_once(tmp_path, cli):
    (tmp_path / "my_old_drifts.py").write_text(PLUGIN)
    done = cli(
        "run", "--denoiser", "gaussian-mixture:shape=[2],classes=ABC", "--steps", "2", "--total-videos", "2",
        "--drift", "old_clamp", "--plugin-file", tmp_path / "my_old_drifts.py", "--output", tmp_path / "out",
    )  # fmt: skip
    assert done.code == 0
    lines = [json.loads(line) for line in done.err.splitlines() if '"deprecated"' in line]
    assert [line["what"] for line in lines] == [
        "drift 'old_clamp' of my_old_drifts.py is deprecated: use clamp, since 0.2"
    ]
