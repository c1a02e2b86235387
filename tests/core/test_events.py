"""The log of the library: nothing of its own accord, everything to whoever listens."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
import structlog

from emnist_diff.events import get_logger

PROGRAM = """
from emnist_diff.config import ComponentConfig, RunConfig
from emnist_diff.running.run import run

{before}
mixture = ComponentConfig("gaussian-mixture", settings={{"shape": [1, 4, 4], "classes": "AB"}})
run(RunConfig(denoiser=mixture, total_videos=2, steps=3, character="A", output="out"))
"""


def after(before: str, folder) -> subprocess.CompletedProcess[str]:
    """A program of somebody else that runs a configuration, with something before."""
    program = PROGRAM.format(before=before)
    return subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=120, check=True
    )


def test_a_run_from_python_prints_nothing_until_the_application_listens(tmp_path):
    silent = after("", tmp_path)
    assert (silent.stdout, silent.stderr) == ("", "")


@pytest.fixture
def unconfigured():
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def test_events_reach_the_logger_of_the_standard_library(unconfigured, caplog, capsys):
    log = get_logger()
    log.warning("file.not_locked", path="out/100%", name="what a record has too")
    log.info("run.started", samples=2)
    with caplog.at_level(logging.INFO, logger="emnist_diff"):
        log.info("run.started", samples=2)
        log.debug("nothing")
    first, second = caplog.records
    assert (first.levelname, first.filename) == ("WARNING", "test_events.py")
    assert first.getMessage() == "file.not_locked path='out/100%' name='what a record has too'"
    assert (second.event, second.values, second.getMessage()) == (
        "run.started",
        {"samples": 2},
        "run.started samples=2",
    )
    assert capsys.readouterr() == ("", "")


def test_events_reach_structlog_where_it_is_configured(unconfigured, caplog):
    seen = []

    def keep(logger, method, event):
        seen.append((method, dict(event)))
        raise structlog.DropEvent

    structlog.configure(processors=[keep])
    get_logger().info("run.started", samples=2)
    assert seen == [("info", {"event": "run.started", "samples": 2})]
    assert not caplog.records


def test_an_exception_is_handed_on(unconfigured, caplog):
    try:
        raise ValueError("odd")
    except ValueError:
        get_logger().exception("backend.broken", backend="eager")
    assert caplog.records[0].exc_info[0] is ValueError
