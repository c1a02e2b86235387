"""File names after classes: one for each, on every disk."""

from __future__ import annotations

import re
import unicodedata
from itertools import permutations

import pytest

from emnist_diff_trajectory.filenames import of_class, of_classes

ODD = [
    *'Aa0é日/\\.+-_ :*?"<>|\0\n\x7f',
    *(".", "..", "...", "A.", "A ", " A", "-A", "--help", "~", "~root", "A/B", "a-b", "A+B", "%41"),
    *("CON", "con", "Con", "nul", "aux.txt", "com1", "LPT9", "own", "all", "null"),
    *("cat", "Cat", "CAT", "straße", "STRASSE", "strasse", "Ankle boot", "T-shirt/top"),
    *(unicodedata.normalize(form, "é") for form in ("NFC", "NFD")),
    *("K", "k", "\N{KELVIN SIGN}", "\N{LATIN SMALL LETTER DOTLESS I}", "i", "I", "\udcc3\udca9"),
    *(
        "x" * 40,
        "x" * 41,
        "x" * 41 + "y",
        "日" * 300,
        "e-4a99557e",
        "a-ca978112",
        "2-classes-ca978112",
        "a-lower",
        "A-lower",
        "A-Lower",
    ),
]


def test_different_classes_have_different_names_on_every_disk():
    names = list(dict.fromkeys(ODD))
    files = [of_class(name) for name in names]
    assert len({file.casefold() for file in files}) == len(names)
    for file in files:
        assert re.fullmatch(r"[0-9A-Za-z_][0-9A-Za-z_-]{0,40}", file), file
        assert not re.fullmatch(r"con|prn|aux|nul|(com|lpt)\d", file.casefold()), file
        assert len(f"class-{file}.h5".encode()) <= 60


@pytest.mark.parametrize("name", ["A", "Z", "0", "cat", "class_7", "ankle-boot"])
def test_most_names_stand_for_themselves(name):
    assert of_class(name) == name


@pytest.mark.parametrize(
    ("name", "file"),
    [("a", "a-lower"), ("Ankle boot", "Ankle-boot-20991759"), ("é", "e-4a99557e"), ("CON", "CON-a3dbc4b6")],
)
def test_the_others_can_be_read_and_stay_as_they_are(name, file):
    assert of_class(name) == file


def test_the_classes_of_a_run_have_a_name_together():
    assert of_classes("AB7") == "A+B+7"
    assert re.fullmatch(r"62-classes-[0-9a-f]{8}", of_classes([str(i) for i in range(62)]))
    many = [str(i) for i in range(40)]
    several = [*permutations("AaB+", 2), *permutations("AaB", 3), ("A+a", "B"), ("A", "a+B"), ("AB",), many, many[::-1]]
    singles = [(name,) for name in ODD]
    assert len({of_classes(names).casefold() for names in several + singles}) == len(set(map(tuple, several + singles)))
