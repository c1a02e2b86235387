"""Settings from files that anybody may have written: refused in one short line, whatever they hold."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from emnist_diff.errors import ConfigError, EmnistDiffError
from emnist_diff.shown import LONGEST_MESSAGE, shortened, shown
from emnist_diff_plugins.documents import read_file
from emnist_diff_plugins.runconfig import resolve
from emnist_diff_trajectory.plaindata import LARGEST_TEXT, from_json, from_toml

DEEP = 100
HUGE = "9" * 5000


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[" * DEEP + "]" * DEEP, "nested deeper than 64 levels"),
        ("[" * 200_000, "nested deeper than 64 levels"),
        ('{"a":' * 3000 + "1" + "}" * 3000, "nested deeper than 64 levels"),
        (f'{{"seed": {HUGE}}}', "a number of 5000 digits"),
        ('{"a": -1e999}', "-1e999 is more than a number can be"),
        ('{"a": Infinity}', "Infinity is no JSON"),
        ('{"a": 1, "b": 2, "a": 3}', "key 'a' is there twice"),
        ('{"a": ["\\ud800"]}', "no Unicode"),
        ('{"\\udcff": 1}', "no Unicode"),
        ('{"output": "a\\u0000b"}', "null character"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_json_lets_through(text, match):
    with pytest.raises(ValueError, match=match) as error:
        from_json(text)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (f"a = {'[' * DEEP}{']' * DEEP}", "nested deeper than 64 levels"),
        ("a = " + "[" * 50_000, "nested deeper than 64 levels"),
        (".".join("a" * 300_000) + " = 1", "a key of more than 64 parts"),
        ("[" + " . ".join(['"a"'] * 100) + "]", "a key of more than 64 parts"),
        ("seed = 0x" + "f" * 500_000, "a number of 2000000 bits"),
        ("a = nan", "nan is no number"),
        ("a = [{b = -inf}]", "-inf is no number"),
        ("a = 1979-05-27T07:32:00Z", "a date or a time"),
        ('a = "\\u0000"', "null character"),
        ("a = 1\na = 2", "Cannot overwrite"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_toml_lets_through(text, match):
    began = time.process_time()
    with pytest.raises(ValueError, match=match) as error:
        from_toml(text)
    assert len(str(error.value)) < 400
    assert time.process_time() - began < 5


def test_ordinary_data_is_as_the_decoders_read_it():
    text = '{"a": [1, -2.5, true, null, {"b": "é\\n"}], "points": [[0, 1], [1, 0]], "big": 1e300}'
    assert from_json(text) == json.loads(text)
    assert from_json('"caf\\udce9"', names=True) == "caf\udce9"
    assert from_toml("[a.b.c]\nd = [1.5, 2]\n'e.f' = 'x'") == {"a": {"b": {"c": {"d": [1.5, 2], "e.f": "x"}}}}


@pytest.mark.parametrize(
    ("settings", "start", "end"),
    [
        ({"sinks": "x" * 3_000_000}, "sinks: expected a list, got 'xxx", "xxx'"),
        ({"character": {"A": "B" * 1_000_000}}, "the run configuration: character: expected text, got {'A': 'BB", "}"),
        ({"x" * 3_000_000: 1}, "unknown setting of the run configuration: 'xxx", "…"),
        ({"scheduler": {"no": {str(n): n for n in range(100_000)}}}, "scheduler: a component needs a name, got {", "}"),
        ({"seed": 1 << 300_000}, "the run configuration: seed: expected a whole number of 64 bits, got <a", "bits>"),
        ({"guidance_scale": -(10**5000)}, "the run configuration: guidance_scale: expected a finite number", "bits>"),
        ({"forces": [{"name": "a", "weight": "y" * 999} for _ in range(5000)]}, "the run configuration: forces", "'"),
        (
            {"forces": [{"name": "a", "weight": {"kind": "table", "points": [7] * 10**6}}]},
            "the run configuration: forces[0].weight: points: expected pairs",
            "]",
        ),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value[:30],
)
def test_messages_show_the_ends_of_what_they_echo(settings, start, end):
    with pytest.raises(ConfigError) as error:
        resolve(settings)
    text = str(error.value)
    assert (text.startswith(start), text.endswith(end)) == (True, True), text
    assert len(text) <= LONGEST_MESSAGE


def test_no_message_is_longer_than_it_may_be():
    assert str(EmnistDiffError("a" * 10**6 + " — use b")).endswith("aaa — use b")
    assert len(str(EmnistDiffError("a" * 10**6))) == LONGEST_MESSAGE
    assert shortened("abc", 3) == "abc"

    class Odd:
        def __repr__(self):
            raise RuntimeError

    assert "Odd" in shown(Odd())
    assert shown({"b": (1, "x"), "a": {2}}) == "{'b': (1, 'x'), 'a': {2}}"


def test_files_of_settings_that_are_none(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "large.json").write_text(" " * (LARGEST_TEXT + 1))
    (tmp_path / "folder.toml").mkdir()
    for path, match in (
        (tmp_path / "pipe.toml", "no ordinary file"),
        (tmp_path / "large.json", "more than 4 MiB"),
        (tmp_path / "folder.toml", "Is a directory"),
        (Path("x" * 5000 + ".toml"), "File name too long"),
        (tmp_path / "nothing.toml", "No such file"),
    ):
        with pytest.raises(ConfigError, match=match):
            read_file(path)
