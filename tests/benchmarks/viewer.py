"""How long does the viewer take to open a large file and to read what a frame shows, beside h5wasm?

    npm install --prefix FOLDER h5wasm
    python tests/benchmarks/viewer.py [--peer FOLDER] [--megabytes 2000] [--rounds 9] [--json FILE]

A file of that size, sparse, with the datasets of a run; in each round a new process of node, as a page is new, opens
it, lists all that is in it, and reads one column of 64 samples, which is what a frame of the slider shows, 8 times at
other columns. Files are in the system's cache. Also: bytes of the page, beside those of the library alone.

--peer names a folder in which h5wasm is installed; without it there is no comparison. Both must read the same numbers.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from sidebyside import Ratio, machine, machine_line

VIEWER = Path(__file__).parents[2] / "plugins" / "viewer"
PAGE = VIEWER.parent / "emnist_diff_plugins" / "viewer" / "static" / "viewer.html"
STEPS, SAMPLES, COLUMNS = 51, 64, 8
FIELDS = ("x", "x0", "prediction", "base")

THEIRS = """
import { createHash } from "node:crypto";
const begin = performance.now();
const { default: h5wasm } = await import(process.argv[2] + "/node_modules/h5wasm/dist/node/hdf5_hl.js");
await h5wasm.ready;
const ready = performance.now();
const file = new h5wasm.File(process.argv[3], "r");
const visit = (group) => group.keys().forEach((name) => {
  const item = group.get(name);
  return item.keys ? visit(item) : item.shape;
});
visit(file);
const opened = performance.now();
const hash = createHash("sha256"), reads = [];
for (let column = 0; column < 8; column++) {
  const before = performance.now();
  const slice = [[0, 64], [6 * column, 6 * column + 1], [0, 1], [0, 28], [0, 28]];
  const numbers = file.get("trajectory/base").slice(slice);
  reads.push(performance.now() - before);
  hash.update(new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength));
}
console.log(JSON.stringify({ load: ready - begin, open: opened - ready, read: reads, sha256: hash.digest("hex") }));
"""

OURS = """
import { createHash } from "node:crypto";
const begin = performance.now();
const { openHdf5, fileSource, openAsBlob } = await import(process.argv[2] + "/reader.mjs");
const ready = performance.now();
const source = fileSource(await openAsBlob(process.argv[3]), "large.h5");
const file = await openHdf5(source);
const opened = performance.now();
const requests = source.requests;
const hash = createHash("sha256"), reads = [];
for (let column = 0; column < 8; column++) {
  const before = performance.now();
  const numbers = await file.dataset("trajectory/base").read([0, 6 * column, 0, 0, 0], [64, 1, 1, 28, 28]);
  reads.push(performance.now() - before);
  hash.update(new Uint8Array(numbers.buffer));
}
const parts = { load: ready - begin, open: opened - ready, read: reads };
console.log(JSON.stringify({ ...parts, sha256: hash.digest("hex"), requests }));
"""


def large_file(path: Path, megabytes: int) -> None:
    """A sparse file with the datasets of a run; the samples that are read hold numbers."""
    rows = max(SAMPLES, megabytes * 10**6 // (len(FIELDS) * STEPS * 784 * 4))
    with h5py.File(path, "w") as file:
        file["config"] = json.dumps({"settings": list(range(500))})
        for name in ("step", "timestep", "alpha_bar", "sigma", "evaluations"):
            file[f"schedule/{name}"] = np.arange(STEPS - 1.0)
        for name in ("id", "seed", "label", "steps_done"):
            file[f"samples/{name}"] = np.arange(rows)
        file.create_dataset("samples/classes", data=[chr(65 + i) for i in range(26)], dtype=h5py.string_dtype())
        data = [file.create_dataset(f"trajectory/{name}", (rows, STEPS, 1, 28, 28), "f4") for name in FIELDS]
        for states in data:
            states[rows - 1, -1] = 1.0
        data[-1][:SAMPLES] = np.random.default_rng(0).normal(size=(SAMPLES, STEPS, 1, 28, 28))


def measured(script: Path, folder: Path, file: Path) -> dict[str, Any]:
    """What one process found: milliseconds of each part, and the hash of what it read."""
    done = subprocess.run(["node", str(script), str(folder), str(file)], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"node {script.name} failed: {done.stderr.strip()}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def build(folder: Path) -> None:
    """The reader as a module of node."""
    entry = folder / "entry.ts"
    source = VIEWER / "src" / "reader"
    entry.write_text(
        f'export {{ openHdf5 }} from "{source}/hdf5";\nexport {{ fileSource }} from "{source}/source";\n'
        'export { openAsBlob } from "node:fs";\n'
    )
    command = ["npx", "vite", "build", "-c", "vite.reader.config.ts", "--logLevel", "warn"]
    variables = {**os.environ, "READER_OUT": str(folder), "READER_ENTRY": str(entry)}
    subprocess.run(command, cwd=VIEWER, check=True, env=variables)


def rounds(folder: Path, peer: Path | None, file: Path, count: int) -> dict[str, list[dict[str, Any]]]:
    """What all rounds found, in turns; the first is not counted."""
    scripts = {"this": (OURS, folder)} | ({} if peer is None else {"h5wasm": (THEIRS, peer.resolve())})
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in scripts}
    for name, (text, _) in scripts.items():
        (folder / f"{name}.mjs").write_text(text)
    for turn in range(count + 1):
        for name in [*scripts][:: 1 if turn % 2 else -1]:
            one = measured(folder / f"{name}.mjs", scripts[name][1], file)
            if turn:
                found[name].append(one)
    if len({one["sha256"] for all_of in found.values() for one in all_of}) != 1:
        sys.exit("they do not read the same numbers")
    return found


def sizes(folder: Path, peer: Path | None) -> dict[str, int]:
    """Bytes of what a browser must load."""
    files = {"page": PAGE, "reader": folder / "reader.mjs"}
    if peer is not None:
        files["h5wasm"] = peer / "node_modules" / "h5wasm" / "dist" / "esm" / "hdf5_util.js"
    bytes_of = {name: path.read_bytes() for name, path in files.items() if path.exists()}
    return {name: len(data) for name, data in bytes_of.items()} | {
        f"{name}, gzip": len(gzip.compress(data)) for name, data in bytes_of.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--megabytes", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder)
        file = folder / "large.h5"
        large_file(file, options.megabytes)
        found = rounds(folder, options.peer, file, options.rounds)
        size = sizes(folder, options.peer)
    described = machine()
    print(machine_line(described, described["cores"]))
    print("\n| reader | load, ms | open, ms | first frame, ms | further frames, ms |\n| --- | --- | --- | --- | --- |")
    result: dict[str, Any] = {"machine": described, "bytes": size}
    for name, every in found.items():
        row = {part: statistics.median(one[part] for one in every) for part in ("load", "open")}
        row["first"] = statistics.median(one["read"][0] for one in every)
        row["further"] = statistics.median(value for one in every for value in one["read"][1:])
        result[name] = row
        print(f"| {name} | {' | '.join(f'{value:.1f}' for value in row.values())} |")
    result["requests"] = found["this"][0]["requests"]
    print(f"\nrequests to open it: {result['requests']}; bytes: {', '.join(f'{k} {v}' for k, v in size.items())}")
    if options.peer is not None:
        ratio = Ratio.of(*([one["load"] + one["open"] for one in found[name]] for name in ("h5wasm", "this")))
        print(f"h5wasm / this, load and open: {ratio}")
        result["ratio"] = ratio.median
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
