"""The page's numbers, computed by node, against Python's on the same files: metrics, attention, ledger and planes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from emnist_diff.discovery import installed
from emnist_diff_plugins.diffulizer.numbers import Measured
from emnist_diff_plugins.diffulizer.recorded import opened
from emnist_diff_plugins.metrics.reading import BlockReader
from emnist_diff_plugins.metrics.steps import names, step_metrics
from emnist_diff_plugins.plots.runs import Run
from emnist_diff_plugins.plots.trajectories_pca import plane
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.verify import verify

sys.path.insert(0, str(Path(__file__).parent))

import recorded_runs

OF_A_RUN = ("wall_dt", "timestep", "step_end")
"""Columns of the command that are no curves of the page."""

Ask = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def ask(built_for_node: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """Answers of the page's model, built for node, to questions."""
    script, file = built_for_node("tests/model/serve.ts"), tmp_path_factory.mktemp("model") / "questions.json"

    def answers(*questions: dict[str, Any]) -> list[dict[str, Any]]:
        file.write_text(json.dumps(questions, default=str))
        done = subprocess.run(["node", str(script), str(file)], check=True, timeout=120, capture_output=True, text=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    return answers


def record(folder: Path, sink: dict[str, Any] | None = None, **settings: Any) -> Path:
    """A run's file, of states that are no squares."""
    usual = {
        "denoiser": {"name": "gaussian-mixture", "shape": [1, 6, 5], "classes": "AB"},
        "steps": 8,
        "drifts": ["early_noise", {"name": "default", "noise_scale": 0.02}],
    }
    return recorded_runs.record(folder, sink, **{**usual, **settings})


def attend(path: Path) -> None:
    """Attention of a joint layer, of one to the text alone and of one among places, of random numbers; the condition
    `own` is not evaluated at the third step."""
    noise = np.random.default_rng(7)

    def shares(*shape: int, axes: tuple[int, ...], total: float = 1.0) -> np.ndarray:
        values = noise.exponential(size=shape)
        return (total * values / values.sum(axes, keepdims=True)).astype(np.float32)

    with h5py.File(path, "r+") as file:
        rows, steps = len(file["trajectory/sample"]), len(file["trajectory/step"])
        evaluated = np.ones((steps, 2), np.uint8)
        evaluated[2, 1] = 0
        file["activations/condition"] = ["null", "own"]
        file["activations/evaluated"] = evaluated
        group, lead = file["activations"].create_group("attention"), (rows, steps, 2, 1)
        for name, share in (("double.0", 0.3), ("mid.attn2", 1.0)):
            group[f"{name}.cross"] = shares(*lead, 5, 2, 3, axes=(4,), total=share)
            group[f"{name}.cross_activation"] = group[f"{name}.cross"][...].mean((-1, -2))
            group[f"{name}.cross_entropy"] = noise.uniform(size=lead).astype(np.float32)
        for name, share in (("double.0", 0.7), ("down.attn1", 1.0)):
            group[f"{name}.self"] = shares(*lead, 2, 2, 2, 2, axes=(-1, -2), total=share)
            group[f"{name}.self_entropy"] = noise.uniform(size=lead).astype(np.float32)
        hidden = file["activations"].create_group("hidden")
        hidden["mid_block"] = noise.normal(size=(*lead[:3], 4, 2, 2)).astype(np.float32)
        for dataset in (*group.values(), *hidden.values()):
            dataset[:, 2, 1] = 0
        about = {"place": "double", "heads": 2, "grid": [2, 2], "first": 0, "tokens": 5}
        kinds = (("down.attn1", "self"), ("double.0", "joint"), ("mid.attn2", "cross"))
        tokens = {
            "text": ["<s>", "a", "b", "c", "</s>"], "id": [0, 5, 6, 7, 1], "special": [1, 0, 0, 0, 1],
            "word": [-1, 0, 0, 1, -1], "encoder": ["clip"] * 5,
        }  # fmt: skip
        environment = json.loads(file["environment"][()])
        environment["activations"] = {
            "attention": [{"name": name, "kind": kind, **about} for name, kind in kinds],
            "tokens": {"A": tokens, "B": tokens, "": tokens},
            "pca": {"hidden/mid_block": {"explained": [0.5, 0.25, 0.2, 0.05]}},
        }
        del file["environment"]
        file["environment"] = json.dumps(environment)
    assert verify(path) == []


def without(path: Path, what: str) -> None:
    """Take the states out of a file, or with `activations` these, so that it is one of a pair."""
    with h5py.File(path, "r+") as file:
        states = [f"trajectory/{name}" for name in ("x", "x0", "prediction", "base")]
        states += [f"{group}/{name}" for group in ("forces", "drifts") for name in file[group]]
        for name in states if what == "states" else ["activations"]:
            if name.startswith("forces/"):
                del file[f"{name}/contribution"]
            elif name.startswith("drifts/"):
                del file[f"{name}/delta"]
            else:
                del file[name]


def close(found: list[Any], expected: Any, relative: float = 1e-12, scale: float = 1e-12) -> None:
    """The same numbers, and gaps where Python has none."""
    values = np.array([np.nan if value is None else value for value in found], np.float64)
    right = np.array(expected, np.float64).reshape(-1)
    right[~np.isfinite(right)] = np.nan
    np.testing.assert_allclose(values, right, rtol=relative, atol=scale, equal_nan=True)


@pytest.mark.parametrize(
    ("sink", "settings"),
    [
        ({}, {}),
        ({"dtype": "float16"}, {"denoiser": {"name": "gaussian-mixture", "shape": [3, 4, 4], "classes": "AB"}}),
        (
            {"every": 3, "samples": 4},
            {
                "denoiser": {"name": "gaussian-mixture", "shape": [1, 6, 5], "classes": "AB", "prediction": "flow"},
                "scheduler": "flow_euler",
                "drifts": [],
            },
        ),
        (
            {"fields": ["x", "x0"]},
            {"forces": [], "denoiser": {"name": "gaussian-mixture", "shape": [20], "classes": "AB"}},
        ),
    ],
)
def test_metrics_and_ledger_are_those_of_the_command(ask: Ask, tmp_path: Path, sink: Any, settings: Any):
    path = record(tmp_path, sink, **settings)
    found = ask({"files": [path], "position": 2})[0]
    with Trajectory(path) as file:
        reader = BlockReader(file, installed())
        (block,) = reader.blocks([2])
        rows = step_metrics(block)
        for field, values in found["states"].items():
            name = "/".join(field.split("/")[:2])
            assert np.array_equal(np.float32(values).ravel(), np.float32(file.field(name, 2)).ravel())
        if found["image"] is not None:
            assert np.array_equal(
                np.array(found["image"]).reshape(-1, 4)[:, 0],
                file.images[2].reshape(len(found["image"]) // 4, -1)[:, 0],
            )
    expected = [name for name in names(block.forces, block.drifts) if name not in OF_A_RUN]
    for name in expected:
        if name in found["metrics"]:
            close(found["metrics"][name], rows[name][0], 1e-11, 1e-11)
        elif name == "drift_l2" and not block.drifts:
            assert not rows[name].any()  # nothing to look at
        elif name != "delta_pixel_l2" or found["pictures"] == "pictures":  # only the model can show latents
            assert np.isnan(rows[name]).all(), name
    ledgers = [each for each in found["balance"] if each]
    assert all(each["holds"] for each in ledgers), ledgers
    assert (len(ledgers) == len(found["balance"])) == (not sink.get("fields"))


@pytest.mark.parametrize("split", [False, True])
def test_attention_and_the_first_eight_metrics_are_those_of_a_dataset(ask: Ask, tmp_path: Path, split: bool):
    path = record(tmp_path)
    attend(path)
    files = [path]
    if split:
        beside = Path(shutil.copy(path, tmp_path / "captured.h5"))
        without(path, "activations")
        without(beside, "states")
        files = [beside.rename(path.with_name("trajectory.attention.h5")), path]
    found, other = ask({"files": files, "position": 1}, {"files": files, "position": 1, "condition": "null"})
    assert (found["problems"], len(found["runs"])) == ([], 1)
    with opened(path, files[0] if split else None, "own") as pair:
        sample = pair.sample(1)
        measured = Measured.of(sample)
        layers = found["attention"]["layers"]
        assert [(each["path"], each["kind"], each["joint"]) for each in layers] == [
            (each.name, each.kind, each.joint) for each in pair.layers
        ]
        for layer, own in zip(layers, pair.layers, strict=True):
            for step, values in enumerate(layer["maps"]):
                assert (values is None) == (step == 2)
                if values is not None:
                    assert np.array_equal(
                        np.float32(values), np.float32(pair.attention.activation(own.field)[1, step, 1]).ravel()
                    )
    (hidden,) = found["attention"]["hidden"]
    assert hidden == {"path": "mid_block", "shape": [4, 2, 2], "explained": [0.5, 0.25, 0.2, 0.05]}
    metrics = measured.metrics
    for name in (
        *("latent_l2_norm", "predicted_noise_l2_norm", "cosine_similarity_to_previous", "cosine_of_updates"),
        *("attention_kl_divergence", "masked_attention_kl_divergence"),
    ):
        close(found["metrics"][name], [np.nan if value is None else value for value in metrics[name]])
    for name in ("cross_attention_entropy", "self_attention_entropy"):
        close(found["metrics"][name], [np.nan if each["mean"] is None else each["mean"] for each in metrics[name]])
    tokens = found["attention"]["tokens"]
    activation = np.array(metrics["mean_token_activation"], np.float64)  # NaN where there is None
    close(tokens["values"], activation.ravel())
    for own, theirs in (("dominance", "token_dominance"), ("maskedDominance", "masked_token_dominance")):
        close(tokens[own]["scores"], [np.nan if value is None else value for value in metrics[theirs]["scores"]])
        assert tokens[own]["ranking"] == [each["token_index"] for each in metrics[theirs]["ranking"]]
    (share,) = metrics["text_share"].values()
    close(found["metrics"]["text_share double.0"], [np.nan if value is None else value for value in share])
    close(np.ravel(found["plane"]["points"]).tolist(), measured.plane["points"], 1e-6, 1e-6)
    close(found["plane"]["explained"], measured.plane["explained_variance_ratio"], 1e-9)
    assert other["metrics"]["attention_kl_divergence"][3] is not None


def test_paths_and_alignment_are_those_of_plots_and_levels(ask: Ask, tmp_path: Path):
    path = record(tmp_path / "one")
    changed = record(tmp_path / "other", steps=12, forces=[{"name": "repel_class", "target": "A"}], drifts=[])
    (found,) = ask({"files": [path, changed], "position": 0})
    with Trajectory(path) as file, Trajectory(changed) as other:
        drawn = plane([Run(file)], 10)
        close(np.ravel(found["paths"]["points"]).tolist(), drawn.points[0], 1e-5, 1e-5)
        close(found["paths"]["explained"], drawn.explained, 1e-6)
        with np.errstate(divide="ignore"):
            a, b = np.log(file.sigma), np.log(other.sigma)
        nearest = np.abs(np.where(a[:, None] == b, 0.0, a[:, None] - b)).argmin(1)
        assert found["columns"] == [*nearest.tolist(), 12]
        apart = np.linalg.norm((file.x[0] - other.x[0, found["columns"]]).astype(np.float64).reshape(9, -1), axis=1)
        close(found["parting"]["distance"], apart, 1e-6)
        assert found["parting"]["first"] == (0 if apart[0] else 1)


def test_what_cannot_be_shown_is_told_in_a_line(ask: Ask, tmp_path: Path):
    path = record(tmp_path, total_videos=2, steps=4)
    newer, foreign, other = (
        Path(shutil.copy(path, tmp_path / f"{name}.h5")) for name in ("newer", "foreign", "b.attention")
    )
    with h5py.File(newer, "r+") as file:
        file.attrs["format_version"] = np.array([2, 0])
    with h5py.File(foreign, "r+") as file:
        file.attrs["format"] = "netCDF"
    attend(other)
    without(other, "states")
    with h5py.File(other, "r+") as file:
        file["schedule/timestep"][0] += 1
    text = tmp_path / "notes.txt"
    text.write_text("nothing")
    (found,) = ask({"files": [newer, foreign, text, path, other], "position": 0})
    assert [run["name"] for run in found["runs"]] == ["trajectory"]
    assert len(found["problems"]) == 4
    for name, problem in zip(("newer.h5", "foreign.h5", "notes.txt", "b.attention.h5"), found["problems"], strict=True):
        assert problem.startswith(name), problem
        assert "\n" not in problem


def test_damaged_files_are_refused_in_a_line_or_shown(ask: Ask, tmp_path: Path):
    path = record(tmp_path, total_videos=2, steps=4)
    attend(path)
    content, dice = path.read_bytes(), np.random.default_rng(5)
    questions = []
    for number in range(60):
        damaged = bytearray(content[: dice.integers(len(content))] if number % 6 == 0 else content)
        for place in dice.integers(0, min(len(damaged), 24000), 1 + number % 7):
            damaged[place] = dice.integers(256)
        (tmp_path / f"{number}.h5").write_bytes(damaged)
        questions.append({"files": [tmp_path / f"{number}.h5"], "position": 0})
    found = ask(*questions)  # fails where node does, or takes too long
    assert len(found) == len(questions)
    problems = [line for each in found for line in (each.get("problem"), *each.get("problems", ())) if line]
    assert len(problems) > 10
    assert all(line.partition(".h5")[0].isdigit() and "\n" not in line for line in problems), problems
