"""The commands of the pages hold, and the pages leave no force and no source out."""

from __future__ import annotations

import inspect
import re
import shlex
import shutil
from pathlib import Path

import pytest
from emnist_diff.records import ForceSpec
from emnist_diff_plugins.containers.shipped import shipped

import emnist_diff_forces_contrib
from emnist_diff_forces_contrib import emnist_diff_forces

ROOT = Path(emnist_diff_forces_contrib.__file__).parents[1]
README, PAGE = Path(__file__).parents[1] / "README.md", Path(__file__).parents[2] / "docs" / "contrib-forces.md"
NAMES = [spec.name for spec in emnist_diff_forces()]
FENCE = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ARXIV = re.compile(r"arXiv:(\d{4}\.\d{5})")
pages = pytest.mark.parametrize("page", [p for p in (README, PAGE) if p.exists()], ids=lambda p: p.name)


def commands(page: Path) -> list[list[str]]:
    """The words of every ``emnist-diff run`` of a page."""
    lines = [line for block in FENCE.findall(page.read_text(encoding="utf-8")) for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("emnist-diff run")]


@pages
def test_every_command_holds(page, cli, registry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(shipped(), "weak.safetensors")
    assert commands(page)
    for words in commands(page):
        finished = cli(*words, "--dry-run", "--micro-batch", "1")
        assert finished.code == 0, (words, finished.err)


@pages
@pytest.mark.parametrize("name", NAMES)
def test_a_page_names_every_force_and_its_papers(page, registry, name):
    text = page.read_text(encoding="utf-8")
    assert f"`{name}`" in text
    papers = set(ARXIV.findall(inspect.getdoc(registry.load(ForceSpec, name)) or ""))
    assert name == "energy" or papers
    missing = [paper for paper in papers if paper not in text]
    assert len(missing) < max(1, len(papers)), f"{page.name} gives no source of {name}: {missing}"


@pytest.mark.skipif(not PAGE.exists(), reason="the package stands alone, without the project's pages")
@pytest.mark.parametrize("name", NAMES)
def test_a_force_has_a_section_with_a_command_of_its_own(name):
    section = PAGE.read_text(encoding="utf-8").partition(f"\n### {name}\n")[2].partition("\n### ")[0]
    assert re.search(rf"--force ['\"]{name}:", section), f"no command for {name}"


@pytest.mark.skipif(not PAGE.exists(), reason="the package stands alone, without the project's pages")
def test_pictures_and_sections_belong_together():
    shown = set(re.findall(r"\(contrib/(force-[\w-]+)\.png\)", PAGE.read_text(encoding="utf-8")))
    there = {path.stem: path for path in (PAGE.parent / "contrib").glob("force-*.png")}
    assert there.keys() == shown
    shown -= {"force-regional-latents"}  # a second one of the same force
    assert {f"force-{name}" for name in NAMES} - shown == {
        "force-autoguidance"
    }  # whose second checkpoint is not shipped
    assert sum(path.stat().st_size for path in there.values()) < 400_000


@pytest.mark.parametrize("name", NAMES)
def test_the_example_in_a_docstring_holds(name, cli, registry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(shipped(), "weak.safetensors")
    example = re.search(r"^Example: ``(.*)``$", inspect.getdoc(registry.load(ForceSpec, name)) or "", re.MULTILINE)
    assert example is not None
    finished = cli(
        "run", "--steps", "4", "--total-videos", "2", "--dry-run", "--micro-batch", "1", *shlex.split(example[1])
    )
    assert finished.code == 0, finished.err
