"""`emnist-diff plugins new`: what it writes works as it stands, for every kind."""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from emnist_diff_testing.scaffold import KINDS, create

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LONG = "a-name-that-is-rather-long-for-a-"
"""With a kind and padding, the 40 letters that the generated code must still have room for."""


def root(folder: Path, kind: str, long: bool) -> Path:
    """Where the package of a kind is: with one component and a short name, or with two and a long one."""
    name = f"{LONG}{kind}".ljust(40, "x") if long else f"short.{kind}s"
    return folder / name


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two packages of each kind."""
    folder = tmp_path_factory.mktemp("made")
    for kind in KINDS:
        for long in (False, True):
            create(root(folder, kind, long).name, kind, several=long, directory=folder)
    return folder


def packages(folder: Path) -> list[Path]:
    """The importable folders of all packages."""
    return sorted(path.parent for path in folder.glob("*/*/py.typed"))


def install(folder: Path) -> str:
    """Lay down beside each package what pip would, and give the PYTHONPATH that finds them all."""
    for package in packages(folder):
        project = tomllib.loads((package.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        facts = package.parent / f"{package.name}-{project['version']}.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        )
        points = [f"{name} = {target}" for name, target in project["entry-points"]["emnist_diff"].items()]
        (facts / "entry_points.txt").write_text("\n".join(["[emnist_diff]", *points]))
    return os.pathsep.join([*(str(package.parent) for package in packages(folder)), *filter(None, sys.path)])


def run(folder: Path, *words: str, path: str | None = None) -> str:
    """A tool over the folder, in a process of its own; fails unless it is content."""
    environment = {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_ADDOPTS": "",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    environment["PYTHONPATH"] = path or os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_their_own_tests_pass(made, tmp_path):
    """All of them in one session; the rules only of those with two components, of which the first is the same."""
    shutil.copytree(made, folder := tmp_path / "installed")
    path = install(folder)
    # Not beside them: pytest names test modules after their path from here, and my.forces/ would be a module my_forces.
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    short = [f"installed/{root(folder, kind, False).name}/tests/test_rules.py::test_every_rule" for kind in KINDS]
    plugins = ["-p", "emnist_diff_testing.pytest_plugin", "-p", "no:cacheprovider", "-W", "error"]
    deselected = [word for rule in short for word in ("--deselect", rule)]
    out = run(folder, sys.executable, "-m", "pytest", "-v", *plugins, *deselected, ".", path=path)
    assert "SKIPPED" not in out
    for kind in KINDS:
        for long, rules in ((False, False), (True, True)):
            lines = [line for line in out.splitlines() if f"{root(folder, kind, long).name}/tests/" in line]
            assert any("test_it_is_all_there" in line for line in lines)
            assert any("test_it_is_all_there" not in line and "test_rules" not in line for line in lines)
            assert any("test_every_rule" in line for line in lines) == rules


@pytest.mark.parametrize("kind", KINDS)
def test_all_of_it_is_there(made, kind):
    for long, components in ((False, 1), (True, 2)):
        folder = root(made, kind, long)
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        assert project["name"] == folder.name
        (package,) = project["entry-points"]["emnist_diff"].values()
        hooks = (folder / package / "__init__.py").read_text(encoding="utf-8")
        assert hooks.count("Spec(\n") == components
        assert "import torch" not in hooks
        for path in ("README.md", ".gitignore", ".github/workflows/ci.yml", "tests/test_rules.py"):
            assert "$" not in (folder / path).read_text(encoding="utf-8").replace("${{ matrix.python }}", "")


def test_it_compiles(made):
    assert compileall.compile_dir(made, quiet=1, force=True, legacy=True)
    for path in made.rglob("*.pyc"):
        path.unlink()


def tool(name: str) -> str:
    """A tool of the extra ``dev``; the test is skipped where it is not installed."""
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed, which the extra dev brings")
    return name


def test_lint_ruff_has_nothing_to_say(made):
    ruff = tool("ruff")
    run(made, sys.executable, "-m", ruff, "check", "--no-cache", ".")
    run(made, sys.executable, "-m", ruff, "format", "--no-cache", "--check", ".")


def test_lint_mypy_has_nothing_to_say(made):
    mypy = tool("mypy")
    run(made, sys.executable, "-m", mypy, "--strict", "--cache-dir", os.devnull, *map(str, packages(made)))


def test_what_is_written_is_told(cli, tmp_path):
    done = cli("plugins", "new", "my-forces", "--kind", "force", "--directory", tmp_path)
    assert done.code == 0, done.err
    told = [Path(line.strip()) for line in done.out.splitlines()[:-1]]
    assert sorted(told) == sorted(path for path in (tmp_path / "my-forces").rglob("*") if path.is_file())
    assert f"pip install -e '{tmp_path / 'my-forces'}[test]'" in done.out.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "kind", "code", "message"),
    [
        ("my forces", "force", 2, "'my forces' cannot be a distribution"),
        ("forces-", "force", 2, "'forces-' cannot be a distribution"),
        ("../forces", "force", 2, "'../forces' cannot be a distribution"),
        ("kräfte", "force", 2, "'kräfte' cannot be a distribution"),
        ("3d-forces", "force", 2, "'3d-forces' cannot be imported as '3d_forces'"),
        ("class", "force", 2, "'class' cannot be imported as 'class'"),
        ("json", "sink", 2, "a module 'json' is there already"),
        ("emnist-diff", "force", 2, "a module 'emnist_diff' is there already"),
        ("NumPy", "force", 2, "a module 'numpy' is there already"),
        ("tests", "force", 2, "a module 'tests' is there already"),
        ("a" * 61, "force", 2, "'aaaaaaaaaaaaaaaaaaaa…' has 61 characters — choose a name of at most 60"),
        ("my-forces", "forse", 2, "unknown kind 'forse' — did you mean 'force'?"),
    ],
)
def test_what_cannot_be_made_is_one_line(cli, tmp_path, name, kind, code, message):
    done = cli("plugins", "new", name, "--kind", kind, "--directory", tmp_path)
    assert (done.code, message in done.error) == (code, True), done.err
    assert list(tmp_path.iterdir()) == []


def test_nothing_that_is_there_is_touched(cli, tmp_path):
    (tmp_path / "my-forces").mkdir()
    done = cli("plugins", "new", "my-forces", "--kind", "force", "--directory", tmp_path)
    assert (done.code, "is there already" in done.error) == (7, True)
    assert list((tmp_path / "my-forces").iterdir()) == []
    (tmp_path / "in-the-way").touch()
    done = cli("plugins", "new", "my-forces", "--kind", "force", "--directory", tmp_path / "in-the-way")
    assert (done.code, "cannot write" in done.error) == (7, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in-the-way", "my-forces"]


def test_a_file_of_the_sink_that_was_cut_short_goes_on(tmp_path, monkeypatch):
    """A line that a crash left half written is made again."""
    create("cut-sinks", "sink", directory=tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "cut-sinks"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    from emnist_diff.assembly.assemble import assemble
    from emnist_diff.running.run import execute
    from emnist_diff_plugins.pluginfiles import with_files
    from emnist_diff_plugins.runconfig import resolve

    (tmp_path / "cut_plugin.py").write_text((tmp_path / "cut-sinks/cut_sinks/__init__.py").read_text())
    said = {
        "denoiser": {"name": "gaussian-mixture", "shape": [1, 4, 4], "classes": "AB"},
        "character": "A",
        "total_videos": 3,
        "steps": 3,
        "output": str(tmp_path / "out"),
        "sinks": [{"name": "cut_sinks"}],
    }
    registry = with_files([tmp_path / "cut_plugin.py"])
    output = execute(assemble(registry, resolve(said))).output
    whole = (output / "cut_sinks.csv").read_bytes()
    (output / "cut_sinks.csv").write_bytes(whole[:-4])
    execute(assemble(registry, resolve(said)), resume=True)
    assert (output / "cut_sinks.csv").read_bytes() == whole
