"""How long does the viewer's page take to show a large run, how smooth is its slider, and how much memory does it take?

    python tests/benchmarks/viewer_page.py [--samples 4000] [--rounds 5] [--json FILE]

A file as a run writes it, sparse, of which 64 samples are finished: 28 × 28, 70 steps; 4000 samples are 2.7 GB.
Chromium opens it from the disk, as a dropped file, and over the server of `emnist-diff view`, each time in a new
browser. The metadata are read when the page shows the file's name or begins to read states; their requests are those
for bytes before the first states. The slider then runs over all steps, one an animation frame: "input" is what the page
does in the event, "paint" what it does in the frame that follows, with style, layout and paint, of which "empty" is
what a frame takes while nothing moves. Medians of the rounds; of input, paint, empty and the time between frames, the
50th and the 95th percentile. Memory is what the page's process has for itself, after that. Needs Linux, playwright,
Chromium and the built page.
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

import h5py
from sidebyside import machine, machine_line

from emnist_diff_plugins.viewer.page import BUILT
from emnist_diff_plugins.viewer.serve import Server
from emnist_diff_plugins.viewer.shown import Shown

sys.path.insert(0, str(Path(__file__).parents[1] / "viewer"))

from live_run import LiveRun

from conftest import FLAGS

STEPS = 70
SCRUB = """async (moving) => {
  const slider = document.querySelector("input[data-steps]"), last = +slider.max, input = [], paint = [], frames = [];
  const channel = new MessageChannel();
  const frame = () => new Promise((resolve) => requestAnimationFrame((now) => {
    const begun = performance.now();
    channel.port1.onmessage = () => resolve([now, performance.now() - begun]);
    channel.port2.postMessage(0);
  }));
  let [before] = await frame();
  for (let step = 0; step < (moving ? 2 * last : 60); step += 1) {
    const following = frame(), begun = performance.now();
    if (moving) {
      slider.value = String(step % (last + 1));
      slider.dispatchEvent(new Event("input", { bubbles: true }));
    }
    input.push(performance.now() - begun);
    const [now, took] = await following;
    paint.push(took);
    frames.push(now - before);
    before = now;
  }
  return { input, paint, frames };
}"""
"""Moves the slider once an animation frame, or leaves it: milliseconds of the page's event, of its frame, and between
frames. A message that is posted at the beginning of a frame arrives once the frame is painted."""
PROBE = """(() => {
  const found = window.measured = { begun: 0, reads: [], named: Infinity };
  const { fetch } = window, { slice } = Blob.prototype;
  const note = (offset) => found.reads.push([performance.now(), offset]);
  window.fetch = (address, options) => {
    const range = /^bytes=(\\d+)-/.exec(options?.headers?.Range ?? "");
    if (range) note(+range[1]);
    return fetch(address, options);
  };
  Blob.prototype.slice = function (...range) {
    if (this instanceof File) note(range[0]);
    return slice.apply(this, range);
  };
  const name = () => document.querySelector(".opened select")?.value ?? document.querySelector(".opened")?.textContent;
  new MutationObserver(() => {
    if (name() === "trajectory.h5") found.named = Math.min(found.named, performance.now());
  }).observe(document, { childList: true, subtree: true, characterData: true });
})()"""
"""Notes when and from where the page reads bytes of the file, and when it shows the file's name."""


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


def first_states(path: Path) -> int:
    """Where the states begin in the file: all before them is metadata."""
    with h5py.File(path) as file:
        return min(data.id.get_offset() for data in file["trajectory"].values() if data.ndim > 3)


def percentiles(values: list[float]) -> tuple[float, float]:
    """The 50th and the 95th."""
    parts = statistics.quantiles(values, n=20)
    return parts[9], parts[18]


def private_memory(browser: Any) -> float:
    """Megabytes that the largest renderer has for itself."""
    found = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    texts = [Path(f"/proc/{one['id']}/smaps_rollup").read_text() for one in found if one["type"] == "renderer"]
    return max(sum(map(int, re.findall(r"^Private_\w+: +(\d+) kB", text, re.M))) * 1024 / 1e6 for text in texts)


def opened(tab: Any, address: str, file: Path, disk: bool) -> dict[str, float]:
    """Open the file in a tab: seconds and requests until the metadata are read, and until 64 frames are there."""
    tab.add_init_script(PROBE)
    begun = time.perf_counter()
    tab.goto(address)
    if disk:
        chooser = tab.get_by_label("Open trajectory files")
        chooser.wait_for(state="attached")
        begun = time.perf_counter()
        chooser.set_input_files(file)
    tab.locator(".opened", has_text=file.name).wait_for(state="attached")
    tab.get_by_role("listbox", name="Samples").get_by_role("option").nth(63).wait_for()
    first = time.perf_counter() - begun
    found, states = tab.evaluate("measured"), first_states(file)
    read = min(found["named"], *(at for at, offset in found["reads"] if offset >= states))
    return {
        "metadata, ms": read - found["reads"][0][0],
        "requests for them": sum(offset < states for _, offset in found["reads"]),
        "first frames, s": first, "requests": len(found["reads"]),
    }  # fmt: skip


def shown(browser: Any, address: str, file: Path, disk: bool) -> dict[str, float]:
    """One round: a tab opens the file, and its slider runs."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    tab = context.new_page()
    out = opened(tab, address, file, disk)
    tab.wait_for_timeout(1000)
    moved = {"empty": tab.evaluate(SCRUB, False)["paint"], **tab.evaluate(SCRUB, True)}
    out["frames a second"] = 1000 / statistics.mean(moved["frames"])
    for part in ("input", "paint", "empty"):
        out[f"{part} p50, ms"], out[f"{part} p95, ms"] = percentiles(moved[part])
    out["frame p95, ms"] = percentiles(moved["frames"])[1]
    out["memory, MB"] = private_memory(browser)
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
                rows.append(shown(browser, address, file, name == "disk"))
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
    sizes = {"file": size, "page": len(page), "page, gzip": len(gzip.compress(page))}
    print(machine_line(described, described["cores"]))
    print(f"a file of {size / 1e9:.1f} GB; the page has {len(page)} bytes, {sizes['page, gzip']} with gzip\n")
    print(f"| from | {' | '.join(found['disk'])} |\n|{' --- |' * (1 + len(found['disk']))}")
    for name, row in found.items():
        print(f"| {name} | {' | '.join(f'{value:.3g}' for value in row.values())} |")
    if options.json is not None:
        result = {"machine": described, "bytes": sizes, **found}
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
