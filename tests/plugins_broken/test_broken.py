"""Plugins broken in every way, installed side by side: each is named with its distribution, and stops nothing else."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from emnist_diff.discovery import installed

HOOK = """
from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import ForceSpec

@hookimpl
def emnist_diff_forces():
"""

FORCE = '''
import time

import attrs
import torch
from emnist_diff.conditions import NULL, OWN, named

STRENGTH = {{"help": "how strongly"}}


@attrs.frozen
class Pull:
    """Guidance."""

    {fields}

    def conditions(self, at):
        return (OWN, NULL)

    def __call__(self, predictions, step):
        pull = predictions.direction(OWN)
        {body}
'''


EARLY = """
import attrs
from emnist_diff.conditions import OWN


class Force:
    def conditions(self, at):
        return (OWN,)

    def __call__(self, predictions, step):
        return predictions[OWN]


@attrs.frozen
class Binding(Force):
    def bind(self, space):
        raise KeyError("A")


@attrs.frozen
class Shaped(Force):
    def require_shape(self, shape):
        raise ZeroDivisionError("no height")


@attrs.frozen
class Wanting(Force):
    def conditions(self, at):
        return (OWN, "B")


@attrs.frozen
class DriftShaped:
    def require_shape(self, shape):
        raise ZeroDivisionError("no width")

    def __call__(self, x, step):
        return x


@attrs.frozen
class Unbound:
    def bind(self, process, prediction_type):
        raise AttributeError("no betas")


@attrs.frozen
class Nothing:
    def bind(self, process, prediction_type):
        return None


@attrs.frozen
class Aimless:
    def bind(self, process, prediction_type):
        return self

    def plan(self, steps):
        raise IndexError("no steps")

    def step(self, prediction, step):
        raise NotImplementedError


@attrs.frozen
class Planless(Aimless):
    def plan(self, steps):
        return None


@attrs.frozen
class Preset:
    def expand(self):
        raise KeyError("forces")


@attrs.frozen
class Family:
    def source(self, registry):
        raise OSError("no such network")


@attrs.frozen
class NoFamily:
    def source(self, registry):
        return None


@attrs.frozen
class Sink:
    def open(self, header):
        return ["0"]

    def wants(self, at):
        return frozenset()

    def write(self, frame):
        pass

    def commit(self, batch):
        pass

    def close(self, outcome):
        pass


@attrs.frozen
class Silent(Sink):
    def open(self, header):
        return None
"""

EARLY_HOOKS = {
    "Force": {"binding": "Binding", "shaped": "Shaped", "wanting": "Wanting"},
    "Drift": {"drift-shaped": "DriftShaped"},
    "Scheduler": {"unbound": "Unbound", "nothing": "Nothing", "aimless": "Aimless", "planless": "Planless"},
    "Preset": {"unexpanded": "Preset"},
    "Denoiser": {"familiar": "Family", "no-family": "NoFamily"},
    "Sink": {"accountless": "Sink", "silent": "Silent"},
}


def early() -> dict[str, str]:
    """A plugin with components that fail before the first step."""
    lines = ["from emnist_diff.hookspecs import hookimpl", "from emnist_diff.records import *"]
    lines += ["from emnist_diff_plugins.contract import PresetSpec"]
    for kind, components in EARLY_HOOKS.items():
        lines += ["@hookimpl", f"def emnist_diff_{kind.lower()}s():"]
        lines += [
            f"    yield {kind}Spec(name={name!r}, factory='PACKAGE.early:{cls}', summary='fails')"
            for name, cls in components.items()
        ]
    return {"plugin": "\n".join(lines) + "\n", "early": EARLY}


def hook(body: str) -> dict[str, str]:
    """A plugin of one module."""
    return {"plugin": HOOK + "".join(f"    {line}\n" for line in body.splitlines())}


def force(name: str, body: str = "return pull", fields: str = "", **record: Any) -> dict[str, str]:
    """A plugin with one force in a module of its own."""
    said = {"name": name, "factory": "PACKAGE.force:Pull", "summary": "guidance", **record}
    settings = ", ".join(f"{key}={value!r}" for key, value in said.items())
    return hook(f"yield ForceSpec({settings})") | {"force": FORCE.format(body=body, fields=fields)}


STRANGERS: dict[str, dict[str, str]] = {
    "healthy": force("healthy-pull"),
    "import-error": {"plugin": "import no_such_module_at_all"},
    "syntax-error": {"plugin": "def emnist_diff_forces(:\n    pass\n"},
    "missing-dependency": {"plugin": "from scikit_nothing import solve\n"},
    "hook-raises": hook("raise KeyError('colour')"),
    "hook-rubbish": hook("return 42"),
    "hook-yields-rubbish": hook("yield 'a force'"),
    "too-new": force("of-tomorrow", api=99),
    "twin-one": force("twin"),
    "twin-two": force("twin"),
    "unresolved": force("hollow", factory="PACKAGE.force:Push"),
    "mutable": force("shared-list", fields="weights: list = attrs.field(default=[1.0], metadata=STRENGTH)"),
    "undeclared": force("nosy", body="return predictions[named('B')]"),
    "shapeless": force("flat", body="return pull.flatten()"),
    "not-finite": force("explosive", body="return pull / 0"),
    "raising": force("raising", body="raise IndexError('list index out of range')"),
    "mutating": force("vandal", body="step.x.mul_(0.5); return pull"),
    "unkeyed": force("dicey", body="return pull + torch.randn(pull.shape)"),
    "sleepy": force("sleepy", body="time.sleep(0.025); return pull"),
    "early": early(),
}

UNUSABLE = {
    "import-error": "ModuleNotFoundError: No module named 'no_such_module_at_all'",
    "syntax-error": "SyntaxError: invalid syntax",
    "missing-dependency": "ModuleNotFoundError: No module named 'scikit_nothing'",
    "hook-raises": "KeyError: 'colour'",
    "hook-rubbish": "TypeError: 'int' object is not iterable",
    "hook-yields-rubbish": "TypeError: emnist_diff_forces yielded str, not records.ForceSpec",
}
"""What listing shows: nothing can be had of these."""

REFUSED = {
    "of-tomorrow": (3, "force 'of-tomorrow' of too-new 1.2 needs plugin api 99, this emnist-diff speaks 1 — upgrade"),
    "twin": (3, "force 'twin' is offered by twin-one and twin-two — use 'twin-one:twin' or 'twin-two:twin'"),
    "hollow": (3, "force 'hollow' of unresolved 1.2 is broken: unresolved.force:Push cannot be loaded (AttributeError"),
    "shared-list": (3, "force 'shared-list' of mutable is broken: its setting 'weights' has a mutable default, [1.0]"),
    "nosy": (6, "force 'nosy' of undeclared 1.2 raised KeyError: \"condition 'B' was read but not declared"),
    "flat": (6, "force 'flat' of shapeless 1.2 returned shape (32,) instead of (2, 1, 4, 4) (step 0)"),
    "explosive": (6, "force 'explosive' of not-finite 1.2 returned non-finite values (step 0, sample 0, 1)"),
    "raising": (6, "force 'raising' of raising 1.2 raised IndexError: list index out of range (step 0)"),
    "vanished": (2, "these plugins are broken and may have offered it: hook-raises (KeyError: 'colour')"),
}
"""Exit code and message of a run that asks for it."""

FAILING_EARLY = {
    "force binding": (3, "force 'binding' of early 1.2 raised KeyError: 'A'"),
    "force shaped": (3, "force 'shaped' of early 1.2 raised ZeroDivisionError: no height"),
    "force wanting": (6, "force 'wanting' of early 1.2: conditions() gave 'B', which is no Cond (step 0)"),
    "drift drift-shaped": (3, "drift 'drift-shaped' of early 1.2 raised ZeroDivisionError: no width"),
    "scheduler unbound": (3, "scheduler 'unbound' of early 1.2 raised AttributeError: no betas"),
    "scheduler nothing": (3, "scheduler 'nothing' of early 1.2: bind() returned NoneType instead of a scheduler"),
    "scheduler aimless": (3, "scheduler 'aimless' of early 1.2 raised IndexError: no steps"),
    "scheduler planless": (3, "scheduler 'planless' of early 1.2: plan() returned NoneType instead of a Timeline"),
    "preset unexpanded": (3, "preset 'unexpanded' of early 1.2 raised KeyError: 'forces'"),
    "denoiser familiar": (3, "denoiser 'familiar' of early 1.2 raised OSError: no such network"),
    "denoiser no-family": (3, "denoiser 'no-family' of early 1.2: source() returned NoneType instead of a Source"),
    "sink accountless": (6, "sink Sink: open() returned ['0'], neither None nor a set of the positions that it has"),
}
"""The same for components that fail before the first step, by kind and name."""

CAUGHT = {
    "mutable": ("immutable_defaults", "weights defaults to the list [1.0]"),
    "undeclared": ("declared_conditions", "it read B, and declared own, null"),
    "shapeless": ("shape", "(256,) instead of (4, 1, 8, 8)"),
    "not-finite": ("finite", "NaN or infinite"),
    "raising": ("runs", "force 'tried' raised IndexError"),
    "mutating": ("no_mutation", "it wrote into step.x"),
    "unkeyed": ("no_global_random", "torch drawn from or seeded"),
    "sleepy": ("time_budget", "a call takes 2"),
    "unresolved": ("loads", "unresolved.force:Push cannot be loaded"),
    "too-new": ("api", "it needs plugin api 99"),
    "twin-one": ("own_name", "twin-two 1.2 offers 'twin' too: only 'twin-one:twin' is sure to resolve"),
}
"""What `plugins check` says of a distribution."""

RUN = (
    *("run", "--denoiser", "gaussian-mixture:shape=[1,4,4],classes=AB", "--total-videos", "2", "--steps", "3"),
    *("--sink", "npz", "--no-progress"),
)


def install(site: Path, distribution: str, modules: dict[str, str], version: str = "1.2") -> None:
    """A distribution as an installer leaves it: a package, and what its metadata say."""
    package = distribution.replace("-", "_")
    (site / package).mkdir()
    (site / package / "__init__.py").touch()
    for name, source in modules.items():
        (site / package / f"{name}.py").write_text(source.replace("PACKAGE", package))
    info = site / f"{package}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[emnist_diff]\n{distribution} = {package}.plugin\n")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages with all of them."""
    folder = tmp_path_factory.mktemp("site")
    for distribution, modules in STRANGERS.items():
        install(folder, distribution, modules)
    return folder


@pytest.fixture
def strangers(site: Path, monkeypatch: pytest.MonkeyPatch):
    """All of them installed, for this process."""
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delenv("EMNIST_DIFF_PLUGINS", raising=False)
    known = set(sys.modules)
    installed.cache_clear()
    yield
    installed.cache_clear()
    for name in set(sys.modules) - known:
        if name.partition(".")[0].replace("_", "-") in STRANGERS:
            del sys.modules[name]


# ------------------------------------------------------------------ listing


@pytest.mark.parametrize("distribution", UNUSABLE)
def test_listing_names_what_is_broken_and_why(strangers, cli, distribution):
    told = cli("plugins", "list")
    assert told.code == 0
    assert f"broken: {distribution} 1.2 [{distribution}" in told.out
    (line,) = [line for line in told.out.splitlines() if line.startswith(f"broken: {distribution} ")]
    assert UNUSABLE[distribution] in line


def test_listing_shows_everything_else(strangers, cli):
    told = cli("plugins", "list")
    assert re.search(r"^  healthy-pull +guidance  \[healthy 1.2\]$", told.out, re.MULTILINE)
    assert "attract_class" in told.out
    assert "[too-new 1.2]  — needs plugin api 99, this emnist-diff speaks 1" in told.out
    assert "[twin-one 1.2]  — twin-two 1.2 has the name too: use twin-one:twin" in told.out
    assert told.out.count("broken: ") == len(UNUSABLE)


def test_scripts_get_health_and_tracebacks(strangers, cli):
    data = json.loads(cli("plugins", "list", "--json").out)
    health = {item["distribution"]: item for item in data["plugins"]}
    assert {name for name, item in health.items() if item["health"] == "broken"} == set(UNUSABLE)
    assert health["healthy"] == {
        "plugin": "healthy",
        "distribution": "healthy",
        "version": "1.2",
        "module": "healthy.plugin",
        "health": "ok",
    }
    broken = {item["distribution"]: item for item in data["broken"]}
    assert broken.keys() == UNUSABLE.keys()
    for name, item in broken.items():
        assert item["version"] == "1.2"
        assert item["error"] in item["error"].splitlines()[0]
        assert UNUSABLE[name].partition(":")[0] in item["traceback"]
    components = {(item["name"], item["distribution"]): item for item in data["components"]}
    assert components["healthy-pull", "healthy"]["health"] == "ok"
    assert components["of-tomorrow", "too-new"]["api"] == 99
    assert components["of-tomorrow", "too-new"]["health"].startswith("needs plugin api 99")


def test_strict_fails_and_narrowing_leaves_them_out(strangers, cli, monkeypatch):
    strict = cli("plugins", "list", "--strict-plugins")
    assert strict.code == 3
    assert all(f"{name} [{name}" in strict.error for name in UNUSABLE)
    assert cli(*RUN, "--strict-plugins").code == 3
    monkeypatch.setenv("EMNIST_DIFF_PLUGINS", "healthy,twin-one")
    installed.cache_clear()
    assert cli("plugins", "list", "--strict-plugins").code == 0
    named = cli("plugins", "list", "--json").out
    assert {item["distribution"] for item in json.loads(named)["plugins"]} == {"emnist-diff", "healthy", "twin-one"}
    monkeypatch.setenv("EMNIST_DIFF_PLUGINS", "")
    installed.cache_clear()
    alone = json.loads(cli("plugins", "list", "--json").out)["plugins"]
    assert {item["distribution"] for item in alone} == {"emnist-diff"}


def test_a_component_is_shown_by_any_of_its_names(strangers, cli):
    shown = cli("plugins", "show", "healthy:healthy-pull")
    assert "force healthy-pull  [healthy 1.2]" in shown.out
    (data,) = json.loads(cli("plugins", "show", "healthy-pull", "--json").out)
    assert (data["distribution"], data["version"], data["api"], data["aliases"]) == ("healthy", "1.2", 1, [])
    hollow = cli("plugins", "show", "hollow")
    assert (hollow.code, "force 'hollow' of unresolved 1.2 is broken" in hollow.error) == (3, True)
    twin = cli("plugins", "show", "twin")
    assert (twin.code, "use 'twin-one:twin' or 'twin-two:twin'" in twin.error) == (3, True)


# ------------------------------------------------------------------ runs


def test_the_healthy_runs_among_them(strangers, cli, tmp_path):
    done = cli(*RUN, "--output", tmp_path, "--force", "healthy-pull", "--force", "twin-two:twin")
    assert done.code == 0, done.err


@pytest.mark.parametrize("name", REFUSED)
def test_a_run_that_asks_for_one_ends_in_one_line(strangers, cli, tmp_path, name):
    code, said = REFUSED[name]
    ended = cli(*RUN, "--output", tmp_path, "--force", "healthy-pull", "--force", name)
    assert (ended.code, said in ended.error) == (code, True), ended.error
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("asked", FAILING_EARLY)
def test_a_component_that_fails_before_the_walk_ends_in_one_line(strangers, cli, tmp_path, asked):
    (kind, name), (code, said) = asked.split(), FAILING_EARLY[asked]
    ended = cli(*RUN, "--output", tmp_path, f"--{kind}", name)
    assert (ended.code, said in ended.error) == (code, True), ended.error
    assert "Traceback" not in ended.err


def test_a_run_whose_sinks_make_no_folder_ends_well(strangers, cli, tmp_path):
    done = cli(*RUN[:-3], "--no-progress", "--output", tmp_path / "nowhere", "--sink", "silent")
    assert (done.code, "2 samples of" in done.out) == (0, True), done.err
    assert not (tmp_path / "nowhere").exists()


def test_checking_what_fails_early_says_so_and_goes_on(strangers, cli):
    data = json.loads(cli("plugins", "check", "early", "--json").out)
    findings = {item["name"]: {f["rule"]: f["message"] for f in item["findings"]} for item in data["components"]}
    assert findings.keys() == {name for components in EARLY_HOOKS.values() for name in components}
    assert "conditions() gave 'B', which is no Cond" in findings["wanting"]["pure_conditions"]
    assert "ZeroDivisionError: no height" in findings["shaped"]["runs"]
    assert all(findings[name] for name in findings.keys() - {"silent"})


@pytest.mark.parametrize("distribution", CAUGHT)
def test_checking_a_distribution_catches_it(strangers, cli, distribution):
    rule, said = CAUGHT[distribution]
    told = cli("plugins", "check", distribution, "--json", "--strict")
    data = json.loads(told.out)
    assert (told.code, data["distribution"]) == (1, distribution)
    (component,) = data["components"]
    found = {finding["rule"]: finding["message"] for finding in component["findings"]}
    assert said in found[rule], found


@pytest.mark.parametrize("distribution", UNUSABLE)
def test_checking_what_is_broken_says_why(strangers, cli, distribution):
    told = cli("plugins", "check", distribution)
    assert told.code == 1
    assert f"FAILED  {distribution} 1.2 [{distribution}" in told.out
    assert UNUSABLE[distribution] in told.out


def test_checking_the_healthy_finds_nothing(strangers, cli):
    told = cli("plugins", "check", "healthy", "--strict")
    assert (told.code, told.out) == (0, "ok      force healthy-pull  28 rules\n")


def test_checking_what_registers_nothing_fails(cli, tmp_path):
    path = tmp_path / "no_plugin_at_all.py"
    path.write_text("import math\n")
    told = cli("plugins", "check", "--plugin-file", path)
    assert (told.code, told.out) == (1, "no_plugin_at_all.py registers nothing\n")
    assert json.loads(cli("plugins", "check", "--plugin-file", path, "--json").out)["ok"] is False


def test_a_broken_plugin_file_is_one_line(cli, tmp_path):
    path = tmp_path / "half_a_plugin.py"
    path.write_text("def emnist_diff_forces(:\n")
    for command in (("plugins", "list"), RUN):
        ended = cli(*command, "--plugin-file", path)
        assert (ended.code, "half_a_plugin.py' cannot be loaded: SyntaxError" in ended.error) == (3, True)


# ------------------------------------------------------------------ many


def test_fifty_plugins_are_listed_fast_and_none_of_their_code_is_imported(tmp_path):
    site, seen = tmp_path / "site", tmp_path / "seen"
    site.mkdir()
    seen.mkdir()
    for number in range(50):
        modules = force(f"pull-{number}")
        modules["force"] = f"import torch, diffusers\nopen({str(seen / str(number))!r}, 'w')\n" + modules["force"]
        install(site, f"stranger-{number}", modules)
    script = (
        "import resource, sys\n"
        "from emnist_diff import main\n"
        "sys.argv = ['emnist-diff', 'plugins', 'list', '--kind', 'force']\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "heavy = sorted({'torch', 'diffusers', 'numpy'} & set(sys.modules))\n"
        "print('CPU', used.ru_utime + used.ru_stime, 'heavy', heavy)\n"
    )
    paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": ""}
    seconds = []
    for _ in range(8):  # the first compiles what an installer would have compiled
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment
        )
        assert done.stdout.count("[stranger-") == 50
        words = done.stdout.splitlines()[-1].split(maxsplit=3)
        assert words[3] == "[]"
        seconds.append(float(words[1]))
    assert not list(seen.iterdir())
    assert min(seconds) < 0.5, seconds
