"""What modules of a network hand on, under the names of the modules."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from typing import Any

from torch import Tensor, nn

from emnist_diff.errors import ConfigError, unknown

HIDDEN = "hidden"
"""The group of the activations that are hidden states."""

_BLOCKS = ("down_blocks", "up_blocks", "transformer_blocks", "single_transformer_blocks", "layers")
_MIDDLE = "mid_block"
"""Lists of blocks, and the block between two of them, as diffusers' networks call them."""

_DEPTH = 2
"""Levels below a block that is not evaluated as one in which the last module that is evaluated stands for it."""

_SHAPES: weakref.WeakKeyDictionary[nn.Module, dict[str, tuple[int, ...]]] = weakref.WeakKeyDictionary()


def shapes(requests: Sequence[str], network: nn.Module, evaluate: Callable[[], None]) -> dict[str, tuple[int, ...]]:
    """What requests such as ``hidden`` and ``hidden/mid_block`` mean, name → shape of a row, in order of evaluation.
    The group means what the blocks of a network hand on.  evaluate: evaluates the network once, with one row.

    Raises `UnknownName` for a module that is not there, `ConfigError` for one that hands on no tensor and for the
    group of a network without blocks.
    """
    if network not in _SHAPES:
        _SHAPES[network] = _evaluated(network, evaluate)
    known, out = _SHAPES[network], set[str]()
    for request in requests:
        name = request.partition("/")[2]
        if name and name not in dict(network.named_modules()):
            raise unknown("module of the network", name, get_close_matches(name, known, 8, 0.3) or list(known))
        if not name and request != HIDDEN:
            raise ConfigError(f"{request!r} names no module — name one, or request {HIDDEN!r} for all blocks")
        if name and name not in known:
            inside = next((one for one in reversed(known) if one.startswith(f"{name}.")), None)
            hint = f" — {inside} in it is the last that does" if inside else ""
            raise ConfigError(f"{request}: this module hands on no tensor when the network is evaluated{hint}")
        out.update([name] if name else _blocks(known))
    return {f"{HIDDEN}/{name}": shape for name, shape in known.items() if name in out}


def _evaluated(network: nn.Module, evaluate: Callable[[], None]) -> dict[str, tuple[int, ...]]:
    """Path → shape of a row, of all modules that hand on tensors."""
    paths = [name for name, _ in network.named_modules() if name]
    with recorded([f"{HIDDEN}/{name}" for name in paths], network) as states:
        evaluate()
        order = [name for name in states if states[name]]
        return {name.partition("/")[2]: tuple(states[name][0].shape[1:]) for name in order}


def _blocks(known: Sequence[str] | Mapping[str, object]) -> list[str]:
    """The blocks of a network, or what hands on their states. Raises `ConfigError` where there is none."""
    found: dict[str, str] = {}
    for name in known:
        path = name.split(".")
        depth = 1 if path[0] == _MIDDLE else 2
        if (path[0] != _MIDDLE and (path[0] not in _BLOCKS or len(path) < 2)) or len(path) > depth + _DEPTH:
            continue
        block = ".".join(path[:depth])
        if found.get(block) != block:  # which, if evaluated as one, hands on its state
            found[block] = name
    if not found:
        raise ConfigError(f"this network has no blocks — name a module, such as {HIDDEN}/{next(iter(known))}")
    return list(found.values())


@contextmanager
def recorded(names: Iterable[str], network: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """What modules (``hidden/mid_block``) hand on while the context lasts, by name in order of evaluation: float32 with
    the rows first, a tensor a call."""
    states: dict[str, list[Tensor]] = {}
    with ExitStack() as hooks:
        for name in names:
            module = network.get_submodule(name.partition("/")[2])
            hooks.callback(module.register_forward_hook(_keeping(states, name)).remove)
        yield states


def _keeping(states: dict[str, list[Tensor]], name: str) -> Callable[[nn.Module, Any, Any], None]:
    def keep(_: nn.Module, inputs: Any, output: Any) -> None:
        state = _state(output)
        if state is not None:
            states.setdefault(name, []).append(state.detach().float().clone())

    return keep


def _state(output: Any) -> Tensor | None:
    """The state of the image that an output is or holds, the last of several tensors: one of a text comes before it."""
    values = [output] if isinstance(output, Tensor) else output
    found = [value for value in values if isinstance(value, Tensor)] if isinstance(values, list | tuple) else []
    return found[-1] if found and found[-1].dim() else None
