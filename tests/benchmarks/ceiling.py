"""What stands between a network row and the machine's ceiling?

    python tests/benchmarks/ceiling.py [--ways eager:fp32,eager:bf16,openvino:fp32,openvino:bf16] [--rows 16]
                                       [--threads 1] [--checkpoint FILE]

The ceiling is the fastest of the network's own 3×3 convolutions, by torch, in the same precision; *all* are its 3×3
convolutions of stride 1 one after another, and how long they would take for a row if nothing stood between them. For
each backend: processor time of a row, and how near that comes to a row at the ceiling. For those that compute in torch,
the operators that take the time.

One thread and processor time, so that a busy machine hardly changes the figures.
"""

from __future__ import annotations

import argparse
import statistics
import time

import structlog
import torch
from sidebyside import machine, machine_line
from torch.profiler import ProfilerActivity, profile

from emnist_diff.components import make
from emnist_diff.config import ComponentConfig
from emnist_diff.discovery import installed
from emnist_diff_plugins.benching import arithmetic, ceiling
from emnist_diff_plugins.benching.cells import Bench
from emnist_diff_plugins.contract import BackendSpec, Workload
from emnist_diff_plugins.layers import configure

WAYS = "eager:fp32,eager:bf16,openvino:fp32,openvino:bf16"
OPERATORS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ways", default=WAYS, help="BACKEND:PRECISION by commas")
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=12)
    parser.add_argument("--checkpoint")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    torch.set_num_threads(asked.threads)
    registry, device = installed(), torch.device("cpu")
    _, network = configure(registry, {} if asked.checkpoint is None else {"checkpoint": asked.checkpoint})
    denoiser = network.load("cpu")
    work = arithmetic.of(denoiser, device)
    inside = sum(c.flops * count for c, count in work.convolutions.items())
    print(machine_line(machine(), asked.threads))
    print(f"{work.flops / 1e9:.3f} GFLOP a row, {inside / work.flops:.0%} of it in 3×3 convolutions of stride 1\n")

    print("| precision | fastest, GFLOP/s | all | matrix product | ms a row at the fastest | convolutions alone |")
    print("| --- " * 6 + "|")
    roofs = {}
    for kind in dict.fromkeys(way.partition(":")[2] for way in asked.ways.split(",")):
        roof = ceiling.measure(work.convolutions, asked.rows, kind, asked.threads, device, 0.3, time.process_time)
        if roof.convolution is None or roof.convolutions is None:
            parser.error("this network has no 3×3 convolutions, so there is no such ceiling")
        roofs[kind] = 1e3 * work.flops / roof.convolution
        print(f"| {kind} | {roof.convolution / 1e9:.0f} | {roof.convolutions / 1e9:.0f} | {roof.matmul / 1e9:.0f} | "
              f"{roofs[kind]:.2f} | {1e3 * inside / roof.convolutions:.2f} |")  # fmt: skip

    print("\n| way | CPU ms a row | of the ceiling | where it goes |\n| --- | --- | --- | --- |")
    question = Bench(registry, denoiser, device).question(asked.rows)
    for way in asked.ways.split(","):
        name, _, kind = way.partition(":")
        entry = registry.resolve(BackendSpec, name)
        if reason := entry.spec.missing():
            print(f"| {way} | skipped: {reason} | | |")
            continue
        backend = make(registry, BackendSpec, ComponentConfig(entry.qualified)).object
        evaluator = backend.evaluator(denoiser, Workload(asked.rows, device, kind, "", asked.threads))
        times = []
        with torch.inference_mode():
            evaluator(*question)
            for _ in range(asked.repeats):
                began = time.process_time()
                evaluator(*question)
                times.append((time.process_time() - began) / asked.rows)
            with profile(activities=[ProfilerActivity.CPU]) as watched:
                for _ in range(asked.repeats):
                    evaluator(*question)
        took = 1e3 * statistics.median(times)
        seen = sorted(watched.key_averages(), key=lambda item: -item.self_cpu_time_total)
        total = sum(item.self_cpu_time_total for item in seen) or 1
        shares = [f"{item.key.rpartition('::')[2]} {item.self_cpu_time_total / total:.0%}" for item in seen[:OPERATORS]]
        in_torch = total > 0.5e6 * asked.repeats * asked.rows * min(times)  # else the work was done elsewhere
        print(f"| {way} | {took:.2f} | {roofs[kind] / took:.0%} | {', '.join(shares) if in_torch else ''} |")


if __name__ == "__main__":
    main()
