"""What components may import: the contract, and of the plugins what stands beneath all components."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from emnist_diff_trajectory.plaindata import from_toml

sys.path.insert(0, str(Path(__file__).parent))

import measures  # it stands beside this file

BENEATH = {
    "blocks": "states as characters of a terminal",
    "capacity": "what this machine has of memory",
    "checkpoints": "the shipped files",
    "containers": "the checkpoint file, which makes the components that its header names",
    "capabilities": "what components may offer beside their contract",
    "contract": "kinds of components that the core does not know, and what they are asked for",
    "curves": "schedules of one formula each",
    "decoding": "states as images, as many at a time as memory holds",
    "documents": "tables in files",
    "fields": "a setting with a sentence of help",
    "functions": "functions of users, as schedules and settings",
    "inside": "what a network computes on its way, which sinks request",
    "pictures": "PNG files",
    "spaces": "classes and texts, the condition spaces of most denoisers",
    "variants": "how networks are evaluated in other ways, which forces request and denoisers declare",
}
"""What stands beside the components and may be imported by them."""

_PUBLIC = ("capabilities", "contract", "curves", "functions", "spaces", "variants")
PUBLIC = {f"emnist_diff_plugins.{name}" for name in _PUBLIC}
"""What of it is for everybody, see docs/compatibility.md."""

CONTRIBUTED = ("forces_contrib", "drifts_contrib")


def _contracts() -> dict[str, dict[str, Any]]:
    project = from_toml((measures.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return {contract["name"]: contract for contract in project["tool"]["importlinter"]["contracts"]}


def _forbidden() -> set[str]:
    return set(_contracts()["components import the contract only"]["forbidden_modules"])


def test_whatever_of_the_core_is_not_the_contract_is_forbidden_to_components():
    layers = [
        {name.strip() for name in layer.split(":")}
        for layer in _contracts()["the core stands in layers, and every part of it in one"]["layers"]
    ]
    contract = {"hookspecs", "records", *layers[-3], *layers[-1]}
    forbidden = {name.partition(".")[2] for name in _forbidden() if name.startswith("emnist_diff.")}
    assert forbidden == set().union(*layers) - contract


def test_each_part_of_the_plugins_is_a_component_or_beneath_them_or_forbidden_to_them():
    top = measures.PACKAGES["emnist_diff_plugins"]
    parts = {path.stem for path in top.iterdir() if path.is_dir() or path.suffix == ".py"} - {"__init__", "__pycache__"}
    sources = _contracts()["components import the contract only"]["source_modules"]
    forbidden = {name for name in _forbidden() if name.startswith("emnist_diff_plugins.")}
    assert {f"emnist_diff_plugins.{part}" for part in parts} == {
        *sources,
        *forbidden,
        *(f"emnist_diff_plugins.{part}" for part in BENEATH),
    }
    assert len(parts) == len(sources) + len(forbidden) + len(BENEATH), "each in one of them"


def test_the_page_on_architecture_has_every_part_of_the_plugins_and_every_ability():
    page = (measures.ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawing = page.partition("plugins/emnist_diff_plugins/ ")[2].partition("plugins/emnist_diff_trajectory/ ")[0]
    top = measures.PACKAGES["emnist_diff_plugins"]
    parts = {path.stem for path in top.iterdir() if path.is_dir() or path.suffix == ".py"} - {"__init__", "__pycache__"}
    assert not parts - set(re.findall(r"\w+", drawing))
    table = page.partition("| of | in `protocols` | in `capabilities` |")[2].partition("\n\n")[0]
    abilities = {node.name for node in measures.parsed(top / "capabilities.py").body if isinstance(node, ast.ClassDef)}
    assert not abilities - {"Direction"} - set(re.findall(r"\w+", table))


@pytest.mark.parametrize("folder", CONTRIBUTED)
def test_contributed_packages_import_the_contract_only(folder: str):
    forbidden = _forbidden()
    for path in sorted((measures.ROOT / folder / f"emnist_diff_{folder}").rglob("*.py")):
        for module in measures.imports(path):
            parts = module.split(".")
            names = {".".join(parts[: i + 1]) for i in range(len(parts))}
            assert not names & forbidden, f"{path.name} imports {module}"
            above = parts[0] in ("emnist_diff_testing", "emnist_diff_inference", "emnist_diff_plugins")
            assert not above or ".".join(parts[:2]) in PUBLIC, f"{path.name} imports {module}"
