"""Class names that text would take apart: what is recorded as a list comes back as one."""

from __future__ import annotations

import json

import pytest

from emnist_diff.assembly.assemble import assemble
from emnist_diff.discovery import installed
from emnist_diff.running.run import run
from emnist_diff_plugins.layers import configure
from emnist_diff_plugins.spaces import ClassSpace
from emnist_diff_trajectory.reader import Trajectory

NAMES = ["a,b", "a;b", " a", "", "ü", "b", '["x"]', "all"]


@pytest.mark.parametrize("asked", [["a,b", "b"], ["a,b"], ["", " a", "all"], ["a;b", "ü", '["x"]']])
def test_a_run_of_any_names_is_made_again_resumed_and_asked_what_if(cli, tmp_path, asked):
    denoiser = {"name": "gaussian-mixture", "shape": [1, 4, 4], "classes": NAMES}
    settings = {
        "denoiser": denoiser, "character": asked, "total_videos": 4, "steps": 3, "output": str(tmp_path / "out"),
        "forces": [{"name": "attract_class", "target": "a,b", "weight": 0.5}], "sinks": ["hdf5", "metadata", "metrics"],
    }  # fmt: skip
    file = tmp_path / "run.json"
    file.write_text(json.dumps(settings))
    folder = run(configure(installed(), settings)[0]).output
    path = folder / "trajectory.h5"
    with Trajectory(path) as t:
        assert t.config["character"] == asked
        assert [sample.character for sample in t] == [asked[i % len(asked)] for i in range(4)]
    assert "bit for bit" in cli("replay", path).out
    assert cli("run", "--config", file, "--resume").code == 0
    assert cli("whatif", path, "--without", "attract_class").code == 0
    assert cli("metrics", path, "--json", "--overwrite").code == 0
    assert [video["character"] for video in json.loads((folder / "index.json").read_text())["videos"]] == [
        asked[i % len(asked)] for i in range(4)
    ]


def test_an_accent_typed_in_another_way_is_the_same_record():
    composed, decomposed = "\u00e9", "e\u0301"
    records = []
    for typed in (composed, decomposed):
        settings = {
            "denoiser": {"name": "gaussian-mixture", "shape": [1, 2, 2], "classes": [composed, "a"]}, "steps": 2,
            "character": typed, "forces": [
                {"name": "attract_class", "target": typed},
                {"name": "weighted_multi", "weights": {typed: 1, "a": 2}},
            ],
        }  # fmt: skip
        records.append(assemble(installed(), configure(installed(), settings)[0]).header.config)
    assert records[0] == records[1]
    assert records[1]["forces"][0]["settings"]["target"] == composed


def test_text_names_classes_as_people_type_them():
    space = ClassSpace(tuple(NAMES))
    for said, names in (
        ("a,b", ("a,b",)), ("b, ü", ("b", "ü")), ('["a,b", " a"]', ("a,b", " a")), ('["x"]', ('["x"]',)),
        (["b", "b", ""], ("b", "")), ("", ("",)),
    ):  # fmt: skip
        assert space.characters(said) == names
