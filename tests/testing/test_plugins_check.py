"""`emnist-diff plugins check`: the kit from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

PLUGIN = '''
import attrs
import torch
from emnist_diff.conditions import NULL, OWN
from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import DriftSpec, ForceSpec


@hookimpl
def emnist_diff_forces():
    yield ForceSpec(name="good-pull", factory="{module}:Pull", summary="guidance")
    yield ForceSpec(name="blur", factory="{module}:Blur", summary="away from the network without attention")
    yield ForceSpec(name="herd", factory="{module}:Herd", summary="guidance that looks around")


@hookimpl
def emnist_diff_drifts():
    yield DriftSpec(name="nowhere", factory="{module}:Nowhere", summary="is not there")
    yield DriftSpec(name="future", factory="{module}:Pull", summary="of a newer core", api=99)
    yield DriftSpec(name="clamp", factory="{module}:Idle", summary="has the name of a built-in")


@attrs.frozen
class Pull:
    """Guidance."""

    strength: float = attrs.field(default=1.0, metadata={{"help": "how strongly"}})

    def conditions(self, at):
        return (OWN, NULL)

    def __call__(self, predictions, step):
        return self.strength * predictions.direction(OWN)


@attrs.frozen
class Herd:
    """Guidance."""

    def conditions(self, at):
        return (OWN, NULL)

    def __call__(self, predictions, step):
        return predictions[OWN] - step.x.mean(0)


@attrs.frozen
class Blur:
    """Away from the network without attention."""

    def conditions(self, at):
        return (OWN, attrs.evolve(OWN, variant="attention_identity"))

    def __call__(self, predictions, step):
        return predictions[OWN] - predictions[attrs.evolve(OWN, variant="attention_identity")]


@attrs.frozen
class Idle:
    """Nothing."""

    def __call__(self, x, step):
        return x
'''


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plugins") / "checked_plugin.py"
    path.write_text(PLUGIN.format(module=path.stem))
    return path


def test_what_breaks_a_rule_is_told_with_the_reason(cli, plugin):
    told = cli("plugins", "check", "--plugin-file", plugin)
    assert told.code == 1
    lines = told.out.splitlines()
    assert "ok      force good-pull  28 rules" in lines
    assert "ok      drift clamp      26 rules, 1 warning" in lines
    assert "FAILED  force herd       28 rules, 1 broken, 1 warning" in lines
    assert "        batch_independence: what it returns for a sample depends neither" in told.out
    assert "            why: samples are batched, shared among workers" in told.out
    assert "        warning: conditions_read: the conditions that conditions() declares are read" in told.out
    assert "drift 'nowhere' of checked_plugin.py is broken: checked_plugin:Nowhere cannot be loaded" in told.out
    assert "it needs plugin api 99, and this emnist-diff speaks 1" in told.out
    assert "emnist-diff 0.1.0 offers 'clamp' too: only 'checked_plugin.py:clamp' is sure to resolve" in told.out
    assert "backend" not in told.err


def test_one_component_can_be_named_and_warnings_can_count(cli, plugin):
    asked = ("plugins", "check", "--plugin-file", plugin, "checked_plugin.py", "--component")
    assert cli(*asked, "good-pull", "--strict").code == 0
    assert cli(*asked, "clamp").code == 0
    assert cli(*asked, "clamp", "--strict").code == 1
    wrong = cli(*asked, "good-pul")
    assert (
        wrong.code,
        "unknown component of checked_plugin.py 'good-pul' — did you mean 'good-pull'?" in wrong.error,
    ) == (
        2,
        True,
    )


def test_scripts_get_json(cli, plugin):
    told = cli("plugins", "check", "--plugin-file", plugin, "--component", "herd", "--json")
    data = json.loads(told.out)
    assert (told.code, data["ok"], data["distribution"]) == (1, False, "checked_plugin.py")
    (herd,) = data["components"]
    assert (herd["name"], herd["kind"], herd["ok"], herd["rules"]) == ("herd", "force", False, 28)
    assert [(f["rule"], f["warning"]) for f in herd["findings"]] == [
        ("batch_independence", False),
        ("conditions_read", True),
    ]
    assert all(f["message"] and f["because"] and f["says"] for f in herd["findings"])


def test_what_it_could_not_be_tried_on_is_told(cli, plugin):
    asked = ("plugins", "check", "--plugin-file", plugin, "--component", "blur")
    assert cli(*asked).out == "ok      force blur  28 rules, 1 of 4 models\n"
    (blur,) = json.loads(cli(*asked, "--json").out)["components"]
    assert (blur["models"], len(blur["refused"])) == (4, 3)
    assert "has no variant 'attention_identity'" in blur["refused"]["epsilon (1, 8, 8)"]


def test_what_is_to_be_checked_must_be_there(cli):
    unknown = cli("plugins", "check", "emnist-dif")
    assert (unknown.code, "unknown distribution 'emnist-dif' — did you mean 'emnist-diff'?" in unknown.error) == (
        2,
        True,
    )
    nothing = cli("plugins", "check")
    assert (nothing.code, "name a distribution, or one plugin file" in nothing.error) == (2, True)
