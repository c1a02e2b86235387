"""How does the cost of a run grow: with forces, with the classes that they name, with samples, and with what is kept?

    python tests/benchmarks/scaling.py [--parts forces,classes,samples,recording,logs] [--rounds 5] [--steps 5]
                                       [--backend eager] [--most 10000]

- forces: N = 0 … 16 forces over two classes, in seconds and in processor seconds, which a busy machine hardly changes.
  The conditions of a step are the same from N = 2 on, so the cost should be too; without forces there are two
  conditions fewer, which is printed beside it.
- classes: one force for each of U classes, added to the unconditional prediction, so that a step reads U + 1
  conditions. A line is fitted to the medians over U + 1; its intercept and largest residual say how linear it is.
- samples: 16 … 10,000 samples of a Gaussian mixture (1×28×28), which is as fast as the engine's own arithmetic allows
  and therefore the strictest, and 16 … 1/10 of that with the shipped checkpoint. Each count runs in a process of its
  own, whose peak memory is told.
- recording: the hdf5 sink with every field, beside no sink. Inside the sink: what it takes of the thread it works in.
- logs: `run --dashboard` on a terminal, and log lines alone (`dashboard.py` with the same figures).
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import structlog
from sidebyside import Ratio, Timed, Took, interleaved, machine, machine_line

from emnist_diff.assembly.assemble import Assembly
from emnist_diff.discovery import installed
from emnist_diff.running.run import execute, prepare
from emnist_diff_plugins.layers import configure
from emnist_diff_plugins.machine.processors import usable_cpus

NAMES = "ABCDEFGHIJKLMNOP"
PARTS = "forces,classes,samples,recording,logs"
FIELDS = ["x", "x0", "prediction", "base", "forces", "drifts"]


def assembled(asked: argparse.Namespace, **more: Any) -> Assembly:
    """A run of 16 samples without sinks."""
    layer = {"total_videos": 16, "steps": asked.steps, "sinks": [], "scheduler": "ddim", "device": "cpu",
             "threads": asked.threads, "backend": asked.backend, **more}  # fmt: skip
    return prepare(installed(), configure(installed(), layer)[0])


def toward(names: str, **more: Any) -> list[dict[str, Any]]:
    """A weak force toward each of these classes."""
    return [{"name": "attract_class", "target": name, "weight": 0.1, **more} for name in names]


def timed(assemblies: dict[int, Assembly], rounds: int) -> dict[int, Took]:
    """What each run takes in each round, interleaved."""
    ways: dict[str, Callable[[], object]] = {str(key): lambda a=a: execute(a) for key, a in assemblies.items()}  # type: ignore[misc]  # the loop's own variable
    for way in ways.values():
        way()
    return {int(key): times for key, times in interleaved(ways, rounds).items()}


def forces(asked: argparse.Namespace) -> dict[str, Any]:
    """Cost against the number of forces over two classes."""
    counts = (0, 2, 4, 8, 12, 16)
    stacks = {n: toward("BO" * (n // 2)) for n in counts}
    took = timed({n: assembled(asked, forces=stack) for n, stack in stacks.items()}, asked.rounds)
    print("\nforces over two classes: seconds, and beside two forces; CPU seconds, and beside two forces")
    wall, cpu = ({n: Ratio.of(getattr(took[n], of), getattr(took[2], of)) for n in counts} for of in ("wall", "cpu"))
    for n in counts:
        times = took[n]
        print(f"{n:4d} {statistics.median(times.wall):8.3f}   {wall[n]} {statistics.median(times.cpu):8.3f}   {cpu[n]}"
              + ("   (two conditions fewer)" if not n else ""))  # fmt: skip
    worst, worst_cpu = (max(abs(ratios[n].median - 1) for n in counts if n) for ratios in (wall, cpu))
    print(f"largest difference between 2 and 16 forces: {worst:.1%}, of CPU seconds {worst_cpu:.1%}")
    return {"seconds": {n: statistics.median(t.wall) for n, t in took.items()}, "largest_difference": worst,
            "largest_difference_cpu": worst_cpu}  # fmt: skip


def classes(asked: argparse.Namespace) -> dict[str, Any]:
    """Cost against the number of classes that forces name."""
    counts = (1, 2, 3, 5, 7, 11, 15)
    runs = {u: assembled(asked, base="uncond", forces=toward(NAMES[:u])) for u in counts}
    took = timed(runs, asked.rounds)
    x = np.array([u + 1 for u in counts], float)
    print("\nforces over U classes: network rows a step, rows of a call, seconds, and distance from the line")
    out = {}
    for clock in ("wall", "cpu"):
        y = np.array([statistics.median(getattr(took[u], clock)) for u in counts])
        slope, intercept = np.polyfit(x, y, 1)
        residuals = y - (slope * x + intercept)
        for u, seconds, residual in zip(counts, y, residuals, strict=True):
            plan = runs[u].plan
            print(
                f"{u:4d} {plan.rows // asked.steps:6d} {plan.micro_batch:4d} {seconds:8.3f} {residual / seconds:+.1%}"
            )
        fit = float(1 - residuals.var() / y.var())
        print(f"{clock} seconds = {slope:.4f} (U + 1) {intercept:+.4f}; R² = {fit:.4f}")
        out[clock] = {"slope": slope, "intercept": intercept, "r_squared": fit,
                      "largest_residual": float(np.abs(residuals / y).max())}  # fmt: skip
    return out


def one(asked: argparse.Namespace) -> None:
    """What a process of its own does: one run, and a line of JSON about it."""
    more: dict[str, Any] = {"total_videos": asked.one, "steps": 2}
    if asked.mixture:
        more |= {"denoiser": {"name": "gaussian-mixture", "shape": [1, 28, 28], "classes": "ABC"}, "backend": "eager"}
    with tempfile.TemporaryDirectory() as folder:
        assembly = assembled(asked, output=folder, sinks=[{"name": "hdf5", "fields": ["x"]}], **more)
        began = time.process_time()
        seconds = execute(assembly).seconds
        cpu = time.process_time() - began
    print(json.dumps({"samples": asked.one, "seconds": seconds, "cpu": cpu, "peak_mb": peak()}))


def peak() -> float:
    """The most memory that this process has had, in MB. On Linux getrusage tells its parent's where that was more."""
    with suppress(OSError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def samples(asked: argparse.Namespace) -> dict[str, Any]:
    """Cost and memory against the number of samples."""
    out = {}
    for network, most in (("mixture", asked.most), ("shipped", asked.most // 10)):
        counts = [n for n in (16, 64, 256, 1024, 4096, 10_000, 40_000) if n < most] + [most]
        command = [sys.executable, __file__, "--backend", asked.backend, "--threads", str(asked.threads)]
        command += ["--mixture"] if network == "mixture" else []
        print(f"\nsamples, {network}, 2 steps, states recorded: seconds, ms a sample, CPU ms a sample, peak memory")
        rows = []
        for count in counts:
            tries = [
                json.loads(subprocess.run([*command, "--one", str(count)], check=True, capture_output=True).stdout)
                for _ in range(3)
            ]
            row = {key: statistics.median(t[key] for t in tries) for key in ("samples", "seconds", "cpu", "peak_mb")}
            rows.append(row)
            print(f"{count:6d} {row['seconds']:9.3f} {1e3 * row['seconds'] / count:8.3f} "
                  f"{1e3 * row['cpu'] / count:8.3f} {row['peak_mb']:8.0f} MB",
                  flush=True)  # fmt: skip
        out[network] = rows
    return out


def recording(asked: argparse.Namespace) -> dict[str, Any]:
    """What keeping every field takes."""
    more = {"forces": toward("BO"), "drifts": [{"name": "default", "noise_scale": 0.01}], "total_videos": 64}
    steps = {"steps": max(asked.steps, 10)}
    inside: list[float] = []

    def run(kept: bool) -> None:
        with tempfile.TemporaryDirectory() as folder:
            sinks = [{"name": "hdf5", "fields": FIELDS}] if kept else []
            assembly = assembled(asked, output=folder, sinks=sinks, **more, **steps)
            watched = tuple(Timed(sink) for sink in assembly.sinks)
            seconds[kept].append(execute(attrs.evolve(assembly, sinks=watched)).seconds)
            inside.extend(sink.seconds / seconds[kept][-1] for sink in watched)

    seconds: dict[bool, list[float]] = {True: [], False: []}
    interleaved({"kept": lambda: run(True), "not": lambda: run(False)}, asked.rounds)
    ratio = Ratio.of(seconds[True], seconds[False])
    print(f"\nrecording every field of 64 samples: {statistics.median(seconds[True]):.3f} s beside "
          f"{statistics.median(seconds[False]):.3f} s, ratio {ratio}")  # fmt: skip
    print(f"inside the sink: {statistics.median(inside):.2%} of the run's time")
    return {"ratio": attrs.asdict(ratio), "inside": statistics.median(inside)}


def logs(asked: argparse.Namespace) -> dict[str, Any]:
    """What the dashboard and log lines take, by the benchmark that exists for it."""
    script = Path(__file__).with_name("dashboard.py")
    command = [sys.executable, str(script), "--pairs", str(asked.rounds), "--steps", str(max(asked.steps, 10))]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    print(f"\n{said}", end="")
    return {"said": said.splitlines()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=PARTS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--backend", default="eager")
    parser.add_argument("--threads", type=int, default=usable_cpus())
    parser.add_argument("--most", type=int, default=10_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--mixture", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    if asked.one is not None:
        one(asked)
        return
    described = machine()
    print(machine_line(described, asked.threads))
    known = {"forces": forces, "classes": classes, "samples": samples, "recording": recording, "logs": logs}
    found = {part: known[part](asked) for part in asked.parts.split(",")}
    if asked.json is not None:
        asked.json.write_text(json.dumps({"machine": described, **found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
