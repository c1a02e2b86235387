"""Datasets of a sample: what stands in them is what the run recorded and what the formulas make of it."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from emnist_diff_plugins.diffulizer.documents import SCHEMA, violations
from emnist_diff_trajectory.reader import Trajectory

KINDS = {"layer_0": ("self", (4, 4)), "layer_1": ("cross", (3, 2, 3))}


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def attention(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the network of these tests attends to at states (N, 1, 6, 5): tokens (N, 6, 3) and places (N, 4, 4)."""
    flat = x.reshape(len(x), -1).astype(float)
    return softmax(flat[:, :18].reshape(-1, 6, 3)), softmax(flat[:, :16].reshape(-1, 4, 4))


def document(folder: Path, name: str) -> Any:
    def refuse(token: str) -> None:
        raise AssertionError(f"{name} holds {token}")

    data = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert list(violations(data, name)) == []
    return data


@pytest.fixture
def made(recorded: Path, cli: Any, tmp_path: Path) -> Path:
    """The dataset of a sample."""
    done = cli("export", recorded, "--dataset", tmp_path / "made", "--sample", 2)
    assert done.code == 0, done.err
    assert "dataset of 1 sample, 2 layers" in done.out
    checked = cli("validate-dataset", tmp_path / "made", "--strict")
    assert (checked.code, "10 maps, 0 errors, 0 warnings" in checked.out) == (0, True), checked.out
    return tmp_path / "made"


def test_files_hold_what_the_run_recorded(made: Path, recorded: Path):
    metadata = document(made, "metadata")
    with Trajectory(recorded) as file:
        x = file.x[2]
        assert metadata["timesteps"] == [round(t) for t in file.timestep]
        assert metadata["exact_timesteps"] == file.timestep.tolist()
        pictures, noise, seed = file.pictures(2, [1, 2, 3, 4, 5]), file.epsilon(2), int(file.seeds[2])
        character = file[2].character
    assert metadata["prompt"] == {
        "text": character, "negative": "", "tokens": [f"{character}[{k}]" for k in range(3)],
        "token_ids": ["ABC".index(character)] * 3, "meaningful_token_count": 3, "special": [0] * 3, "words": [0] * 3,
    }  # fmt: skip
    generator = metadata["generator"]
    assert (generator["seed"], generator["cfg_scale"], generator["sample"]) == (seed, 2.0, 2)
    assert (generator["height"], generator["width"], generator["num_steps"]) == (6, 5, 5)
    assert [layer["processor_key"] for layer in metadata["layers"]] == ["mid.attn1.processor", "mid.attn2.processor"]
    assert metadata["images"] == [f"images/step_{step:03d}.png" for step in range(5)]
    for step in range(5):
        assert (np.asarray(Image.open(made / f"images/step_{step:03d}.png")) == pictures[step]).all()
    cross, among = attention(x[:5])
    assert len(metadata["attention_files"]) == 10
    for entry in metadata["attention_files"]:
        kind, shape = KINDS[entry["layer_id"]]
        step = entry["step"]
        assert entry["path"] == f"attention/{kind}/{entry['layer_id']}_step_{step:03d}.bin"
        assert tuple(entry["shape"]) == shape
        raw = np.frombuffer((made / entry["path"]).read_bytes(), "<f2").reshape(shape)
        expected = among[step] if kind == "self" else cross[step].T.reshape(3, 2, 3)
        assert np.abs(raw - expected).max() < 2**-11
    with np.load(made / "latents_noise_fp16.npz") as arrays:
        assert (arrays["latents"] == x[1:].astype(np.float16)).all()
        assert (arrays["predicted_noise"] == noise.astype(np.float16)).all()
    held = {p.relative_to(made).as_posix() for p in made.rglob("*") if p.is_file()}
    assert held == {
        "metadata.json", "metrics.json", "latent_pca.json", "validation.json", "latents_noise_fp16.npz",
        *metadata["images"], *(entry["path"] for entry in metadata["attention_files"]),
    }  # fmt: skip
    assert document(made, "validation")["attention_assets"] == {"checked_files": 10, "passed": True, "errors": []}


def test_metrics_are_the_formulas(made: Path, recorded: Path):
    metrics, plane = document(made, "metrics"), document(made, "latent_pca")
    with Trajectory(recorded) as file:
        x, noise = file.x[2].astype(float).reshape(6, -1), file.epsilon(2).reshape(5, -1)
    latents = x[1:]
    assert metrics["latent_l2_norm"] == pytest.approx([math.sqrt(sum(v**2)) for v in latents])
    assert metrics["predicted_noise_l2_norm"] == pytest.approx([math.sqrt(sum(v**2)) for v in noise])
    half = latents.astype(np.float16).astype(float)
    norms = np.linalg.norm(half, axis=1)
    cosines = [half[i - 1] @ half[i] / (norms[i - 1] * norms[i] + 1e-8) for i in range(1, 5)]
    assert metrics["cosine_similarity_to_previous"] == [None, *(pytest.approx(value) for value in cosines)]
    updates = np.diff(x, axis=0)
    sizes = np.linalg.norm(updates, axis=1)
    assert metrics["cosine_of_updates"][1:] == pytest.approx(
        [updates[i - 1] @ updates[i] / (sizes[i - 1] * sizes[i]) for i in range(1, 5)]
    )
    cross, among = attention(x[:5])
    for kind, p, layer in (("cross", cross, "layer_1"), ("self", among, "layer_0")):
        entropy = -(p * np.log(p)).sum(-1).mean(-1)
        found = metrics[f"{kind}_attention_entropy"]
        assert [each["step"] for each in found] == list(range(5))
        assert [each["mean"] for each in found] == pytest.approx(entropy.tolist(), abs=1e-5)
        assert [each["by_layer"] for each in found] == [{layer: each["mean"]} for each in found]
    activation = cross.mean(1)
    assert np.array(metrics["mean_token_activation"]) == pytest.approx(activation, abs=1e-6)
    divergence = [sum(activation[i] * np.log(activation[i] / activation[i - 1])) for i in range(1, 5)]
    assert metrics["attention_kl_divergence"] == [None, *(pytest.approx(value, abs=1e-6) for value in divergence)]
    scores = activation.mean(0)
    assert metrics["token_dominance"]["scores"] == pytest.approx(scores.tolist(), abs=1e-6)
    assert [each["token_index"] for each in metrics["token_dominance"]["ranking"]] == np.argsort(-scores).tolist()
    masked = metrics["masked_token_dominance"]["scores"]  # no token is a special one
    assert masked == pytest.approx(metrics["token_dominance"]["scores"], abs=1e-6)
    values = np.linalg.eigvalsh(np.cov(half.T))[::-1]
    assert plane["explained_variance_ratio"] == pytest.approx(values[:2] / values.sum(), abs=1e-6)
    distances = np.linalg.norm(np.array(plane["points"]), axis=1)
    assert (distances <= np.linalg.norm(half - half.mean(0), axis=1) + 1e-6).all()
    scaled = plane["scaled"]["explained_variance_ratio"]  # states of diffusions have one scale already
    assert scaled == pytest.approx(plane["explained_variance_ratio"], abs=1e-3)


def test_the_schema_says_the_same_to_others(made: Path):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    names = ("metadata", "metrics", "latent_pca", "validation")
    jsonschema.Draft202012Validator(schema).validate({name: document(made, name) for name in names})


def test_a_size_is_known_before_anything_is_written(recorded: Path, made: Path, cli: Any, tmp_path: Path):
    held = sum(p.stat().st_size for p in made.rglob("*") if p.is_file())
    where = ("export", recorded, "--dataset", tmp_path / "small", "--sample", 2)
    refused = cli(*where, "--max-size", held - 1)
    assert refused.code == 2
    assert "which is more than" in refused.err
    assert "--no-arrays" in refused.err
    assert not (tmp_path / "small").exists()
    done = cli(*where, "--json", "--max-size", "100kB")
    (said,) = json.loads(done.out)["datasets"]
    assert held <= said["bytes"] <= held + 5 * (1 << 10)
    smaller = cli(*where, "--overwrite", "--no-arrays", "--json")
    assert json.loads(smaller.out)["datasets"][0]["bytes"] < said["bytes"]
    assert not (tmp_path / "small/latents_noise_fp16.npz").exists()
    assert cli("validate-dataset", tmp_path / "small", "--strict").code == 0
    assert cli("validate-dataset", tmp_path / "small", "--max-size", "1kB").code == 1


def test_labelled_arrays_name_the_axes_of_maps_of_a_text(recorded: Path):
    pytest.importorskip("xarray")
    with Trajectory(recorded) as file:
        data = file.to_xarray()
        for name in (name for name in file.activations if name.endswith((".cross", ".cross_activation"))):
            axes = ("head", "token", "row", "column") if name.endswith(".cross") else ("head", "token")
            assert data[f"activations.{name.replace('/', '.')}"].dims[3:] == tuple(f"{name}.{axis}" for axis in axes)
        assert any(name.endswith(".cross") for name in file.activations)


def test_several_samples_are_kept_apart_resumed_and_replaced(recorded: Path, cli: Any, tmp_path: Path):
    folder, progress = tmp_path / "all", tmp_path / "progress.json"
    where = ("export", recorded, "--dataset", folder, "--sample", "1-3", "--progress-file", progress)
    assert cli(*where).code == 0
    assert sorted(p.name for p in folder.iterdir()) == ["sample_0001", "sample_0002", "sample_0003"]
    assert json.loads(progress.read_text()) == {
        "stage": "completed", "message": "3 datasets, 3 of them written now", "current_step": 15, "total_steps": 15,
        "percent": 100.0, "dataset_path": str(folder), "error": None,
    }  # fmt: skip
    taken = cli(*where[:-1], recorded)
    assert (taken.code, "holds something other than the progress of an export" in taken.err) == (7, True)
    assert cli("inspect", recorded).code == 0
    again = cli(*where)
    assert (again.code, "is not empty — use --overwrite" in again.err) == (7, True)
    assert "is not empty" in json.loads(progress.read_text())["error"]
    kept = (folder / "sample_0001/metadata.json").stat().st_mtime_ns
    (folder / "sample_0003/metadata.json").unlink()  # as an interruption leaves it
    (folder / "sample_0003/attention/cross/layer_1_step_004.bin").unlink()
    assert cli(*where, "--resume").code == 0
    assert (folder / "sample_0001/metadata.json").stat().st_mtime_ns == kept
    assert cli("validate-dataset", folder / "sample_0003", "--strict").code == 0
    (folder / "sample_0002/images/step_001.png").write_bytes(b"no picture")
    damaged = cli(*where, "--resume")
    assert (damaged.code, "a damaged one — use --overwrite" in damaged.err) == (7, True)
    assert cli(*where, "--overwrite").code == 0
    (folder / "sample_0002/thesis.txt").write_text("mine")
    foreign = cli(*where, "--overwrite")
    assert (foreign.code, "holds thesis.txt, which is no part of a dataset" in foreign.err) == (7, True)
    assert (folder / "sample_0002/metadata.json").exists()


def test_what_cannot_be_exported_is_refused_in_one_line(recording: Any, copied: Path, cli: Any, tmp_path: Path):
    def refusal(*more: Any, file: Path = copied) -> tuple[int, str]:
        done = cli("export", file, "--dataset", tmp_path / "never", *more)
        assert not (tmp_path / "never").exists()
        assert len(done.err.strip().splitlines()) == 1, done.err
        return done.code, done.err

    def expect(code: int, text: str, *more: Any, file: Path = copied) -> None:
        found = refusal(*more, file=file)
        assert (found[0], text in found[1]) == (code, True), found

    expect(2, "sample 9 of", "--sample", "9")
    expect(2, "expected ids such as 3", "--sample", "x")
    expect(2, "unknown condition of trajectory.h5: 'owm' — did you mean 'own'", "--condition", "owm")
    expect(2, "--dataset and --video exclude each other", "--video")
    expect(2, "write it as 200MB", "--max-size", "much")
    expect(5, "does not exist", "--attention", tmp_path / "none.h5")
    alone = cli("export", copied, "--sample", "1")
    assert (alone.code, "--sample is an option of --dataset" in alone.err) == (2, True)
    plain = recording("plain", {"activations": []})
    expect(5, f"holds no attention — capture it with emnist-diff attend {plain}", file=plain)
    expect(5, "is of another run than", "--attention", recording("other", seed=5), file=plain)
    expect(5, "holds no predictions — record them", file=recording("states", {"fields": ["x"]}))
    expect(5, "holds no states x — name the file of the run", file=recording("none", {"fields": ["prediction"]}))
    heads = recording("heads", denoiser={"name": "attentive", "shape": [1, 6, 5], "classes": "ABC", "heads": 2})
    expect(2, "keeps attention head by head", file=heads)
    with h5py.File(copied, "r+") as file:
        file["samples/steps_done"][1] = 0
    expect(5, "sample 1 is not finished — finish the run with --resume", "--sample", "1")
    with h5py.File(copied, "r+") as file:
        file["trajectory/x"][2, 3, 0, 0, 0] = np.nan
        file["trajectory/x"][3, 3, 0, 0, 0] = 1e5
    expect(5, "x of sample 2 is not finite — see emnist-diff verify", "--sample", "2")
    expect(5, "half precision ends at 65504 — leave them out with --no-arrays", "--sample", "3")
    large = ("--dataset", tmp_path / "large", "--sample", "3", "--no-arrays")
    assert cli("export", copied, *large).code == 0
    assert cli("validate-dataset", tmp_path / "large", "--strict").code == 0
    with h5py.File(copied, "r+") as file:
        file["samples/steps_done"][...] = 0
    expect(5, "holds no finished sample with states")


def test_attention_captured_afterwards_at_every_second_step_in_half_precision(recording: Any, cli: Any, tmp_path: Path):
    plain = recording("half", {"activations": [], "dtype": "float16"})
    captured = recording("beside", {"dtype": "float16", "fields": [], "every": 2})
    beside = plain.with_name("trajectory.attention.h5")
    shutil.copy(captured, beside)
    done = cli("export", plain, "--dataset", tmp_path / "made")
    assert done.code == 0, done.err
    metadata = document(tmp_path / "made", "metadata")
    assert (metadata["steps"], metadata["generator"]["recorded_steps"]) == (3, [0, 2, 4])
    assert metadata["generator"]["stored_dtype"] == "float16"
    with Trajectory(plain) as file:
        x = file.x[0].astype(float)
    with np.load(tmp_path / "made/latents_noise_fp16.npz") as arrays:
        assert (arrays["latents"] == x[[2, 4, 5]]).all()
    entropies = [each["mean"] for each in document(tmp_path / "made", "metrics")["cross_attention_entropy"]]
    p = attention(x[[0, 2, 4]])[0]
    assert entropies == pytest.approx((-(p * np.log(p)).sum(-1).mean(-1)).tolist(), abs=2e-3)
    assert cli("validate-dataset", tmp_path / "made", "--strict").code == 0
    os.remove(beside)


def test_an_interrupted_export_leaves_an_unfinished_folder(recorded: Path, cli: Any, tmp_path: Path, monkeypatch: Any):
    from emnist_diff_plugins.diffulizer.progress import Progress

    report, calls = Progress.report, []

    def stop(self: Any, stage: Any, message: str, step: int, total: int) -> None:
        report(self, stage, message, step, total)
        calls.append(stage)
        if calls.count("exporting") == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Progress, "report", stop)
    where = ("export", recorded, "--dataset", tmp_path / "made", "--progress-file", tmp_path / "progress.json")
    stopped = cli(*where)
    assert (stopped.code, "sample 0 is not finished — repeat the command with --resume" in stopped.err) == (130, True)
    assert (tmp_path / "made/images/step_000.png").exists()
    assert not (tmp_path / "made/metadata.json").exists()
    said = json.loads((tmp_path / "progress.json").read_text())
    assert (said["stage"], said["current_step"], said["total_steps"]) == ("exporting", 2, 5)
    assert "interrupted" in said["error"]
    monkeypatch.setattr(Progress, "report", report)
    assert cli(*where, "--resume").code == 0
    assert cli("validate-dataset", tmp_path / "made", "--strict").code == 0


def test_steps_that_do_not_evaluate_the_condition_have_no_attention(recording: Any, cli: Any, tmp_path: Path):
    late = {"name": "attract_class", "target": "A", "weight": {"kind": "window", "from": 0.5, "to": 1.0}}
    path, folder = recording("late", forces=[late]), tmp_path / "made"
    assert cli("export", path, "--dataset", folder, "--condition", "A").code == 0
    metadata, metrics = document(folder, "metadata"), document(folder, "metrics")
    steps = sorted({entry["step"] for entry in metadata["attention_files"]})
    assert (0 in steps, 4 in steps) == (False, True)
    for key in ("cross_attention_entropy", "self_attention_entropy"):
        assert [each["step"] for each in metrics[key] if each["mean"] is not None] == steps
    known = [step for step, value in enumerate(metrics["attention_kl_divergence"]) if value is not None]
    assert known == steps[1:]  # the first has none before it to be compared with
    assert sum(metrics["token_dominance"]["scores"]) == pytest.approx(1, abs=1e-5)
    assert cli("validate-dataset", folder).code == 0
    lacking = cli("validate-dataset", folder, "--strict")
    assert (lacking.code, f"leaves out {2 * (5 - len(steps))} of 10 maps" in lacking.out) == (1, True)
