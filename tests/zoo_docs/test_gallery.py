"""The gallery shows everything there is, by commands that hold, and stays small."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from emnist_diff.discovery import installed
from emnist_diff.records import DriftSpec, ForceSpec
from emnist_diff_plugins.commands.run import result
from emnist_diff_plugins.contract import PresetSpec
from emnist_diff_plugins.forecast import preview

DOCS = Path(__file__).parents[2] / "docs"
PICTURES = DOCS / "gallery"


@pytest.fixture(scope="module")
def entries(script):
    return {entry.name: entry for entry in script("generate_gallery").entries((DOCS / "gallery.md").read_text())}


def test_every_component_is_shown_with_its_own_name(entries):
    found = {
        f"{e.spec.kind}-{e.spec.name}"
        for kind in (ForceSpec, DriftSpec, PresetSpec)
        for e in installed().of(kind)
        if e.distribution == "emnist-diff"  # contributed packages have pages of their own
    }
    assert found <= entries.keys()
    for name in found:
        kind, _, component = name.partition("-")
        said = [
            w for option, w in zip(entries[name].words, entries[name].words[1:], strict=False) if option == f"--{kind}"
        ]
        assert [w.partition(":")[0] for w in said] == [component]


def test_pictures_and_entries_belong_together(entries):
    there = {path.stem: path for path in PICTURES.glob("*.png")}
    assert there.keys() == entries.keys()
    assert sum(path.stat().st_size for path in there.values()) < 1_500_000
    for path in there.values():
        with Image.open(path) as picture:
            assert picture.size == (3 * (8 * 30 + 2), 3 * (2 * 30 + 2)), path.name


def test_the_upper_row_is_the_same_command_without_steering(entries):
    same = ("--total-videos", "8", "--scheduler", "ddim", "--steps", "50")
    assert entries["force-attract_class"].plain == (*same, "--base", "uncond")
    assert entries["preset-blend"].plain == (*same, "--base", "uncond")
    assert entries["drift-clamp"].plain == (*same, "--character", "A")


def test_every_command_holds(entries, cli, monkeypatch):
    monkeypatch.chdir(DOCS.parent)
    monkeypatch.setattr(result, "plot_schedules", lambda registry, settings, path: preview(registry, settings))
    for entry in entries.values():
        for words in (entry.words, entry.plain):
            finished = cli("run", *words, "--plot-schedules", "unused.png")
            assert finished.code == 0, (entry.name, finished.err)
