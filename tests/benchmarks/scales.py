"""How strong? Guidance scales and weights of forces, judged by the classifier of `quality.py`.

    python tests/benchmarks/scales.py --data DIR [--classifier FILE] [--checkpoint FILE] [--per-character 4]
                                      [--samples 60] [--out FILE] [--plot FILE.png]

The first table draws `--per-character` samples of every class (at least 2) at each guidance scale, from the same noise,
with the checkpoint's recommended scheduler and steps, and says

- taken: the share that the classifier takes for the requested character, look-alikes merged; one standard error of a
  share p of n samples is sqrt(p (1 - p) / n);
- distance: to held-out images, the kernel distance of `schedulers.py`, times 1000: it grows when samples leave the data
  in any way, and also when they are all alike;
- spread: the mean distance between two samples of a class, as a share of that between two held-out images of it;
- plain: the share of pixels that are black or white to within 1/255: where it falls, the background turns grey.

The second draws `--samples` samples at each weight of a force, with ddim and 25 steps, and says what share is taken for
the class that the force is about and for the class that was asked for, and the spread among the samples, as above.

Rows go to `--out`, as lines of JSON, as soon as they are known; rows that are there already are not drawn again.
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
from quality import drawn, merged, spread, taken_for
from torch import Tensor, nn

from emnist_diff_plugins.datasets.emnist import Emnist
from schedulers import HELD_OUT, distance, fitted

SCALES = (0, 1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10, 15)
WEIGHTS = (0.5, 1, 2, 4)


@attrs.frozen
class Sweep:
    """One force at many weights: how it is written, the class it is about, the class asked for, other settings."""

    written: str
    about: str
    character: str
    layer: dict[str, Any]

    def at(self, weight: float) -> dict[str, Any]:
        """The settings of a run at this weight."""
        name, _, rest = self.written.split("--force ")[1].strip('"').partition(":")
        target = rest.removeprefix("target=")
        return {**self.layer, "forces": [{"name": name, "target": target, "weight": weight}]}


def sweeps() -> Iterator[Sweep]:
    """A class alone, two classes against each other, and a class against its own guidance."""
    yield Sweep('--base uncond --force "attract_class:target=B"', "B", "A", {"base": "uncond"})
    yield Sweep('--character E --force "attract_class:target=B"', "B", "E", {})
    yield Sweep('--character 3 --base cond --force "repel_class:target=own"', "3", "3", {"base": "cond"})


@attrs.frozen(eq=False)
class Judge:
    """The classifier, which classes are look-alikes, and held-out images (N, 1, 28, 28) in [0, 1] and their classes."""

    network: nn.Module
    alike: Tensor
    known: Tensor
    truth: Tensor

    def share(self, images: Tensor, index: int) -> float:
        """The share of images that are taken for a class or a look-alike of it."""
        return float((self.alike[taken_for(self.network, images)] == self.alike[index]).float().mean())

    def spread(self, images: Tensor, index: int) -> float:
        """The spread of images, as a share of that of held-out images of a class."""
        return spread(images) / spread(self.known[self.truth == index])


def plain(images: Tensor) -> float:
    """The share of pixels that are black or white."""
    return float(((images < 1 / 255) | (images > 254 / 255)).float().mean())


def of_scale(judge: Judge, scale: float, names: tuple[str, ...], asked: argparse.Namespace) -> dict[str, Any]:
    """A row of the first table."""
    layer = {"per_character": asked.per_character, "guidance_scale": float(scale), "checkpoint": asked.checkpoint}
    images, assembly = drawn("all", None, layer)
    labels = torch.from_numpy(assembly.header.labels)
    parts = [images[labels == index] for index in range(len(names))]
    return {
        "row": f"guidance {scale:g}",
        "taken": sum(judge.share(part, index) for index, part in enumerate(parts)) / len(parts),
        "distance": distance(judge.network, images, labels, judge.known, judge.truth),
        "spread": sum(judge.spread(part, index) for index, part in enumerate(parts)) / len(parts),
        "plain": plain(images),
    }


def of_weight(
    judge: Judge, sweep: Sweep, weight: float, names: tuple[str, ...], asked: argparse.Namespace
) -> dict[str, Any]:
    """A row of the second table."""
    settings = {"checkpoint": asked.checkpoint, "scheduler": "ddim", "steps": 25, **sweep.at(weight)}
    images, _ = drawn(sweep.character, asked.samples, settings)
    about, character = names.index(sweep.about), names.index(sweep.character)
    return {
        "row": f"{sweep.written} {weight:g}",
        "about": judge.share(images, about),
        "character": judge.share(images, character),
        "spread": judge.spread(images, about),
    }


def plot(rows: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw both tables: recognition and spread by guidance scale, and shares by weight."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 1 + len(list(sweeps())), figsize=(14, 3.4), sharey=True, layout="constrained")
    scales = [rows[f"guidance {scale:g}"] for scale in SCALES]
    panels[0].plot(SCALES, [row["taken"] for row in scales], "o-", color="#0072b2", label="taken for the character")
    panels[0].plot(SCALES, [row["spread"] for row in scales], "s--", color="#d55e00", label="spread in a class")
    panels[0].set(title="--guidance-scale", xlabel="scale", ylim=(-0.03, 1.3))
    for panel, sweep in zip(panels[1:], sweeps(), strict=True):
        found = [rows[f"{sweep.written} {weight:g}"] for weight in WEIGHTS]
        panel.plot(WEIGHTS, [row["about"] for row in found], "o-", color="#0072b2", label=f"taken for {sweep.about}")
        if sweep.layer.get("base") is None:
            shares = [row["character"] for row in found]
            panel.plot(WEIGHTS, shares, "^:", color="#009e73", label=f"taken for {sweep.character}")
        panel.plot(WEIGHTS, [row["spread"] for row in found], "s--", color="#d55e00", label="spread")
        panel.set(title=sweep.written.replace(' --force "', "\n").strip('"'), xlabel="weight")
        panel.title.set_fontsize(9)
    for panel in panels:
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--split", default="byclass")
    parser.add_argument("--checkpoint")
    parser.add_argument("--classifier", type=Path)
    parser.add_argument("--per-character", type=int, default=4)
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path("scales.jsonl"))
    parser.add_argument("--plot", type=Path)
    asked = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # stdout is for the tables

    held = Emnist(asked.data, asked.split, "test").load()
    names, truth = held.classes, torch.from_numpy(held.labels)
    chosen = torch.cat([(truth == c).nonzero()[:HELD_OUT, 0] for c in range(len(names))])
    test = torch.from_numpy(held.images)[chosen].float() / 255
    judge = Judge(fitted(asked, len(names)), merged(names), test, truth[chosen])

    rows: dict[str, dict[str, Any]] = {}
    if asked.out.exists():
        rows = {row["row"]: row for row in map(json.loads, asked.out.read_text().splitlines())}
    missing = [(f"guidance {s:g}", lambda s=s: of_scale(judge, s, names, asked)) for s in SCALES]
    missing += [
        (f"{sweep.written} {w:g}", lambda sweep=sweep, w=w: of_weight(judge, sweep, w, names, asked))
        for sweep in sweeps()
        for w in WEIGHTS
    ]
    for name, make in missing:
        if name not in rows:
            rows[name] = make()
            with asked.out.open("a") as file:
                file.write(json.dumps(rows[name]) + "\n")
            print(rows[name], file=sys.stderr, flush=True)

    print(f"{asked.per_character} samples of each class\n\n| scale | taken | distance | spread | plain |")
    print("| --- | --- | --- | --- | --- |")
    for scale in SCALES:
        r = rows[f"guidance {scale:g}"]
        print(f"| {scale:g} | {r['taken']:.3f} | {1000 * r['distance']:.0f} | {r['spread']:.2f} | {r['plain']:.2f} |")
    print(f"| held-out images | | | 1 | {plain(test):.2f} |")
    print(f"\n{asked.samples} samples a row\n\n| options | weight | about | character | spread |")
    print("| --- | --- | --- | --- | --- |")
    for sweep in sweeps():
        for w in WEIGHTS:
            r = rows[f"{sweep.written} {w:g}"]
            print(f"| `{sweep.written}` | {w:g} | {r['about']:.2f} | {r['character']:.2f} | {r['spread']:.2f} |")
    if asked.plot is not None:
        plot(rows, asked.plot)


if __name__ == "__main__":
    main()
