"""What a sample costs by the batch size, which decides how many of the rows that are computed nobody reads.

    python tests/benchmarks/padding.py [--backends eager,openvino] [--batches 1,3,10] [--samples 10] [--steps 20]
        [--threads 2] [--rounds 3]

Guided samples of the shipped checkpoint, set up once for each batch size and without sinks; batch sizes take turns.
CPU time is of all threads together, and a busy machine hardly changes it. Ratios are to the last batch size.
"""

from __future__ import annotations

import argparse

import attrs
import structlog
from sidebyside import interleaved, machine, machine_line

from emnist_diff.assembly.assemble import Assembly
from emnist_diff.discovery import installed
from emnist_diff.running.run import execute, prepare
from emnist_diff_plugins.forecast import Padding
from emnist_diff_plugins.layers import configure
from emnist_diff_plugins.machine.processors import usable_cpus


def run_of(backend: str, batch: int, asked: argparse.Namespace) -> Assembly:
    """A run ready to start."""
    layer = {
        "character": "A", "total_videos": asked.samples, "steps": asked.steps, "batch_size": batch, "backend": backend,
        "threads": asked.threads, "sinks": [],
    }  # fmt: skip
    return prepare(installed(), configure(installed(), layer)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", default="eager,openvino")
    parser.add_argument("--batches", default="1,3,10")
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=usable_cpus())
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))  # stdout is for the table
    print(machine_line(machine(), asked.threads))
    print("\n| backend | batch size | rows read | rows computed | CPU s | wall s | × CPU |\n" + "| --- " * 7 + "|")
    for backend in asked.backends.split(","):
        runs = {int(batch): run_of(backend, int(batch), asked) for batch in asked.batches.split(",")}
        found = interleaved({str(batch): lambda run=run: execute(attrs.evolve(run)) for batch, run in runs.items()},
                            asked.rounds)  # fmt: skip
        last = min(list(found.values())[-1].cpu)
        for (batch, run), both in zip(runs.items(), found.values(), strict=True):
            padding = Padding.of(run.plan, run.engine)
            cpu = min(both.cpu)
            print(f"| {backend} | {batch} | {padding.rows} | {padding.computed} | {cpu:.2f} | {min(both.wall):.2f} | "
                  f"{cpu / last:.2f} |")  # fmt: skip


if __name__ == "__main__":
    main()
