"""Components and settings as people type them."""

from __future__ import annotations

import pytest

from emnist_diff.errors import ConfigError
from emnist_diff_plugins import parse
from emnist_diff_trajectory.sample_ids import sample_ids


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("ddim", {"name": "ddim"}),
        ("ddim:eta=0.5", {"name": "ddim", "eta": 0.5}),
        ('folder:size=64,data="a,b"', {"name": "folder", "size": 64, "data": "a,b"}),
        ("mixture:shape=[1,4,4],classes=ABC", {"name": "mixture", "shape": [1, 4, 4], "classes": "ABC"}),
        ("package:name:key=a=b", {"name": "package:name", "key": "a=b"}),
        ("x:on=true,off=null", {"name": "x", "on": True, "off": None}),
    ],
)
def test_a_component_is_a_name_and_settings(text, table):
    assert parse.component(text, "--x") == table


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a=1", "--x 'a=1': write it as name:key=value,key=value"),
        ("n:a=1,b", "'b' is not key=value"),
        ("n:a=1,a=2", "'a' is given twice"),
        ("n:name=1", "'name' is given twice"),
        ("n:=1", "'=1' is not key=value"),
    ],
)
def test_a_mistake_is_named(text, message):
    with pytest.raises(ConfigError) as caught:
        parse.component(text, "--x")
    assert message in str(caught.value)


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "[" * 100_000], ids=lambda word: word[:9])
def test_what_is_no_json_is_text_in_a_setting_and_refused_as_json(word):
    assert parse.settings(f"a={word}", "--x") == {"a": word}
    with pytest.raises(ConfigError, match="--x: not valid JSON"):
        parse.json_or_file(word, "--x")


def test_json_may_be_in_a_file(tmp_path):
    (tmp_path / "f.json").write_text('{"a": [1]}')
    assert parse.json_or_file(f"@{tmp_path / 'f.json'}", "--x") == {"a": [1]}
    with pytest.raises(ConfigError, match="--x: cannot read"):
        parse.json_or_file(f"@{tmp_path / 'none.json'}", "--x")


@pytest.mark.parametrize(
    ("text", "ids"),
    [("3", [3]), ("0-2", [0, 1, 2]), (" 0-1 , 12", [0, 1, 12]), ("7-7", [7]), (None, None)],
)
def test_sample_ids_are_numbers_and_ranges(text, ids):
    assert sample_ids(text) == ids


@pytest.mark.parametrize("text", ["", "x", "-1", "3-1", "1,,2", "1.5", "0-4194304", "0-4194303,0"])
def test_what_is_no_sample_id_names_the_option(text):
    with pytest.raises(ConfigError, match=r"^--only .*: expected ids such as 3, 0-9 or 0-9,12$"):
        sample_ids(text, "--only")
