"""Layers of a pipeline's network skipped, for skip-layer guidance: see `denoisers._skipping`.

Of a transformer a layer is a block, those of Flux with two streams before those with one. Of a UNet it is a residual
layer with the attention after it, in the order of evaluation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from emnist_diff_plugins.denoisers._skipping import Skipped, skipped_layers
from emnist_diff_plugins.variants import Variant

Place = tuple[nn.ModuleList, int, nn.Module]
"""A list of modules, a place in it, and what is evaluated there instead."""


class PassedBlock(nn.Module):
    """What stays of a transformer's block: both streams as they came."""

    def forward(
        self, hidden_states: Tensor, encoder_hidden_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """States of the text and of the image, in the order in which blocks return them."""
        return encoder_hidden_states, hidden_states


class PassedAttention(nn.Module):
    """What stays of a UNet's attention: the states as they came."""

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor]:
        """States (R, C, H, W), as the attention returns them."""
        return (hidden_states,)


def layers_of(network: Any) -> list[list[Place]]:
    """The layers of a network in the order of evaluation, with what stays of each that is skipped."""
    if hasattr(network, "transformer_blocks"):
        lists = [network.transformer_blocks, getattr(network, "single_transformer_blocks", None) or nn.ModuleList()]
        return [[(blocks, place, PassedBlock())] for blocks in lists for place in range(len(blocks))]
    out: list[list[Place]] = []
    for stage in (*network.down_blocks, network.mid_block, *network.up_blocks):
        attentions = getattr(stage, "attentions", None) or nn.ModuleList()
        for place, residual in enumerate(stage.resnets):
            layer: list[Place] = [(stage.resnets, place, Skipped(residual.conv_shortcut))]
            out.append(layer + ([(attentions, place, PassedAttention())] if place < len(attentions) else []))
    return out


@contextmanager
def skipped(network: Any, variant: str) -> Iterator[None]:
    """The network without some of its layers for as long as the context lasts. Raises as `skipped_layers`."""
    layers = layers_of(network)
    places = [place for layer in skipped_layers(Variant.parse(variant), len(layers)) for place in layers[layer]]
    own = [modules[place] for modules, place, _ in places]
    for modules, place, rest in places:
        modules[place] = rest
    try:
        yield
    finally:
        for (modules, place, _), module in zip(places, own, strict=True):
            modules[place] = module
