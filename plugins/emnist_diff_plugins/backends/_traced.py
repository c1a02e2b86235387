"""Networks as graphs that torch walks by itself.

A network in Python holds Python's lock between its operators, so that calls beside each other, each in a thread of its
own, wait for one another. A graph of the same operators is walked without the lock, and computes the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from emnist_diff.events import get_logger
from emnist_diff_plugins.backends._silence import silence
from emnist_diff_plugins.backends._streams import Network

log = get_logger()

_GRAPHS: dict[Hashable, Callable[..., Tensor]] = {}
"""Traced graphs by key. Torch never frees a graph, so networks of one structure share one, and weights are its inputs
rather than its constants."""


class Traced:
    """A graph with the weights of one network: a function of x, t and index that several threads may call at once.

    plainly: a context in which this thread's graphs run as they are, without passes that cost more than they save.
    """

    def __init__(
        self,
        graph: Callable[..., Tensor],
        weights: Sequence[Tensor],
        plainly: Callable[[bool], AbstractContextManager[None]],
    ) -> None:
        self.graph, self.weights, self.plainly = graph, weights, plainly
        # Torch takes Python's lock when nobody but Python holds a tensor any more, as after the last use of a weight.
        self.held = torch.jit.script([*weights])  # by a list of its own

    def __call__(self, x: Tensor, t: Tensor, index: Tensor) -> Tensor:
        """As the network, for as many rows as in the call that it was traced by."""
        with self.plainly(False):
            return self.graph(x, t, index, *self.weights)


def traced(network: nn.Module, example: tuple[Tensor, Tensor, Tensor], key: Hashable) -> Network:
    """The graph of a network that branches on shapes alone, or the network itself where torch cannot trace it.

    example: x, t and index of a call. Whatever depends on the number of threads is fixed as it is in this call.
    key: the same for networks that differ in their weights alone and get calls of the same shape.
    """
    slots = [
        (tensors, name)
        for part in network.modules()
        for tensors in (part._parameters, part._buffers)
        for name, value in tensors.items()
        if value is not None
    ]
    weights: list[Any] = [tensors[name] for tensors, name in slots]

    def call(x: Tensor, t: Tensor, index: Tensor, *given: Tensor) -> Tensor:
        for (tensors, name), value in zip(slots, given, strict=True):
            tensors[name] = value  # type: ignore[assignment]  # of parameters, for as long as they are traced
        out: Tensor = network(x, t, index)
        return out

    with silence():
        try:
            if key not in _GRAPHS:
                _GRAPHS[key] = _graph(call, (*example, *weights))
            return Traced(_GRAPHS[key], weights, torch.jit.optimized_execution)  # type: ignore[attr-defined]  # torch's
        except Exception as error:  # the tracer raises errors of many types
            log.debug("backend.not_traced", backend="eager", error=" ".join(str(error).split())[:300])
            return network
        finally:
            for (tensors, name), value in zip(slots, weights, strict=True):
                tensors[name] = value


def _graph(call: Callable[..., Tensor], example: tuple[Tensor, ...]) -> Callable[..., Tensor]:
    """A function traced. Of a module torch would first make a script, which takes longer than all the rest."""
    with torch.inference_mode():
        graph: Any = torch.jit.trace(call, example, check_trace=False)
    if not isinstance(graph, torch.jit.ScriptFunction):  # PYTORCH_JIT=0, which gives back the function itself
        raise TypeError(f"tracing is off: torch made a {type(graph).__name__}")
    with suppress(AttributeError):
        delattr(graph, "_torchdynamo_inline")  # the function and its network, which only a compiler would read
    return graph
