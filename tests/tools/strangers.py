"""Plugins as strangers meet them: installed beside the package from wheels, used, and uninstalled.

    python tests/tools/strangers.py ENVIRONMENT WHEELS drifts_contrib forces_contrib

ENVIRONMENT is a virtual environment with the wheel of emnist-diff and nothing else of ours; WHEELS holds those of the
contributed packages, whose folders follow. Two packages from ``emnist-diff plugins new`` join them. Each comes, is
listed, checked and run, and its tests pass; then they go one by one, and what is left works at every moment.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
GENERATED = {"late-pulls": "force", "slow-decay": "drift"}
USES = {
    "emnist-diff-drifts-contrib": ["--drift", "momentum:beta=0.1"],
    "emnist-diff-forces-contrib": ["--base", "cond", "--force", "interval:scale=3,low=0.3,high=5"],
    "late-pulls": ["--force", "late_pulls:target=B"],
    "slow-decay": ["--drift", "slow_decay:rate=0.05"],
}
"""A distribution and options of ``run`` that need it."""


class Package(NamedTuple):
    """What is installed: the distribution, what pip is given, and the folder with its tests."""

    distribution: str
    source: Path
    tests: Path


class Stranger:
    """Somebody with a virtual environment and a folder of their own."""

    def __init__(self, environment: Path, folder: Path) -> None:
        self.bin, self.folder = environment.resolve() / "bin", folder
        # nothing but what is installed there may be found
        self.environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
        self.runs = 0

    def call(self, *words: str | Path, code: int = 0, cwd: Path | None = None) -> str:
        """A command of the environment; ends everything unless its exit code is `code`."""
        command = [str(self.bin / words[0]), *map(str, words[1:])]
        done = subprocess.run(
            command, cwd=cwd or self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode != code:
            shown = " ".join(map(str, words))
            sys.exit(f"{shown}: exit code {done.returncode} instead of {code}\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def pip(self, *words: str | Path) -> None:
        self.call("python", "-m", "pip", "--quiet", "--disable-pip-version-check", *words)

    def listed(self) -> set[str]:
        """Distributions of which a component is listed; none may be broken."""
        found = json.loads(self.call("emnist-diff", "plugins", "list", "--json"))
        if found["broken"]:
            sys.exit(f"broken: {found['broken']}")
        return {component["distribution"] for component in found["components"]}

    def run(self, options: list[str], code: int = 0) -> str:
        """Two samples of the shipped checkpoint in a few steps, verified."""
        self.runs += 1
        output = self.folder / f"run-{self.runs}"
        words = ["--character", "A", "--total-videos", "2", "--steps", "3", "--output", str(output), *options]
        said = self.call("emnist-diff", "run", "--strict-plugins", *words, code=code)
        if code == 0:
            self.call("emnist-diff", "verify", output / "A" / "trajectory.h5")
        return said


def expect(holds: bool, what: Callable[[], str]) -> None:
    if not holds:
        sys.exit(what())


def said(what: str) -> None:
    print(f"   {what}", flush=True)


def contributed(folder: str, wheels: Path) -> Package:
    """A package of this repository, by its wheel."""
    found = sorted(wheels.glob(f"emnist_diff_{folder}-*.whl"))
    expect(len(found) == 1, lambda: f"one wheel of {folder} is wanted in {wheels}, found {found}")
    return Package(f"emnist-diff-{folder.replace('_', '-')}", found[0].resolve(), ROOT / folder)


def tested(stranger: Stranger, package: Package) -> None:
    """The package's own tests pass, away from its sources: on what is installed."""
    apart = stranger.folder / f"tests-of-{package.distribution}" / "package"
    apart.mkdir(parents=True)
    if package.tests.parent == ROOT:  # its tests read the pages about it
        shutil.copytree(ROOT / "docs", apart.parent / "docs", ignore=shutil.ignore_patterns("_build", "__pycache__"))
    for path in package.tests.iterdir():
        if path.name in ("tests", "examples"):
            shutil.copytree(path, apart / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif path.name.endswith(".md"):
            shutil.copy(path, apart)
    (apart / "pytest.ini").write_text("[pytest]\n")
    stranger.call("python", "-m", "pytest", "-q", "--import-mode=importlib", "tests", cwd=apart)


def main(environment: str, wheels: str, *folders: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stranger = Stranger(Path(environment), Path(folder))
        for name, kind in GENERATED.items():
            stranger.call("emnist-diff", "plugins", "new", name, "--kind", kind)
        packages = [contributed(folder, Path(wheels)) for folder in folders]
        packages += [Package(name, stranger.folder / name, stranger.folder / name) for name in GENERATED]
        limits = ["-c", ROOT / "constraints.txt"]

        there = {"emnist-diff"}
        expect(stranger.listed() == there, lambda: f"at first {stranger.listed()} are listed")
        for package in packages:
            refused = stranger.run(USES[package.distribution], code=2)
            expect("unknown" in refused and "Traceback" not in refused, lambda text=refused: text)
            stranger.pip("install", *limits, package.source)
            there.add(package.distribution)
            expect(stranger.listed() == there, lambda: f"{stranger.listed()} are listed instead of {there}")
            stranger.run(USES[package.distribution])
            said(f"{package.distribution} is installed, listed, and runs")

        for package in packages:
            stranger.call("emnist-diff", "plugins", "check", package.distribution)
            said(f"{package.distribution} keeps the rules")

        stranger.pip("install", *limits, *(f"{package.source}[test]" for package in packages))
        for package in packages:
            tested(stranger, package)
            said(f"{package.distribution} passes its own tests")

        for index, package in enumerate(packages):
            stranger.pip("uninstall", "--yes", package.distribution)
            there.remove(package.distribution)
            expect(stranger.listed() == there, lambda: f"{stranger.listed()} are listed instead of {there}")
            stranger.run(USES[package.distribution], code=2)
            left = packages[index + 1 :]
            stranger.run(USES[left[0].distribution] if left else [])
            said(f"{package.distribution} is gone, and everything else works")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
