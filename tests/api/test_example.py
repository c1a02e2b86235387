"""The example in ``examples/`` runs."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image

EXAMPLE = Path(__file__).parents[2] / "examples" / "quickstart.py"


def test_quickstart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "sample.png"
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), "7", str(path)])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    out = capsys.readouterr().out
    assert out.count("change") == 20
    assert f"{path}: a 7 in" in out
    with Image.open(path) as image:
        assert (image.size, image.mode) == ((28, 28), "L")
