"""Discovery: what works is found, what is broken is a value, and what is asked for must exist."""

from __future__ import annotations

import itertools
import sys
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest

from emnist_diff.discovery import discover, installed
from emnist_diff.errors import ConfigError, PluginError, UnknownName
from emnist_diff.records import DenoiserSpec, DriftSpec, ForceSpec
from emnist_diff_plugins.commands.health import require_healthy

_number = itertools.count()

HEAD = """
from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import DriftSpec, ForceSpec

def force(name, **more):
    return ForceSpec(**{"name": name, "factory": "emnist_diff.engine.base:Base", "summary": "a force", **more})
"""


def offering(*names: str, **more: object) -> str:
    settings = "".join(f", {key}={value!r}" for key, value in more.items())
    lines = "".join(f"    yield force({name!r}{settings})\n" for name in names)
    return f"{HEAD}\n@hookimpl\ndef emnist_diff_forces():\n{lines}"


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """An entry point to a module with this source, of a distribution of this name."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(source: str | None, distribution: str = "stranger", name: str = "") -> EntryPoint:
        module = f"stranger_{next(_number)}"
        if source is not None:
            (tmp_path / f"{module}.py").write_text(source)
            monkeypatch.delitem(sys.modules, module, raising=False)
        point = EntryPoint(name or module, module, "emnist_diff")
        vars(point).update(dist=SimpleNamespace(name=distribution, version="2.5"))
        return point

    return make


BROKEN = {
    "missing module": (None, "ModuleNotFoundError"),
    "import error": ("import no_such_module_at_all", "no_such_module_at_all"),
    "syntax error": ("def (", "SyntaxError"),
    "raises": ("raise RuntimeError('bad day')", "RuntimeError: bad day"),
    "exits": ("raise SystemExit(3)", "SystemExit: 3"),
    "exits in its hook": (HEAD + "@hookimpl\ndef emnist_diff_forces():\n    raise SystemExit\n", "SystemExit"),
    "hook raises": (HEAD + "@hookimpl\ndef emnist_diff_forces():\n    raise KeyError('x')\n", "KeyError: 'x'"),
    "hook raises midway": (offering("half") + "    raise ValueError('tired')\n", "ValueError: tired"),
    "hook returns nothing": (HEAD + "@hookimpl\ndef emnist_diff_forces():\n    return None\n", "TypeError"),
    "hook yields text": (HEAD + "@hookimpl\ndef emnist_diff_forces():\n    yield 'f'\n", "yielded str"),
    "hook yields another kind": (
        HEAD + "@hookimpl\ndef emnist_diff_drifts():\n    yield force('f')\n",
        "yielded ForceSpec, not records.DriftSpec",
    ),
    "hook wants an argument": (HEAD + "@hookimpl\ndef emnist_diff_forces(config):\n    yield force('f')\n", "config"),
    "bad record": (offering("Upper Case"), "Upper Case"),
    "bad factory": (offering("fine", factory="no colon"), "no colon"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_plugin_stops_nothing_else(plugin, how):
    source, reason = BROKEN[how]
    registry = discover([plugin(source, "broken-one", "aaa"), plugin(offering("good"), "healthy", "bbb")])
    assert [e.qualified for e in registry.entries] == ["healthy:good"]
    assert registry.resolve(ForceSpec, "good").version == "2.5"
    (broken,) = registry.broken
    assert broken.distribution == "broken-one"
    assert broken.plugin.startswith("aaa")
    assert reason in broken.error
    assert "\n" not in broken.error
    assert "Traceback" in broken.traceback or "Error" in broken.traceback
    assert [s.distribution for s in registry.sources] == ["broken-one", "healthy"]
    with pytest.raises(PluginError, match=r"broken-one \[aaa"):
        require_healthy(registry)
    with pytest.raises(UnknownName, match="these plugins are broken and may have offered it: broken-one"):
        registry.resolve(ForceSpec, "vanished")


NO_HOOKS = {
    "misspelt": ("@hookimpl\ndef emnist_diff_forcez():\n    return []\n",
                 "emnist_diff_forcez is no hook — did you mean 'emnist_diff_forces'?"),
    "misspelt and unmarked": ("def emnist_diff_drift():\n    return []\n",
                              "emnist_diff_drift is no hook — did you mean 'emnist_diff_drifts'"),
    "nothing like one": ("@hookimpl\ndef mine():\n    return []\n", "mine is no hook — hooks are emnist_diff_forces, "),
    "unmarked": ("def emnist_diff_drifts():\n    return []\n", "emnist_diff_drifts lacks @hookimpl"),
}  # fmt: skip


@pytest.mark.parametrize("how", NO_HOOKS)
def test_what_was_meant_as_a_hook_and_is_none_is_broken(plugin, how):
    more, said = NO_HOOKS[how]
    registry = discover([plugin(offering("good") + more)])
    assert [e.spec.name for e in registry.entries] == ["good"]
    (broken,) = registry.broken
    assert (broken.distribution, broken.version, said in broken.error) == ("stranger", "2.5", True), broken.error


KINDS = """
import attrs
from typing import ClassVar
from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import ForceSpec, Spec

@attrs.frozen(kw_only=True)
class LensSpec(Spec):
    kind: ClassVar[str] = "lens"
    glass: str = "crown"

@hookimpl
def emnist_diff_kinds():
"""


def test_a_plugin_brings_a_kind_of_which_any_plugin_offers_components(plugin):
    kinds = plugin(KINDS + "    yield LensSpec\n", "optics", "zzz")  # comes last, and is known to those before
    user = f"from emnist_diff.hookspecs import hookimpl\nfrom {kinds.value} import LensSpec\n"
    lens = "@hookimpl\ndef emnist_diff_lenss():\n    yield LensSpec(name='wide', factory='a:B', summary='a lens')\n"
    registry = discover([plugin(user + lens, "user", "aaa"), kinds])
    assert not registry.broken
    record = registry.kinds["lens"]
    assert registry.resolve(record, "lens_wide").qualified == "user:wide"
    assert registry.resolve(record, "wide").spec.glass == "crown"
    with pytest.raises(UnknownName, match=r"unknown lens 'wode' — did you mean 'wide'\?"):
        registry.resolve(record, "wode")
    assert set(discover([]).kinds) == set(registry.kinds) - {"lens"}
    (broken,) = discover([plugin(user + lens, "user", "aaa")]).broken
    assert broken.error.startswith("emnist_diff_lenss is no hook")


NO_KINDS = {
    "an instance": ("yield 7", "TypeError: emnist_diff_kinds yielded 7, not a class derived from records.Spec"),
    "no record": ("yield int", "yielded <class 'int'>, not a class derived from records.Spec"),
    "none of its own": ("yield Spec", "ValueError: Spec: 'component' cannot be the name of a kind"),
    "no name": ("LensSpec.kind = 'a b'; yield LensSpec", "LensSpec: 'a b' cannot be the name of a kind"),
    "the hook's own": ("LensSpec.kind = 'kind'; yield LensSpec", "LensSpec: 'kind' cannot be the name of a kind"),
    "taken": ("LensSpec.kind = 'force'; yield LensSpec", "LensSpec: the kind 'force' is taken"),
    "raises": ("raise SystemExit(2)", "SystemExit: 2"),
    "without an end": ("while True: yield LensSpec", "emnist_diff_kinds yields more than 1000 records"),
}


@pytest.mark.parametrize("how", NO_KINDS)
def test_what_cannot_be_a_kind_breaks_its_plugin_and_no_other(plugin, how):
    body, said = NO_KINDS[how]
    registry = discover([plugin(KINDS + f"    {body}\n", "optics", "aaa"), plugin(offering("good"), "healthy", "bbb")])
    assert [e.qualified for e in registry.entries] == ["healthy:good"]
    (broken,) = registry.broken
    assert broken.distribution == "optics"
    assert said in broken.error
    assert registry.kinds == discover([]).kinds


def test_what_a_plugin_module_imports_is_no_hook_of_its_own(plugin):
    other = plugin(offering("other") + "def emnist_diff_forcez():\n    return []\n").value
    imports = (
        f"from {other} import emnist_diff_forcez\nfrom emnist_diff.hookspecs import hook_of as emnist_diff_drifts\n"
    )
    named = "@hookimpl(specname='emnist_diff_drifts')\ndef my_drifts():\n    return []\n"
    registry = discover([plugin(imports + offering("good") + named)])
    assert not registry.broken


@pytest.mark.parametrize(
    ("more", "said"),
    [({"api": "one"}, "'api' must be <class 'int'> (got 'one'"), ({"summary": 3}, "'summary' must be text, got 3")],
)
def test_a_record_that_cannot_be_made_is_named_in_a_sentence(plugin, more, said):
    (broken,) = discover([plugin(offering("fine", **more))]).broken
    assert broken.error.startswith("TypeError: ForceSpec 'fine': ")
    assert said in broken.error
    assert "Attribute(" not in broken.error


def test_one_bad_hook_costs_only_its_own_records(plugin):
    source = offering("good") + "\n@hookimpl\ndef emnist_diff_drifts():\n    raise RuntimeError('no drifts')\n"
    registry = discover([plugin(source)])
    assert [e.spec.name for e in registry.of(ForceSpec)] == ["good"]
    assert "emnist_diff_drifts" in registry.broken[0].plugin


def test_a_name_that_two_distributions_claim_must_be_qualified(plugin):
    registry = discover([plugin(offering("same", "mine"), "one"), plugin(offering("same"), "two")])
    with pytest.raises(PluginError, match=r"'same' is offered by one and two — use 'one:same' or 'two:same'"):
        registry.resolve(ForceSpec, "same")
    assert registry.resolve(ForceSpec, "one:same").distribution == "one"
    assert registry.resolve(ForceSpec, "two:same").distribution == "two"
    assert registry.resolve(ForceSpec, "mine").distribution == "one"
    with pytest.raises(UnknownName):
        registry.resolve(ForceSpec, "two:mine")


def test_a_name_that_one_distribution_offers_twice_is_its_defect(plugin):
    registry = discover([plugin(offering("same"), "one"), plugin(offering("same"), "one")])
    with pytest.raises(PluginError, match=r"'same' is offered more than once by one"):
        registry.resolve(ForceSpec, "same")


def test_an_unknown_distribution_is_named(plugin):
    registry = discover([plugin(offering("good"), "healthy")])
    with pytest.raises(UnknownName, match=r"unknown distribution 'helthy' — did you mean 'healthy'\?"):
        registry.resolve(ForceSpec, "helthy:good")
    with pytest.raises(ConfigError, match=r"'good:strength': a setting needs a value — good:strength=VALUE"):
        registry.resolve(ForceSpec, "good:strength")


def test_aliases_and_prefixes_resolve(plugin):
    registry = discover([plugin(offering("pull", aliases=("tug",)) + "    yield force('force_x')\n")])
    for spelling in ("pull", "tug", "force_pull", "force_tug", "stranger:pull", "stranger:tug", "stranger:force_pull"):
        assert registry.resolve(ForceSpec, spelling).spec.name == "pull", spelling
    assert registry.resolve(ForceSpec, "force_x").spec.name == "force_x"
    with pytest.raises(UnknownName):
        registry.resolve(DriftSpec, "pull")


def test_a_name_goes_before_somebody_elses_alias(plugin):
    registry = discover([plugin(offering("pull"), "one"), plugin(offering("other", aliases=("pull",)), "two")])
    assert registry.resolve(ForceSpec, "pull").distribution == "one"
    assert registry.resolve(ForceSpec, "two:pull").spec.name == "other"


def test_an_unknown_name_suggests_the_nearest(plugin):
    registry = discover([plugin(offering("attract", "repel"))])
    for wrong in ("atract", "force_atract", "ATTRACT"):
        with pytest.raises(UnknownName, match=r"did you mean 'attract'\?.*plugins list --kind force"):
            registry.resolve(ForceSpec, wrong)
    with pytest.raises(UnknownName, match="known: 'attract', 'repel'"):
        registry.resolve(ForceSpec, "qqqqqq")


def test_a_record_for_a_newer_core_is_refused_only_when_asked_for(plugin):
    registry = discover([plugin(offering("future", api=99) + "    yield force('now')\n")])
    assert not registry.broken
    assert registry.load(ForceSpec, "now").__name__ == "Base"
    with pytest.raises(PluginError, match=r"'future' of stranger 2\.5 needs plugin api 99.*upgrade"):
        registry.resolve(ForceSpec, "future")


@pytest.mark.parametrize(
    "factory", ["no_such_module:Thing", "emnist_diff.engine.base:NoSuchThing", "emnist_diff.engine.base:Base.deeper"]
)
def test_a_factory_that_cannot_be_loaded_names_its_distribution(plugin, factory):
    registry = discover([plugin(offering("hollow", factory=factory))])
    assert registry.resolve(ForceSpec, "hollow")
    with pytest.raises(PluginError, match=rf"force 'hollow' of stranger 2\.5 is broken: {factory}"):
        registry.load(ForceSpec, "hollow")


@pytest.mark.parametrize("statement", ["raise SystemExit(0)", "import nothing_here", "1 / 0"])
def test_a_factory_whose_module_fails_is_an_error_of_ours(plugin, statement):
    target = plugin(statement).value
    registry = discover([plugin(offering("hollow", factory=f"{target}:Thing"))])
    with pytest.raises(PluginError, match="'hollow' of stranger"):
        registry.load(ForceSpec, "hollow")


def test_narrowing_keeps_the_builtins_and_what_is_named(plugin):
    points = [
        plugin(offering("a"), "dist-a", "plug-a"),
        plugin(offering("b"), "dist-b", "plug-b"),
        plugin("1 / 0", "dist-c", "plug-c"),
        plugin(offering("core"), "emnist-diff", "builtins"),
    ]

    def names(narrow):
        registry = discover(points, narrow)
        return {e.spec.name for e in registry.entries}, len(registry.broken)

    assert names(None) == ({"a", "b", "core"}, 1)
    assert names("") == ({"core"}, 0)
    assert names("plug-a") == ({"a", "core"}, 0)
    assert names("dist-b , plug-a") == ({"a", "b", "core"}, 0)
    assert names("dist-c") == ({"core"}, 1)


def test_an_entry_point_listed_twice_is_one_plugin(plugin):
    point = plugin(offering("once"))
    registry = discover([point, point])
    assert len(registry.entries) == 1
    assert not registry.broken


def test_the_builtins_are_found_through_the_same_door():
    registry = installed()
    mine = {e.spec.name for e in registry.entries if e.distribution == "emnist-diff"}
    assert {"ddim", "ddpm", "attract_class", "repel_class", "none", "default", "hdf5", "grid"} <= mine
    for spelling in ("gaussian-mixture", "gaussian_mixture", "emnist-diff:gaussian-mixture"):
        assert registry.load(DenoiserSpec, spelling).__name__ == "GaussianMixture"
