"""Train the classifier that ``--force classifier`` asks.

    python train_classifier.py "emnist:data=data/emnist,split=byclass" classifier.safetensors

The first argument is a dataset as ``emnist-diff train --dataset`` takes it, with a part ``test`` beside ``train``. The
images are noised at all levels, so that the classifier can be asked about a state as well as about an image. On one
thread of a current CPU an epoch over 100,000 images takes one to two minutes.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from emnist_diff.components import make
from emnist_diff.config import ComponentConfig
from emnist_diff.discovery import installed
from emnist_diff_plugins import parse
from emnist_diff_plugins.contract import DatasetSpec
from torch import Tensor
from torch.nn import functional as F

from emnist_diff_forces_contrib.noisy_classifier import NoisyClassifier, save

CLEAN = 0.3
"""The share of images that are shown without noise."""


def read(text: str, part: str) -> Any:
    """A part of a dataset."""
    asked = parse.component(text, "dataset")
    settings = {key: value for key, value in asked.items() if key != "name"} | {"part": part}
    return make(installed(), DatasetSpec, ComponentConfig(asked["name"], settings=settings)).object.load()


def states(images: Tensor) -> Tensor:
    """uint8 images (B, C, H, W) in [-1, 1]."""
    return images.float() / 127.5 - 1.0


def noised(x: Tensor, noise: Tensor, generator: torch.Generator) -> Tensor:
    """Images (B, C, H, W) at noise levels (B,)."""
    rate = noise[:, None, None, None]
    return (1 - rate.square()).sqrt() * x + rate * torch.randn(x.shape, generator=generator)


def accuracy(network: NoisyClassifier, images: Tensor, labels: Tensor, level: float) -> float:
    """The share of images that it takes for what they are, at one noise level."""
    network.eval()
    generator = torch.Generator().manual_seed(1)
    right = 0
    with torch.inference_mode():
        for some, wanted in zip(images.split(500), labels.split(500), strict=True):
            noise = torch.full((len(some),), level)
            right += int((network(noised(states(some), noise, generator), noise).argmax(1) == wanted).sum())
    return right / len(images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("output", type=Path)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--seed", type=int, default=0)
    said = parser.parse_args()
    train, test = (read(said.dataset, part) for part in ("train", "test"))
    images, labels = torch.from_numpy(train.images), torch.from_numpy(train.labels)
    generator = torch.Generator().manual_seed(said.seed)
    torch.manual_seed(said.seed)
    network = NoisyClassifier(images.shape[1], len(train.classes))
    batches = len(images) // said.batch_size
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, said.rate, total_steps=said.epochs * batches)
    for epoch in range(said.epochs):
        network.train()
        started = time.perf_counter()
        order = torch.randperm(len(images), generator=generator)[: batches * said.batch_size]
        for some in order.split(said.batch_size):
            x = states(images[some])
            x = torch.roll(x, torch.randint(-2, 3, (2,), generator=generator).tolist(), (2, 3))
            noise = torch.rand(len(x), generator=generator)
            noise[torch.rand(len(x), generator=generator) < CLEAN] = 0.0
            logits = network(noised(x, noise, generator), noise)
            loss = F.cross_entropy(logits, labels[some], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}, {time.perf_counter() - started:.0f} s", flush=True)
    wanted = torch.from_numpy(test.labels)
    levels = {level: accuracy(network, torch.from_numpy(test.images), wanted, level) for level in (0.0, 0.3, 0.6, 0.9)}
    print("accuracy on the test part by noise:", {level: round(value, 3) for level, value in levels.items()})
    provenance = {
        "data": dict(train.provenance),
        "epochs": said.epochs,
        "seed": said.seed,
        "test_accuracy_by_noise": levels,
    }
    save(said.output, network, tuple(train.classes), provenance)


if __name__ == "__main__":
    main()
