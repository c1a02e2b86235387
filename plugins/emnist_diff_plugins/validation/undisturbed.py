"""A network under training is lent to the engine, and comes back as it was."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import attrs
import torch
from torch import Tensor, nn

_DEPTH = 3
"""How deep networks may lie in an object: a denoiser, its codec, the codec's network."""


@contextmanager
def undisturbed(holder: object, device: torch.device) -> Iterator[None]:
    """The networks in `holder` in eval mode. Afterwards their modes, gradients and torch's random state are what they
    were, and cached memory of a CUDA device is given back, also where an error passes."""
    networks = list(networks_of(holder))
    modes = [(module, module.training) for network in networks for module in network.modules()]
    gradients = [(weight, weight.grad) for network in networks for weight in network.parameters()]
    cuda = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=cuda):
            for network in networks:
                network.eval()
            yield
    finally:
        for module, training in modes:
            module.training = training
        for weight, gradient in gradients:
            _restore(weight, gradient)
        gc.collect()  # engine and schedulers refer to each other
        if cuda:
            torch.cuda.empty_cache()


def networks_of(holder: object, depth: int = _DEPTH) -> Iterator[nn.Module]:
    """The networks that an object is or holds among its attributes."""
    if isinstance(holder, nn.Module):
        yield holder
    elif depth:
        for value in _attributes(holder):
            yield from networks_of(value, depth - 1)


def _attributes(holder: object) -> Iterator[Any]:
    """The values that a dictionary, an attrs class (which may have no ``__dict__``) or another object holds."""
    if isinstance(holder, dict):
        yield from holder.values()
    elif attrs.has(type(holder)):
        for field in attrs.fields(cast(Any, type(holder))):
            yield getattr(holder, field.name, None)
    else:
        yield from getattr(holder, "__dict__", {}).values()


def _restore(weight: Tensor, gradient: Tensor | None) -> None:
    if weight.grad is not gradient:
        weight.grad = gradient
