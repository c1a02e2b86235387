"""Small runs, and the viewer's server beside a test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emnist_diff import resolve, run
from emnist_diff_plugins.viewer import page as pages
from emnist_diff_plugins.viewer.serve import Server
from emnist_diff_plugins.viewer.shown import Shown

PLAIN = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>v</title>
<script type="module">document.title = "ran"</script><style>p { color: red }</style></head><body></body></html>"""


def _record(folder: Path, **settings: Any) -> Path:
    """A run's file in a folder: six samples of an exact denoiser without weights, ten steps, two forces and a drift."""
    config = {
        "denoiser": {"name": "gaussian-mixture", "shape": [1, 16, 16], "classes": "AB"},
        "character": "A,B",
        "total_videos": 6,
        "steps": 10,
        "forces": [{"name": "attract_class", "target": "B"}, {"name": "repel_class", "target": "A"}],
        "drifts": ["early_noise"],
        "sinks": ["hdf5"],
        "output": str(folder),
    }
    run(resolve({**config, **settings}))
    return next(iter(sorted(folder.rglob("trajectory*.h5"))))


@pytest.fixture(scope="session")
def record() -> Callable[..., Path]:
    """Record a run into a folder, with these settings beside or in place of the usual ones; its first file."""
    return _record


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's file, which no test changes."""
    return _record(tmp_path_factory.mktemp("recorded"))


@pytest.fixture
def plain_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A small page in the place of the built one."""
    path = tmp_path / "plain.html"
    path.write_text(PLAIN, encoding="utf-8")
    monkeypatch.setattr(pages, "BUILT", path)
    return PLAIN


@pytest.fixture
def serving() -> Iterator[Callable[..., Server]]:
    """Start a server of these files in a thread; it is closed after the test."""
    servers = []

    def start(*paths: Path, port: int = 0) -> Server:
        server = Server([path if isinstance(path, Shown) else Shown(path.name, path) for path in paths], port)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        servers.append((server, thread))
        return server

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()
