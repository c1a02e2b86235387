"""The user's configuration: read with care, written without touching what somebody else wrote there."""

from __future__ import annotations

from pathlib import Path

import pytest

from emnist_diff.errors import ConfigError, OutputError
from emnist_diff_plugins.benching import userconfig


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the user's configuration is in these tests; not there yet."""
    monkeypatch.delenv(userconfig.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "emnist-diff" / "config.toml"


def put(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def test_place(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert userconfig.path() == file
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert userconfig.path() == tmp_path / ".config" / "emnist-diff" / "config.toml"
    monkeypatch.setenv(userconfig.VARIABLE, str(tmp_path / "mine.toml"))
    assert userconfig.path() == tmp_path / "mine.toml"
    monkeypatch.setenv(userconfig.VARIABLE, "")
    assert userconfig.path() is None
    assert userconfig.read() == {}
    with pytest.raises(ConfigError, match=userconfig.VARIABLE):
        userconfig.write({"threads": 2})


def test_no_file_says_nothing(file: Path) -> None:
    assert userconfig.read() == {}


def test_a_named_file_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(userconfig.VARIABLE, str(tmp_path / "lost.toml"))
    with pytest.raises(ConfigError, match=r"lost\.toml.*not there"):
        userconfig.read()
    assert userconfig.write({"threads": 2}).is_file()
    assert userconfig.read() == {"threads": 2}


def test_what_is_written_is_read(file: Path) -> None:
    settings = {"backend": "openvino", "precision": "fp32", "threads": 3, "micro_batch": 8, "device": "cpu"}
    assert userconfig.write(settings) == file
    assert userconfig.read() == settings
    table = {"backend": {"name": "openvino", "streams": 2}}
    userconfig.write(table)
    assert userconfig.read() == settings | table


def test_other_lines_stay(file: Path) -> None:
    put(file, '# mine\n[run]  # of runs\n# fast\nthreads = 2 # half\ndevice = "cpu"\n')
    userconfig.write({"threads": 4, "micro_batch": 16})
    assert file.read_text().splitlines() == [
        "# mine", "[run]  # of runs", "# fast", "threads = 4 # half", 'device = "cpu"', "micro_batch = 16",
    ]  # fmt: skip
    userconfig.write({"device": None, "micro_batch": None})
    assert userconfig.read() == {"threads": 4}
    assert "# fast" in file.read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[run\n", "not valid TOML"),
        ("[runs]\nthreads = 2\n", "'runs'"),
        ("threads = 2\n", "'threads'"),
        ("[run]\nthread = 2\n", "did you mean 'threads'"),
        ("[run]\nseed = 2\n", "seed"),
        ("[run]\nthreads = 0\n", "threads"),
        ('[run]\nthreads = "2"\n', "threads"),
        ('[run]\nprecision = "fp8"\n', "precision"),
        ("[run]\nbackend = 3\n", "backend"),
        ("run = 3\n", "table of settings"),
    ],
)
def test_mistakes_name_the_file(file: Path, text: str, said: str) -> None:
    put(file, text)
    for call in (userconfig.read, lambda: userconfig.write({"device": "cpu"})):
        with pytest.raises(ConfigError) as error:
            call()
        assert said in str(error.value)
        assert "config.toml" in str(error.value)
        assert "\n" not in str(error.value)
    assert file.read_text() == text


@pytest.mark.parametrize(
    "text", ["run.threads = 2\n", "run = {threads = 2}\n", '[run]\nbackend = """\neager"""\nthreads = 2\n']
)
def test_every_layout_can_be_edited(file: Path, text: str) -> None:
    put(file, text)
    before = userconfig.read()
    userconfig.write({"threads": 4, "device": "cpu"})
    assert userconfig.read() == before | {"threads": 4, "device": "cpu"}


def test_nothing_impossible_is_written(file: Path) -> None:
    for settings in ({"threads": 0}, {"steps": 5}, {"backend": 3}, {"backend": object()}):
        with pytest.raises(ConfigError):
            userconfig.write(settings)
    assert not file.exists()


def test_a_place_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(userconfig.VARIABLE, str(tmp_path / "file" / "config.toml"))
    with pytest.raises(OutputError, match=r"config\.toml"):
        userconfig.write({"threads": 2})
