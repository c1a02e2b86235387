"""Samples that no class decides are not said to be of one."""

from __future__ import annotations

import csv
import json
from types import SimpleNamespace

import pytest

from emnist_diff.discovery import installed
from emnist_diff_plugins.forecast import preview
from emnist_diff_plugins.layers import configure
from emnist_diff_plugins.plots.runs import class_name
from emnist_diff_trajectory.reader import Trajectory

MODEL = ("--denoiser", "gaussian-mixture:shape=[1,8,8],classes=ABC", "--steps", "3", "--total-videos", "2")
PRESET = ("--preset", "subtract", "--preset-args", json.dumps({"positive": "B", "negative": "C"}))


@pytest.mark.parametrize(
    ("settings", "conditioned"),
    [
        ({}, True),
        ({"base": "cond"}, True),
        ({"base": "uncond"}, False),
        ({"guidance_scale": 0.0}, False),
        ({"base": "uncond", "forces": [{"name": "attract_class"}]}, True),
        ({"base": "uncond", "forces": [{"name": "attract_class", "target": ["own", "B"]}]}, True),
        ({"base": "uncond", "forces": [{"name": "attract_class", "target": "A"}]}, False),
        ({"base": "uncond", "forces": [{"name": "attract_class", "weight": 0}]}, False),
        ({"preset": {"name": "blend", "settings": {"a": "A", "b": "B"}}}, False),
        ({"preset": {"name": "attract_class"}}, True),
    ],
    ids=str,
)
def test_whether_the_own_class_is_read(settings, conditioned):
    mixture = {"denoiser": {"name": "gaussian-mixture", "classes": "ABC"}, "steps": 3, "total_videos": 2}
    assert preview(installed(), configure(installed(), {**mixture, **settings})[0]).conditioned == conditioned


@pytest.mark.parametrize("preset", [True, False])
def test_every_report_says_so(cli, tmp_path, preset):
    sinks = ("--sink", "hdf5", "--sink", "metadata", "--sink", "metrics")
    finished = cli("run", *MODEL, *(PRESET if preset else ()), *sinks, "--output", tmp_path)
    assert finished.code == 0, finished.err
    said = "no base or force reads the class 'A', which only names the folder"
    assert (said in finished.out, "2 samples of 'A'" in finished.out) == (preset, not preset)
    (folder,) = tmp_path.iterdir()
    file = folder / "trajectory.h5"
    with Trajectory(file) as trajectory:
        assert trajectory.conditioned is not preset
        assert trajectory.labels.tolist() == [0, 0]
    shown = cli("inspect", file, "--sample", "0")
    assert ("no class" if preset else "class A") in shown.out
    videos = json.loads((folder / "index.json").read_text())["videos"]
    assert [video["character"] for video in videos] == [None if preset else "A"] * 2
    (table,) = folder.rglob("video_metrics*.csv")
    with table.open() as rows:
        assert [row["character"] for row in csv.DictReader(rows)] == ["" if preset else "A"] * 2
    assert cli("replay", file).code == 0


def test_pictures_call_them_by_no_class(cli, tmp_path):
    assert cli("run", *MODEL, *PRESET, "--output", tmp_path).code == 0
    (file,) = tmp_path.rglob("trajectory.h5")
    with Trajectory(file) as trajectory:
        assert class_name(SimpleNamespace(trajectory=trajectory), 0) == "no class"
