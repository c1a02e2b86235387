"""How long from the command to the first sample?

    python tests/benchmarks/startup.py [--rounds 7] [--against TREE] [--backend auto] [--json FILE]

``emnist-diff run --total-videos 1`` with the shipped checkpoint, its own settings and the default sinks, in a process
of its own, time after time. Wall time from the start of the process to its end is what a user waits for. A second
process tells the phases, as it enters or leaves these for the first time:

- interpreter: Python itself, until the first line of the command line can run;
- imports: until the run is assembled;
- assembly: configuration, plugins, checkpoint, weights, and setting up the backend;
- first step: until the first network call has come back;
- steps: until the first sample is done;
- end: sinks, and leaving.

--against takes another tree of this project (its root) and runs both in turns. Files are in the system's cache: the
first round is not counted. The page `docs/performance.md` has figures.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sidebyside import Ratio, machine, machine_line

HERE = Path(__file__).parents[2]

PHASES = ("interpreter", "imports", "assembly", "first step", "steps", "end")

CHILD = """
import sys, time
marks = {"interpreter": time.time()}

class Watch:
    '''Wraps functions of modules as they are imported, and notes when they are first left or entered.'''
    wanted = {"emnist_diff.assembly.assemble": ("assemble",), "emnist_diff.engine.walk": ("walk",)}

    def find_spec(self, name, path=None, target=None):
        if name not in self.wanted:
            return None
        import importlib.machinery, importlib.util
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        load = spec.loader.exec_module
        def exec_module(module):
            load(module)
            wrap(module)
        spec.loader.exec_module = exec_module
        return spec

def wrap(module):
    if module.__name__ == "emnist_diff.assembly.assemble":
        inner = module.assemble
        def assemble(*a, **k):
            marks.setdefault("imports", time.time())
            out = inner(*a, **k)
            marks.setdefault("assembly", time.time())
            return out
        module.assemble = assemble
    else:
        inner = module.walk
        def walk(engine, batch, wants, *a, **k):
            for event in inner(engine, batch, lambda at: wants(at) | {"x"}, *a, **k):
                if type(event).__name__ == "BatchResult":
                    marks.setdefault("steps", time.time())
                else:
                    marks.setdefault("first step", time.time())
                yield event
        module.walk = walk

sys.meta_path.insert(0, Watch())
import atexit, json, os
@atexit.register
def tell():
    with open(os.environ["MARKS"], "w") as file:
        json.dump(marks, file)
from emnist_diff import main
main()
"""


def environment(tree: Path) -> dict[str, str]:
    """Of a process that imports that tree, and no settings of the user."""
    path = os.pathsep.join([str(tree / "core"), str(tree / "plugins"), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "EMNIST_DIFF_CONFIG": ""}


def arguments(folder: str, backend: str | None) -> list[str]:
    more = [] if backend is None else ["--backend", backend]
    return ["run", "--total-videos", "1", "--no-progress", "--output", f"{folder}/out", *more]


def called(command: list[str], environment: dict[str, str]) -> None:
    """Run a command; where it fails, what it said ends this program."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{' '.join(command[:4])} … failed: {done.stderr.strip()}")


def waited(tree: Path, backend: str | None) -> float:
    """Seconds that a user waits."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "emnist_diff", *arguments(folder, backend)]
        started = time.perf_counter()
        called(command, environment(tree))
        return time.perf_counter() - started


def phases(tree: Path, backend: str | None) -> dict[str, float]:
    """Seconds of each phase."""
    with tempfile.TemporaryDirectory() as folder:
        marks = Path(folder) / "marks.json"
        started = time.time()
        command = [sys.executable, "-c", CHILD, *arguments(folder, backend)]
        called(command, {**environment(tree), "MARKS": str(marks)})
        ended = time.time()
        at = {**json.loads(marks.read_text()), "end": ended}
    times = [started, *(at[name] for name in PHASES)]
    return {name: after - before for name, before, after in zip(PHASES, times, times[1:], strict=False)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--backend", help="asked of both trees; left out, each takes its default")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    trees = {"here": HERE} | ({} if asked.against is None else {"against": asked.against.resolve()})
    total: dict[str, list[float]] = {name: [] for name in trees}
    parts: dict[str, list[dict[str, float]]] = {name: [] for name in trees}
    for turn in range(asked.rounds + 1):
        for name in [*trees][:: 1 if turn % 2 else -1]:
            seconds, split = waited(trees[name], asked.backend), phases(trees[name], asked.backend)
            if turn:
                total[name].append(seconds)
                parts[name].append(split)
    described = machine()
    print(machine_line(described, int(os.environ.get("OMP_NUM_THREADS", described["cores"]))))
    found: dict[str, Any] = {}
    print(f"\n| tree | waited, s | fastest | {' | '.join(PHASES)} |")
    print("| --- " * (3 + len(PHASES)) + "|")
    for name in trees:
        medians = {phase: statistics.median(p[phase] for p in parts[name]) for phase in PHASES}
        found[name] = {"seconds": statistics.median(total[name]), "fastest": min(total[name]), "phases": medians}
        each = " | ".join(f"{medians[phase]:.3f}" for phase in PHASES)
        print(f"| {name} | {found[name]['seconds']:.3f} | {found[name]['fastest']:.3f} | {each} |")
    if asked.against is not None:
        ratio = Ratio.of(total["against"], total["here"])
        print(f"\nagainst / here: {ratio}")
        found["ratio"] = ratio.median
    if asked.json is not None:
        asked.json.write_text(json.dumps({"machine": described, **found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
