"""A new plugin package from templates: ``emnist-diff plugins new``.

The templates are files of `string.Template` in a folder beside this one; those of a kind are in a folder of its name.
What is written installs, passes its own tests, and satisfies ruff and mypy as it stands.
"""

from __future__ import annotations

import keyword
import os
import re
import sys
from collections.abc import Mapping
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from string import Template

import attrs

from emnist_diff import __version__
from emnist_diff.errors import ConfigError, OutputError, unknown
from emnist_diff_trajectory.files import write_bytes

_TEMPLATES = resources.files(__name__) / "templates"
_DISTRIBUTION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")  # PEP 508
_LONGEST = 60
"""Characters of a name: it becomes that of folders, modules, classes and components, and lines must hold it."""
_TORCHLESS = ("preset",)


@attrs.frozen
class Kind:
    """What a template of a kind needs to know.

    record, hook: how it is registered.  classes: of the first component and the second, whose modules are called like
    them; short, because the components' own names, which come from the package, may be long.
    summaries: of both.  suffix: of the second one's name.  example: a command line, with $$name.
    more: further values of the templates, of the first component and the second.
    """

    record: str
    hook: str
    classes: tuple[str, str]
    summaries: tuple[str, str]
    suffix: str
    example: str
    more: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {})


_PATH_LENGTH = {
    "column": "path_length",
    "what": "the length of the\n    path that its state took",
    "state": (
        "    _last: dict[int, Tensor] = attrs.field(init=False, factory=dict)\n"
        "    _length: dict[int, float] = attrs.field(init=False, factory=dict)\n"
    ),
    "wants": 'frozenset({"x"})',
    "write": (
        '        """Take one step of one batch."""\n'
        "        for row, position in enumerate(frame.positions):\n"
        '            self._step(position, frame["x"][row])\n\n'
        "    def _step(self, position: int, x: Tensor) -> None:\n"
        "        before = self._last.get(position)\n"
        "        moved = 0.0 if before is None else float((x - before).norm())\n"
        "        self._length[position] = self._length.get(position, 0.0) + moved\n"
        "        self._last[position] = x"
    ),
    "value": "self._finished(position, batch.x[row])",
    "finished": (
        "\n    def _finished(self, position: int, x: Tensor) -> float:\n"
        "        self._step(position, x)\n"
        "        del self._last[position]\n"
        "        return self._length.pop(position)\n"
    ),
    "imports": "from torch import Tensor\n",
}
_BRIGHTNESS = {
    "column": "brightness",
    "what": "the mean of\n    its image, 0 … 1",
    "state": "",
    "wants": "frozenset()",
    "write": '        """Nothing of a step is needed."""',
    "value": "float(batch.images[row].mean())",
    "finished": "",
    "imports": "",
}

KINDS: dict[str, Kind] = {
    "force": Kind(
        "ForceSpec",
        "forces",
        ("Pull", "Push"),
        ("pulls toward a class, more strongly late", "pushes away from a class"),
        "away",
        'emnist-diff run --force "$name:target=B"',
    ),
    "drift": Kind(
        "DriftSpec",
        "drifts",
        ("Decay", "Stir"),
        ("decay that fades", "white noise that is there at first"),
        "noise",
        "emnist-diff run --drift $name",
    ),
    "scheduler": Kind(
        "SchedulerSpec",
        "schedulers",
        ("Straight", "Fine"),
        ("Euler's method on a flow", "Euler's method on a flow, small steps near the image"),
        "fine",
        'emnist-diff run --denoiser "gaussian-mixture:prediction=flow" --scheduler $name',
        ({"power": "1.0", "power_example": "1.5"}, {"power": "2.0", "power_example": "3"}),
    ),
    "sink": Kind(
        "SinkSpec",
        "sinks",
        ("Brightness", "PathLength"),
        ("a table of the images' brightness", "a table of the paths' lengths"),
        "path",
        "emnist-diff run --sink hdf5 --sink $name",
        (_BRIGHTNESS, _PATH_LENGTH),
    ),
    "denoiser": Kind(
        "DenoiserSpec",
        "denoisers",
        ("Narrow", "Wide"),
        ("a flow with one Gaussian a class", "a flow with one wide Gaussian a class"),
        "wide",
        "emnist-diff run --denoiser $name --scheduler flow_euler",
        ({"spread": "0.1"}, {"spread": "0.4"}),
    ),
    "trainable-denoiser": Kind(
        "DenoiserSpec",
        "denoisers",
        ("Layers", "Broad"),
        ("a dense network to train on pixels or latents", "a broader one"),
        "broad",
        "emnist-diff train $name --dataset mnist --data DIR",
        ({"hidden": "64"}, {"hidden": "256"}),
    ),
    "codec": Kind(
        "CodecSpec",
        "codecs",
        ("Flat", "Large"),
        ("two matrices, images to a vector and back", "the same with more numbers"),
        "large",
        "emnist-diff train $name --dataset mnist --data DIR --output codec",
        ({"latent": "16"}, {"latent": "64"}),
    ),
    "preset": Kind(
        "PresetSpec",
        "presets",
        ("Tug", "Flee"),
        ("two classes pull at once, the second ever more", "away from a class, with noise"),
        "away",
        "emnist-diff run --preset $name",
    ),
}


def create(name: str, kind: str, several: bool = False, directory: Path | None = None) -> list[Path]:
    """Write a package called `name` with a component of `kind`, or two, into `directory`/`name`; gives its files.

    Raises `ConfigError` for a name that cannot be one of a distribution and a module, `UnknownName` for a kind that
    cannot be made, `OutputError` when something is there already or cannot be written.
    """
    if kind not in KINDS:
        raise unknown("kind", kind, KINDS)
    package = _package(name)
    root = (Path() if directory is None else directory) / name
    if os.path.lexists(root):
        raise OutputError(f"{root} is there already — choose another name, or --directory")
    files = {root / path: text for path, text in contents(name, package, kind, several).items()}
    for path, text in files.items():
        write_bytes(path, text.encode())
    return list(files)


def contents(name: str, package: str, kind: str, several: bool) -> dict[str, str]:
    """The files of a package: path within it → text."""
    record = KINDS[kind]
    components = [_component(package, 0, record)] + ([_component(package, 1, record)] if several else [])
    common = {
        "distribution": name,
        "package": package,
        "core": ".".join(__version__.split(".")[:2]),
        "torch": "" if kind in _TORCHLESS else ', "torch>=2.2"',
        "description": _description(kind, several),
        "example": Template(record.example).substitute(name=components[0]["name"]),
        "quoted": "\n".join(f'        "{c["name"]}",' for c in components),
    }
    out = {
        "pyproject.toml": _filled("pyproject.toml", common),
        "README.md": _filled("README.md", common),
        ".gitignore": _filled("gitignore", common),
        ".github/workflows/ci.yml": _filled("ci.yml", common),
        f"{package}/__init__.py": _hooks(record, package, components, common["description"]),
        f"{package}/py.typed": "",
        "tests/test_rules.py": _filled("test_rules.py", common),
    }
    for values, which in zip(components, ("first", "second"), strict=False):
        own = (_TEMPLATES / kind / f"{which}.py.tmpl").is_file()  # else the second is the first with other values
        template = f"{kind}/{which if own else 'first'}.py"
        out[f"{package}/{values['module']}.py"] = _filled(template, common | values)
    out[f"tests/test_{components[0]['module']}.py"] = _filled(f"{kind}/test_first.py", common | components[0])
    return out


def _package(name: str) -> str:
    """The module of a distribution. Raises `ConfigError` where there can be none."""
    package = re.sub(r"[-.]+", "_", name).lower()
    if not _DISTRIBUTION.fullmatch(name):
        raise ConfigError(f"{name!r} cannot be a distribution — letters, digits, and -, _ or . between them")
    if len(name) > _LONGEST:
        raise ConfigError(f"'{name[:20]}…' has {len(name)} characters — choose a name of at most {_LONGEST}")
    if not package.isidentifier() or keyword.iskeyword(package):
        raise ConfigError(
            f"{name!r} cannot be imported as {package!r} — begin with a letter, and use no word of Python"
        )
    if package in sys.stdlib_module_names or package == "tests" or _importable(package):
        raise ConfigError(f"{name!r}: a module {package!r} is there already — choose another name")
    return package


def _importable(package: str) -> bool:
    """Whether a module of this name is installed; a mere folder of the current directory is none."""
    found = find_spec(package)
    return found is not None and found.origin is not None


def _component(package: str, number: int, kind: Kind) -> dict[str, str]:
    """The names of a component, after the package."""
    name, cls = package if number == 0 else f"{package}_{kind.suffix}", kind.classes[number]
    module = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls).lower()
    return {"module": module, "name": name, "cls": cls, "summary": kind.summaries[number], **kind.more[number]}


def _description(kind: str, several: bool) -> str:
    words = kind.replace("-", " ")
    return f"{'Some ' + words + 's' if several else 'A ' + words} for emnist-diff"


_MODULES = dict.fromkeys(("CodecSpec", "PresetSpec"), "emnist_diff_plugins.contract")
"""Where records stand that are not the core's."""


def _hooks(kind: Kind, package: str, components: list[dict[str, str]], description: str) -> str:
    """The module that the entry point names."""
    lines = [
        f'"""{description}. Every command imports this module, so it imports no torch."""',
        "",
        "from collections.abc import Iterable",
        "",
        "from emnist_diff.hookspecs import hookimpl",
        f"from {_MODULES.get(kind.record, 'emnist_diff.records')} import {kind.record}",
        "",
        "",
        "@hookimpl",
        f"def emnist_diff_{kind.hook}() -> Iterable[{kind.record}]:",
        f'    """The {kind.hook} of this package."""',
    ]
    for c in components:
        lines += [
            f"    yield {kind.record}(",
            f'        name="{c["name"]}",',
            f'        factory="{package}.{c["module"]}:{c["cls"]}",',
            f'        summary="{c["summary"]}",',
            "    )",
        ]
    return "\n".join(lines) + "\n"


def _filled(template: str, values: Mapping[str, str]) -> str:
    return Template((_TEMPLATES / f"{template}.tmpl").read_text(encoding="utf-8")).substitute(values)
