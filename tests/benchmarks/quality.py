"""What are a checkpoint's samples worth? Judged by a classifier trained on the images that the checkpoint learnt from.

    python tests/benchmarks/quality.py --data DIR [--split byclass] [--checkpoint FILE] [--per-class 20]

For every class it draws samples at the checkpoint's recommended settings, through the engine, and prints

- how many are taken for the requested character, as such and with look-alikes merged, beside the same figure for
  held-out images, which is the most that can be expected;
- spread: the mean distance between two samples of a class, as a share of that between two held-out images of it
  (1 is as varied as writing is; near 0, all samples are one drawing);
- novelty: the mean distance to the nearest training image of the class, as a share of a held-out image's
  (near 0, samples are copies);
- background: the share of samples' pixels in the outer frame that are darker than 1/10.

``--sheet FILE.png`` draws ten samples of each class. The classifier is kept with ``--classifier FILE`` and trained
only once.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from emnist_diff.assembly.assemble import Assembly, assemble
from emnist_diff.discovery import installed
from emnist_diff.frames import BatchResult, Frame, Outcome, RunHeader
from emnist_diff.running.run import execute
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.datasets.emnist import Emnist
from emnist_diff_plugins.layers import configure
from emnist_diff_plugins.pictures import save_png, table

LOOK_ALIKES = ("0Oo", "1Il", "Cc", "Ss", "Vv", "Ww", "Xx", "Zz", "Uu", "Pp", "Kk")
"""Characters that are one shape once size and baseline are normalised away."""


def classifier(classes: int) -> nn.Module:
    """A small convolutional network for 28×28 images in [0, 1]."""

    def block(inputs: int, outputs: int, size: int, stride: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, size, stride, size // 2), nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(
        *block(1, 32, 5, 2), *block(32, 64, 3, 2), *block(64, 96, 3, 1), nn.AvgPool2d(2, 2, ceil_mode=True),
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(96 * 16, 192), nn.ReLU(), nn.Dropout(0.3), nn.Linear(192, classes),
    )  # fmt: skip


def train(images: Tensor, labels: Tensor, classes: int, epochs: int = 6, batch: int = 128) -> nn.Module:
    """Fit the classifier to images (N, 1, 28, 28) uint8, shifted by up to two pixels."""
    torch.manual_seed(0)
    network, steps = classifier(classes), len(images) // batch
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=epochs * steps)
    for epoch in range(epochs):
        order = torch.randperm(len(images))
        for step in range(steps):
            chosen = order[step * batch : (step + 1) * batch]
            x = torch.roll(images[chosen].float() / 255, torch.randint(-2, 3, (2,)).tolist(), (2, 3))
            loss = F.cross_entropy(network(x), labels[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"classifier: epoch {epoch + 1} of {epochs}, loss {float(loss):.3f}", flush=True)
    return network.eval()


@torch.inference_mode()
def taken_for(network: nn.Module, images: Tensor) -> Tensor:
    """The class index that each image, (N, 1, 28, 28) in [0, 1], is taken for."""
    return torch.cat([network(part).argmax(1) for part in images.split(500)])


def merged(classes: tuple[str, ...]) -> Tensor:
    """Class index → index of the first of its look-alikes."""
    first = {name: group[0] for group in LOOK_ALIKES for name in group}
    return torch.tensor([classes.index(first.get(name, name)) for name in classes])


@attrs.define
class Images:
    """A sink that keeps nothing but the final images."""

    images: list[Tensor] = attrs.field(factory=list)

    def wants(self, at: StepInfo) -> frozenset[Any]:
        return frozenset()

    def open(self, header: RunHeader) -> None: ...

    def write(self, frame: Frame) -> None: ...

    def commit(self, batch: BatchResult) -> None:
        self.images.append(batch.images.cpu())

    def close(self, outcome: Outcome) -> None: ...


def drawn(character: str, count: int | None, settings: dict[str, Any]) -> tuple[Tensor, Assembly]:
    """Samples of one class, (count, 1, 28, 28) in [0, 1]; or of all, as many of each as the settings say."""
    layer = {"character": character, "total_videos": count, "sinks": [], "batch_size": 32, **settings}
    layer = {key: value for key, value in layer.items() if value is not None}
    assembly = assemble(installed(), configure(installed(), layer)[0])
    kept = Images()
    execute(attrs.evolve(assembly, sinks=(kept,)))
    return torch.cat(kept.images), assembly


def spread(images: Tensor) -> float:
    """Mean L2 distance between two different images of a set."""
    return float(torch.pdist(images.flatten(1)).mean())


def nearest(images: Tensor, among: Tensor) -> float:
    """Mean L2 distance of each image to the nearest of another set."""
    return float(torch.cdist(images.flatten(1), among.flatten(1)).min(1).values.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--split", default="byclass")
    parser.add_argument("--checkpoint")
    parser.add_argument("--per-class", type=int, default=20)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance-scale", type=float)
    parser.add_argument("--scheduler")
    parser.add_argument("--classifier", type=Path)
    parser.add_argument("--sheet", type=Path)
    asked = parser.parse_args()

    learnt, held = (Emnist(asked.data, asked.split, part).load() for part in ("train", "test"))
    classes, alike = learnt.classes, merged(learnt.classes)
    if asked.classifier is not None and asked.classifier.exists():
        network = classifier(len(classes))
        network.load_state_dict(load_file(asked.classifier))
        network.eval()
    else:
        network = train(torch.from_numpy(learnt.images), torch.from_numpy(learnt.labels), len(classes))
        if asked.classifier is not None:
            save_file(network.state_dict(), asked.classifier)
    test, truth = torch.from_numpy(held.images).float() / 255, torch.from_numpy(held.labels)
    guess = taken_for(network, test)

    said = {"checkpoint": asked.checkpoint, "steps": asked.steps, "guidance_scale": asked.guidance_scale,
            "scheduler": asked.scheduler}  # fmt: skip
    settings = {name: value for name, value in said.items() if value is not None}
    rows, pictures, frames = [], [], []
    for index, name in enumerate(classes):
        images, assembly = drawn(name, asked.per_class, settings)
        answer = taken_for(network, images)
        real = test[truth == index]
        known = torch.from_numpy(learnt.images[learnt.labels == index]).float() / 255
        rows.append(
            (
                float((answer == index).float().mean()),
                float((alike[answer] == alike[index]).float().mean()),
                spread(images) / spread(real),
                nearest(images, known) / nearest(real, known),
            )
        )
        frame = torch.ones(28, 28, dtype=torch.bool)
        frame[2:-2, 2:-2] = False
        frames.append(float((images[:, 0][:, frame] < 0.1).float().mean()))
        pictures += [(image[0].numpy() * 255).round().astype(np.uint8) for image in images[:10]]
        print(f"{name}: {rows[-1][1]:.2f}", end="  ", flush=True)
    figures = np.array(rows)
    config = assembly.config
    worst = sorted(zip(figures[:, 1], classes, strict=True))[:8]
    print(f"\n\n{asked.per_class} samples a class, {config.scheduler.name}, {config.steps} steps, "
          f"guidance {config.guidance_scale:g}")  # fmt: skip
    print("| figure | samples | held-out images |\n| --- | --- | --- |")
    print(f"| taken for the requested character | {figures[:, 0].mean():.3f} | "
          f"{float((guess == truth).float().mean()):.3f} |")  # fmt: skip
    print(f"| the same, look-alikes merged | {figures[:, 1].mean():.3f} | "
          f"{float((alike[guess] == alike[truth]).float().mean()):.3f} |")  # fmt: skip
    print(f"| spread within a class | {figures[:, 2].mean():.2f} | 1 |")
    print(f"| distance to the nearest training image | {figures[:, 3].mean():.2f} | 1 |")
    print(f"| dark pixels in the outer frame | {np.mean(frames):.4f} | |")
    print("worst classes: " + ", ".join(f"{name} {share:.2f}" for share, name in worst))
    if asked.sheet is not None:
        half = math.ceil(len(classes) / 2)
        rows_of = [pictures[i * 10 : i * 10 + 10] for i in range(len(classes))]
        blank = [np.zeros((28, 28), np.uint8)] * 10
        lines = [rows_of[i] + (rows_of[i + half] if i + half < len(classes) else blank) for i in range(half)]
        save_png(table([picture for line in lines for picture in line], 20), asked.sheet, 2)


if __name__ == "__main__":
    main()
