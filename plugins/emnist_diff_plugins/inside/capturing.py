"""Attention and hidden states of a network as `protocols.Captures` offers them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from emnist_diff.conditions import RowConditions
from emnist_diff.errors import ConfigError, RunFailed
from emnist_diff_plugins.inside import hidden
from emnist_diff_plugins.inside.layers import AttentionLayer, Layout, attention_layers, chosen
from emnist_diff_plugins.inside.maps import kept
from emnist_diff_plugins.inside.watching import Call, attending, watched
from emnist_diff_trajectory.attention import ATTENTION, AttentionRequest


class Inside(ABC):
    """A denoiser over a network of modules that offers what is inside: `protocols.Captures`. It stands beside
    `protocols.Denoiser` among the bases of a class."""

    __slots__ = ()

    @abstractmethod
    def inside(self, variant: str = "") -> nn.Module:
        """The network that `predict` evaluates for this variant, with the paths of its modules."""

    def layout(self) -> Layout | None:
        """How its layers see a state; None where states have no places."""
        return None

    @property
    def capturable(self) -> tuple[str, ...]:
        """`Captures.capturable`."""
        return (hidden.HIDDEN,) if self.layout() is None else (ATTENTION, hidden.HIDDEN)

    def activations(self, requests: Iterable[str]) -> Mapping[str, tuple[int, ...]]:
        """`Captures.activations`: attention, see `AttentionRequest`, and ``hidden/MODULE``, see `hidden`."""
        attention, modules = _sorted(requests)
        out: dict[str, tuple[int, ...]] = {}
        if attention is not None:
            for layer in self.attention(attention):
                out |= layer.shapes(attention)
        if modules:
            out |= hidden.shapes(modules, self.inside(), self._probe)
        return out

    def attention(self, request: AttentionRequest) -> tuple[AttentionLayer, ...]:
        """The layers that a request means. Raises as `layers.chosen`."""
        layout = self.layout()
        if layout is None:
            raise ConfigError("this network has no attention to record: its states have no places")
        return chosen(request, self.inside(), layout, self._probe)

    def attention_layers(self) -> tuple[AttentionLayer, ...]:
        """All layers whose attention can be recorded, in the order of evaluation."""
        layout = self.layout()
        return () if layout is None else attention_layers(self.inside(), layout, self._probe)

    def describe(self, requests: Iterable[str]) -> Mapping[str, Any]:
        """`DescribesActivations`: the layers whose attention is requested, and the tokens of each text."""
        attention, _ = _sorted(requests)
        if attention is None:
            return {}
        layers = self.attention(attention)
        tokens = self.token_lists() if any(layer.tokens for layer in layers) else {}
        return {"attention": [attrs.asdict(layer) for layer in layers], **({"tokens": tokens} if tokens else {})}

    def token_lists(self) -> Mapping[str, Mapping[str, Sequence[Any]]]:
        """Of each text, the null condition's under "", its tokens as layers attend to them: lists of ``text``, ``id``,
        ``special`` (0 or 1), ``word`` (which word of the text, -1 for none) and ``encoder``."""
        return {}

    def _probe(self) -> None:
        """Evaluate the network once, whatever for."""
        own: Any = self
        device = next(self.inside().parameters()).device
        x = torch.zeros(1, *own.shape, device=device)
        index = torch.zeros(1, dtype=torch.int64, device=device)
        with torch.inference_mode():
            own.predict(x, torch.ones(1, device=device), RowConditions(index))

    def capture(self, x: Tensor, t: Tensor, conds: RowConditions, requests: Iterable[str]) -> Mapping[str, Tensor]:
        """`Captures.capture`. Raises `RunFailed` where a layer is not evaluated by torch's kernel."""
        own: Any = self
        attention, modules = _sorted(requests)
        network = self.inside(conds.variant)
        layers = {} if attention is None else {layer.name: layer for layer in self.attention(attention)}
        parts: dict[str, list[dict[str, Tensor]]] = {name: [] for name in layers}

        def seen(name: str, call: Call) -> None:
            assert attention is not None
            parts[name].append(kept(call, layers[name], attention))

        found = {name: module for name, module in attending(network).items() if name in layers}
        names = hidden.shapes(modules, self.inside(), self._probe)
        with watched(found, seen), hidden.recorded(names, network) as states:
            own.predict(x, t, conds)
        for name, values in parts.items():
            if not values:
                variant = f" as {conds.variant!r} evaluates it" if conds.variant else ""
                raise RunFailed(f"layer {name} never reached torch's attention kernel{variant}")
        out: dict[str, Tensor] = {}
        for values in parts.values():
            out |= {name: torch.cat([part[name] for part in values]) for name in values[0]}
        return out | {name: torch.cat(values) for name, values in states.items()}


def _sorted(requests: Iterable[str]) -> tuple[AttentionRequest | None, tuple[str, ...]]:
    """The request for attention among these, and the modules of those for hidden states. Raises `ConfigError` for two
    requests for attention that differ, since there is one field of a name."""
    attention: AttentionRequest | None = None
    modules: list[str] = []
    for request in requests:
        group = request.partition(":")[0].partition("/")[0]
        if group == ATTENTION:
            parsed = AttentionRequest.parse(request)
            if attention not in (None, parsed):
                raise ConfigError("two sinks request attention with different settings — use the same ones for both")
            attention = parsed
        elif group == hidden.HIDDEN:
            modules.append(request)
    return attention, tuple(modules)
