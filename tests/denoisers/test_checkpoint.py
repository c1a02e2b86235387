"""The checkpoint format: what is written comes back, and what is not ours is refused in one line."""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from safetensors.torch import save_file

from emnist_diff.errors import CheckpointError, ConfigError, OutputError
from emnist_diff.timeline import NoiseSchedule
from emnist_diff_plugins.containers import checkpoint
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader
from emnist_diff_trajectory import files

HEADER = CheckpointHeader(
    family="unet2d",
    network={"block_out_channels": [8, 16], "sample_size": 8},
    classes=("0", "A", "é"),
    null_index=3,
    merged={"a": "A"},
    schedule=NoiseSchedule(train_timesteps=100, beta_schedule="linear", clip_sample=None),
    prediction="v_prediction",
    recommended={"steps": 7, "scheduler": {"name": "ddim"}},
    provenance={"data": "none"},
    epoch=4,
)
TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2])}


def raw(path: Path, header: Any, body: bytes = b"") -> Path:
    """A file with this JSON header (or these bytes) in safetensors' frame."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


def one_line(error: pytest.ExceptionInfo[Any]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.safetensors"
    checkpoint.save(path, HEADER, TENSORS)
    assert checkpoint.read_header(path) == HEADER
    header, tensors = checkpoint.load(path)
    assert header == HEADER
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[k], TENSORS[k]) and tensors[k].dtype == TENSORS[k].dtype for k in TENSORS)
    assert checkpoint.tensors_of(path)["a"] == checkpoint.TensorInfo("F32", (2, 3), 24)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_comes_back_as_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "x.safetensors"
    stored = torch.linspace(-1, 1, 5).to(dtype)
    checkpoint.save(path, HEADER, {"w": stored})
    loaded = checkpoint.load(path)[1]["w"]
    assert loaded.dtype == torch.float32
    assert torch.equal(loaded, stored.float())


def test_reading_a_header_imports_no_torch(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    checkpoint.save(path, HEADER, TENSORS)
    code = (
        "import sys; from pathlib import Path; from emnist_diff_plugins.containers import checkpoint as c; "
        "from emnist_diff_trajectory import files; "
        f"p = Path({str(path)!r}); c.read_header(c.discover(p)); c.tensors_of(p); files.sha256(p); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_failed_save_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.safetensors"
    checkpoint.save(path, HEADER, TENSORS)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    for name in {"fsync", "fdatasync"} & {*dir(os)}:
        monkeypatch.setattr(os, name, full)
    with pytest.raises(OutputError, match="No space left") as error:
        checkpoint.save(path, HEADER, {"a": torch.zeros(100)})
    assert str(path) in one_line(error)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]


@pytest.mark.parametrize("place", ["file/x.safetensors", "directory.safetensors", "n" * 300 + ".safetensors"])
def test_places_that_cannot_be_written(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "directory.safetensors").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OutputError, match="cannot write") as error:
        checkpoint.save(tmp_path / place, HEADER, TENSORS)
    assert place in one_line(error)
    assert sorted(tmp_path.rglob("*")) == before


def test_text_that_is_no_unicode_survives(tmp_path: Path) -> None:
    """The command line hands over file names that are no UTF-8 in this form."""
    header = attrs.evolve(HEADER, provenance={"data": "caf\udce9"})
    checkpoint.save(tmp_path / "x.safetensors", header, TENSORS)
    assert checkpoint.read_header(tmp_path / "x.safetensors") == header


def test_changed_bytes_never_surprise(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    checkpoint.save(path, HEADER, TENSORS)
    data = path.read_bytes()
    draw, outcomes = random.Random(0), set()
    for _ in range(300):
        changed = bytearray(data)
        changed[draw.randrange(len(data))] = draw.randrange(256)
        path.write_bytes(changed)
        said = ""
        try:
            checkpoint.load(path)
        except CheckpointError as error:
            said = str(error)
        assert "\n" not in said
        outcomes.add(str(path) in said)
    assert outcomes == {True, False}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"schedule": {"train_timesteps": 10**9}}, "'train_timesteps' must be <= 100000: 1000000000"),
        ({"schedule": {"train_timesteps": 2**62}}, "'train_timesteps' must be <= 100000"),
        ({"schedule": {"train_timesteps": 10**4000}}, "a number of 4001 digits"),
        ({"schedule": {"beta_schedule": "linear", "beta_end": 1e300}}, "'beta_end' must be < 1"),
        ({"schedule": {"beta_start": -1}}, "'beta_start' must be > 0"),
        ({"schedule": {"clip_sample": 1e30}}, "'clip_sample' must be > 0 and <= 1e\\+06"),
        ({"classes": ["x" * 5_000_000]}, "class name 'xxx.*xxx' is empty, has more than 1000 characters"),
        ({"classes": [str(n) for n in range(70_000)]}, "classes are 70000, the most is 65536"),
        ({"null_index": 2**40}, "null_index"),
        ({"epoch": -(2**60)}, "epoch"),
        ({"family": {"deep": [[["x" * 10**5]]] * 10}}, "family: expected text"),
        ({"x" * 10**6: 1}, "unknown setting of checkpoint header"),
        ({"provenance": "[" * 100 + "]" * 100}, "nested deeper than 64"),
        ({"provenance": '{"a": 1e999}'}, "1e999 is more than a number can be"),
        ({"provenance": '{"a": NaN}'}, "NaN is no JSON"),
        ({"provenance": '{"a": 1, "a": 2}'}, "key 'a' is there twice"),
        ({"provenance": '{"a": "\\ud800"}'}, "is no Unicode"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_header_cannot_claim_what_no_model_has(tmp_path: Path, change: dict[str, Any], match: str) -> None:
    """Each is refused before anything is allocated for it, in a line that does not echo it."""
    said = {"format_version": 1, "family": "unet2d", "classes": ["A"]}
    sys.set_int_max_str_digits(0)
    text = json.dumps({**said, **change})
    sys.set_int_max_str_digits(4300)
    if isinstance(plain := change.get("provenance"), str):
        text = text.replace(json.dumps(plain), plain)
    path = raw(tmp_path / "x.safetensors", {"__metadata__": {checkpoint.METADATA_KEY: text}})
    with pytest.raises(CheckpointError, match=match) as error:
        checkpoint.load(path)
    assert len(one_line(error)) < 2100


@pytest.mark.parametrize(
    ("tensors", "match"),
    [
        ({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 8]}}, r"has 8 bytes, not those of F32 \[1099"),
        ({"a": {"dtype": "F32", "shape": [1] * 30, "data_offsets": [0, 4]}}, "has 30 dimensions"),
        ({"a": {"dtype": "O", "shape": [1], "data_offsets": [0, 8]}}, "is of type 'O'"),
        ({"a": {"dtype": "F32", "shape": [2**70], "data_offsets": [0, 8]}}, "is not described"),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
          "b": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, "'b' does not begin where the one before"),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, "its tensors need 73 bytes, it has 77"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_tensors_are_the_bytes_of_the_file(tmp_path: Path, tensors: dict[str, Any], match: str) -> None:
    with pytest.raises(CheckpointError, match=match) as error:
        checkpoint.tensors_of(raw(tmp_path / "x.safetensors", tensors, bytes(8)))
    assert len(one_line(error)) < 500


def test_sha256(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    assert files.sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


class TestDiscover:
    @pytest.fixture
    def models(self, tmp_path: Path) -> Path:
        for name in ("m_epoch009.safetensors", "m_epoch010.safetensors", "m_epoch2.safetensors", "other.safetensors"):
            (tmp_path / name).touch()
        (tmp_path / ".m_epoch011.safetensors.12.tmp").touch()
        return tmp_path

    def test_a_file_is_itself(self, models: Path) -> None:
        assert checkpoint.discover(models / "other.safetensors") == models / "other.safetensors"

    def test_newest_epoch_by_number_in_the_name(self, models: Path) -> None:
        os.utime(models / "m_epoch2.safetensors")  # the name decides, not the clock
        assert checkpoint.discover(models).name == "m_epoch010.safetensors"

    def test_exact_epoch(self, models: Path) -> None:
        assert checkpoint.discover(models, 2).name == "m_epoch2.safetensors"
        assert checkpoint.discover(models / "m_epoch009.safetensors", 9).name == "m_epoch009.safetensors"

    def test_unknown_epoch_names_those_there(self, models: Path) -> None:
        with pytest.raises(CheckpointError, match=r"no checkpoint of epoch 7 .* 2, 9, 10"):
            checkpoint.discover(models, 7)

    def test_epoch_of_another_file(self, models: Path) -> None:
        with pytest.raises(ConfigError, match=r"epoch 8 was requested, but .* is one file, of epoch 9 — name its dir"):
            checkpoint.discover(models / "m_epoch009.safetensors", 8)

    def test_epoch_of_a_file_that_is_not_named_for_it(self, tmp_path: Path) -> None:
        path = tmp_path / "best.safetensors"
        checkpoint.save(path, HEADER, TENSORS)
        assert checkpoint.discover(path, 4) == path
        with pytest.raises(ConfigError, match="is one file, of epoch 4"):
            checkpoint.discover(path, 5)
        checkpoint.save(path, attrs.evolve(HEADER, epoch=None), TENSORS)
        with pytest.raises(ConfigError, match="does not say its epoch"):
            checkpoint.discover(path, 5)

    def test_two_files_of_one_epoch(self, models: Path) -> None:
        (models / "n_epoch10.safetensors").touch()
        with pytest.raises(CheckpointError, match=r"m_epoch010\S* and n_epoch10\S* — name the file"):
            checkpoint.discover(models)
        assert checkpoint.discover(models, 9).name == "m_epoch009.safetensors"

    def test_sole_file(self, tmp_path: Path) -> None:
        (tmp_path / "only.safetensors").touch()
        assert checkpoint.discover(tmp_path).name == "only.safetensors"

    def test_several_without_epoch(self, tmp_path: Path) -> None:
        (tmp_path / "a.safetensors").touch()
        (tmp_path / "b.safetensors").touch()
        with pytest.raises(CheckpointError, match="name the file"):
            checkpoint.discover(tmp_path)

    def test_empty_directory(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match="no checkpoint") as error:
            checkpoint.discover(tmp_path)
        assert str(tmp_path) in one_line(error)

    def test_missing_names_the_nearest(self, models: Path) -> None:
        with pytest.raises(CheckpointError, match=r"does not exist — did you mean .*other\.safetensors"):
            checkpoint.discover(models / "othr.safetensors")
        with pytest.raises(CheckpointError, match="does not exist"):
            checkpoint.discover(models / "no" / "such.safetensors")

    def test_folders_of_diffusers(self, tmp_path: Path) -> None:
        save_file({"conv_in.weight": torch.zeros(1)}, tmp_path / "diffusion_pytorch_model.safetensors")
        for name, made in (("config.json", "UNet2DModel"), ("model_index.json", "DDPMPipeline")):
            (tmp_path / name).write_text(json.dumps({"_class_name": made}))
            with pytest.raises(CheckpointError, match=f"a diffusers folder of '{made}', which names no classes"):
                checkpoint.discover(tmp_path)
        with pytest.raises(CheckpointError, match="holds settings and no weights; its folder is a diffusers folder"):
            checkpoint.discover(tmp_path / "config.json")
        (tmp_path / "x.safetensors.index.json").write_text("{}")
        with pytest.raises(CheckpointError, match="lists the parts of a checkpoint"):
            checkpoint.discover(tmp_path / "x.safetensors.index.json")
        (tmp_path / "text_encoder").mkdir()
        with pytest.raises(CheckpointError, match="is the folder of a pipeline that takes texts — run it"):
            checkpoint.discover(tmp_path)

    def test_legacy_says_how_to_convert(self, tmp_path: Path) -> None:
        legacy = tmp_path / "emnist_x_epoch003.pt"
        legacy.touch()
        for path in (legacy, tmp_path):
            with pytest.raises(CheckpointError, match="emnist-diff checkpoint convert") as error:
                checkpoint.discover(path)
            assert str(legacy) in one_line(error)


class TestRefusals:
    """Each bad file: one line that names it, from the header reader and the loader alike."""

    def refused(self, path: Path, match: str) -> None:
        for reader in (checkpoint.read_header, checkpoint.load):
            with pytest.raises(CheckpointError, match=match) as error:
                reader(path)
            assert str(path) in one_line(error)

    def test_missing(self, tmp_path: Path) -> None:
        self.refused(tmp_path / "x.safetensors", "cannot read")

    def test_directory(self, tmp_path: Path) -> None:
        self.refused(tmp_path, "cannot read")

    def test_foreign_safetensors(self, tmp_path: Path) -> None:
        save_file(TENSORS, tmp_path / "x.safetensors", {"format": "pt"})
        self.refused(tmp_path / "x.safetensors", "no emnist-diff checkpoint")
        save_file(TENSORS, tmp_path / "y.safetensors")
        self.refused(tmp_path / "y.safetensors", "no emnist-diff checkpoint")

    @pytest.mark.parametrize(("start", "said"), [
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"PK\x03\x04", "a zip file, as torch.save writes — convert it: emnist-diff checkpoint convert"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"<!doctype html>", "a web page"),
    ])  # fmt: skip
    def test_files_of_other_programs(self, tmp_path: Path, start: bytes, said: str) -> None:
        (tmp_path / "x.safetensors").write_bytes(start + bytes(100))
        self.refused(tmp_path / "x.safetensors", said)

    def test_weights_of_other_programs(self, tmp_path: Path) -> None:
        for name, said in {
            "conv_in.weight": "1 tensors without class names and noise schedule, such as 'conv_in.weight'",
            "model.diffusion_model.out.2.bias": "a Stable Diffusion model in one file — one of SDXL or SD3 is run",
            "unet.down.lora_A.weight": "a LoRA",
            "optimizer/conv_in.weight/exp_avg": "the state that a training resumes from",
        }.items():
            save_file({name: torch.zeros(1)}, tmp_path / "x.safetensors")
            self.refused(tmp_path / "x.safetensors", said)

    def test_truncated_anywhere(self, tmp_path: Path) -> None:
        whole = tmp_path / "whole.safetensors"
        checkpoint.save(whole, HEADER, TENSORS)
        data = whole.read_bytes()
        cut = tmp_path / "cut.safetensors"
        for size in (*range(0, len(data) - 1, 37), 7, 8, 9, len(data) - 1):
            cut.write_bytes(data[:size])
            self.refused(cut, "truncated|no safetensors")

    @pytest.mark.parametrize("length", [2**63, 2**40, 100_000_001])
    def test_absurd_header_length(self, tmp_path: Path, length: int) -> None:
        path = tmp_path / "x.safetensors"
        path.write_bytes(struct.pack("<Q", length) + b"{}")
        self.refused(path, "no safetensors file")

    @pytest.mark.parametrize("header", [b"\xff\xfe", b"{", b"[1]", b"[" * 100_000, b"null"])
    def test_no_json_table(self, tmp_path: Path, header: bytes) -> None:
        self.refused(raw(tmp_path / "x.safetensors", header), "no safetensors file")

    @pytest.mark.parametrize(
        "tensor",
        [
            7,
            {},
            {"dtype": "F32", "shape": [1]},
            {"dtype": "F32", "shape": [1], "data_offsets": [0]},
            {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]},
            {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]},
            {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
            {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]},
            {"dtype": "F32", "shape": "1", "data_offsets": [0, 4]},
            {"shape": [1], "data_offsets": [0, 4]},
        ],
    )
    def test_damaged_tensor_table(self, tmp_path: Path, tensor: Any) -> None:
        self.refused(raw(tmp_path / "x.safetensors", {"w": tensor}, bytes(4)), "'w' is not described")

    def test_offsets_beyond_the_file(self, tmp_path: Path) -> None:
        tensor = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
        self.refused(raw(tmp_path / "x.safetensors", {"w": tensor}, bytes(4)), "truncated")

    @pytest.mark.parametrize(
        ("ours", "match"),
        [
            ("{", "no JSON"),
            ("[]", "header"),
            ('{"format_version": 3}', "upgrade emnist-diff"),
            ('{"family": "unet2d"}', "classes"),
            ('{"family": "unet2d", "classes": []}', "at least one"),
            ('{"family": "unet2d", "classes": ["A", "A"]}', "different"),
            ('{"family": "unet2d", "classes": ["A", ""]}', "class name '' is empty"),
            (
                '{"family": "unet2d", "classes": ["A", "\\u001b[2J"]}',
                r"class name '\\x1b\[2J' is empty, has more than",
            ),
            ('{"family": "unet2d", "classes": ["A"], "null_index": -1}', "null_index -1"),
            ('{"family": "unet2d", "classes": ["A"], "merged": {"b": "B"}}', "'B', which is no class"),
            ('{"family": "unet2d", "classes": ["A"], "nul_index": 1}', "null_index"),
            ('{"family": "unet2d", "classes": ["A"], "schedule": {"train_timesteps": 0}}', "train_timesteps"),
            ('{"family": "unet2d", "classes": ["A"], "prediction": "flow"}', "flow"),
        ],
    )
    def test_damaged_header_of_ours(self, tmp_path: Path, ours: str, match: str) -> None:
        self.refused(raw(tmp_path / "x.safetensors", {"__metadata__": {"emnist_diff": ours}}), match)


@pytest.mark.parametrize(
    ("recommended", "message"),
    [
        ({"scheduler": "flow_euler"}, "'flow_euler' walks flows, and this model is a diffusion — use ddim"),
        ({"scheduler": {"name": "ddim", "zero_terminal_snr": True}}, "a prediction of noise says nothing"),
        ({"scheduler": "ddim", "steps": 1001}, "steps = 1001 is more than the 100 timesteps"),
        ({"scheduler": "ddmi"}, "did you mean"),
    ],
    ids=str,
)
def test_a_recommendation_that_the_model_cannot_follow_is_refused_when_it_is_made(tmp_path, recommended, message):
    header = attrs.evolve(HEADER, recommended=recommended, prediction="epsilon")
    with pytest.raises(ConfigError, match="the recommended settings do not fit this model: ") as refused:
        checkpoint.save(tmp_path / "odd.safetensors", header, {})
    assert message in str(refused.value)
    assert not (tmp_path / "odd.safetensors").exists()
