"""What is wrong with a dataset is said in a line each, whatever is wrong with it."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from emnist_diff_plugins.diffulizer.checking import check

CROSS, AMONG = "attention/cross/layer_1_step_001.bin", "attention/self/layer_0_step_000.bin"
MUTATIONS = int(os.environ.get("EMNIST_DIFF_MUTATIONS", "300"))
"""Of a dataset, each by up to three changes. More are worth a night."""


@pytest.fixture(scope="session")
def whole(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset that nothing is wrong with; nobody changes it."""
    from emnist_diff_plugins.diffulizer.pictures import Pictures
    from emnist_diff_plugins.diffulizer.progress import Progress
    from emnist_diff_plugins.diffulizer.recorded import opened
    from emnist_diff_plugins.diffulizer.writing import Export, export

    folder = tmp_path_factory.mktemp("datasets") / "whole"
    with opened(recorded, None, "own") as pair:
        nothing: Any = None  # states are pictures, and no model is needed
        export(pair, folder, None, Export(), Pictures(pair, nothing), Progress(folder))
    assert check(folder).findings == []
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "dataset"))


def edited(name: str, edit: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Changes a file of JSON."""

    def change(folder: Path) -> None:
        path = folder / name
        data = json.loads(path.read_text(encoding="utf-8"))
        edit(data)
        path.write_text(json.dumps(data), encoding="utf-8")

    return change


def file(name: str, data: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(data) and None


def text(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        before = (folder / name).read_text(encoding="utf-8")
        assert old in before
        (folder / name).write_text(before.replace(old, new, 1), encoding="utf-8")

    return change


def link(folder: Path) -> None:
    (folder / CROSS).rename(folder.parent / "elsewhere.bin")
    (folder / CROSS).symlink_to(folder.parent / "elsewhere.bin")


def pipe(folder: Path) -> None:
    (folder / "images/step_002.png").unlink()
    os.mkfifo(folder / "images/step_002.png")


def picture(folder: Path) -> None:
    Image.fromarray(np.zeros((7, 5), np.uint8)).save(folder / "images/step_000.png")


def put(*path: Any, value: Any) -> Callable[[Any], None]:
    """Sets a value in a table of tables and lists."""

    def edit(data: Any) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = value

    return edit


def metadata(*path: Any, value: Any) -> Callable[[Path], None]:
    return edited("metadata.json", put(*path, value=value))


def metrics(*path: Any, value: Any) -> Callable[[Path], None]:
    return edited("metrics.json", put(*path, value=value))


def half(*values: float) -> bytes:
    return np.array(values, "<f2").tobytes()


FAULTS: list[tuple[Callable[[Path], None], str]] = [
    (lambda folder: (folder / "metrics.json").unlink(), "error: metrics.json: is missing"),
    (lambda folder: (folder / CROSS).unlink(), f"error: {CROSS}: is missing"),
    (lambda folder: (folder / "images/step_004.png").unlink(), "error: images/step_004.png: is missing"),
    (file("images/step_005.png", b""), "error: images/step_005.png: is no file of this dataset"),
    (file("notes.txt", b""), "warning: notes.txt: is no file of this dataset"),
    (link, f"error: {CROSS}: is a link, which no reader follows"),
    (pipe, "error: images/step_002.png: is no ordinary file"),
    (picture, "error: images/step_000.png: is 5 × 7, and metadata.json says 5 × 6"),
    (file("images/step_001.png", b"\x89PNG\r\n\x1a\n"), "error: images/step_001.png: is no picture that opens: "),
    (file(CROSS, bytes(34)), f"error: {CROSS}: has 34 bytes, and shape [3, 2, 3] of float16 takes 36"),
    (file(CROSS, half(*[np.nan] * 18)), f"error: {CROSS}: holds values that are no numbers"),
    (file(CROSS, half(*[0.5] * 18)), f"error: {CROSS}: gives a place 1.50000 of attention in all"),
    (file(CROSS, half(*[0.3] * 18)), f"error: {CROSS}: gives a place 0.900"),
    (file(CROSS, half(*[-1.0] * 18)), f"error: {CROSS}: holds -1 … -1, and shares are 0 … 1"),
    (file(AMONG, half(*[0.2] * 16)), f"error: {AMONG}: gives a place 0.79"),
    (text("metrics.json", "null", "NaN"), "error: metrics.json: is no valid JSON: NaN is no JSON"),
    (text("latent_pca.json", "[", "[-Infinity,"), "error: latent_pca.json: is no valid JSON: -Infinity is no JSON"),
    (file("metadata.json", b"\xff{}"), "error: metadata.json: is no UTF-8 text from byte 0 on"),
    (file("metadata.json", b"[" * 100_000), "error: metadata.json: is no valid JSON: it is nested deeper"),
    (metadata("schema_version", value="2.0.0"), "error: metadata.json: schema_version is '2.0.0', not '1.0.0'"),
    (metadata("steps", value=0), "error: metadata.json: steps is 0, not at least 1"),
    (metadata("steps", value=True), "error: metadata.json: steps is True, not integer"),
    (metadata("steps", value=6), "error: metadata.json: timesteps has 5 entries, and there are 6 steps"),
    (edited("metadata.json", lambda data: data.pop("layers")), "error: metadata.json: has no layers"),
    (metadata("images", 1, value="images/../../x.png"), "images[1] is 'images/../../x.png', which is no path like"),
    (metadata("images", 1, value="images/..png"), "error: images/..png: is missing"),
    (metadata("attention_files", 0, "path", value="attention/self/..\\x.bin"), "which does not stay inside the folder"),
    (metadata("attention_files", 0, "path", value="/etc/passwd"), "[0].path is '/etc/passwd', which is no"),
    (metadata("attention_files", 0, "dtype", value="float32"), "attention_files[0].dtype is 'float32', not 'float16'"),
    (metadata("attention_files", 0, "shape", value=[4, -4]), "attention_files[0].shape[1] is -4, not at least 1"),
    (metadata("attention_files", 0, "shape", value=[10**90, 4]), f"error: {AMONG}: has 32 bytes, and shape"),
    (metadata("attention_files", 0, "layer_id", value="layer_9"), "layer_id is 'layer_9', which layers does not hold"),
    (metadata("attention_files", 0, "step", value=5), "attention_files[0].step is 5, and there are 5 steps"),
    (metadata("layers", 1, "id", value="layer_0"), "error: metadata.json: layers holds an id twice"),
    (metadata("prompt", "tokens", value=["A"]), "prompt.token_ids has 3 entries, and there are 1 tokens"),
    (edited("metadata.json", lambda data: data["attention_files"].pop()), "leaves out 1 of 10 maps"),
    (metrics("latent_l2_norm", value=[1, 2]), "latent_l2_norm has 2 entries, and there are 5 steps"),
    (metrics("cosine_of_updates", value=[0.5]), "error: metrics.json: cosine_of_updates has 1 entries"),
    (metrics("cosine_similarity_to_previous", 2, value=1.5), "cosine_similarity_to_previous[2] is 1.5, not -1.000001"),
    (metrics("cross_attention_entropy", 2, "step", value=3), "cross_attention_entropy[2].step is 3, not 2"),
    (metrics("cross_attention_entropy", 2, "mean", value=1.2), "reaches 1.2, and 3 tokens allow 1.114"),
    (metrics("self_attention_entropy", 0, "by_layer", value={"layer_1": 1}), "'layer_1', which is no layer of"),
    (metrics("mean_token_activation", 1, value=[0.5, 0.6, 0.7]), "mean_token_activation[1] sums to 1.80000, not to 1"),
    (metrics("mean_token_activation", 1, value=[1]), "mean_token_activation[1] has 1 entries, and there are 3 tokens"),
    (metrics("token_dominance", "ranking", 0, "token_index", value=3), "token_dominance.ranking has token 3, and"),
    (metrics("token_dominance", "ranking", 0, "score", value=0), "token_dominance.ranking does not descend"),
    (edited("latent_pca.json", lambda data: data["points"].pop()), "points has 4 entries, and there are 5 steps"),
    (edited("latent_pca.json", put("explained_variance_ratio", value=[1.5, 0])), "ratio[0] is 1.5, not 0 … 1"),
    (edited("latent_pca.json", put("explained_variance_ratio", value=[0.9, 0.9])), "ratio sums to more than 1"),
    (file("latents_noise_fp16.npz", b"PK"), "error: latents_noise_fp16.npz: cannot be read: BadZipFile"),
    (lambda folder: (folder / "latents_noise_fp16.npz").unlink(), "latents_noise_fp16.npz: is missing, and"),
    (
        lambda folder: np.savez(folder / "latents_noise_fp16.npz", latents=np.zeros((4, 2), "<f2")),
        "latents_noise_fp16.npz: latents: has shape [4, 2], and there are 5 steps",
    ),
]  # fmt: skip


def test_each_fault_is_a_line(whole: Path, cli: Any, tmp_path: Path):
    for number, (change, expected) in enumerate(FAULTS):
        folder = Path(shutil.copytree(whole, tmp_path / str(number)))
        change(folder)
        found = check(folder)
        lines = [f"{each.level}: {each.line}" for each in found.findings]
        assert any(expected in line for line in lines), (number, expected, lines)
        assert all(line.isprintable() for line in lines)
    warned = tmp_path / "4"  # has a file too many, and nothing worse
    assert cli("validate-dataset", warned).code == 0
    strict = cli("validate-dataset", warned, "--strict", "--json")
    assert (strict.code, json.loads(strict.out)["warnings"], json.loads(strict.out)["valid"]) == (1, 1, False)
    done = cli("validate-dataset", tmp_path / "0")
    assert (done.code, done.out.splitlines()[0]) == (1, "error: metrics.json: is missing")
    missing = cli("validate-dataset", tmp_path / "nowhere")
    assert (missing.code, "is no folder" in missing.out) == (1, True)
    assert json.loads(cli("validate-dataset", whole, "--json").out)["maps"] == 10


def test_datasets_of_other_programs_are_read_as_well(folder: Path):
    """Diffulizer's own have no more than it documents, and maps among places that sum to anything."""

    def reduce(data: Any) -> None:
        data["generator"] = {"height": 6, "width": 5, "model_id": "x"}
        data["layers"] = [
            {"id": each["id"], "processor_key": "x", "attention_type": each["attention_type"]}
            for each in data["layers"]
        ]
        data["prompt"] = {"text": "B", "tokens": ["a", "b", "c"], "token_ids": [1, 2, 3]}

    edited("metadata.json", reduce)(folder)
    file(AMONG, half(*[0.2] * 16))(folder)
    assert check(folder).findings == []


JUNK = (
    None, True, -1, 0, 10**300, 1e308, "", "\u202e", "x" * 5000, "../../etc/passwd", "attention/cross/a\0.bin", [], {},
    [[]], [None] * 3, {"a": {"b": []}}, "NaN", 0.5, [1, 2, 3], "float16", "cross",
)  # fmt: skip


def mutate(folder: Path, dice: random.Random) -> None:
    """A change that a person, a disk or an enemy could make."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
    if not files:
        return
    path = dice.choice(files if dice.random() < 0.5 else [p for p in files if p.suffix == ".json"] or files)
    kind = dice.randrange(10)
    data = bytearray(path.read_bytes())
    if kind == 0:
        path.unlink()
    elif kind == 1:
        path.write_bytes(data[: dice.randrange(len(data) + 1)])
    elif kind == 2:
        path.write_bytes(data + dice.randbytes(dice.randrange(1, 40)))
    elif kind == 3:
        path.rename(path.with_name(dice.choice(["x", ".hidden", "a\nb", "step_001.png", "\udcff.bin", "é.json"])))
    elif kind == 4:
        path.unlink()
        dice.choice([lambda: path.symlink_to("/etc/passwd"), lambda: path.symlink_to(path), path.mkdir,
                     lambda: os.mkfifo(path)])()  # fmt: skip
    elif path.suffix == ".json" and kind < 8:
        changed = dice.choice([_with_junk, _without, _with_token, _renamed])(data.decode("utf-8", "replace"), dice)
        path.write_bytes(changed.encode("utf-8", "surrogatepass"))
    else:
        for _ in range(dice.randrange(1, 9)):
            if data:
                data[dice.randrange(len(data))] = dice.randrange(256)
        path.write_bytes(data)


def _nodes(data: Any) -> list[tuple[Any, Any]]:
    """Each (table or list, key) in data."""
    found: list[tuple[Any, Any]] = []
    left = [data]
    while left:
        node = left.pop()
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, value in items:
            found.append((node, key))
            left.append(value)
    return found


def _changed(text: str, dice: random.Random, change: Callable[[Any, Any], None]) -> str:
    try:
        data = json.loads(text)
    except ValueError:
        return text + "}"
    if nodes := _nodes(data):
        change(*dice.choice(nodes))
    return json.dumps(data)


def _with_junk(text: str, dice: random.Random) -> str:
    return _changed(text, dice, lambda node, key: node.__setitem__(key, dice.choice(JUNK)))


def _without(text: str, dice: random.Random) -> str:
    return _changed(text, dice, lambda node, key: node.__delitem__(key))


def _renamed(text: str, dice: random.Random) -> str:
    def rename(node: Any, key: Any) -> None:
        if isinstance(node, dict):
            node[dice.choice(["", "\u202e\n", "k" * 3000, "step"])] = node.pop(key)

    return _changed(text, dice, rename)


def _with_token(text: str, dice: random.Random) -> str:
    place = dice.randrange(len(text) + 1)
    return (
        text[:place]
        + dice.choice(["NaN", "Infinity", "1e999", "9" * 500, "[" * 300, '"\ud800"', "\x00"])
        + text[place:]
    )


def test_whatever_happens_to_a_dataset_the_answer_is_clean(whole: Path, tmp_path: Path):
    unharmed = 0
    for seed in range(MUTATIONS):
        folder = Path(shutil.copytree(whole, tmp_path / "mutated", symlinks=True))
        dice = random.Random(seed)
        for _ in range(dice.randrange(1, 4)):
            mutate(folder, dice)
        report = check(folder)
        assert all(each.line.isprintable() and len(each.line) <= 500 for each in report.findings), seed
        assert report.size < 1 << 20
        unharmed += not report.findings
        shutil.rmtree(folder)
    assert unharmed < MUTATIONS / 4  # bits of a value, of a name or of a free text may change without harm
