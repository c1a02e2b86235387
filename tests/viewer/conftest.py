"""Small runs, and the viewer's server beside a test."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emnist_diff_plugins.viewer import page as pages
from emnist_diff_plugins.viewer.serve import Server
from emnist_diff_plugins.viewer.shown import Shown

sys.path.insert(0, str(Path(__file__).parent))

import recorded_runs

VIEWER = Path(__file__).parents[2] / "plugins" / "viewer"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PLAIN = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>v</title>
<script type="module">document.title = "ran"</script><style>p { color: red }</style></head><body></body></html>"""


@pytest.fixture(scope="session")
def record() -> Callable[..., Path]:
    """Record a run into a folder, with these settings beside or in place of the usual ones; its first file."""
    return recorded_runs.record


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's file, which no test changes."""
    return recorded_runs.record(tmp_path_factory.mktemp("recorded"))


@pytest.fixture(scope="session")
def attended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the shipped checkpoint, and beside it the attention that was captured from it."""
    folder = tmp_path_factory.mktemp("attended")
    forces = [{"name": "attract_class", "target": "B"}]
    path = recorded_runs.record(folder, denoiser=None, character="A,B", total_videos=2, steps=4, forces=forces)
    command = [sys.executable, "-m", "emnist_diff", "attend", str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return path


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

    def start(*paths: Path | Shown, port: int = 0) -> Server:
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


def _require(found: Any, message: str) -> None:
    """Skip the test where something is missing, but fail it in continuous integration, which has everything."""
    if not found:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(message)


@pytest.fixture(scope="session")
def require() -> Callable[[Any, str], None]:
    """Call it with what a test needs, and how one gets it."""
    return _require


@pytest.fixture(scope="session")
def built_for_node(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Build a module of the page's source as a script of node."""
    missing = "node" if shutil.which("node") is None else "node_modules"
    there = missing != "node" and (VIEWER / "node_modules").is_dir()
    _require(there, f"{missing} is not there: npm ci --ignore-scripts --prefix plugins/viewer")

    def build(entry: str) -> Path:
        folder = tmp_path_factory.mktemp("built")
        command = ["npx", "vite", "build", "-c", "vite.reader.config.ts", "--logLevel", "warn"]
        variables = {**os.environ, "READER_OUT": str(folder), "READER_ENTRY": entry}
        subprocess.run(command, cwd=VIEWER, check=True, env=variables)
        return folder / "reader.mjs"

    return build


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """One browser for all tests."""
    _require(importlib.util.find_spec("playwright"), "playwright is not installed: pip install -e '.[test]'")
    _require(pages.BUILT.is_file(), "the page is not built: npm ci --ignore-scripts && npm run page, in plugins/viewer")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    _require(program, "there is no Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Open an address in a tab of its own, or an empty tab for an address of `origin`. No tab may have reported an
    error, such as a breach of the page's policy, or have requested anything of another server."""
    problems: list[str] = []
    contexts = []

    def start(address: str, width: int = 1440, origin: str = "", **options: Any) -> Any:
        context = chromium.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(20_000)
        allowed = ("/".join((origin or address).split("/")[:3]), "blob:", "data:")
        tab.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("request", lambda sent: None if sent.url.startswith(allowed) else problems.append(sent.url))
        if address:
            tab.goto(address)
        return tab

    yield start
    for context in contexts:
        context.close()
    assert not problems


@pytest.fixture
def show(serving: Callable[..., Server], open_page: Callable[..., Any]) -> Callable[..., Any]:
    """Open these files in a tab, as ``emnist-diff view`` serves them; when it returns, the first frames are there."""

    def start(*paths: Path | Shown, hash: str = "", **options: Any) -> Any:
        tab = open_page(serving(*paths).address + hash, **options)
        tab.get_by_role("slider", name="Step", exact=True).wait_for()
        return tab

    return start
