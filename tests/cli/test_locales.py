"""Classes and files with names beyond ASCII, also where the locale knows no such characters."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import pytest

from emnist_diff.errors import ConfigError, UnknownName
from emnist_diff_plugins.containers import checkpoint
from emnist_diff_plugins.spaces import ClassSpace
from emnist_diff_trajectory.names import known

NFC, NFD = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
PLAIN = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "nét.safetensors"
    classes = (NFD, "日本", "b")
    header = checkpoint.CheckpointHeader(
        family="gaussian-mixture", network={"shape": [1, 4, 4], "classes": list(classes)}, classes=classes, null_index=3
    )
    checkpoint.save(path, header, {})
    return path


def test_a_class_is_known_however_its_accents_are_typed():
    space = ClassSpace((NFD, "B"), merged={unicodedata.normalize("NFD", "ö"): "B"})
    assert space.resolve(NFC) == space.resolve(NFD) == space.resolve("\udcc3\udca9") == NFD
    assert space.resolve("ö") == "B"
    assert space.characters(f"{NFC},B") == (NFD, "B")
    assert space.index(NFC) == 0
    with pytest.raises(UnknownName, match="unknown class 'e'"):
        space.resolve("e")
    both = ClassSpace((NFC, NFD))
    assert [both.index(name) for name in (NFC, NFD)] == [0, 1]
    with pytest.raises(ConfigError, match=r"may be 'e\\u0323\\u0302' and '\\u1eb9\\u0302', which read the same"):
        known("\u1ec7", ["e\u0323\u0302", "\u1eb9\u0302"])


def test_the_default_class_is_one_that_the_model_has():
    assert ClassSpace(("0", "A")).characters(None) == ("A",)
    assert ClassSpace(("cat", "dog")).characters(None) == ("cat",)


def test_commands_on_a_model_without_an_a(cli, tmp_path, network):
    finished = cli("run", "--checkpoint", network, "--steps", "2", "--total-videos", "1", "--output", tmp_path)
    assert finished.code == 0, finished.err
    assert f"1 samples of {NFD!r}" in finished.out
    quick = ("bench", "--checkpoint", network, "--quick", "--backend", "eager", "--precision", "fp32", "--rows", "2")
    assert cli(*quick, "--json").code == 0


def test_no_locale_stands_in_the_way(process, tmp_path, network):
    def called(*arguments: str | Path) -> str:
        finished = process(*arguments, **PLAIN)
        assert finished.returncode == 0, finished.stderr
        assert "Traceback" not in finished.stderr
        return finished.stdout

    out = tmp_path / "rüns"
    run = ("run", "--checkpoint", network, "--steps", "2", "--total-videos", "2", "--output", out)
    more = ("--force", f"repel_class:target={NFC}", "--save", "frames,metadata,metrics")
    assert json.loads(called(*run, "--character", f"{NFC},日本", *more, "--json"))["samples"] == 2
    (folder,) = out.iterdir()
    file = folder / "trajectory.h5"
    assert file.is_file()
    for arguments in (
        *(("inspect", file), ("verify", file), ("replay", file, "--checkpoint", network)),
        *(("split", file, tmp_path / "té"), ("select", file, tmp_path / "ö.h5", "--character", NFC)),
        *(("metrics", file, "--overwrite"), ("checkpoint", "inspect", network), ("plugins", "list")),
    ):
        called(*arguments)
    assert json.loads(called("inspect", file, "--json"))["classes"][:2] == [NFD, "日本"]
    assert json.loads(called(*run, "--character", NFC, "--dry-run"))["config"]["character"] == NFC
    assert len(list((tmp_path / "té").iterdir())) == 2
    assert (tmp_path / "ö.h5").is_file()
    finished = process(*run, "--character", "ñ", **PLAIN)
    assert finished.returncode == 2
    assert "unknown class '\\u00f1'" in finished.stderr
    assert os.listdir(tmp_path / "rüns") == [folder.name]
