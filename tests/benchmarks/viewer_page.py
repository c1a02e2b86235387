"""How long does the viewer's page take to show a large run, how smooth is its slider, and how much memory does it take?

    python tests/benchmarks/viewer_page.py [--samples 4000] [--rounds 5] [--json FILE]

A file as a run writes it, sparse, of which 64 samples are finished: 28 × 28, 70 steps; 4000 samples are 2.7 GB.
Chromium opens it from the disk, as a dropped file, and over the server of `emnist-diff view`, each time in a new
browser. The slider then runs over all steps, one an animation frame. Medians of the rounds; of the work for a step and
of frames, the 50th and the 95th percentile. Needs playwright, Chromium and the built page.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import shutil
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from unittest import mock

from sidebyside import machine, machine_line

from emnist_diff_plugins.viewer.page import BUILT
from emnist_diff_plugins.viewer.serve import Server
from emnist_diff_plugins.viewer.shown import Shown

sys.path.insert(0, str(Path(__file__).parents[1] / "viewer"))

from live_run import LiveRun

from conftest import FLAGS

STEPS = 70
SCRUB = """async () => {
  const slider = document.querySelector("input[data-steps]"), last = +slider.max, work = [], frames = [];
  const frame = () => new Promise(requestAnimationFrame);
  let before = await frame();
  for (let step = 0; step < 2 * last; step += 1) {
    const begun = performance.now();
    slider.value = String(step % (last + 1));
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    work.push(performance.now() - begun);
    const now = await frame();
    frames.push(now - before);
    before = now;
  }
  return { work, frames };
}"""
"""Moves the slider once an animation frame: milliseconds that the page's own code takes, and between frames."""


def large_file(path: Path, samples: int) -> None:
    """A sparse file as a run writes it; the first 64 samples are finished."""
    endless = shutil._ntuple_diskusage(1 << 50, 0, 1 << 50)
    with (
        mock.patch.object(os, "posix_fallocate", lambda file, start, size: os.ftruncate(file, size)),
        mock.patch.object(shutil, "disk_usage", return_value=endless),
    ):
        run = LiveRun(path, samples=samples, side=28, steps=STEPS)
        run.commit(range(64))
        run.writer.close()


def percentiles(values: list[float]) -> tuple[float, float]:
    """The 50th and the 95th."""
    parts = statistics.quantiles(values, n=20)
    return parts[9], parts[18]


def private_memory(browser: Any) -> float:
    """Megabytes that the largest renderer has for itself."""
    found = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    texts = [Path(f"/proc/{one['id']}/smaps_rollup").read_text() for one in found if one["type"] == "renderer"]
    return max(sum(map(int, re.findall(r"^Private_\w+: +(\d+) kB", text, re.M))) / 1024 for text in texts)


def shown(browser: Any, address: str, file: Path | None) -> dict[str, float]:
    """One round: a tab opens the file, and its slider runs.  file: of the disk; None for what the address serves."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    tab = context.new_page()
    requests: list[str] = []
    tab.on("request", lambda sent: requests.append(sent.url) if "/file/" in sent.url else None)
    begun = time.perf_counter()
    tab.goto(address)
    if file is not None:
        tab.get_by_label("Open trajectory files").wait_for(state="attached")
        begun = time.perf_counter()
        tab.get_by_label("Open trajectory files").set_input_files(file)
    tab.get_by_text(re.compile(file.name if file else "trajectory")).first.wait_for(state="attached")
    tab.get_by_role("listbox", name="Samples").get_by_role("option").nth(63).wait_for()
    first = time.perf_counter() - begun
    counted = len(requests)
    tab.wait_for_timeout(1000)
    moved = tab.evaluate(SCRUB)
    work, frames = percentiles(moved["work"]), percentiles(moved["frames"])
    out = {
        "first frames, s": first, "requests": counted, "frames a second": 1000 / statistics.mean(moved["frames"]),
        "work p50, ms": work[0], "work p95, ms": work[1], "frame p95, ms": frames[1],
        "memory, MB": private_memory(browser),
    }  # fmt: skip
    context.close()
    return out


def measure(file: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Medians by where the file comes from, measured in turns."""
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    server = Server([Shown(file.name, file)], 0)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    found: dict[str, list[dict[str, float]]] = {"disk": [], "server": []}
    with sync_playwright() as playwright:
        for _ in range(rounds):
            for name, rows in found.items():
                browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
                address = BUILT.as_uri() if name == "disk" else server.address
                rows.append(shown(browser, address, file if name == "disk" else None))
                browser.close()
    server.shutdown()
    server.server_close()
    return {name: {key: statistics.median(row[key] for row in rows) for key in rows[0]} for name, rows in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trajectory.h5"
        large_file(file, options.samples)
        size = file.stat().st_size
        found = measure(file, options.rounds)
    described, page = machine(), BUILT.read_bytes()
    print(machine_line(described, described["cores"]))
    print(f"a file of {size / 1e9:.1f} GB; the page has {len(page)} bytes, {len(gzip.compress(page))} with gzip\n")
    print(f"| from | {' | '.join(found['disk'])} |\n|{' --- |' * (1 + len(found['disk']))}")
    for name, row in found.items():
        print(f"| {name} | {' | '.join(f'{value:.3g}' for value in row.values())} |")
    if options.json is not None:
        result = {"machine": described, "bytes": {"file": size, "page": len(page)}, **found}
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
