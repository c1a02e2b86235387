"""The viewer on difficult files, in Chromium: huge, still written, damaged, hostile; and in a notebook's frame."""

from __future__ import annotations

import base64
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import pytest

from emnist_diff_plugins.viewer.notebook import FRAME, Answers
from emnist_diff_plugins.viewer.shown import Shown

sys.path.insert(0, str(Path(__file__).parent))

from live_run import LiveRun

Tab = Any
GIGABYTE = 1 << 30
NOTEBOOK = """async (widget) => {
  const hearers = new Set();
  const bytes = (text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const model = {
    on: (_, hear) => hearers.add(hear),
    off: (_, hear) => hearers.delete(hear),
    send: async (request) => {
      const [message, texts] = await window.kernel(request);
      for (const hear of hearers) hear(message, texts.map(bytes));
    },
  };
  const { default: { render } } = await import(URL.createObjectURL(new Blob([widget], { type: "text/javascript" })));
  Object.assign(window, { hearers, end: render({ model, el: document.querySelector("main") }) });
}"""
"""What shows the widget as a notebook does, with Python's `kernel` for a kernel."""


def slider(tab: Tab) -> Any:
    return tab.get_by_role("slider", name="Step", exact=True)


def samples(tab: Tab) -> Any:
    return tab.get_by_role("listbox", name="Samples").get_by_role("option")


def private_memory(browser: Any) -> int:
    """Bytes that the largest of the browser's renderers has for itself."""
    session = browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    out = []
    for process in processes:
        if process["type"] == "renderer":
            text = Path(f"/proc/{process['id']}/smaps_rollup").read_text()
            out.append(sum(int(kilobytes) for kilobytes in re.findall(r"^Private_\w+: +(\d+) kB", text, re.M)) << 10)
    return max(out)


@pytest.fixture
def huge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of more than 2 GB, of which the disk holds 64 samples."""
    path = tmp_path / "huge.h5"
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", lambda file, start, size: os.ftruncate(file, size))
        patch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(1 << 50, 0, 1 << 50))
        run = LiveRun(path, samples=4000, side=28, steps=70)
        run.commit(range(64))
        run.writer.close()
    assert path.stat().st_size > 2 * GIGABYTE
    assert path.stat().st_blocks * 512 < GIGABYTE / 4
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of processes is read from /proc")
def test_a_file_of_two_gigabytes_opens_at_once_and_takes_little_memory(huge: Path, serving, open_page, chromium):
    server = serving(huge)
    tab = open_page("", origin=server.address)
    requests: list[Any] = []
    tab.on("request", lambda request: requests.append(request) if "/file/" in request.url else None)
    began = time.perf_counter()
    tab.goto(server.address)
    samples(tab).nth(63).wait_for()
    took = time.perf_counter() - began
    first = len(requests)
    for key in ["Home", *["ArrowRight"] * 40, "End"]:
        tab.keyboard.press(key)
    tab.wait_for_timeout(300)
    received = sum(request.sizes()["responseBodySize"] for request in requests)
    memory = private_memory(chromium)
    print(
        f"{took:.2f} s to the first frames in {first} requests; {received / 1e6:.0f} MB, memory {memory / 1e6:.0f} MB"
    )
    assert took < 5
    assert first <= 80
    assert received < 100e6
    assert memory < 300e6


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of processes is read from /proc")
def test_the_benchmark_of_the_page_runs(chromium: Any, tmp_path: Path):
    script = Path(__file__).parents[1] / "benchmarks" / "viewer_page.py"
    words = ("--samples", "64", "--rounds", "1", "--json", str(tmp_path / "found.json"))
    subprocess.run([sys.executable, str(script), *words], check=True, capture_output=True, timeout=120)
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["disk"].keys() == found["server"].keys()
    for row in (found["disk"], found["server"]):
        assert 1 <= row["requests for them"] <= 2 < row["requests"]
        assert 0 < row["metadata, ms"] < 1000 * row["first frames, s"]
        assert 0 < row["input p50, ms"] <= row["input p95, ms"]
        assert 0 < row["frames a second"] < 1000
    assert 0 < found["bytes"]["page, gzip"] < found["bytes"]["page"]


def test_samples_of_a_run_that_goes_on_appear(show, tmp_path: Path):
    path = tmp_path / "live.h5"
    command = [sys.executable, str(Path(__file__).with_name("live_run.py")), str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        try:
            assert writer.stdout.readline() == "ready\n"
            tab = show(path)
            assert samples(tab).count() == 1
            for count in (2, 3):
                writer.stdin.write("\n")
                writer.stdin.flush()
                samples(tab).nth(count - 1).wait_for()
                assert samples(tab).count() == count
            tab.keyboard.press("Home")
            assert slider(tab).input_value() == "0"
        finally:
            writer.kill()


def test_damaged_files_are_refused_in_a_line_and_what_was_open_stays(open_page, show, recorded: Path, tmp_path: Path):
    tab = show(recorded)
    noise = random.Random(3)
    content = recorded.read_bytes()
    for name, data in {
        "cut.h5": content[: len(content) // 2],
        "head.h5": content[:600],
        "empty.h5": b"",
        "noise.h5": noise.randbytes(200_000),
        "zeros.h5": bytes(100_000),
        "text.h5": b"<script>window.harmed = 1</script>",
    }.items():
        path = tmp_path / name
        path.write_bytes(data)
        tab.get_by_label("Open trajectory files").set_input_files(path)
        alert = tab.get_by_role("alert").filter(has_text=name)
        alert.wait_for()
        line = alert.inner_text().strip()
        assert "undefined" not in line
        assert len(line) < 300
        assert samples(tab).count() == 6
    for seed in range(25):
        noise.seed(seed)
        flipped = bytearray(content)
        for _ in range(40):
            flipped[noise.randrange(40_000)] ^= 1 << noise.randrange(8)
        path = tmp_path / f"flipped{seed}.h5"
        path.write_bytes(flipped)
        tab.get_by_label("Open trajectory files").set_input_files(path)
        tab.get_by_text(path.name).first.wait_for()
    tab.get_by_label("Open trajectory files").set_input_files(recorded)
    tab.get_by_text(re.compile("^Opening ")).wait_for(state="hidden")  # only then is it the one that keys move
    tab.keyboard.press("Home")
    assert slider(tab).input_value() == "0"


def test_names_and_texts_in_a_file_are_shown_and_never_run(show, record, recorded: Path, tmp_path: Path):
    attack = '"><img src=x onerror="window.harmed=1"><script>window.harmed=1</script>'
    path = tmp_path / f"{attack.replace('/', '')}.h5"
    denoiser = {"name": "gaussian-mixture", "shape": [1, 16, 16], "classes": [attack, "B"]}
    forces = [{"name": "attract_class", "target": attack}]
    shutil.move(record(tmp_path / "run", denoiser=denoiser, character=[attack, "B"], forces=forces), path)
    with h5py.File(path, "r+") as file:
        file.move("forces/00_attract_class", f"forces/00_{attack.replace('/', '')}")
        file.attrs["creator"] = attack
    other = Shown("other.h5", recorded)
    tab = show(Shown(path.name, path), other)
    assert attack in tab.locator("body").inner_text()
    for view in ("Look", "Compare", "Story", "About"):
        tab.get_by_role("button", name=view, exact=True).click()
        tab.keyboard.press("Home")
        tab.wait_for_timeout(150)
        assert not tab.evaluate("'harmed' in window")
        assert not tab.locator("img[src=x]").count()


def test_in_a_notebook_s_frame_the_page_reads_by_messages(open_page, recorded: Path, tmp_path: Path):
    answers = Answers.of([Shown("trajectory.h5", recorded)])
    (tmp_path / "notebook.html").write_text("<!doctype html><title>notebook</title><main></main>", encoding="utf-8")
    tab = open_page((tmp_path / "notebook.html").as_uri())

    def kernel(request: Any) -> Any:
        message, buffers = answers.answer(request)
        return message, [base64.b64encode(data).decode() for data in buffers]

    tab.expose_function("kernel", kernel)
    tab.evaluate(NOTEBOOK, FRAME.read_text(encoding="utf-8"))
    page = tab.frame_locator("iframe")
    page.get_by_role("slider", name="Step", exact=True).wait_for()
    assert page.get_by_role("listbox", name="Samples").get_by_role("option").count() == 6
    assert tab.locator("iframe").get_attribute("sandbox") == "allow-scripts allow-downloads"
    assert tab.evaluate("(window.end(), window.hearers.size)") == 0
