"""What do reduced precision and other backends do to samples?

    python tests/benchmarks/precision.py --data DIR --classifier FILE [--ways eager:fp32,eager:bf16,openvino:bf16]
        [--per-character 10] [--checkpoint FILE] [--scheduler ddim --steps 50] [--json FILE]

The same samples of every class, of the same noise and at the checkpoint's own settings, by each backend and precision.
The first way, eager in fp32, is the reference:

- largest, mean: of the absolute differences to the reference's pixels, of 0 … 1; p99.9 is the 99.9th percentile;
- changed: the share of pixels that differ by more than 1/255, and *samples*, the share of samples with a pixel that
  differs by more than 1/10, which somebody could see;
- taken: the share that the classifier takes for the requested character, look-alikes merged; one standard error of a
  share p of n samples is sqrt(p (1 - p) / n);
- moved: how far the samples are from the reference's in the classifier's 192 penultimate features, as a share of the
  distance between two samples of a class: 0 is the same sample, 1 is another one;
- to real: the kernel distance of `schedulers.py`, times 1000, between samples and held-out images of the same classes.

The last line is the reference with another seed, for scale.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import attrs
import structlog
import torch
from quality import Images, merged, taken_for
from sidebyside import machine, machine_line
from torch import Tensor

from emnist_diff.discovery import installed
from emnist_diff.errors import EmnistDiffError
from emnist_diff.running.run import execute, prepare
from emnist_diff_plugins.datasets.emnist import Emnist
from emnist_diff_plugins.layers import configure
from emnist_diff_plugins.machine.processors import usable_cpus
from schedulers import HELD_OUT, distance, features, fitted

REFERENCE = "eager:fp32"
WAYS = "eager:bf16,openvino:fp32,openvino:bf16"


def drawn(way: str, asked: argparse.Namespace, seed: int) -> tuple[Tensor, Tensor, str]:
    """Samples (N, 1, 28, 28) in [0, 1], their class indices (N,), and the settings in words."""
    backend, _, precision = way.partition(":")
    layer: dict[str, Any] = {
        "character": "all", "per_character": asked.per_character, "sinks": [], "seed": seed, "device": "cpu",
        "checkpoint": asked.checkpoint, "scheduler": asked.scheduler, "steps": asked.steps, "threads": asked.threads,
        "backend": backend, "precision": precision, "guidance_scale": asked.guidance_scale,
    }  # fmt: skip
    layer = {key: value for key, value in layer.items() if value is not None}
    assembly = prepare(installed(), configure(installed(), layer)[0])
    kept = Images()
    execute(attrs.evolve(assembly, sinks=(kept,)))
    config = assembly.config
    said = f"{config.scheduler.name}, {config.steps} steps, guidance {config.guidance_scale:g}"
    return torch.cat(kept.images), torch.from_numpy(assembly.header.labels), said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--split", default="byclass")
    parser.add_argument("--classifier", type=Path)
    parser.add_argument("--checkpoint")
    parser.add_argument("--ways", default=WAYS, help="BACKEND:PRECISION by commas, beside the reference")
    parser.add_argument("--per-character", type=int, default=10)
    parser.add_argument("--scheduler")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance-scale", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=usable_cpus())
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))

    held = Emnist(asked.data, asked.split, "test").load()
    network, alike = fitted(asked, len(held.classes)), merged(held.classes)
    test, truth = torch.from_numpy(held.images).float() / 255, torch.from_numpy(held.labels)
    chosen = torch.cat([(truth == c).nonzero()[:HELD_OUT, 0] for c in range(len(held.classes))])
    known, of = test[chosen], truth[chosen]

    reference, labels, said = drawn(REFERENCE, asked, asked.seed)
    others = drawn(REFERENCE, asked, asked.seed + 1)[0]
    looks = features(network, reference)
    apart = (features(network, others) - looks).norm(dim=1).mean()

    def row(way: str, images: Tensor) -> dict[str, Any]:
        off = (images - reference).abs()
        answer = taken_for(network, images)
        return {
            "way": way,
            "largest": float(off.max()),
            "p99.9": float(off.flatten().sort().values[int(0.999 * off.numel())]),
            "mean": float(off.mean()),
            "changed": float((off > 1 / 255).float().mean()),
            "samples": float((off.flatten(1).amax(1) > 0.1).float().mean()),
            "taken": float((alike[answer] == alike[labels]).float().mean()),
            "moved": float((features(network, images) - looks).norm(dim=1).mean() / apart),
            "to_real": 1e3 * distance(network, images, labels, known, of),
        }

    rows, skipped = [row(REFERENCE, reference)], []
    for way in asked.ways.split(","):
        try:
            rows.append(row(way, drawn(way, asked, asked.seed)[0]))
        except EmnistDiffError as error:
            skipped.append(f"{way}: {error}")
    rows.append(row(f"{REFERENCE}, another seed", others))

    described = machine()
    print(machine_line(described, asked.threads))
    print(f"{len(labels)} samples, {said}\n")
    print("| way | largest | p99.9 | mean | pixels changed | samples changed | taken | moved | to real |")
    print("| --- " * 9 + "|")
    for r in rows:
        print(f"| {r['way']} | {r['largest']:.2g} | {r['p99.9']:.2g} | {r['mean']:.1e} | {r['changed']:.2%} | "
              f"{r['samples']:.1%} | {r['taken']:.3f} | {r['moved']:.4f} | {r['to_real']:.1f} |")  # fmt: skip
    for line in skipped:
        print(f"skipped {line}")
    if asked.json is not None:
        asked.json.write_text(json.dumps({"machine": described, "settings": said, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
