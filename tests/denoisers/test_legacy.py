"""Legacy checkpoints convert without loss, and nothing in one ever runs."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import shlex
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel
from typer.testing import CliRunner

from emnist_diff.conditions import RowConditions
from emnist_diff.errors import CheckpointError, ConfigError, OutputError
from emnist_diff.onethread import one_thread
from emnist_diff_plugins.commands import checkpoint as command
from emnist_diff_plugins.containers import checkpoint
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader
from emnist_diff_plugins.denoisers import legacy
from emnist_diff_plugins.denoisers.unet2d import UNet2D
from emnist_diff_trajectory import files

UNET = {
    "sample_size": 8,
    "in_channels": 1,
    "out_channels": 1,
    "layers_per_block": 1,
    "block_out_channels": [8, 16],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "num_class_embeds": 4,
    "norm_num_groups": 4,
    "attention_head_dim": 8,
}


@pytest.fixture(scope="module")
def layout() -> dict[str, Any]:
    """The dictionary of a small legacy file, its scheduler a real diffusers `FrozenDict`."""
    torch.manual_seed(1)
    scheduler = DDPMScheduler(num_train_timesteps=600, beta_schedule="squaredcos_cap_v2")
    return {
        "unet": UNet2DModel(**UNET).state_dict(),
        "classes": ["A", "B", "t"],
        "scheduler": scheduler.config,
        "size": 8,
        "channels": (8, 16),
        "variation": "test",
        "epoch": 3,
        "split": "balanced",
        "beta_schedule": "squaredcos_cap_v2",
        "ema_decay": 0.999,
        "cfg_dropout_prob": 0.1,
        "null_class_index": 3,
        "num_class_embeds": 4,
        "unet_config": UNET,
    }


@pytest.fixture
def source(tmp_path: Path, layout: dict[str, Any]) -> Path:
    path = tmp_path / "emnist_test_epoch012.pt"
    torch.save(layout, path)
    return path


def written(path: Path, layout: dict[str, Any], **change: Any) -> Path:
    """A legacy file with these keys changed; None takes a key out."""
    torch.save({k: v for k, v in (layout | change).items() if v is not None}, path)
    return path


@pytest.mark.parametrize("zipped", [True, False])
def test_converts_without_loss(tmp_path: Path, layout: dict[str, Any], zipped: bool) -> None:
    source = tmp_path / "emnist_test_epoch012.pt"
    torch.save(layout, source, _use_new_zipfile_serialization=zipped)
    path = legacy.convert(source)
    assert path == tmp_path / "emnist_test_epoch012.safetensors"
    header, tensors = checkpoint.load(path)
    assert tensors.keys() == layout["unet"].keys()
    assert all(torch.equal(tensors[k], layout["unet"][k]) for k in tensors)
    assert header.classes == ("A", "B", "t")
    assert header.null_index == 3
    assert header.merged == {"a": "A", "b": "B", "T": "t"}
    assert header.prediction == "epsilon"
    assert header.epoch == 12  # the name decides
    assert header.schedule.train_timesteps == 600
    assert header.schedule.beta_schedule == "squaredcos_cap_v2"
    assert header.schedule.clip_sample == 1.0
    assert header.provenance["variation"] == "test"
    assert header.provenance["source"]["sha256"] == files.sha256(source)

    reference = UNet2DModel(**UNET)
    reference.load_state_dict(layout["unet"])
    reference = reference.eval().to(memory_format=torch.channels_last)
    x, t, rows = torch.randn(3, 1, 8, 8), torch.tensor([0.0, 300.0, 599.0]), torch.tensor([0, 2, 3])
    denoiser = UNet2D(**header.network).with_weights(tensors, header, "cpu")
    with torch.inference_mode(), one_thread("cpu"):
        assert torch.equal(denoiser.predict(x, t, RowConditions(rows)), reference(x, t, class_labels=rows).sample)


def test_network_of_the_layout_without_unet_config(tmp_path: Path, layout: dict[str, Any]) -> None:
    plain = UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        layers_per_block=2,
        block_out_channels=(32, 32),
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        num_class_embeds=4,
    ).eval()
    source = written(
        tmp_path / "x_epoch1.pt", layout, unet=plain.state_dict(), channels=(32, 32), unet_config=None, split="byclass"
    )
    header, tensors = checkpoint.load(legacy.convert(source))
    assert header.merged == {}
    x, t, rows = torch.randn(2, 1, 8, 8), torch.tensor([1.0, 9.0]), torch.tensor([0, 3])
    denoiser = UNet2D(**header.network).with_weights(tensors, header, "cpu")
    with torch.inference_mode():
        expected = plain.to(memory_format=torch.channels_last)(x, t, class_labels=rows).sample
        assert torch.equal(denoiser.predict(x, t, RowConditions(rows)), expected)


def test_scheduler_settings(tmp_path: Path, layout: dict[str, Any]) -> None:
    scheduler = DDPMScheduler(prediction_type="v_prediction", clip_sample=False, beta_end=0.03).config
    header = checkpoint.read_header(legacy.convert(written(tmp_path / "x.pt", layout, scheduler=scheduler)))
    assert header.prediction == "v_prediction"
    assert header.schedule.clip_sample is None
    assert (header.schedule.beta_schedule, header.schedule.beta_end) == ("linear", 0.03)
    assert header.epoch == 3  # from the key, for want of a number in the name


def test_other_keys_are_told_where_they_are_single_values(tmp_path: Path, layout: dict[str, Any]) -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    source = written(
        tmp_path / "x.pt", layout, note="mine", optimizer={"step": torch.zeros(3)}, worst=float("inf"), cycle=cycle
    )
    provenance = checkpoint.read_header(legacy.convert(source)).provenance
    assert provenance["note"] == "mine"
    assert not {"optimizer", "worst", "cycle", "unet"} & provenance.keys()


def test_keeps_an_existing_destination(source: Path) -> None:
    path = legacy.convert(source)
    path.write_text("mine")
    with pytest.raises(OutputError, match="--overwrite"):
        legacy.convert(source)
    assert path.read_text() == "mine"
    assert checkpoint.read_header(legacy.convert(source, overwrite=True)).family == "unet2d"


@pytest.mark.parametrize("key", legacy.REQUIRED)
def test_missing_keys_are_named(tmp_path: Path, layout: dict[str, Any], key: str) -> None:
    with pytest.raises(CheckpointError, match=f"lacks {key}"):
        legacy.convert(written(tmp_path / "x.pt", layout, **{key: None}))
    assert [p.name for p in tmp_path.iterdir()] == ["x.pt"]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"scheduler": {"trained_betas": [0.1]}}, "trained_betas"),
        ({"scheduler": {"rescale_betas_zero_snr": True}}, "rescale_betas_zero_snr"),
        ({"scheduler": {"beta_schedule": "sigmoid"}}, "sigmoid"),
        ({"scheduler": {"prediction_type": "flow"}}, "flow"),
        ({"scheduler": 3}, "'scheduler' is a int"),
        ({"classes": 7}, "classes"),
        ({"classes": ["A", "A"]}, "classes must be different"),
        ({"null_class_index": -1}, "null_index -1"),
        ({"size": torch.zeros(2)}, "'size' is no plain data"),
        ({"scheduler": {"beta_start": float("nan")}}, "'scheduler' is no plain data"),
        ({"unet_config": UNET | {"block_out_channels": [2**14, 2**14]}}, "mis-shaped|foreign|lacks"),
        ({"null_class_index": 4}, "class index 4 of 4"),
        ({"channels": 8, "unet_config": None}, "channels"),
        ({"unet": {"conv_in.bias": 3}}, "not a tensor"),
        ({"unet": {"conv_in.bias": torch.zeros(8, dtype=torch.int64)}}, "floating-point"),
        ({"unet": {"conv_in.bias": torch.zeros(1).expand(10**12)}}, "larger than what the file stores"),
        ({"unet": {"conv_in.bias": torch.zeros(8)}}, "1 tensors cannot fill 2 levels of 1 layers"),
        ({"unet_config": UNET | {"act_fn": "gelu"}}, "act_fn = 'gelu'"),
        ({"unet_config": UNET | {"time_embedding_type": "fourier"}}, "time_embedding_type"),
        ({"unet_config": UNET | {"no_such": 1}}, "no_such"),
        ({"unet_config": UNET | {"up_block_types": ["UpBlock2D"] * 2}}, "up_block_types"),
        ({"unet_config": UNET | {"down_block_types": ["SkipDownBlock2D"] * 2}}, "down_block_types"),
    ],
)
def test_what_cannot_be_represented_is_named(tmp_path: Path, layout: dict, change: dict, match: str) -> None:
    path = written(tmp_path / "x.pt", layout, **change)
    with pytest.raises(CheckpointError, match=match) as error:
        legacy.convert(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    assert not path.with_suffix(".safetensors").exists()


class Call:
    """Pickles to a call of `function` with `arguments`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.made = (function, arguments)

    def __reduce__(self) -> Any:
        return self.made


def zipped(pickled: bytes, *others: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """The pickle as the ``data.pkl`` of torch's zip layout, and other files beside it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
        for name, content in others:
            archive.writestr(name, content)
    return out.getvalue()


HARMLESS = pickle.dumps({}, 2)
MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + HARMLESS
"""How the older layout begins."""


def hostile(victim: Path) -> dict[str, tuple[bytes, str]]:
    """Name → (a pickle that would make the file `victim`, the global that a refusal must name)."""
    shell, python = f"touch {victim}", f"open({str(victim)!r}, 'w')"
    system = f"{os.system.__module__}.system"
    memo = (
        b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94"  # the names go to the memo …
        + b"00h\x00h\x01\x93"  # … and come back for STACK_GLOBAL
        + b"\x8c"
        + bytes([len(shell)])
        + shell.encode()
        + b"\x85R."
    )
    detour = (
        b"\x80\x04\x8c\x05posix\x8c\x06system"
        + b"\x8c\x0bcollections\x8c\x0bOrderedDict(K\x01100"  # harmless names on top, then all of it dropped again
        + b"\x93\x8c"
        + bytes([len(shell)])
        + shell.encode()
        + b"\x85R."
    )
    text = f"cos\nsystem\n(S{shell!r}\ntR.".encode()
    inst = f"(S{shell!r}\nios\nsystem\n.".encode()
    return {
        "os.system, protocol 0": (pickle.dumps(Call(os.system, shell), 0), system),
        "os.system, protocol 2": (pickle.dumps(Call(os.system, shell), 2), system),
        "os.system, STACK_GLOBAL": (pickle.dumps(Call(os.system, shell), 4), system),
        "os.system, by hand": (text, "os.system"),
        "INST": (inst, "os.system"),
        "memo": (memo, "posix.system"),
        "detour": (detour, "posix.system"),
        "OBJ": (b"(cos\nsystem\nS" + repr(shell).encode() + b"\no.", "os.system"),
        "nested": (pickle.dumps(Call(pickle.loads, pickle.dumps(Call(os.system, shell))), 4), "_pickle.loads"),
        "codecs": (pickle.dumps({"classes": b"x"}, 2), "_codecs.encode"),
        "NEWOBJ": (b"\x80\x02csubprocess\nPopen\nX\x01\x00\x00\x00x\x85\x81.", "subprocess.Popen"),
        "BUILD": (
            b"\x80\x02cemnist_diff_plugins.containers.checkpoint\nCheckpointHeader\n)\x81}b.",
            "emnist_diff_plugins.containers.checkpoint.CheckpointHeader",
        ),
        "memory": (b"\x80\x02ctorch\nUntypedStorage\n\x8a\x06\x00\x00\x00\x00\x00\x01\x85R.", "torch.UntypedStorage"),
        "builtins.eval": (pickle.dumps(Call(eval, python), 4), "builtins.eval"),
        "builtins.exec, python 2 name": (pickle.dumps(Call(exec, python), 2), "__builtin__.exec"),
        "within a value": (pickle.dumps({"classes": ["A", Call(eval, python)]}, 2), "__builtin__.eval"),
        "getattr": (pickle.dumps(Call(getattr, "", "upper"), 4), "builtins.getattr"),
        "torch, but not needed": (b"\x80\x02ctorch.hub\nload\nX\x01\x00\x00\x00x\x85R.", "torch.hub.load"),
        "extension": (b"\x80\x02\x82\x01.", "copyreg extension 1"),
    }


FRAMES = {
    "bare": lambda pickled: pickled,
    "zip": lambda pickled: zipped(pickled),
    "zip with two data.pkl": lambda pickled: zipped(
        HARMLESS, ("archive/data.pkl ", pickled), ("archive/more.pkl", pickled)
    ),
    "after torch's magic": lambda pickled: MAGIC + pickled,
    "as the keys of the older layout": lambda pickled: MAGIC + HARMLESS + pickled,
    "zip behind it": lambda pickled: pickled + zipped(HARMLESS),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")  # zipfile's, when this test makes them
@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("name", hostile(Path("x")))
def test_hostile_pickles_are_refused_by_name(tmp_path: Path, name: str, frame: str) -> None:
    pickled, wanted = hostile(tmp_path / "v")[name]
    path = tmp_path / "x.pt"
    path.write_bytes(FRAMES[frame](pickled))
    with pytest.raises(CheckpointError) as error:
        legacy.convert(path)
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message
    assert f"wants to call '{wanted}'" in message
    assert "nothing in it was run" in message
    assert os.listdir(tmp_path) == ["x.pt"]


@pytest.mark.skipif(os.name != "posix", reason="the pickles are made for a POSIX shell")
def test_the_pickles_do_bite(tmp_path: Path) -> None:
    """The refusals above mean something: unguarded, these pickles act."""
    for name in ("os.system, STACK_GLOBAL", "INST", "OBJ", "memo", "detour", "nested", "builtins.eval"):
        victim = tmp_path / "v"
        pickle.loads(hostile(victim)[name][0])
        assert victim.exists(), name
        victim.unlink()


@pytest.mark.parametrize("name", ["os.system, by hand", "builtins.eval", "memo", "nested", "extension"])
def test_torch_stands_guard_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """What the reading of the opcodes might miss, torch's unpickler would stop."""
    monkeypatch.setattr(legacy._pickles, "_vet", lambda stream: None)
    path = tmp_path / "x.pt"
    path.write_bytes(zipped(hostile(tmp_path / "v")[name][0]))
    with pytest.raises(CheckpointError):
        legacy.convert(path)
    assert os.listdir(tmp_path) == ["x.pt"]


def tensor(elements: int, claimed: int) -> bytes:
    """A pickled tensor of so many elements, of a storage "0" that claims so many."""
    claim, size = (b"\x8a\x08" + n.to_bytes(8, "little") for n in (claimed, elements))
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + claim + b"tQ"
    rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n("
    return b"\x80\x02" + rebuild + storage + b"K\x00" + size + b"\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR."


def twice_over(times: int) -> bytes:
    """A pickled dictionary whose key is a tuple of two tuples of two tuples of …: it would take ages to hash."""
    return b"\x80\x02})" + b"q\x00h\x00\x86" * times + b"Ns."


DATA = ("archive/data/0", bytes(16))
BOMBS = {
    "storage larger than its record": zipped(tensor(4, 2**40), DATA),
    "tensor larger than its storage": zipped(tensor(2**40, 4), DATA),
    "absurd storage": zipped(tensor(4, 2**62), DATA),
    "absurd storage, older layout": MAGIC
    + tensor(4, 2**40)
    + pickle.dumps(["0"], 2)
    + (4).to_bytes(8, "little")
    + bytes(16),
    "compressed": zipped(HARMLESS, ("archive/data/0", bytes(10**7)), compression=zipfile.ZIP_DEFLATED),
    "unfolding tuple": zipped(twice_over(100)),
    "memo far away": zipped(b"\x80\x02}r\xff\xff\xff\xff."),
    "text that is not there": zipped(b"\x80\x02X\xff\xff\xff\x7fabc."),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_at_once(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(BOMBS[name])
    with pytest.raises(CheckpointError) as error:
        legacy.convert(path)
    assert str(path) in str(error.value)
    assert os.listdir(tmp_path) == ["x.pt"]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("key", ["classes", "unet_config", "note"])
def test_lists_that_unfold_beyond_memory(tmp_path: Path, layout: dict[str, Any], key: str) -> None:
    folded: Any = "x" * 1000
    for _ in range(4):
        folded = [folded] * 1000
    path = written(tmp_path / "x.pt", layout, **{key: folded})
    if key == "note":  # nothing needs it: left out
        assert "note" not in checkpoint.read_header(legacy.convert(path)).provenance
        return
    with pytest.raises(CheckpointError, match=f"'{key}' is no plain data"):
        legacy.convert(path)


def test_attributes_that_shadow_methods(tmp_path: Path, layout: dict[str, Any]) -> None:
    """A pickle sets attributes on dictionaries; ones named like methods must not get in the way."""
    shadow = {"get": "mine", "items": "mine", "keys": "mine"}
    tables = {}
    for key in ("scheduler", "unet"):
        tables[key] = Call(OrderedDict)
        tables[key].made = (OrderedDict, (), shadow, None, iter(layout[key].items()))
    path = written(tmp_path / "x.pt", layout, **tables)
    assert legacy.read(path)["scheduler"].get == "mine"
    header = checkpoint.read_header(legacy.convert(path))
    assert header.schedule.beta_schedule == "squaredcos_cap_v2"


def test_old_torch_reads_nothing(monkeypatch: pytest.MonkeyPatch, source: Path) -> None:
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    with pytest.raises(CheckpointError, match=r"before torch 2\.10, .* torch 2\.9\.1\+cpu"):
        legacy.convert(source)


@pytest.mark.timeout(60)
def test_changed_bytes_never_surprise(tmp_path: Path, layout: dict[str, Any]) -> None:
    """Whatever bytes change: a checkpoint, or one line that names the file."""
    path = tmp_path / "x.pt"
    torch.save(layout, path, _use_new_zipfile_serialization=False)  # the layout without checksums
    data = path.read_bytes()
    draw, outcomes = random.Random(0), set()
    for _ in range(60):
        changed = bytearray(data)
        changed[draw.randrange(data.index(b"mid_block"))] = draw.randrange(256)
        path.write_bytes(changed)
        try:
            said = str(legacy.convert(path, overwrite=True))
        except CheckpointError as error:
            said = str(error)
        assert str(path.with_suffix("")) in said
        assert "\n" not in said
        outcomes.add(said.endswith(".safetensors"))
    assert outcomes == {True, False}


def test_nothing_stays_allowed(source: Path) -> None:
    before = set(torch.serialization.get_safe_globals())
    legacy.read(source)
    assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize(
    "content",
    [b"", b"hello, world\n" * 20, b"\x80", b"PK\x03\x04 no zip", bytes(1000), b"\x80\x02}.", b"\x80\x02K\x01."],
)
def test_no_checkpoint_at_all(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pt"
    for data in (content, zipped(content)):
        path.write_bytes(data)
        with pytest.raises(CheckpointError) as error:
            legacy.convert(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)
        assert os.listdir(tmp_path) == ["x.pt"]


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda name: f"module.{name}",
        lambda name: f"_orig_mod.module.{name}",
        lambda name: f"model.unet.{name}",
        lambda name: name.replace("down_blocks.0.", "down_blocks.0._orig_mod."),
    ],
)
def test_names_lose_what_wrappers_put_into_them(tmp_path: Path, layout: dict[str, Any], wrapped: Any) -> None:
    unet = {wrapped(name): tensor for name, tensor in layout["unet"].items()}
    assert unet.keys() != layout["unet"].keys()
    _, tensors = checkpoint.load(legacy.convert(written(tmp_path / "x.pt", layout, unet=unet)))
    assert tensors.keys() == layout["unet"].keys()
    assert all(torch.equal(tensors[k], layout["unet"][k]) for k in tensors)


def test_names_that_become_one_are_refused(tmp_path: Path, layout: dict[str, Any]) -> None:
    unet = layout["unet"] | {"_orig_mod.conv_in.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError, match="two tensors of one name"):
        legacy.convert(written(tmp_path / "x.pt", layout, unet=unet))


def test_weights_of_other_programs_are_recognised(tmp_path: Path, layout: dict[str, Any]) -> None:
    torch.save(layout["unet"], tmp_path / "diffusion_pytorch_model.bin")
    torch.save({"state_dict": layout["unet"], "epoch": 3}, tmp_path / "last.ckpt")
    (tmp_path / "pointer.pt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    UNet2DModel(**UNET).save_pretrained(tmp_path / "unet")
    for name, said in {
        "diffusion_pytorch_model.bin": r"tensors without class names .*class_embedding.* 'From diffusers'",
        "last.ckpt": "the state of a training",
        "pointer.pt": "a Git LFS pointer.* git lfs pull",
        "unet": "a diffusers folder of 'UNet2DModel'.* 'From diffusers'",
    }.items():
        with pytest.raises(CheckpointError, match=said):
            legacy.convert(tmp_path / name)


def test_truncated(tmp_path: Path, source: Path) -> None:
    data = source.read_bytes()
    path = tmp_path / "cut.pt"
    for size in (1, 100, len(data) // 3, len(data) // 2, len(data) - 100, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(CheckpointError) as error:
            legacy.convert(path)
        assert str(path) in str(error.value)
        assert not path.with_suffix(".safetensors").exists()


def test_directory_missing_and_already_converted(tmp_path: Path, source: Path) -> None:
    with pytest.raises(CheckpointError, match="is a directory"):
        legacy.convert(tmp_path)
    with pytest.raises(CheckpointError, match=r"does not exist — did you mean .*epoch012\.pt"):
        legacy.convert(tmp_path / "emnist_test_epoch11.pt")
    with pytest.raises(CheckpointError, match="already"):
        legacy.convert(legacy.convert(source))


class TestCommand:
    """``emnist-diff checkpoint``, called on its own app."""

    def call(self, *arguments: object) -> str:
        result = CliRunner().invoke(command.app, [str(a) for a in arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    def test_convert_and_inspect(self, source: Path) -> None:
        path = source.with_suffix(".safetensors")
        assert str(path) in self.call("convert", source)
        data = json.loads(self.call("inspect", path, "--json"))
        assert data["classes"] == ["A", "B", "t"]
        assert data["sha256"] == files.sha256(path)
        assert data["bytes"] == path.stat().st_size
        assert data["parameters"] == sum(t.numel() for t in checkpoint.load(path)[1].values())
        assert data["dtypes"] == ["F32"]
        text = self.call("inspect", source.parent)
        for shown in ("unet2d", "3: A B t", "index 3", "a → A", "squaredcos_cap_v2", data["sha256"], "ddpm"):
            assert shown in text

    def test_destination(self, source: Path, tmp_path: Path) -> None:
        """A path that ends in .safetensors is the file; any other is the directory for it, made if need be."""
        for asked, written in (
            ("deep/other.safetensors", "deep/other.safetensors"),
            ("models", "models/emnist_test_epoch012.safetensors"),
        ):
            assert str(tmp_path / written) in self.call("convert", source, tmp_path / asked)
            assert checkpoint.read_header(tmp_path / written).epoch == 12
        (tmp_path / "file").touch()
        with pytest.raises(OutputError, match="file is no directory"):
            self.call("convert", source, tmp_path / "file")

    def test_convert_says_how_to_run_the_result(self, source: Path, tmp_path: Path, cli: Any) -> None:
        line = self.call("convert", source, tmp_path / "a b").splitlines()[-1]
        words = shlex.split(line.removeprefix("run it: "))
        assert words[0] == "emnist-diff"
        done = cli(*words[1:], "--total-videos", "2", "--steps", "3", "--output", tmp_path / "out")
        assert done.code == 0, done.err
        assert (tmp_path / "out" / "A" / "samples.png").is_file()

    def test_inspect_keeps_the_terminal_safe(self, tmp_path: Path) -> None:
        header = CheckpointHeader(family="\x1b[2J", classes=("A",), provenance={"\x9b1m": "\x9b2J\udcff"})
        checkpoint.save(tmp_path / "x.safetensors", header, {"w": torch.zeros(1)})
        text = self.call("inspect", tmp_path / "x.safetensors")
        assert all(line.isprintable() for line in text.splitlines())
        assert r"\x1b[2J" in text
        assert json.loads(self.call("inspect", tmp_path / "x.safetensors", "--json"))["family"] == "\x1b[2J"

    def test_inspect_epoch_of_nothing(self) -> None:
        with pytest.raises(ConfigError, match="--epoch 3 of what"):
            self.call("inspect", "--epoch", "3")

    def test_exit_codes(self, source: Path, tmp_path: Path, cli: Any) -> None:
        (tmp_path / "hostile.pt").write_bytes(pickle.dumps(Call(os.system, "true"), 4))
        for code, *arguments in (
            (0, "convert", source),
            (7, "convert", source),
            (4, "convert", tmp_path / "hostile.pt"),
            (4, "inspect", tmp_path / "hostile.pt"),
            (2, "inspect", "--epoch", "3"),
        ):
            done = cli("checkpoint", *arguments)
            assert done.code == code
            assert (done.error if code else done.out).startswith("emnist-diff: " if code else "wrote ")

    def test_inspect_without_a_path_shows_the_shipped_one(self) -> None:
        assert json.loads(self.call("inspect", "--json"))["family"] == "unet2d"

    def test_inspect_names_the_way_out_for_a_legacy_file(self, source: Path) -> None:
        with pytest.raises(CheckpointError, match="checkpoint convert"):
            self.call("inspect", source)


@pytest.mark.skipif("EMNIST_DIFF_DATA" not in os.environ, reason="EMNIST_DIFF_DATA names no data directory")
def test_a_real_legacy_file(tmp_path: Path) -> None:
    found = sorted(Path(os.environ["EMNIST_DIFF_DATA"]).glob("checkpoints/*.pt"))
    if not found:
        pytest.skip("no checkpoints/*.pt in EMNIST_DIFF_DATA")
    for source in found:
        header, tensors = checkpoint.load(legacy.convert(source, tmp_path / f"{source.stem}.safetensors"))
        data = legacy.read(source)
        assert all(torch.equal(tensors[k], v) for k, v in data["unet"].items())
        reference = UNet2DModel(**data["unet_config"])
        reference.load_state_dict(data["unet"])
        reference = reference.eval().to(memory_format=torch.channels_last)
        x, t, rows = torch.randn(2, 1, 28, 28), torch.tensor([5.0, 900.0]), torch.tensor([10, 62])
        denoiser = UNet2D(**header.network).with_weights(tensors, header, "cpu")
        with torch.inference_mode():
            assert torch.equal(denoiser.predict(x, t, RowConditions(rows)), reference(x, t, class_labels=rows).sample)
