"""Do forces steer each family? Recognition of a class over the strength of attraction to it and of repulsion from it.

    python tests/benchmarks/steering_families.py [--checkpoint NAME]... [--samples 100] [--check] [--quick]

For each checkpoint, a shipped one's name or a file, it draws samples of the targets T at the strengths 0, 1, 2 and 4,
from the same noise at each, and prints the share that the judge (`emnist-diff judge`) takes for T:

- attract: ``--base uncond --force "attract_class:target=T,strength=S"``. Strength 0 is the unconditional model, 1 the
  conditional one, and more is classifier-free guidance of that scale.
- repel: ``--character T --base cond --force "repel_class:target=T,strength=S"``, samples of T that are pushed away
  from it. Strength 1 is the unconditional model again; what lies beyond, the model has no name for.

Both start without guidance, which at the scale that a checkpoint recommends adds to the one and works against the
other. Steps and scheduler are what the checkpoint recommends.

``--check`` exits with 1 where a share falls with attraction, or rises with repulsion, by more than ``--slack`` from one
strength to the next, or where it has changed by less than ``--least`` in all. A judge cannot tell all characters
apart, so once nearly all that it can recognise is recognised, the shares stay where they are but for a few samples.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import sys
from collections.abc import Sequence
from typing import Any

import attrs
import structlog

from emnist_diff.assembly.sources import opened
from emnist_diff.discovery import installed
from emnist_diff_plugins.analysis.finished import generated
from emnist_diff_plugins.containers.shipped import models
from emnist_diff_plugins.judging.file import chosen
from emnist_diff_plugins.judging.scores import score

STRENGTHS = (0.0, 1.0, 2.0, 4.0)


@attrs.frozen
class Steering:
    """One way to steer.  sign: 1 where recognition is to rise with the strength, -1 where it is to fall."""

    name: str
    force: str
    base: str
    sign: int


STEERINGS = (Steering("attract", "attract_class", "uncond", 1), Steering("repel", "repel_class", "cond", -1))


def recognised(checkpoint: str, steering: Steering, strength: float, options: argparse.Namespace) -> float:
    """The share of samples that the judge takes for their target. Each class is the target of its own samples."""
    layer: dict[str, Any] = {
        "checkpoint": checkpoint,
        "character": options.targets or "all",
        "total_videos": options.samples,
        "base": steering.base,
        "forces": [{"name": steering.force, "target": "own", "strength": strength}],
    }
    if options.steps is not None:
        layer["steps"] = options.steps
    samples = generated(installed(), layer)
    judge = chosen(options.judge, sorted(set(samples.names)), samples.images.shape[1:])
    return score(judge, samples.images, samples.names).recognised


def monotone(shares: Sequence[float], sign: int, slack: float, least: float) -> bool:
    """Whether shares rise (or fall, for a sign of -1), by `least` in all, never by more than `slack` the other way."""
    steps = [sign * (after - before) for before, after in itertools.pairwise(shares)]
    return min(steps) >= -slack and sign * (shares[-1] - shares[0]) >= least


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", action="append", help="of a model; may be repeated [default: those shipped]")
    parser.add_argument("--targets", help="classes, e.g. 3,7 [default: all]")
    parser.add_argument("--samples", type=int, help="of all targets together [default: 10 of each, of 62 classes 4]")
    parser.add_argument("--steps", type=int, help="[default: as each checkpoint recommends]")
    parser.add_argument("--judge", help="[default: the shipped one of the samples' classes]")
    parser.add_argument("--slack", type=float, default=0.02)
    parser.add_argument("--least", type=float, default=0.4)
    parser.add_argument("--quick", action="store_true", help="two classes, few samples")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    missed: list[str] = []
    print(f"{'checkpoint':<28} {'steering':<8} " + " ".join(f"{strength:>6g}" for strength in STRENGTHS), flush=True)
    for checkpoint in options.checkpoint or list(models()):
        for steering in STEERINGS:
            shares = of_one(checkpoint, steering, options)
            good = monotone(shares, steering.sign, options.slack, options.least)
            missed += [] if good else [f"{steering.name} of {checkpoint}"]
            figures = " ".join(f"{share:6.3f}" for share in shares)
            print(f"{checkpoint[-28:]:<28} {steering.name:<8} {figures}" + ("" if good else "  not so"), flush=True)
    if options.check and missed:
        sys.exit(f"not monotone: {', '.join(missed)}")


def of_one(checkpoint: str, steering: Steering, options: argparse.Namespace) -> list[float]:
    """The shares at `STRENGTHS`."""
    classes = opened(installed(), checkpoint).source.conditions.classes
    if options.quick:
        few = argparse.Namespace(**{**vars(options), "targets": ",".join(classes[3:5]), "samples": 8, "steps": 8})
        return [recognised(checkpoint, steering, strength, few) for strength in STRENGTHS]
    count = options.samples or len(classes) * (10 if len(classes) <= 10 else 4)
    full = argparse.Namespace(**{**vars(options), "samples": count})
    return [recognised(checkpoint, steering, strength, full) for strength in STRENGTHS]


if __name__ == "__main__":
    main()
