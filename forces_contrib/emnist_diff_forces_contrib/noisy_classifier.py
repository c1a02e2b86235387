"""A small classifier of images at any noise level, and the file that holds one."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import attrs
import torch
from emnist_diff.errors import CheckpointError
from torch import Tensor, nn
from torch.nn import functional as F

KEY = "emnist_diff_forces_contrib.noisy_classifier"
"""Where a file's metadata holds classes and widths, as JSON."""

ROWS = 8
"""Images that a classifier is asked about at once."""

_LARGEST_FILE = 100_000_000
_ANGLES = 16


class NoisyClassifier(nn.Module):
    """Four convolutions, each told of the noise level by a scale and a shift of its channels, and one linear layer.

    channels: of the images.  classes: how many.  widths: channels of the four layers, multiples of 8; the second and
    the third halve the resolution.  embedded: features of the noise level.
    """

    def __init__(
        self, channels: int, classes: int, widths: tuple[int, ...] = (32, 48, 64, 80), embedded: int = 64
    ) -> None:
        super().__init__()
        self.channels, self.widths, self.embedded = channels, tuple(widths), embedded
        inputs = (channels, *widths[:-1])
        strides = (1, 2, 2, 1)
        self.convs = nn.ModuleList(
            nn.Conv2d(i, o, 3, stride=s, padding=1) for i, o, s in zip(inputs, widths, strides, strict=True)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(8, width) for width in widths)
        self.level = nn.Linear(2 * _ANGLES, embedded)
        self.told = nn.ModuleList(nn.Linear(embedded, 2 * width) for width in widths)
        self.out = nn.Linear(4 * widths[-1], classes)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """(B, classes) logits of images x (B, C, H, W) in [-1, 1], noised as signal · x + noise · eps with signal² +
        noise² = 1; noise (B,), 0 … 1."""
        frequencies = 0.5 * math.pi * torch.arange(1, _ANGLES + 1, dtype=x.dtype, device=x.device)
        angles = noise.to(x.dtype)[:, None] * frequencies
        level = F.silu(self.level(torch.cat((angles.cos(), angles.sin()), dim=1)))
        for conv, norm, told in zip(self.convs, self.norms, self.told, strict=True):
            scale, shift = told(level)[:, :, None, None].chunk(2, dim=1)
            x = F.silu(norm(conv(x)) * (1.0 + scale) + shift)
        out: Tensor = self.out(F.adaptive_avg_pool2d(x, 2).flatten(1))
        return out


@attrs.frozen(eq=False)
class Classifier:
    """A classifier ready to be asked: its network, and its classes in the order of its logits."""

    network: NoisyClassifier
    classes: tuple[str, ...]

    def log_probability(self, x: Tensor, noise: float, index: Tensor) -> Tensor:
        """log p(class | x) in nats: x (B, C, H, W) at one noise level, index (B,) places of the classes → (B,).

        The network is asked about `ROWS` images at a time, the last one repeated where they are fewer, because the last
        bits of a row depend on how many its call has, and a sample must not depend on its neighbours.
        """
        count = len(x)
        order = torch.arange(count + -count % ROWS, device=x.device).clamp_(max=count - 1)
        level = torch.full((ROWS,), noise, device=x.device)
        logits = torch.cat([self.network(part, level) for part in torch.split(x[order], ROWS)])[:count]
        out: Tensor = torch.log_softmax(logits, 1).gather(1, index[:, None])[:, 0]
        return out


def save(path: Path, network: NoisyClassifier, classes: tuple[str, ...], provenance: dict[str, Any]) -> None:
    """Write a classifier as safetensors, weights in half precision."""
    from safetensors.torch import save_file

    said = {
        "classes": list(classes),
        "channels": network.channels,
        "widths": list(network.widths),
        "embedded": network.embedded,
        "provenance": provenance,
    }
    weights = {name: tensor.detach().half().contiguous() for name, tensor in network.state_dict().items()}
    save_file(weights, path, {KEY: json.dumps(said)})


def shipped() -> Path:
    """The classifier that comes with this package: 62 classes of handwriting, 28 × 28; see its README."""
    return Path(__file__).parent / "weights" / "classifier.safetensors"


def file_sha256(path: Path) -> str:
    """SHA-256 of a classifier's file, in hex. Raises `CheckpointError` where it cannot be read."""
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise CheckpointError(f"{path} is no classifier: it has more than {_LARGEST_FILE:,} bytes")
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise CheckpointError(f"cannot read classifier {str(path)!r}: {error.strerror}") from error


@functools.lru_cache(maxsize=4)
def load(path: Path, sha256: str, device: str) -> Classifier:
    """The classifier in a file that has this hash, in float32 and without gradients for its weights.

    Raises `CheckpointError` for a file that is none, or has changed.
    """
    from safetensors import SafetensorError, safe_open

    if file_sha256(path) != sha256:
        raise CheckpointError(f"classifier {str(path)!r} is not the one with sha256 {sha256:.12}…")
    try:
        with safe_open(path, "pt") as file:
            said = json.loads((file.metadata() or {})[KEY])
            weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118  # no dictionary
        classes = tuple(str(name) for name in said["classes"])
        sizes = (int(said["channels"]), len(classes), tuple(map(int, said["widths"])), int(said["embedded"]))
        with torch.device("meta"):  # shapes only: what the file claims costs nothing until the tensors match it
            network = NoisyClassifier(*sizes)
        network.load_state_dict(weights, assign=True)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path} is no classifier of emnist-diff-forces-contrib: {reason}") from error
    return Classifier(network.to(device).eval().requires_grad_(False), classes)
