"""The trace of a run of the shipped model: the same numbers while it goes on, from its file, and in a dataset of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from emnist_diff_plugins.metrics.growing import LINES, finished
from emnist_diff_trajectory.attention import beside

RUN = (
    *("run", "--character", "A,E", "--total-videos", 3, "--steps", 3, "--batch-size", 2, "--seed", 5),
    *("--force", "attract_class:target=B,strength=0.5", "--guidance-scale", 2, "--quiet"),
)
SINKS = ("--sink", "hdf5", "--sink", "metrics:trace=true", "--record-attention")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("traced")


@pytest.fixture
def traced(cli: Any, folder: Path) -> Path:
    """The directory of a run with its trajectory, its attention and its trace."""
    if not (folder / "A+E").exists():
        assert (done := cli(*RUN, *SINKS, "--output", folder)).code == 0, done.err
    return folder / "A+E"


def lines(path: Path) -> dict[tuple[int, int], dict[str, Any]]:
    """Those of a file by sample and step; the last of a sample is at -1."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    read = [json.loads(text, parse_constant=refuse) for text in path.read_text().splitlines()]
    out = {(line["vid_id"], line.get("step_index", -1)): line for line in read}
    assert len(out) == len(read)
    return out


def test_the_numbers_are_the_same_live_from_the_file_and_in_a_dataset(cli: Any, traced: Path, tmp_path: Path):
    order = [json.loads(text) for text in (traced / "metrics" / LINES).read_text().splitlines()]
    first = [(line["vid_id"], line.get("step_index", "end")) for line in order[:8]]
    assert first == [*((number, step) for step in range(3) for number in (0, 1)), (0, "end"), (1, "end")]
    live = lines(traced / "metrics" / LINES)
    assert live.keys() == {(number, step) for number in range(3) for step in range(-1, 3)}
    assert (done := cli("metrics", traced / "trajectory.h5", "--trace", "--output", tmp_path)).code == 0, done.err
    assert lines(tmp_path / LINES) == live
    for name in ("step_metrics.csv", "video_metrics.csv"):
        assert (tmp_path / name).read_text() == (traced / "metrics" / name).read_text()
    for number in range(3):
        dataset = tmp_path / str(number)
        done = cli("export", traced / "trajectory.h5", "--dataset", dataset, "--sample", number, "--no-arrays")
        assert done.code == 0, done.err
        metrics, plane = (json.loads((dataset / f"{name}.json").read_text()) for name in ("metrics", "latent_pca"))
        layers = [each["processor_key"] for each in json.loads((dataset / "metadata.json").read_text())["layers"]]
        of_steps = [live[number, step] for step in range(3)]
        for name in (
            *("latent_l2_norm", "predicted_noise_l2_norm", "cosine_similarity_to_previous", "cosine_of_updates"),
            *("attention_kl_divergence", "masked_attention_kl_divergence", "mean_token_activation"),
        ):
            assert [line[name] for line in of_steps] == metrics[name], name
        for line, expected in zip(of_steps, metrics["self_attention_entropy"], strict=True):
            assert line["self_attention_entropy"]["mean"] == expected["mean"]
            assert list(line["self_attention_entropy"]["by_layer"].values()) == list(expected["by_layer"].values())
            assert len(layers) == len(line["self_attention_entropy"]["by_layer"]) == 3
        last = live[number, -1]
        assert last["token_dominance"] == metrics["token_dominance"]
        assert last["latent_pca"] == plane
        assert of_steps[0]["cosine_similarity_to_previous"] is None
        assert of_steps[2]["latent_l2_norm"] > 0


def test_a_resumed_run_has_each_line_once(cli: Any, traced: Path, tmp_path: Path):
    where = tmp_path / "A+E"
    shutil.copytree(traced, where)
    path, whole = where / "metrics" / LINES, lines(traced / "metrics" / LINES)
    text = path.read_text().splitlines(keepends=True)
    path.write_text("".join(text[:10]) + text[10][:20])  # the first batch is whole, and of the second a line is torn
    assert finished(path) == {0, 1}
    videos = where / "metrics" / "video_metrics.csv"
    videos.write_text("".join(videos.read_text().splitlines(keepends=True)[:3]))
    done = cli(*RUN, *SINKS, "--output", tmp_path, "--resume")
    assert done.code == 0, done.err
    assert lines(path) == whole
    other = cli(*RUN, "--sink", "hdf5", "--sink", "metrics", "--record-attention", "--output", tmp_path, "--resume")
    assert "was written with other settings (trace: True there, False here)" in other.error


def test_a_run_without_and_attention_beside_it(cli: Any, traced: Path, tmp_path: Path):
    assert cli(*RUN, "--sink", "hdf5", "--output", tmp_path).code == 0
    path = tmp_path / "A+E" / "trajectory.h5"
    with h5py.File(path) as one, h5py.File(traced / "trajectory.h5") as other:
        for name in ("trajectory/x", "trajectory/prediction", "images"):
            assert np.array_equal(one[name][:], other[name][:])
    assert cli("metrics", path, "--trace", "--output", tmp_path / "none").code == 0
    step = lines(tmp_path / "none" / LINES)[1, 2]
    assert (step["self_attention_entropy"], "mean_token_activation" in step) == (None, False)
    assert cli("attend", path, "--dtype", "float32", "--condition", "own", "--sample", "1").code == 0
    assert cli("metrics", path, "--trace", "--output", tmp_path / "after").code == 0
    after, live = lines(tmp_path / "after" / LINES), lines(traced / "metrics" / LINES)
    assert [after[1, step] for step in range(3)] == [live[1, step] for step in range(3)]
    assert after[2, 0]["self_attention_entropy"]["mean"] is None  # of a sample whose attention is not kept
    with h5py.File(beside(path), "r+") as file:
        file["config"].attrs["sha256"] = "0" * 64
    done = cli("metrics", path, "--output", tmp_path / "other")
    assert done.code == 0
    assert "metrics.no_attention" in done.err


def test_attention_for_the_trace_alone(cli: Any, traced: Path, tmp_path: Path):
    sink = 'metrics:trace=true,attention={"layers": ["mid*"]}'
    assert cli(*RUN, "--sink", sink, "--output", tmp_path).code == 0
    found, whole = lines(tmp_path / "A+E" / "metrics" / LINES), lines(traced / "metrics" / LINES)
    for key, line in found.items():
        if key[1] >= 0:
            by_layer = whole[key]["self_attention_entropy"]["by_layer"]
            own = line["self_attention_entropy"]["by_layer"]
            assert list(own) == ["mid_block.attentions.0"]
            assert own["mid_block.attentions.0"] == by_layer["mid_block.attentions.0"]
