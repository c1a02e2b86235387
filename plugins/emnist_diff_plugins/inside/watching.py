"""The calls of torch's attention kernel that a network makes, each with the layer that makes it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import attrs
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


@attrs.frozen(eq=False)
class Call:
    """A call of ``scaled_dot_product_attention``: query (R, heads, Q, c), key (R, heads, K, c), what is added to their
    products or masks them, the factor of the products, and whether a layer that attends to a context made it."""

    query: Tensor
    key: Tensor
    mask: Tensor | None
    scale: float
    to_context: bool

    def probabilities(self, head: int, first: int, last: int) -> Tensor:
        """Of the queries `first` … `last` of a head, (R, last - first, K) float32; each row sums to one."""
        query, key = self.query[:, head, first:last].float(), self.key[:, head].float()
        products = torch.matmul(query, key.transpose(1, 2)) * self.scale
        if self.mask is not None:
            mask = self.mask.expand(len(query), self.query.shape[1], self.query.shape[2], key.shape[1])
            mask = mask[:, head, first:last]
            products = products.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else products + mask.float()
        return products.softmax(-1)


def attending(network: nn.Module) -> dict[str, nn.Module]:
    """The modules of a network that attend, by path, in order."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(getattr(module, "to_q", None), nn.Module) and isinstance(getattr(module, "to_k", None), nn.Module)
    }


@contextmanager
def watched(layers: Mapping[str, nn.Module], seen: Callable[[str, Call], None]) -> Iterator[None]:
    """While the context lasts, `seen` is called with the layer's name and each call of the kernel that one of these
    layers makes. The network computes what it computes otherwise."""
    inside: list[tuple[str, bool]] = []
    kernel = _Kernel(lambda: inside[-1] if inside else None, seen)
    with ExitStack() as hooks:
        for name, module in layers.items():
            enter, leave = _entering(inside, name), _leaving(inside)
            hooks.callback(module.register_forward_pre_hook(enter, with_kwargs=True).remove)
            hooks.callback(module.register_forward_hook(leave, always_call=True).remove)
        with kernel:
            yield


def _entering(inside: list[tuple[str, bool]], name: str) -> Callable[..., None]:
    def enter(_: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        context = kwargs.get("encoder_hidden_states", args[1] if len(args) > 1 else None)
        inside.append((name, isinstance(context, Tensor)))

    return enter


def _leaving(inside: list[tuple[str, bool]]) -> Callable[..., None]:
    def leave(*_: Any) -> None:
        inside.pop()

    return leave


class _Kernel(TorchFunctionMode):
    """Sees each call of the kernel on its way.  layer: name and context of the layer that is evaluated, if any is."""

    def __init__(self, layer: Callable[[], tuple[str, bool] | None], seen: Callable[[str, Call], None]) -> None:
        super().__init__()
        self._layer, self._seen = layer, seen

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        layer = self._layer() if func is F.scaled_dot_product_attention else None
        if layer is not None:
            self._seen(layer[0], _call(args, kwargs, layer[1]))
        return func(*args, **kwargs)


_ARGUMENTS = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa")
"""Of the kernel, as torch names them."""


def _call(args: tuple[Any, ...], kwargs: Mapping[str, Any], to_context: bool) -> Call:
    """A call of the kernel by its arguments."""
    given = {**dict(zip(_ARGUMENTS, args, strict=False)), **kwargs}
    query, key, mask, scale = given["query"], given["key"], given.get("attn_mask"), given.get("scale")
    if given.get("is_causal"):
        mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).tril()
    if given.get("enable_gqa"):
        key = key.repeat_interleave(query.shape[1] // key.shape[1], 1)
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else float(scale)
    return Call(query.detach(), key.detach(), mask, factor, to_context)
