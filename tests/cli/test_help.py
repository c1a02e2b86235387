"""Help pages as a newcomer reads them, at 80 columns."""

from __future__ import annotations

import re

import attrs
import pytest

from emnist_diff.discovery import installed
from emnist_diff.plugins import Entry
from emnist_diff_plugins.commands.run.page import ORDER
from emnist_diff_plugins.terminal.commands import SECTIONS
from emnist_diff_plugins.training import page as train_page
from emnist_diff_trajectory.contract import CommandSpec


def sections(page: str) -> dict[str, list[str]]:
    """The words in the left column of each section; prose is left out."""
    found: dict[str, list[str]] = {}
    for block in re.split(r"\n(?=\S)", page):
        title, _, rest = block.partition(":\n")
        if "\n" not in title:
            found[title] = re.findall(r"(?m)^  (\S+)", rest)
    return found


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("EMNIST_DIFF_PLUGINS", "")


def test_the_first_page_begins_with_run_and_names_every_command_in_a_group(cli):
    page = cli("--help").out
    found = sections(page)
    assert list(found) == [*SECTIONS, "Options"]
    assert found["Generate"][0] == "run"
    commands = {e.spec.name: e.spec for e in installed().of(CommandSpec)}
    assert {name for section in SECTIONS for name in found[section]} == {n for n, s in commands.items() if not s.group}
    assert max(map(len, page.splitlines())) <= 80


def test_the_page_of_run_begins_with_examples_and_groups_every_option(cli):
    page = cli("run", "--help").out
    found = sections(page)
    assert list(found) == list(ORDER)
    assert all(found.values())
    assert page.index("emnist-diff run --character") < page.index("Generation:") < page.index("--force <text>")
    for pointer in ("emnist-diff forces, presets, drifts", "emnist-diff plugins show NAME"):
        assert pointer in " ".join(page.split())
    assert {"--save-video", "--sink"} <= set(found["Output"])
    assert {"-q,", "-v,", "--log-format", "--progress"} == set(found["Log"]) - {"--dashboard"}
    assert max(map(len, page.splitlines())) <= 80
    starts = {len(line) - len(line[33:].lstrip()) for line in page.splitlines() if line.startswith("  --")}
    assert 34 in starts  # the right columns of all groups begin at one place


def test_the_page_of_train_groups_every_option(cli):
    found = sections(cli("train", "--help").out)
    assert list(found) == ["Arguments", *train_page.PANELS]
    assert all(found.values())


@pytest.mark.parametrize(("typed", "meant"), [("tran", "'train'"), ("metrcs", "'metrics'"), ("inspct", "'inspect'")])
def test_a_mistyped_command_is_told_the_nearest_of_the_core_and_of_plugins(cli, typed, meant):
    said = cli(typed)
    assert said.code == 2
    assert f"unknown command '{typed}' — did you mean {meant}" in said.error


def test_a_command_of_another_group_takes_no_name_away(cli, monkeypatch):
    spec = CommandSpec(name="check", factory="emnist_diff_plugins.commands.listings:forces", summary="a stranger's")
    known = installed()
    both = attrs.evolve(known, entries=(*known.entries, Entry(spec, "stranger", "1")))
    monkeypatch.setattr("emnist_diff_plugins.terminal.commands.installed", lambda: both)
    assert "Check a distribution" in cli("plugins", "--help").out
    assert "--strict" in cli("plugins", "check", "--help").out
    assert "List the forces" in cli("check", "--help").out


@pytest.mark.parametrize(
    ("command", "logs"), [(("merge",), True), (("checkpoint", "convert"), True), (("forces",), False)], ids=str
)
def test_what_logs_has_the_options_of_the_log_at_the_end(cli, command, logs):
    page = cli(*command, "--help").out
    assert ("--log-format" in page) is logs
    if logs:
        assert list(sections(page))[-1] == "Log"


def test_no_summary_of_a_command_is_cut_off(cli):
    assert "..." not in cli("plugins", "--help").out.split("Commands:")[1]


def test_the_options_of_the_log_exclude_each_other_and_name_their_values(cli, tmp_path):
    both = cli("verify", tmp_path / "none.h5", "--quiet", "--verbose")
    assert both.code == 2
    assert "--verbose and --quiet exclude each other" in both.error
    odd = cli("verify", tmp_path / "none.h5", "--log-format", "humna")
    assert odd.code == 2
    assert "unknown log format 'humna' — did you mean 'human'" in odd.error
