"""Which scheduler, at how many steps? Judged by the classifier of `quality.py`, over every diffusion scheduler.

    python tests/benchmarks/schedulers.py --data DIR --checkpoint FILE --classifier FILE [--per-character 2]
                                          [--only "ddim;dpmpp_2m:spacing=trailing"] [--steps 5,10,20,50] [--out FILE]

Each row draws the same samples, of the same seeds: `--per-character` (at least 2) of every class, at the checkpoint's
recommended guidance. It says

- taken: the share that the classifier takes for the requested character, look-alikes merged; one standard error of a
  share p of n samples is sqrt(p (1 - p) / n);
- distance: the mean over classes of the kernel distance between the samples of a class and held-out images of it, in
  the classifier's 192 penultimate features, times 1000. It is the squared maximum mean discrepancy under the kernel
  (x · y / 192 + 1)³ (Binkowski et al., 2018, arXiv:1801.01401), which is unbiased for few samples, where a Fréchet
  distance is not; so it can be below 0. Samples that are all alike are far away, however good each is;
- evaluations: of the network, a sample, each of two rows under guidance;
- seconds for all samples of the row; only the ratios within one table mean anything.

Rows go to `--out`, as lines of JSON, as soon as they are known; rows that are there already are not drawn again. The
table is printed at the end, under a row for held-out images.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import attrs
import structlog
import torch
from quality import Images, classifier, merged, taken_for, train
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from emnist_diff.assembly.assemble import assemble
from emnist_diff.discovery import installed
from emnist_diff.records import SchedulerSpec
from emnist_diff.running.run import execute
from emnist_diff_plugins.datasets.emnist import Emnist
from emnist_diff_plugins.layers import configure

HELD_OUT = 100
"""Held-out images of each class that features are compared with."""

HEAD = "| scheduler | steps | evaluations | taken | distance | seconds |\n| --- | --- | --- | --- | --- | --- |"


@torch.inference_mode()
def features(network: nn.Module, images: Tensor) -> Tensor:
    """The penultimate features of images (N, 1, 28, 28) in [0, 1], (N, 192) float64."""
    assert isinstance(network, nn.Sequential)
    return torch.cat([network[:-2](part) for part in images.split(500)]).double()


def kernel_distance(x: Tensor, y: Tensor) -> float:
    """The unbiased squared maximum mean discrepancy of features (N, D) and (M, D), N and M at least 2."""

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1.0) ** 3

    def within(a: Tensor) -> float:
        k = kernel(a, a)
        return float((k.sum() - k.diagonal().sum()) / (len(a) * (len(a) - 1)))

    return within(x) + within(y) - 2.0 * float(kernel(x, y).mean())


def distance(network: nn.Module, images: Tensor, labels: Tensor, held: Tensor, truth: Tensor) -> float:
    """The mean kernel distance over classes, of images (N, 1, 28, 28) with class indices (N,) to held-out ones."""
    x, y = features(network, images), features(network, held)
    classes = labels.unique().tolist()
    return sum(kernel_distance(x[labels == c], y[truth == c]) for c in classes) / len(classes)


def drawn(scheduler: str, steps: int, asked: argparse.Namespace) -> tuple[Tensor, Tensor, int, float]:
    """Samples (N, 1, 28, 28) in [0, 1], their class indices (N,), evaluations a sample, and seconds."""
    layer: dict[str, Any] = {
        "character": "all", "per_character": asked.per_character, "sinks": [], "batch_size": 1000,
        "scheduler": scheduler, "steps": steps, "checkpoint": asked.checkpoint, "seed": asked.seed,
        "guidance_scale": asked.guidance_scale,
    }  # fmt: skip
    layer = {key: value for key, value in layer.items() if value is not None}
    assembly = assemble(installed(), configure(installed(), layer)[0])
    kept = Images()
    begin = time.perf_counter()
    execute(attrs.evolve(assembly, sinks=(kept,)))
    seconds = time.perf_counter() - begin
    looks = int(assembly.engine.timeline.evaluations.sum())
    return torch.cat(kept.images), torch.from_numpy(assembly.header.labels), looks, seconds


def fitted(asked: argparse.Namespace, classes: int) -> nn.Module:
    """The classifier, from its file or trained now."""
    if asked.classifier is not None and asked.classifier.exists():
        network = classifier(classes)
        network.load_state_dict(load_file(asked.classifier))
        return network.eval()
    learnt = Emnist(asked.data, asked.split, "train").load()
    network = train(torch.from_numpy(learnt.images), torch.from_numpy(learnt.labels), classes)
    if asked.classifier is not None:
        save_file(network.state_dict(), asked.classifier)
    return network


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    return (
        f"| {row['scheduler']} | {row['steps']} | {row['evaluations']} | {row['taken']:.3f} | "
        f"{1000 * row['distance']:.1f} | {row['seconds']:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--split", default="byclass")
    parser.add_argument("--checkpoint")
    parser.add_argument("--classifier", type=Path)
    parser.add_argument("--per-character", type=int, default=2)
    parser.add_argument("--guidance-scale", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", default="5,10,20,50")
    parser.add_argument(
        "--only", help="schedulers with their settings, separated by semicolons; all diffusion ones when left out"
    )
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # stdout is for the table

    held = Emnist(asked.data, asked.split, "test").load()
    network, alike = fitted(asked, len(held.classes)), merged(held.classes)
    test, truth = torch.from_numpy(held.images).float() / 255, torch.from_numpy(held.labels)
    chosen = torch.cat([(truth == c).nonzero()[:HELD_OUT, 0] for c in range(len(held.classes))])
    known = test[chosen], truth[chosen]
    others = torch.cat([(truth == c).nonzero()[-asked.per_character :, 0] for c in range(len(held.classes))])

    names = [e.spec.name for e in installed().of(SchedulerSpec) if getattr(e.spec, "process", "") != "flow"]
    schedulers = asked.only.split(";") if asked.only else names
    out = asked.out if asked.out is not None else Path("schedulers.jsonl")
    rows = [json.loads(text) for text in out.read_text().splitlines()] if out.exists() else []
    done = {(row["scheduler"], row["steps"]) for row in rows}
    for steps in map(int, asked.steps.split(",")):
        for scheduler in schedulers:
            if (scheduler, steps) in done:
                continue
            images, labels, looks, seconds = drawn(scheduler, steps, asked)
            row = {
                "scheduler": scheduler,
                "steps": steps,
                "evaluations": looks,
                "taken": float((alike[taken_for(network, images)] == alike[labels]).float().mean()),
                "distance": distance(network, images, labels, *known),
                "seconds": seconds,
                "samples": len(images),
            }
            rows.append(row)
            with out.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(line(row), file=sys.stderr, flush=True)

    rows.sort(key=lambda row: row["steps"])
    print(HEAD)
    taken = float((alike[taken_for(network, test[others])] == alike[truth[others]]).float().mean())
    apart = distance(network, test[others], truth[others], *known)
    print(f"| held-out images | | | {taken:.3f} | {1000 * apart:.1f} | |")
    print("\n".join(map(line, rows)))


if __name__ == "__main__":
    main()
