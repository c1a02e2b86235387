"""What is shipped: light to discover, examples that run, and a package that comes and goes with pip."""

from __future__ import annotations

import inspect
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from emnist_diff.records import DriftSpec
from emnist_diff_plugins import parse
from emnist_diff_plugins.forecast import preview
from emnist_diff_plugins.layers import configure

import emnist_diff_drifts_contrib
from emnist_diff_drifts_contrib import emnist_diff_drifts

ROOT = Path(__file__).parents[1]
SPECS = {spec.name: spec for spec in emnist_diff_drifts()}
EXAMPLE = re.compile(r"^Example: ``(.*)``$", re.MULTILINE)
PAGES = [page for page in (ROOT / "README.md", ROOT.parent / "docs" / "contrib-drifts.md") if page.exists()]
FENCE = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_hooks_import_no_torch():
    code = (
        "import sys; from emnist_diff_drifts_contrib import emnist_diff_drifts; "
        "assert len(list(emnist_diff_drifts())) == 9; assert not {'torch', 'numpy', 'PIL'} & set(sys.modules)"
    )
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": path})


@pytest.mark.parametrize("name", SPECS)
def test_a_docstring_has_an_example_that_runs(registry, cli, tmp_path, name):
    found = EXAMPLE.search(inspect.getdoc(registry.load(DriftSpec, name)) or "")
    assert found is not None, f"{name} has no line 'Example: ``…``'"
    words = shlex.split(found[1])
    asked = [parse.component(value, "--drift") for word, value in itertools.pairwise(words) if word == "--drift"]
    assert [one["name"] for one in asked] == [name]
    mixture = ("--denoiser", "gaussian-mixture:shape=[1,28,28],classes=ABC", "--steps", "4", "--total-videos", "2")
    finished = cli("run", *mixture, "--sink", "hdf5", "--output", tmp_path, *words)
    assert finished.code == 0, finished.err


def commands(page: Path) -> list[str]:
    """Every ``emnist-diff run`` of a page."""
    lines = [line for block in FENCE.findall(page.read_text(encoding="utf-8")) for line in
             block.replace("\\\n", " ").splitlines()]  # fmt: skip
    return [line for line in lines if line.startswith("emnist-diff run")]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_command_of_a_page_holds(registry, page):
    """Down to components, their settings and their files."""
    assert commands(page)
    for line in commands(page):
        words = shlex.split(line)[2:]
        said = dict.fromkeys(word for word in words[::2])
        assert all(option.startswith("--") for option in said), line
        drifts = [parse.component(v, o) for o, v in zip(words[::2], words[1::2], strict=True) if o == "--drift"]
        assert drifts
        laid = preview(registry, configure(registry, {"drifts": drifts, "steps": 5, "total_videos": 2})[0])
        for item in laid.drifts:
            if hasattr(item.drift, "require_shape"):
                item.drift.require_shape((1, 28, 28))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
@pytest.mark.parametrize("name", SPECS)
def test_a_page_leaves_no_drift_and_no_paper_out(registry, page, name):
    text = page.read_text(encoding="utf-8")
    assert f"`{name}`" in text
    for paper in re.findall(r"arXiv:(\d{4}\.\d{5})", inspect.getdoc(registry.load(DriftSpec, name)) or ""):
        assert paper in text, f"{page.name} does not name {paper}, a source of {name}"


@pytest.mark.skipif(len(PAGES) < 2, reason="the package stands alone, without the project's pages")
@pytest.mark.parametrize("name", SPECS)
def test_the_page_has_a_section_a_picture_and_a_command_for_each(name):
    section = PAGES[1].read_text(encoding="utf-8").partition(f"\n### {name}\n")[2].partition("\n### ")[0]
    assert f"(contrib/drift-{name}.png)" in section
    assert (PAGES[1].parent / "contrib" / f"drift-{name}.png").is_file()
    assert re.search(rf"--drift \"{name}:", section)


def test_pip_brings_the_drifts_and_takes_them_away(found, tmp_path):
    """In a virtual environment that sees what this one has, without a network."""
    if found is None:
        pytest.skip("the package is installed here already")
    for needed in ("hatchling", "pip"):
        pytest.importorskip(needed, reason=f"installing a package from its source needs {needed}")
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    (site,) = venv.glob("lib/python*/site-packages")
    (site / "outer.pth").write_text("\n".join(p for p in sys.path if p and Path(p) not in (ROOT, found)) + "\n")
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(*words: str) -> str:
        done = subprocess.run(
            [venv / "bin" / "python", "-m", *words], env=clean, cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def listed() -> set[str]:
        said = json.loads(run("emnist_diff", "plugins", "list", "--kind", "drift", "--json"))
        rows = said["components"] if isinstance(said, dict) else said
        return {row["name"] for row in rows if row["distribution"] == "emnist-diff-drifts-contrib"}

    assert listed() == set()
    quiet = ("--quiet", "--disable-pip-version-check")
    run("pip", "install", *quiet, "--no-deps", "--no-build-isolation", "--ignore-installed", str(ROOT))
    assert listed() == SPECS.keys()
    mixture = ("--denoiser", "gaussian-mixture:shape=[1,28,28],classes=ABC", "--steps", "3", "--total-videos", "1")
    run("emnist_diff", "run", *mixture, "--sink", "hdf5", "--drift", "inpaint:image=example:letter.png,mask=left")
    run("pip", "uninstall", *quiet, "--yes", "emnist-diff-drifts-contrib")
    assert listed() == set()
    assert Path(emnist_diff_drifts_contrib.__file__).is_file()
