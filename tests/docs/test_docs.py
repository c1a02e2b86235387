"""Every example in the pages is run, every help text in them is current, every hook is documented.

Blocks of a page run in order, in one namespace and one directory: ``python`` blocks unless marked ``no-run``
(``needs-checkpoint`` ones where a checkpoint is shipped), ``bash run`` blocks, and ``toml`` blocks, which
must be valid configurations. A ``python file=NAME`` block is saved under that name; the lines of a ``bash venv`` block
are run in a virtual environment where pip may install and uninstall.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import attrs
import pytest
import structlog

from emnist_diff import main
from emnist_diff.discovery import installed
from emnist_diff.errors import CheckpointError
from emnist_diff.hookspecs import hook_of
from emnist_diff.records import Spec
from emnist_diff_plugins.containers.shipped import shipped
from emnist_diff_plugins.forecast import preview
from emnist_diff_plugins.layers import configure
from emnist_diff_plugins.reviews.presets import expanded
from emnist_diff_plugins.runconfig import normalised, resolve

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
WITH_HELP = [page for page in PAGES if "<!-- help:" in page.read_text(encoding="utf-8")]
GENERATED = [page for page in PAGES if "<!-- generated:" in page.read_text(encoding="utf-8")]
FENCE = re.compile(r"^```(?P<info>(?:python|bash|toml)[^\n]*)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)


@attrs.frozen
class Block:
    """A fenced block: language, marks, code, and the line of the page on which the code starts."""

    language: str
    marks: frozenset[str]
    code: str
    line: int


def blocks(page: Path) -> list[Block]:
    """The blocks of a page that this test runs."""
    text = page.read_text(encoding="utf-8")
    out = []
    for match in FENCE.finditer(text):
        language, *marks = match["info"].split()
        block = Block(language, frozenset(marks), match["code"], text.count("\n", 0, match.start("code")) + 1)
        if "no-run" in marks or (language == "bash" and not {"run", "venv"} & {*marks}):
            continue
        out.append(block)
    return out


def has_checkpoint() -> bool:
    try:
        shipped()
    except CheckpointError:
        return False
    return True


def run_command(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run one ``emnist-diff …`` line in this process."""
    words = shlex.split(line)
    assert words[0] == "emnist-diff", f"only emnist-diff lines can be run, not {line!r}"
    monkeypatch.setattr(sys, "argv", words)
    code: object = 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code
    finally:
        structlog.reset_defaults()
    assert not code, f"{line!r} ended with exit code {code}"


class Venv:
    """A virtual environment in a folder that sees what this one has, and in which pip needs no network."""

    def __init__(self, folder: Path) -> None:
        for needed in ("hatchling", "pip"):
            pytest.importorskip(needed, reason=f"installing a package from its source needs {needed}")
        venv = folder / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
        (site,) = venv.glob("lib/python*/site-packages")
        (site / "outer.pth").write_text("".join(f"{Path(path).resolve()}\n" for path in sys.path if path))
        for command, module in (("pip", "pip"), ("pytest", "pytest"), ("emnist-diff", "emnist_diff")):
            script = venv / "bin" / command
            script.write_text(f'#!/bin/sh\nexec "{venv}/bin/python" -m {module} "$@"\n')
            script.chmod(0o755)
        self.environment = {
            **{key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTEST_ADDOPTS")},
            "PATH": os.pathsep.join([str(venv / "bin"), os.environ["PATH"]]),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # so pip spells: without isolation
            "PIP_NO_DEPS": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTEST_PLUGINS": "emnist_diff_testing.pytest_plugin",
        }

    def run(self, line: str, folder: Path) -> None:
        """A line of the shell in `folder`; it must succeed."""
        done = subprocess.run(
            ["sh", "-c", line], cwd=folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


def write(path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Save a file of a page; one with plugins that was loaded before is forgotten."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    monkeypatch.delitem(sys.modules, path.stem, raising=False)
    installed.cache_clear()


def check_configuration(data: dict[str, Any]) -> None:
    """A configuration of a page is one that could be run, down to the settings of components and names of classes."""
    registry = installed()
    if has_checkpoint() or "denoiser" in data:
        preview(registry, configure(registry, data)[0])
    else:
        resolve(expanded(registry, normalised(data)))


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda p: p.name)
def test_examples_run(
    page: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("docs_page")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a page that saves a file twice in a second has both run
    venv = None
    for block in blocks(page):
        if "needs-checkpoint" in block.marks and not has_checkpoint():
            continue
        lines = block.code.replace("\\\n", " ").splitlines()
        name = next((mark.removeprefix("file=") for mark in block.marks if mark.startswith("file=")), None)
        if name is not None:
            write(tmp_path / name, block.code, monkeypatch)
        elif block.language == "python":
            code = "\n" * (block.line - 1) + block.code  # tracebacks show the page's own line numbers
            exec(compile(code, str(page), "exec"), module.__dict__)
        elif "venv" in block.marks:
            venv = venv or Venv(tmp_path_factory.mktemp("docs"))
            for line in lines:
                venv.run(line, tmp_path)
        elif block.language == "bash":
            for line in lines:
                run_command(line, monkeypatch)
        elif "project" not in (data := tomllib.loads(block.code)):
            check_configuration(data)


@pytest.mark.parametrize("record", installed().kinds.values(), ids=lambda record: record.kind)
def test_every_hook_is_documented(record: type[Spec]) -> None:
    page = (DOCS / "plugins.md").read_text(encoding="utf-8")
    assert f"`{hook_of(record)}`" in page
    assert f"`{record.__name__}`" in page


def script(name: str) -> types.ModuleType:
    """One of the scripts that write the pages."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", WITH_HELP, ids=lambda p: p.name)
def test_help_texts_are_current(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert script("generate_cli").updated(text) == text, "run: python docs/generate_cli.py"


@pytest.mark.parametrize("page", GENERATED, ids=lambda p: p.name)
def test_what_components_know_of_themselves_is_current(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert script("generate_components").updated(text) == text, "run: python docs/generate_components.py"


def test_readme_has_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for line in (
        "pip install -c constraints.txt . && emnist-diff run --character A --total-videos 10",
        'pip install -c constraints.txt -e ".[test]" && pytest',
    ):
        assert f"```bash\n{line}\n```" in text


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


def test_the_readme_lists_every_page():
    index, readme = (DOCS / "index.md").read_text(), (DOCS.parent / "README.md").read_text()
    trees = re.findall(r"```\{toctree\}(.*?)```", index, re.DOTALL)
    pages = [line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")]
    assert len(pages) > 10
    assert [page for page in pages if f"](docs/{page}.md)" not in readme] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_row_of_a_table_has_as_many_cells_as_its_head(page: Path) -> None:
    width, fenced, odd = 0, False, []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        fenced ^= line.startswith("```")
        bars = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") and not fenced else 0
        if bars and width and bars != width:
            odd.append(number)
        width = width or bars if bars else 0
    assert not odd, f"rows of {page.name} that a browser shows with other columns, for a bar in them is not escaped"
