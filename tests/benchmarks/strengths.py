"""Do forces steer every family? Recognition over strengths of attract_class and repel_class.

    python tests/benchmarks/strengths.py [--checkpoint FILE]… [--samples 40] [--steps N] [--check]

For each checkpoint (the shipped ones without --checkpoint) it takes ten classes, draws unconditional samples with
`attract_class` toward each, and samples of each class with `repel_class` away from it, at strengths 0, 1, 2 and 4, from
the same noise at all strengths and at the checkpoint's recommended settings. The table shows the share that a judge
(`emnist-diff judge`) takes for the class. ``--check`` exits with 1 unless the share rises with attraction, and falls
with repulsion, from each strength to the next; at 0.995 and above a share may stay where it is. ``--quick`` shows that
it works, on few samples.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import sys
from typing import Any

import attrs
import numpy as np
import structlog
import torch
from torch import Tensor

from emnist_diff.assembly.assemble import assemble
from emnist_diff.discovery import installed
from emnist_diff.frames import BatchResult, Frame, Outcome, RunHeader
from emnist_diff.running.run import execute
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.containers.shipped import models
from emnist_diff_plugins.judging.file import chosen
from emnist_diff_plugins.judging.network import examined
from emnist_diff_plugins.layers import configure

STRENGTHS = (0.0, 1.0, 2.0, 4.0)
SATURATED = 0.995
TARGETS = 10


@attrs.define
class Images:
    """A sink that keeps the finished images, (N, C, H, W) in [0, 1]."""

    parts: list[Tensor] = attrs.field(factory=list)

    def wants(self, at: StepInfo) -> frozenset[str]:
        return frozenset()

    def open(self, header: RunHeader) -> None: ...

    def write(self, frame: Frame) -> None: ...

    def commit(self, batch: BatchResult) -> None:
        self.parts.append(batch.images.cpu())

    def close(self, outcome: Outcome) -> None: ...


def drawn(settings: dict[str, Any]) -> np.ndarray:
    """The images of a run, uint8 (N, C, H, W)."""
    registry = installed()
    images = Images()
    assembly = assemble(registry, configure(registry, {**settings, "sinks": []})[0])
    execute(attrs.evolve(assembly, sinks=(images,)))
    return (torch.cat(images.parts) * 255).round().to(torch.uint8).numpy()


def shares(settings: dict[str, Any], force: str, targets: list[str], judge_path: str | None) -> list[float]:
    """Of each strength the share of all samples that the judge takes for the class of the force."""
    found = []
    for strength in STRENGTHS:
        right = []
        for target in targets:
            steering = [{"name": force, "target": target, "strength": strength}]
            images = drawn({**settings, "character": target, "forces": steering})
            judge = chosen(judge_path, [target], images.shape[1:])
            _, taken = examined(judge.network, torch.from_numpy(images))
            right.append(float((taken == judge.classes.index(target)).float().mean()))
        found.append(float(np.mean(right)))
    return found


def monotone(found: list[float], rising: bool) -> bool:
    """Whether each share is beyond the one before it, or at the end of what is possible."""
    ordered = found if rising else [1.0 - share for share in found]
    return all(b > a or (b >= SATURATED and a >= SATURATED) for a, b in itertools.pairwise(ordered))


def classes_of(checkpoint: str) -> list[str]:
    """Ten classes of a checkpoint, evenly through its list."""
    registry = installed()
    config, _ = configure(registry, {"checkpoint": checkpoint, "sinks": [], "total_videos": 1})
    names = list(assemble(registry, config).engine.denoisers[""].conditions.classes)
    return [names[round(place)] for place in np.linspace(0, len(names) - 1, min(TARGETS, len(names)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", action="append")
    parser.add_argument("--samples", type=int, default=40, help="of each class and strength")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--judge")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--check", action="store_true")
    requested = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))

    missed = []
    heads = " ".join(f"{strength:>6g}" for strength in STRENGTHS)
    print(f"{'checkpoint':<24} {'force':<14} {heads}", flush=True)
    for checkpoint in requested.checkpoint or list(models()):
        targets = classes_of(checkpoint)[: 1 if requested.quick else TARGETS]
        settings: dict[str, Any] = {
            "checkpoint": checkpoint,
            "total_videos": 4 if requested.quick else requested.samples,
        }
        if requested.steps is not None:
            settings["steps"] = requested.steps
        for force, base in (("attract_class", "uncond"), ("repel_class", "cond")):
            found = shares({**settings, "base": base}, force, targets, requested.judge)
            good = monotone(found, rising=force == "attract_class")
            values = " ".join(f"{share:6.3f}" for share in found)
            print(f"{checkpoint[-24:]:<24} {force:<14} {values}" + ("" if good else "  not monotone"), flush=True)
            missed += [] if good else [f"{force} on {checkpoint}"]
    if requested.check and missed:
        sys.exit(f"not monotone: {', '.join(missed)}")


if __name__ == "__main__":
    main()
