"""A trajectory in a notebook: the widget, what its page may read, and what is shown where there is none."""

from __future__ import annotations

import gc
import json
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import attrs
import pytest

from emnist_diff.errors import ConfigError
from emnist_diff_plugins.viewer.notebook import Answers, Viewer
from emnist_diff_plugins.viewer.shown import Shown
from emnist_diff_trajectory.pack import Packing, pack
from emnist_diff_trajectory.reader import Trajectory

pytestmark = pytest.mark.usefixtures("plain_page")
WIDGET = "application/vnd.jupyter.widget-view+json"


def test_jupyter_gets_a_widget_and_pictures_and_marimo_the_same_widget(recorded: Path):
    pytest.importorskip("anywidget")
    with Trajectory(recorded) as trajectory:
        data, _ = trajectory._repr_mimebundle_(include=None, exclude=None)
        widget = trajectory._display_()
        assert data[WIDGET]["model_id"] == widget.model_id
        assert data["text/plain"] == repr(trajectory)
        assert data["text/html"] == trajectory._repr_html_()
        assert "render" in widget._esm
    assert trajectory._repr_mimebundle_() == ({}, {}), "closed"
    assert "closed" in trajectory._display_()._repr_html_()


def test_without_anywidget_there_are_pictures_and_the_line_that_says_what_to_install(recorded: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with Trajectory(recorded) as trajectory:
        data, _ = trajectory._repr_mimebundle_()
        assert WIDGET not in data
        for html in (data["text/html"], trajectory._display_()._repr_html_()):
            assert html.count("data:image/png") == 6
            assert "pip install &#x27;emnist-diff[notebook]&#x27;" in html
        with pytest.raises(ConfigError, match="needs anywidget"):
            Viewer().widget(trajectory)


def test_a_prompt_in_a_terminal_makes_no_widget(recorded: Path, monkeypatch):
    shell = type("TerminalInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    with Trajectory(recorded) as trajectory:
        assert trajectory._repr_mimebundle_() == ({}, {})


def test_the_page_reads_ranges_of_its_files_and_of_no_others(recorded: Path, tmp_path: Path):
    run = tmp_path / "run.h5"
    shutil.copy(recorded, run)
    answers = Answers.of([attrs.evolve(Shown("run.h5", run), sidecar=Shown("side.h5", recorded)), Shown("b.h5", run)])
    message, buffers = answers.answer({"id": "7"})
    (served,) = re.findall(r'id="served">(.*?)</script>', message["html"])
    (one, other), size = json.loads(served), run.stat().st_size
    assert one["sidecar"] == {"name": "side.h5", "bytes": size, "port": 1}
    assert (message["id"], buffers, one["port"], one["bytes"], other["port"]) == ("7", [], 0, size, 2)
    assert "Content-Security-Policy" in message["html"]
    content = run.read_bytes()
    for offset, length in [(0, 8), (1000, 5000), (size - 1, 1), (size, 0)]:
        request = {"id": 1, "file": 0, "offset": offset, "length": length}
        assert answers.answer(request) == ({"id": 1}, [content[offset : offset + length]])
    for request, line in [
        ({"file": 3, "offset": 0, "length": 1}, "there is no such file"),
        ({"file": -1, "offset": 0, "length": 1}, "there is no such file"),
        ({"file": "../x", "offset": 0, "length": 1}, "there is no such file"),
        ({"file": 0, "offset": -1, "length": 1}, "run.h5: the notebook sends up to"),
        ({"file": 0, "offset": float("nan"), "length": 1}, "run.h5: the notebook sends up to"),
        ({"file": 0}, "run.h5: the notebook sends up to"),
        ({"file": 0, "offset": size, "length": 1}, "run.h5: it is truncated"),
        ({"file": 0, "offset": 1 << 80, "length": 1}, "run.h5: it is truncated"),
        ({"file": 0, "offset": 0, "length": 1 << 40}, "run.h5: the notebook sends up to"),
    ]:
        message, buffers = answers.answer(request)
        assert message["error"].startswith(line), request
        assert not buffers
    run.unlink()
    message, _ = answers.answer({"file": 0, "offset": 0, "length": 1})
    assert message["error"] == "run.h5: it cannot be read any more: No such file or directory"
    assert "html" in answers.answer("nonsense")[0]


def test_a_copy_for_the_page_is_gone_with_the_widget(recorded: Path, tmp_path: Path, monkeypatch, capsys):
    pytest.importorskip("hdf5plugin")
    ipywidgets = pytest.importorskip("ipywidgets")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    pack(recorded, tmp_path / "b.h5", Packing("blosc"))
    with Trajectory(tmp_path / "b.h5") as trajectory:
        assert trajectory._repr_mimebundle_()[0]
        assert list(tmp_path.glob("emnist-diff-view-*/b.h5"))
    del trajectory
    ipywidgets.Widget.close_all()
    gc.collect()
    assert not list(tmp_path.glob("emnist-diff-view-*"))
    assert "the page reads a copy of" in capsys.readouterr().err
