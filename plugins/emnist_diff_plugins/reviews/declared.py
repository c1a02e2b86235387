"""Variants of networks that forces request: those that the networks declare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs
import torch

from emnist_diff.assembly.assemble import Parts
from emnist_diff.protocols import Denoiser
from emnist_diff.surroundings import Review
from emnist_diff_plugins import variants


@attrs.frozen
class DeclaredVariants(Review):
    """Refuses conditions of variants that a network does not have."""

    def require(self, parts: Parts, denoisers: Mapping[str, Denoiser], device: torch.device) -> None:
        """`Review.require`; raises as `require_declared`."""
        require_declared(parts.layout.plan.networks, denoisers, parts.networks[""].component.name)


def require_declared(
    requested: Iterable[tuple[str, str]], denoisers: Mapping[str, Denoiser], main: str = "of the run"
) -> None:
    """Raise `ConfigError` for a variant that a denoiser does not declare.

    requested: the networks that a run evaluates, each the name of a denoiser and a variant of it.
    main: the name of the denoiser ``""`` in messages.
    """
    for name, variant in requested:
        variants.require(denoisers[name], variant, name or main)
