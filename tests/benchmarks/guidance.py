"""Which guidance rule? The forces of `forces_contrib/` beside plain guidance, judged by the classifier of `quality.py`.

    python tests/benchmarks/guidance.py --data DIR [--checkpoint FILE] [--guide FILE] [--classifier FILE]
                                        [--per-character 2] [--steps 20] [--only NAME] [--out FILE]

Needs emnist-diff-forces-contrib (``pip install ./forces_contrib``). Each row draws the same samples, `--per-character`
(at least 2) of every class, from the same noise, with ddim. It says

- taken: the share that the classifier takes for the requested character, look-alikes merged; one standard error of a
  share p of n samples is sqrt(p (1 - p) / n);
- distance: to held-out images, the kernel distance of `schedulers.py`, times 1000;
- spread: the mean distance between two samples of a class, as a share of that between two held-out images of it;
- rows: of the network, a sample and step.

`--guide` names a weaker checkpoint for autoguidance, which is left out without one. Rows go to `--out`, as lines of
JSON, as soon as they are known; rows that are there already are not drawn again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import structlog
import torch
from quality import Images, merged, spread, taken_for
from torch import Tensor

from emnist_diff.assembly.assemble import assemble
from emnist_diff.discovery import installed
from emnist_diff.running.run import execute
from emnist_diff_plugins.datasets.emnist import Emnist
from emnist_diff_plugins.layers import configure
from schedulers import HELD_OUT, distance, fitted

HEAD = "| rule | taken | distance | spread | rows |\n| --- | --- | --- | --- | --- |"


@attrs.frozen
class Case:
    """One row: a rule as it is written on the command line, and its settings."""

    written: str
    layer: dict[str, Any]


def force(name: str, base: str = "cond", **said: Any) -> Case:
    """A rule on a base."""
    settings = ",".join(f"{k}={json.dumps(v) if isinstance(v, list) else v}" for k, v in said.items())
    return Case(f'--base {base} --force "{name}:{settings}"', {"base": base, "forces": [{"name": name, **said}]})


def cases(guide: str | None) -> Iterator[Case]:
    """Everything that is tried: most rules at two scales, those of plain guidance."""
    yield Case("--base cond", {"base": "cond"})
    for scale in (2.5, 5.0):
        yield Case(f"--guidance-scale {scale:g}", {"guidance_scale": scale})
    for scale in (2.5, 5.0):
        yield force("interval", scale=scale, low=0.28, high=5.42)
    for scale in (2.5, 5.0):  # the same mean weight as the constant
        yield force("dynamic_cfg", curve="linear", scale=2 * scale - 1)
    yield force("dynamic_cfg", curve="inverse_linear", scale=4.0)
    for scale in (0.4, 0.6, 1.0):
        case = force("cfg_pp", scale=scale, clip=1)
        yield Case(f"--scheduler ddim:clip=false {case.written}",
                   {**case.layer, "scheduler": {"name": "ddim", "clip": False}})  # fmt: skip
    for scale in (2.5, 5.0):
        yield force("cfg_zero_star", scale=scale, zero_steps=1)
    for scale in (2.5, 5.0):
        yield force("adaptive_projected", scale=scale, eta=0, momentum=-0.5)
    yield force("adaptive_projected", scale=5.0, eta=0, momentum=-0.5, threshold=2.5)
    for scale in (2.5, 5.0):
        yield force("frequency_decoupled", scales=[scale, (1 + scale) / 2])
    yield Case('--guidance-scale 5 --force "rescale:phi=0.7"',
               {"guidance_scale": 5.0, "forces": [{"name": "rescale", "phi": 0.7}]})  # fmt: skip
    for strength in (1.0, 3.0):
        yield force("perturbed_attention", strength=strength, where="all")
    for strength in (1.0, 3.0):
        yield force("smoothed_energy", strength=strength, where="all")
    yield force("classifier", strength=2.0, of="x")
    if guide is not None:
        for scale in (1.5, 2.0):
            case = force("autoguidance", scale=scale)
            yield Case(f"--guide weak=FILE {case.written}", {**case.layer, "guides": {"weak": guide}})


def drawn(case: Case, asked: argparse.Namespace) -> tuple[Tensor, Tensor, float]:
    """Samples (N, 1, 28, 28) in [0, 1], their class indices (N,), and network rows a sample and step."""
    layer: dict[str, Any] = {
        "character": "all", "per_character": asked.per_character, "sinks": [], "batch_size": 124, "seed": asked.seed,
        "scheduler": "ddim", "steps": asked.steps, "checkpoint": asked.checkpoint, **case.layer,
    }  # fmt: skip
    layer = {key: value for key, value in layer.items() if value is not None}
    assembly = assemble(installed(), configure(installed(), layer)[0])
    kept = Images()
    execute(attrs.evolve(assembly, sinks=(kept,)))
    labels = torch.from_numpy(assembly.header.labels)
    return torch.cat(kept.images), labels, assembly.plan.rows / len(labels) / asked.steps


def spreads(images: Tensor, labels: Tensor, held: Tensor, truth: Tensor) -> float:
    """The mean over classes of the spread of a class, as a share of that of held-out images."""
    classes = labels.unique().tolist()
    return sum(spread(images[labels == c]) / spread(held[truth == c]) for c in classes) / len(classes)


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    return (
        f"| `{row['rule']}` | {row['taken']:.3f} | {1000 * row['distance']:.0f} | {row['spread']:.2f} | "
        f"{row['rows']:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--split", default="byclass")
    parser.add_argument("--checkpoint")
    parser.add_argument("--guide", help="a weaker checkpoint")
    parser.add_argument("--classifier", type=Path)
    parser.add_argument("--per-character", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="part of a rule as it is written; only these")
    parser.add_argument("--out", type=Path, default=Path("guidance.jsonl"))
    asked = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # stdout is for the table

    held = Emnist(asked.data, asked.split, "test").load()
    network, alike = fitted(asked, len(held.classes)), merged(held.classes)
    test, truth = torch.from_numpy(held.images).float() / 255, torch.from_numpy(held.labels)
    places = [(truth == c).nonzero()[:, 0] for c in range(len(held.classes))]
    chosen = torch.cat([where[:HELD_OUT] for where in places])
    known = test[chosen], truth[chosen]
    others = torch.cat([where[-asked.per_character :] for where in places])

    def judged(rule: str, images: Tensor, labels: Tensor, rows: float) -> dict[str, Any]:
        return {
            "rule": rule,
            "taken": float((alike[taken_for(network, images)] == alike[labels]).float().mean()),
            "distance": distance(network, images, labels, *known),
            "spread": spreads(images, labels, *known),
            "rows": rows,
            "samples": len(images),
        }

    table = [json.loads(text) for text in asked.out.read_text().splitlines()] if asked.out.exists() else []
    done = {row["rule"] for row in table}
    for case in cases(asked.guide):
        if case.written in done or (asked.only and asked.only not in case.written):
            continue
        table.append(judged(case.written, *drawn(case, asked)))
        with asked.out.open("a") as file:
            file.write(json.dumps(table[-1]) + "\n")
        print(line(table[-1]), file=sys.stderr, flush=True)
    print(f"{asked.per_character} samples of each class, ddim, {asked.steps} steps\n\n{HEAD}")
    print(line(judged("held-out images", test[others], truth[others], 0.0)))
    print("\n".join(map(line, table)))


if __name__ == "__main__":
    main()
