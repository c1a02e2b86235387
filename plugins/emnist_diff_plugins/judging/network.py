"""The classifier that a judge asks, and what it says of images."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FEATURES = 64
"""Numbers that stand for an image in the Fréchet distance: the last layer before the classes."""

_ROWS = 500


class JudgeNetwork(nn.Module):
    """A convolutional classifier of images (B, C, H, W) in [0, 1], of any size from 8×8 on."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 24, 5, stride=2, padding=2),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.Conv2d(24, 48, 3, padding=1),
            nn.BatchNorm2d(48),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(48, FEATURES, 3, padding=1),
            nn.BatchNorm2d(FEATURES),
            nn.ReLU(),
            nn.Conv2d(FEATURES, FEATURES, 3, padding=1),
            nn.BatchNorm2d(FEATURES),
            nn.ReLU(),
        )
        self.narrow = nn.Linear(2 * FEATURES, FEATURES)
        self.classes = nn.Linear(FEATURES, classes)

    def features(self, images: Tensor) -> Tensor:
        """(B, 64) features of images (B, C, H, W) in [0, 1]."""
        maps = self.body(2.0 * images - 1.0)
        return F.relu(self.narrow(torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], dim=1)))

    def forward(self, images: Tensor) -> Tensor:
        """(B, classes) logits."""
        return cast(Tensor, self.classes(self.features(images)))


def examined(network: JudgeNetwork, images: Tensor) -> tuple[Tensor, Tensor]:
    """(N, 64) features and (N,) the classes that a network in eval mode takes images for, uint8 (N, C, H, W)."""
    features, classes = [], []
    with torch.inference_mode():
        for some in images.split(_ROWS):
            features.append(network.features(some.to(torch.float32) / 255.0))
            classes.append(network.classes(features[-1]).argmax(1))
    return torch.cat(features), torch.cat(classes)
