"""Plugins that end the process, never come back, or print where they must not: named, and kept from the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HOOK = """
from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import ForceSpec

@hookimpl
def emnist_diff_forces():
"""

SOURCES = {
    "base-exception": "class Odd(BaseException):\n    pass\nraise Odd('no\\x1b[2J')\n",
    "chatty": "import os\nprint('hello from chatty')\nos.write(1, b'raw words')\n"
    + HOOK
    + "    print('more')\n    yield ForceSpec(name='talk', factory='a:B', summary='talks')\n",
    "endless-records": HOOK + "    while True:\n        yield ForceSpec(name='x', factory='a:B', summary='again')\n",
    "exits": "import os\nos._exit(0)\n",
    "exits-in-hook": HOOK + "    import os\n    os._exit(7)\n    yield\n",
    "exits-politely": "raise SystemExit(3)\n",
    "generator-exit": "raise GeneratorExit\n",
    "exits-later": HOOK + "    yield ForceSpec(name='end', factory='exits:Force', summary='ends')\n",
    "good": HOOK + "    yield ForceSpec(name='fine', factory='good.force:Force', summary='does well')\n",
    "interrupts": "raise KeyboardInterrupt\n",
    "kills": "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n",
    "long-summary": HOOK + "    yield ForceSpec(name='x', factory='a:B', summary='y' * 5_000_000)\n",
    "odd-summary": HOOK + "    yield ForceSpec(name='x', factory='a:B', summary='clear\\x1b[2J\\nscreen')\n",
    "speechless": "class Odd(Exception):\n    def __str__(self):\n        raise RuntimeError\nraise Odd\n",
    "sleeps": "import time\ntime.sleep(60)\n",
}

BROKEN = {
    "base-exception": r"Odd: no\x1b[2J",
    "endless-records": "emnist_diff_forces yields more than 1000 records",
    "exits": "importing it ends the process, with exit code 0",
    "exits-in-hook": "importing it ends the process, with exit code 7",
    "exits-politely": "SystemExit: 3",
    "generator-exit": "GeneratorExit",
    "interrupts": "it raises KeyboardInterrupt when it is imported",
    "kills": "importing it ends the process, by SIGSEGV",
    "long-summary": "'summary' must be one line of printable text, at most 1000 characters",
    "odd-summary": "'summary' must be one line of printable text, at most 1000 characters",
    "speechless": "Odd",
    "sleeps": "importing it did not end within 1 seconds",
}

COMMAND = """
import sys
from emnist_diff_plugins.terminal import isolation
from emnist_diff import main
isolation.PATIENCE = 1.0
sys.argv[0] = "emnist-diff"
main()
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all of them, as an installer leaves distributions."""
    folder = tmp_path_factory.mktemp("site")
    for distribution, source in SOURCES.items():
        module = distribution.replace("-", "_")
        (folder / f"{module}.py").write_text(source)
        info = folder / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[emnist_diff]\n{distribution} = {module}\n")
    return folder


def command(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k != "EMNIST_DIFF_PLUGINS"}
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *words],
        capture_output=True,
        text=True,
        env={**env, "PYTHONPATH": str(site)},
        timeout=60,
    )


@pytest.mark.skipif(os.name != "posix", reason="forks")
def test_each_is_named_and_stops_nothing(site):
    done = command(site, "plugins", "list", "--json")
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)  # nothing that a plugin prints is in between
    assert "hello from chatty" in done.stderr
    assert "raw words" in done.stderr
    said = {item["distribution"]: item["error"] for item in listed["broken"]}
    assert said.keys() == BROKEN.keys()
    for distribution, expected in BROKEN.items():
        assert expected in said[distribution]
        assert len(said[distribution]) < 1000
    assert {"fine", "talk", "attract_class"} <= {item["name"] for item in listed["components"]}
    assert max(len(item["traceback"]) for item in listed["broken"]) <= 20_001


@pytest.mark.skipif(os.name != "posix", reason="forks")
def test_a_component_that_ends_the_process_when_it_is_loaded_is_named(site):
    done = command(site, "plugins", "show", "end")
    assert done.returncode == 3
    assert "force 'end' of exits-later 1.0" in done.stderr
    assert "it ends the process, with exit code 0" in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="forks")
def test_a_file_that_ends_the_process_is_named(site):
    done = command(site, "plugins", "list", "--plugin-file", str(site / "exits.py"))
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].endswith(
        "exits.py' cannot be loaded: importing it ends the process, with exit code 0"
    )
