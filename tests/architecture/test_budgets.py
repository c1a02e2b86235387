"""The budgets that keep the core small. Each number may only fall: when one does, lower it in `budgets.json`.

``python tests/architecture/test_budgets.py`` writes the numbers as they are, where none has risen.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from emnist_diff.discovery import installed
from emnist_diff.plugins import CORE_DISTRIBUTION
from emnist_diff_trajectory.plaindata import from_toml

sys.path.insert(0, str(Path(__file__).parent))

import measures  # it stands beside this file

STORED = Path(__file__).with_name("budgets.json")
LONGEST_FILE, LONGEST_FUNCTION, MOST_PARAMETERS = 330, 45, 7


def _name(path: Path) -> str:
    return path.relative_to(measures.ROOT).as_posix()


def measured() -> dict[str, Any]:
    """Every number that may only fall, and the exceptions that may only become fewer."""
    long_files: dict[str, int] = {}
    long_functions: dict[str, int] = {}
    for package in measures.PACKAGES:
        for path in measures.files(package):
            if (lines := measures.physical_lines(path)) > LONGEST_FILE:
                long_files[_name(path)] = lines
            for name, length, parameters in measures.functions(path):
                if measures.is_command(path, name):
                    continue
                if length > LONGEST_FUNCTION or parameters > MOST_PARAMETERS:
                    long_functions[f"{_name(path)}:{name}"] = max(length, parameters)
    kernel = set(measures.kernel())
    parts = {"kernel": kernel, "core beside the kernel": set(measures.files("emnist_diff")) - kernel}
    parts |= {name: set(measures.files(name)) for name in measures.PACKAGES if name != "emnist_diff"}
    return {
        "core, physical lines": sum(map(measures.physical_lines, measures.files("emnist_diff"))),
        "kernel, lines of code": sum(map(measures.code_lines, measures.kernel())),
        "circles of imports": len(measures.circles()),
        "attributes asked for by name in the core": sum(
            len(list(measures.asked_by_name(path))) for path in measures.files("emnist_diff")
        ),
        "retired words in identifiers": {
            part: sum(len(measures.retired_names(path)) for path in paths) for part, paths in parts.items()
        },
        f"files of more than {LONGEST_FILE} lines": long_files,
        f"functions of more than {LONGEST_FUNCTION} lines or {MOST_PARAMETERS} parameters": long_functions,
    }


STORED_NUMBERS: dict[str, Any] = json.loads(STORED.read_text(encoding="utf-8")) if STORED.is_file() else {}


@pytest.mark.parametrize("what", sorted(STORED_NUMBERS))
def test_no_number_rises(what: str):
    now, stored = measured()[what], STORED_NUMBERS[what]
    if isinstance(stored, int):
        assert now <= stored, f"{what}: {now}, where {stored} are allowed"
        return
    assert now.keys() <= stored.keys(), f"{what}: {sorted(now.keys() - stored.keys())}"
    for name, size in now.items():
        assert size <= stored[name], f"{name}: {size}, where {stored[name]} are allowed"


def test_the_stored_numbers_are_those_that_are_measured():
    assert measured().keys() == STORED_NUMBERS.keys()


def test_the_core_names_no_package_above_it():
    """The front door alone names the other packages; docstrings do not either."""
    others = [name for name in measures.PACKAGES if name != "emnist_diff"]
    front_door = measures.PACKAGES["emnist_diff"] / "__init__.py"
    assert all(
        name in front_door.read_text(encoding="utf-8") for name in ("emnist_diff_plugins", "emnist_diff_trajectory")
    )
    for path in measures.files("emnist_diff"):
        named = [name for name in others if name in path.read_text(encoding="utf-8")]
        assert path == front_door or not named, f"{_name(path)} names {', '.join(named)}"


WORDS = {
    "none": "the English word in messages",
    "constant": "the schedule that a number means",
    "diffusion": "a kind of forward process",
    "flow": "a kind of forward process, and what is predicted on it",
    "noise": "what every step draws noise by",
}
"""Names of built-in components that the core may say, because there they are words and no names."""


def test_no_string_of_the_core_is_the_name_of_a_built_in_component():
    """What is taken where nothing is named is a record's ``default``; commands are left out, for `run` is a function of
    the core too."""
    records = [e.spec for e in installed().entries if e.distribution == CORE_DISTRIBUTION and e.spec.kind != "command"]
    names = {name for spec in records for name in (spec.name, *spec.aliases)}
    assert names >= {"ddim", "eager", "hdf5", "schedules", "attract_class"}
    texts = [(path, *text) for path in measures.files("emnist_diff") for text in measures.texts(path)]
    for path, line, text in texts:
        assert text in WORDS or text.partition(":")[0] not in names, f"{_name(path)}:{line}: {text!r}"
    assert not WORDS.keys() - {text for _, _, text in texts}, "words that the core says no more"


def test_every_package_is_in_the_wheel_with_its_types_checked_and_no_other_folder_holds_code():
    project = from_toml((measures.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shipped = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert sorted(shipped) == sorted(_name(folder) for folder in measures.PACKAGES.values())
    for top in ("core", "plugins"):
        inside = [path for path in (measures.ROOT / top).iterdir() if path.is_dir()]
        folders = {path.name for path in inside if any(path.glob("*.py"))}  # the source of the viewer's page has none
        assert folders - {"__pycache__"} <= measures.PACKAGES.keys()
    types = project["tool"]["mypy"]
    assert types["strict"], "types are checked strictly"
    assert types["files"] == ["core", "plugins"], "and in every package"


def test_a_circle_and_a_long_function_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "one.py").write_text("from toy import two\ndef f(a, b, c, d, e, f, g, h):\n    pass\n")
    (tmp_path / "two.py").write_text("def g():\n    from toy.one import f\n    return getattr(f, 'x', None)\n")
    monkeypatch.setattr(measures, "PACKAGES", {"toy": tmp_path})
    assert measures.circles() == [("toy.one", "toy.two")]
    assert list(measures.functions(tmp_path / "one.py")) == [("f", 2, 8)]
    assert list(measures.asked_by_name(tmp_path / "two.py")) == [3]
    assert measures.code_lines(tmp_path / "two.py") == 2


def test_a_retired_word_is_noticed_in_names_alone(tmp_path: Path):
    path = tmp_path / "words.py"
    path.write_text("told, wayward = 1, 'said'  # asked\nclass HalfwayMade: there_are = wayward\n")
    assert measures.retired_names(path) == ["told", "HalfwayMade", "there_are"]


if __name__ == "__main__":
    now = measured()
    for what, number in now.items():
        before = STORED_NUMBERS.get(what)
        if isinstance(number, int) and isinstance(before, int) and number > before:
            sys.exit(f"{what} rose from {before} to {number}")
        if isinstance(number, dict) and isinstance(before, dict):
            for name, size in number.items():
                if size > before.get(name, size):
                    sys.exit(f"{what}: {name} rose from {before[name]} to {size}")
    STORED.write_text(json.dumps(now, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
