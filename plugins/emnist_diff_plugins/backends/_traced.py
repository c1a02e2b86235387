"""Networks as graphs that torch walks by itself.

A network in Python holds Python's lock between its operators, so that calls beside each other, each in a thread of its
own, wait for one another. A graph of the same operators is walked without the lock, and computes the same bits.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import structlog
import torch
from torch import Tensor, nn

from emnist_diff_plugins.backends._streams import Network

log = structlog.get_logger()

_GRAPHS: dict[Hashable, Callable[..., Tensor]] = {}
"""What was traced, by its key. Torch never lets go of a graph; so networks of one structure share one, and weights are
none of its constants."""


class Traced:
    """A graph with the weights of one network: a function of x, t and index that several threads may call at once."""

    def __init__(self, graph: Callable[..., Tensor], weights: Sequence[Tensor]) -> None:
        self.graph, self.weights = graph, weights

    def __call__(self, x: Tensor, t: Tensor, index: Tensor) -> Tensor:
        """As the network, for as many rows as in the call that it was traced by."""
        with torch.jit.optimized_execution(False):  # of this thread: passes that cost more than they save here
            return self.graph(x, t, index, *self.weights)


def traced(network: nn.Module, example: tuple[Tensor, Tensor, Tensor], key: Hashable) -> Network:
    """A network that branches on nothing but shapes, as a graph; where torch has no way to trace it, itself.

    example: x, t and index of a call. What hangs on the number of threads is fixed as it is in this one.
    key: the same for networks that differ in their weights alone, asked by calls of the same shape.
    """
    weights = [
        (held, name, value)
        for part in network.modules()
        for held in (part._parameters, part._buffers)
        for name, value in held.items()
        if value is not None
    ]
    values = [value for _, _, value in weights]
    if key not in _GRAPHS:

        def call(x: Tensor, t: Tensor, index: Tensor, *given: Tensor) -> Tensor:
            for (held, name, _), value in zip(weights, given, strict=True):
                held[name] = value
            out: Tensor = network(x, t, index)
            return out

        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that tracing will go some day, and that what depends on shapes is fixed
            try:
                # As a function: of a module torch first makes a script, which takes longer than all the rest.
                graph: Any = torch.jit.trace(call, (*example, *values), check_trace=False)  # type: ignore[no-untyped-call]
            except Exception as error:  # it has no one way to refuse
                log.debug("backend.not_traced", backend="eager", error=" ".join(str(error).split())[:300])
                return network
            finally:
                for held, name, value in weights:
                    held[name] = value
        _GRAPHS[key] = graph
    return Traced(_GRAPHS[key], values)
