"""Models of pixels."""

from __future__ import annotations

from typing import Any

import attrs

from emnist_diff_plugins.recipes._shared import component, document_001, unet, width

_LEVELS = (1, 2, 3, 3)


@attrs.frozen
class Ddpm:
    """Document 001's DDPM: the noise of 1,000 cosine levels, which ddim samples in fifty steps, and ddpm in all.

    Example: ``emnist-diff train ddpm --data DIR``
    """

    base_channels: int = width(32)

    def expand(self) -> dict[str, Any]:
        """The settings of the training."""
        return document_001(
            family=unet([self.base_channels * level for level in _LEVELS]),
            objective=component("diffusion", prediction="epsilon", beta_schedule="squaredcos_cap_v2"),
        )


@attrs.frozen
class RectifiedFlow:
    """Document 001's rectified flow: the velocity at logit-normal times, of which the network is shown 999 s.

    Example: ``emnist-diff train rf --data DIR``
    """

    base_channels: int = width(32)

    def expand(self) -> dict[str, Any]:
        """The settings of the training."""
        return document_001(family=unet([self.base_channels * level for level in _LEVELS]), **flow())


def flow() -> dict[str, Any]:
    """Document 001's objective of flows; 25 steps of the midpoint method evaluate the network as often as its 50 of
    Euler's."""
    return {
        "objective": component("flow", time_sampling="logit_normal", time_scale=999.0),
        "recommended": {"scheduler": {"name": "flow_midpoint"}, "steps": 25},
    }
