"""How fast are samples made, beside other ways to make the same ones?

    python tests/benchmarks/speed.py [--quick] [--networks shipped,large] [--works cfg,forces,single,karras]
        [--ours eager:fp32,openvino:fp32,…] [--rounds 3] [--steps 50] [--samples 16] [--device cpu] [--recording]
        [--json FILE]

Networks: *shipped* is the checkpoint of this package; *large* has 3.9 million parameters and random weights, which are
as fast as any (channels 64, 96, 128, one layer a level, attention in the middle alone).

Works: *cfg* is guidance, *forces* guidance and two forces toward classes, both with DDIM; *single* is guidance for one
sample; *karras* is guidance with Euler steps over Karras' noise levels.

Ways: *naive* makes a sample at a time, with a call of one row for each condition of the base and of every force;
*diffusers* is a well-batched loop around diffusers' own `UNet2DModel` and `DDIMScheduler`, 16 samples (--batch) and one
call a step, in fp32 and bf16; *k-diffusion* is the sampler of that name over the same network (see `peers.py`). Ours
are runs as `emnist-diff run` makes them, on each backend and precision asked for: without sinks, and with --recording
also with the default ones.

All ways of a work take turns, and ratios are taken within a round, in samples a second: above 1, ours is faster. A way
is left out when its samples are not those of the peer's fp32 loop, up to what its precision does to them. Loading and
setting up is not part of the times, and printed apart. CPU time is of all threads together; a busy machine hardly
changes it. --quick takes 10 steps and 2 rounds: under two minutes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import structlog
import torch
from peers import Peers, Work
from quality import Images
from sidebyside import Ratio, interleaved, machine, machine_line
from torch import Tensor

from emnist_diff.assembly.assemble import sinks_of
from emnist_diff.discovery import installed
from emnist_diff.errors import EmnistDiffError
from emnist_diff.frames import BatchResult
from emnist_diff.running.run import execute, prepare
from emnist_diff.structuring import unstructure
from emnist_diff_plugins.containers import checkpoint
from emnist_diff_plugins.containers.shipped import shipped
from emnist_diff_plugins.denoisers.unet2d import UNet2D
from emnist_diff_plugins.layers import configure
from emnist_diff_plugins.machine.processors import usable_cpus

LARGE = UNet2D(block_out_channels=(64, 96, 128), attention=(False, False, False))

FORCES = (("B", 0.5), ("O", -0.5))
"""Classes and weights; a negative weight repels."""

TOLERANCE = {"fp32": 0.002, "bf16": 0.1, "fp16": 0.05}
"""Largest root mean square of the difference between final states of two ways, of a range of 2."""

OURS = "eager:fp32,eager:bf16,openvino:fp32,openvino:bf16"


def large_checkpoint(folder: Path) -> Path:
    """A checkpoint of the large network with random weights, in all else like the shipped one."""
    torch.manual_seed(0)
    header = checkpoint.read_header(shipped())
    header = attrs.evolve(header, network=dict(unstructure(LARGE)), recommended={}, provenance={}, epoch=None)
    path = folder / "large.safetensors"
    checkpoint.save(path, header, LARGE.network().state_dict())
    return path


class Finals(Images):
    """A sink that keeps the final states."""

    def commit(self, batch: BatchResult) -> None:
        self.images.append(batch.x.cpu())


class Ours:
    """A run of ours, set up once and walked as often as asked."""

    def __init__(self, path: Path, work: Work, way: str, scheduler: Any, asked: argparse.Namespace) -> None:
        backend, _, precision = way.partition(":")
        forces = [{"name": "attract_class", "target": name, "weight": weight} for name, weight in work.forces]
        layer = {
            "checkpoint": str(path), "character": work.character, "seed": work.seed, "steps": work.steps,
            "total_videos": work.samples, "base": "cfg", "guidance_scale": work.scale, "forces": forces, "sinks": [],
            "scheduler": scheduler, "device": asked.device, "threads": asked.threads,
            "backend": backend, "precision": precision,
        }  # fmt: skip
        started = time.perf_counter()
        self.assembly = prepare(installed(), configure(installed(), layer)[0])
        self.setup = time.perf_counter() - started

    def __call__(self) -> Tensor:
        """Final states, without a sink that writes."""
        kept = Finals()
        execute(attrs.evolve(self.assembly, sinks=(kept,)))
        return torch.cat(kept.images)

    def recorded(self) -> None:
        """The same with the default sinks, into a folder that is thrown away."""
        registry = installed()
        with tempfile.TemporaryDirectory() as folder:
            settings = attrs.evolve(self.assembly.config, sinks=None)
            sinks = tuple(sink.object for sink in sinks_of(registry, settings))
            header = attrs.evolve(self.assembly.header, output=Path(folder) / "out")
            execute(attrs.evolve(self.assembly, sinks=sinks, header=header))


def measure(path: Path, work: Work, karras: bool, asked: argparse.Namespace) -> tuple[list[dict[str, Any]], list[str]]:
    """A row for each way, and what was skipped and why."""
    peers = Peers(path, asked.batch, asked.device)
    fewer = attrs.evolve(work, samples=min(work.samples, asked.naive_samples))
    loop, reduced = ("k-diffusion", peers.karras) if karras else ("diffusers", peers.batched)
    ways: dict[str, Callable[[], Any]] = {
        f"{loop} fp32": lambda: reduced(work).cpu(),
        f"{loop} bf16": lambda: reduced(work, torch.bfloat16).cpu(),
    }
    if not karras:
        ways["naive"] = lambda: peers.naive(fewer).cpu()
    scheduler = {"name": "euler", "spacing": "karras", "clip": False} if karras else {"name": "ddim"}
    setups, skipped = {}, []
    for way in asked.ours.split(","):
        try:
            ours = Ours(path, work, way, scheduler, asked)
        except EmnistDiffError as error:
            skipped.append(f"{way}: {error}")
            continue
        name = "ours " + way.replace(":", " ")
        ways[name], setups[name] = ours, ours.setup
        if asked.recording:
            ways[f"{name}, recorded"] = ours.recorded

    torch.set_num_threads(asked.threads)
    expected = ways[f"{loop} fp32"]()
    differences: dict[str, float] = {}
    for name, way in list(ways.items()):  # the warm-up as well
        finals = way()
        if finals is None:
            continue
        difference = (finals - expected[: len(finals)]).square().mean().sqrt()
        differences[name] = float(difference)
        tolerance = TOLERANCE[next((word for word in name.split() if word in TOLERANCE), "fp32")]
        if not difference <= tolerance:
            skipped.append(f"{name}: its samples are {float(difference):.3f} from {loop}'s, which is another work")
            del ways[name]
    if not float(expected.std()) > 0.1:
        sys.exit("the samples are blank, so their times mean nothing")
    found = interleaved(ways, asked.rounds)
    took = {name: both.wall for name, both in found.items()}
    rows = []
    for name, times in took.items():
        count = fewer.samples if name == "naive" else work.samples
        rows.append(
            {
                "way": name,
                "samples_per_second": count / statistics.median(times),
                "ms_per_row": 1e3 * statistics.median(times) / count / work.steps / work.rows,
                "cpu_ms_per_row": 1e3 * statistics.median(found[name].cpu) / count / work.steps / work.rows,
                "spread": max(times) / min(times),
                "setup_seconds": setups.get(name),
                "difference": differences.get(name),
                "ratios": {
                    other: attrs.asdict(
                        Ratio.of([t / (fewer.samples if other == "naive" else work.samples) for t in took[other]],
                                 [t / count for t in times])
                    )
                    for other in took
                    if not other.startswith("ours") and name.startswith("ours")
                },
            }
        )  # fmt: skip
    return rows, skipped


def show(title: str, rows: list[dict[str, Any]], skipped: list[str]) -> None:
    """Print a work's table."""
    others = [row["way"] for row in rows if not row["way"].startswith("ours")]
    print(f"\n{title}\n\n| way | samples/s | ms/row | CPU ms/row | slowest/fastest | set-up s | difference | "
          + " | ".join(f"× {name}" for name in others) + " |")  # fmt: skip
    print("| --- " * (7 + len(others)) + "|")
    for row in rows:
        cells = [row["way"], f"{row['samples_per_second']:.2f}", f"{row['ms_per_row']:.2f}"]
        cells += [f"{row['cpu_ms_per_row']:.2f}", f"{row['spread']:.2f}"]
        cells.append("" if row["setup_seconds"] is None else f"{row['setup_seconds']:.1f}")
        cells.append("" if row["difference"] is None else f"{row['difference']:.0e}")
        cells += [str(Ratio(**row["ratios"][name])) if name in row["ratios"] else "" for name in others]
        print("| " + " | ".join(cells) + " |")
    for line in skipped:
        print(f"skipped {line}")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="shipped,large")
    parser.add_argument("--works", default="cfg,forces,single,karras")
    parser.add_argument("--ours", default=OURS, help="BACKEND:PRECISION by commas")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--batch", type=int, default=16, help="samples that the peers walk together")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, …")
    parser.add_argument("--naive-samples", type=int, default=1)
    parser.add_argument("--threads", type=int, default=usable_cpus())
    parser.add_argument("--recording", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    asked.rounds = asked.rounds or (2 if asked.quick else 3)
    asked.steps = asked.steps or (10 if asked.quick else 50)
    if 1000 % asked.steps:
        parser.error(f"--steps {asked.steps}: diffusers' DDIM walks another grid unless 1000 divides by it")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))  # stdout is for the tables

    works = {
        "cfg": Work(asked.samples, asked.steps),
        "forces": Work(asked.samples, asked.steps, FORCES),
        "single": Work(1, asked.steps),
        "karras": Work(asked.samples, asked.steps),
    }
    described = machine()
    print(machine_line(described, asked.threads))
    results = []
    with tempfile.TemporaryDirectory() as folder:
        paths = {"shipped": lambda: shipped(), "large": lambda: large_checkpoint(Path(folder))}
        for network in asked.networks.split(","):
            path = paths[network]()
            for name in asked.works.split(","):
                work = works[name]
                rows, skipped = measure(path, work, name == "karras", asked)
                show(f"{network}, {name}: {work.samples} samples, {work.steps} steps, {asked.rounds} rounds",
                     rows, skipped)  # fmt: skip
                results.append({"network": network, "work": name, **attrs.asdict(work), "rounds": asked.rounds,
                                "rows": rows, "skipped": skipped})  # fmt: skip
    if asked.json is not None:
        data = {"machine": described, "threads": asked.threads, "results": results}
        asked.json.write_text(json.dumps(data, indent=2) + "\n")


if __name__ == "__main__":
    main()
