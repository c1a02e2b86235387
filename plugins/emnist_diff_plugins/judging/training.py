"""Training of judges."""

from __future__ import annotations

import time
from collections.abc import Callable

import attrs
import numpy as np
import torch
from torch.nn import functional as F

from emnist_diff.errors import DatasetError
from emnist_diff_plugins.datasets.images import Images
from emnist_diff_plugins.judging.file import Judge
from emnist_diff_plugins.judging.network import JudgeNetwork, examined
from emnist_diff_plugins.judging.reference import Reference, deviation, moments
from emnist_diff_plugins.judging.scores import score

_REAL = 1000
_RATE, _DECAY, _SMOOTHING, _SHIFT = 4e-3, 0.02, 0.05, 2
"""Highest learning rate, weight decay, label smoothing, and pixels that images are moved by at most."""


@attrs.frozen
class Exercise:
    """How a judge is trained: passes over the images, images of an update, seed."""

    epochs: int = 4
    batch_size: int = 128
    seed: int = 0


def train(
    name: str, images: Images, held_out: Images, exercise: Exercise, report: Callable[[int, float], None]
) -> Judge:
    """A judge of these images, whose share of recognised ones is that of `held_out`.

    report: is called after each epoch with its number and the mean loss.
    Raises `DatasetError` where the held-out images have other classes, or a batch has more images than there are.
    """
    if held_out.classes != images.classes:
        raise DatasetError("the held-out images have other classes than the training images")
    if len(images.images) < exercise.batch_size:
        raise DatasetError(f"{len(images.images)} images are fewer than a batch of {exercise.batch_size}")
    started = time.process_time()
    torch.manual_seed(exercise.seed)
    network = JudgeNetwork(images.images.shape[1], len(images.classes))
    _fit(network, torch.from_numpy(images.images), torch.from_numpy(images.labels), exercise, report)
    network.eval().requires_grad_(False)
    _, found = examined(network, torch.from_numpy(held_out.images))
    right = found.numpy() == held_out.labels
    facts = {
        "data": dict(images.provenance),
        "images": len(images.images),
        "held_out": len(held_out.images),
        "accuracy": float(right.mean()),
        "cpu_seconds": round(time.process_time() - started, 1),
        **attrs.asdict(exercise),
    }
    reference = _reference(network, images, held_out.labels, right)
    judge = Judge(name, network, images.classes, images.images.shape[1:], reference, facts)
    return attrs.evolve(judge, facts={**facts, "real": real_images(judge, held_out)})


def real_images(judge: Judge, images: Images) -> dict[str, float | None]:
    """What a judge says of up to 1,000 held-out images, which is the best that samples can be."""
    chosen = np.random.default_rng(0).permutation(len(images.images))[:_REAL]
    result = score(judge, images.images[chosen], [images.classes[n] for n in images.labels[chosen]])
    return {"count": len(chosen), "recognised": result.recognised, "frechet": result.frechet}


def _fit(
    network: JudgeNetwork,
    images: torch.Tensor,
    labels: torch.Tensor,
    exercise: Exercise,
    report: Callable[[int, float], None],
) -> None:
    generator = torch.Generator().manual_seed(exercise.seed)
    batches = len(images) // exercise.batch_size
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=_DECAY)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=exercise.epochs * batches)
    network.train()
    for epoch in range(exercise.epochs):
        total = 0.0
        order = torch.randperm(len(images), generator=generator)[: batches * exercise.batch_size]
        for some in order.split(exercise.batch_size):
            shift = torch.randint(-_SHIFT, _SHIFT + 1, (2,), generator=generator).tolist()
            x = torch.roll(images[some].to(torch.float32) / 255.0, shift, (2, 3))
            loss = F.cross_entropy(network(x), labels[some], label_smoothing=_SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
            total += loss.item()
        report(epoch + 1, total / batches)


def _reference(network: JudgeNetwork, images: Images, test_labels: np.ndarray, right: np.ndarray) -> Reference:
    features, _ = examined(network, torch.from_numpy(images.images))
    mean, covariance = moments(features.double().numpy(), images.labels, images.classes)
    numbers = range(len(images.classes))
    vary = [deviation(images.images[images.labels == n]) if (images.labels == n).any() else 0.0 for n in numbers]
    rates = [right[test_labels == n].mean() if (test_labels == n).any() else 0.0 for n in numbers]
    return Reference(mean, covariance, np.array(vary), np.array(rates, dtype=np.float64))
