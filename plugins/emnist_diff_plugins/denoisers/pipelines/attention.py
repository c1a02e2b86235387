"""Self-attention of a UNet perturbed: each token keeps its own value (Ahn et al., 2024, arXiv:2403.17377), in the
middle block as diffusers' pipelines of perturbed attention have it, or with ``:all`` in every block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from emnist_diff_plugins.variants import EVERYWHERE, Variant

_IDENTITY = "attention_identity"
VARIANTS = (_IDENTITY, _IDENTITY + EVERYWHERE)
"""What a UNet with cross attention can declare."""


class Identity:
    """A processor of diffusers' attention whose map is the identity."""

    def __call__(self, attention: Any, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """States (R, tokens, C) → the same shape."""
        out: Tensor = attention.to_out[1](attention.to_out[0](attention.to_v(hidden_states)))
        return out.div(float(attention.rescale_output_factor))


@contextmanager
def perturbed(network: Any, variant: str) -> Iterator[None]:
    """The network with its self-attention replaced for as long as the context lasts; its weights stay."""
    everywhere = Variant.parse(variant).everywhere
    own = {
        name: module.processor
        for name, module in network.named_modules()
        if name.endswith("attn1") and (everywhere or name.startswith("mid_block"))
    }
    modules = {name: network.get_submodule(name) for name in own}
    for module in modules.values():
        module.processor = Identity()
    try:
        yield
    finally:
        for name, module in modules.items():
            module.processor = own[name]
