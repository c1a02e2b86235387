"""Layers skipped, for guidance by what a worse network would say: skip-layer guidance, as Stable Diffusion 3.5 has it.

The variant ``skip_layers@LAYERS`` skips the layers whose bits are set in its number: 2⁷ + 2⁸ + 2⁹ = 896 skips layers
7, 8 and 9, counted from 0 in the order in which the network evaluates them. What a layer is, its network says: of a
transformer, a block. Of a UNet it is a residual layer with the attention after it, and what stays of a skipped one is
its shortcut.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, TypeVar

from torch import Tensor, nn

from emnist_diff.errors import ConfigError
from emnist_diff_plugins.variants import Variant

if TYPE_CHECKING:
    from emnist_diff_plugins.denoisers._unet import Stage, UNet

NAME = "skip_layers"
SKIPPING = f"{NAME}@LAYERS"
"""What a network with layers to skip can declare."""

N = TypeVar("N", bound=nn.Module)


def skipped_layers(variant: Variant, count: int) -> tuple[int, ...]:
    """The layers that a variant skips, ascending.  count: how many the network has.

    Raises `ConfigError` for a number that has no bits, and for a layer that is not there.
    """
    number = variant.value or 0.0
    if not number.is_integer():
        raise ConfigError(f"variant {str(variant)!r}: its number is the sum of 2^i over the layers i, and so is whole")
    layers = tuple(i for i, bit in enumerate(reversed(bin(int(number))[2:])) if bit == "1")
    if layers and layers[-1] >= count:
        raise ConfigError(
            f"skip_layers: there is no layer {layers[-1]} to skip — this network has {count}, 0 … {count - 1}"
        )
    return layers


def sharing(network: N) -> N:
    """A copy of a network whose modules can be replaced; its weights and buffers are those of `network`."""
    own = [*network.parameters(), *network.buffers()]
    return copy.deepcopy(network, {id(tensor): tensor for tensor in own})


def without_layers(network: UNet, variant: Variant) -> UNet:
    """The network with some of its layers skipped; it shares all weights with `network`. Raises as `skipped_layers`."""
    copied = sharing(network)
    stages = [*copied.down_blocks, copied.mid_block, *copied.up_blocks]
    places = [(stage, place) for stage in stages for place in range(len(stage.resnets))]
    for layer in skipped_layers(variant, len(places)):
        _skip(*places[layer])
    return copied


def _skip(stage: Stage, place: int) -> None:
    stage.resnets[place] = Skipped(list(stage.resnets)[place].conv_shortcut)
    for attentions in (stage.attentions, stage.cross_attentions):
        if attentions is not None and place < len(attentions):
            attentions[place] = Skipped(None)


class Skipped(nn.Module):
    """What stays of a skipped layer.  shortcut: what leads past it; the identity where it is None."""

    def __init__(self, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.shortcut = shortcut

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(R, C, H, W) → (R, C', H, W), whatever time and class are."""
        out: Tensor = x if self.shortcut is None else self.shortcut(x)
        return out
