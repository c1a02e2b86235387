"""Descriptions that tell networks apart, as keys of caches of compiled code."""

from __future__ import annotations

import hashlib
import inspect
from pathlib import Path
from types import ModuleType

import attrs
import torch
from torch import nn


def fingerprints_of(network: nn.Module) -> list[str]:
    """The values of its tensors, its structure, and the sources of the classes of its parts."""
    files = {inspect.getsourcefile(type(part)) for part in _parts(network)}
    sources = [Path(path).read_text(encoding="utf-8") for path in sorted(filter(None, files))]
    return [_weights(network), structure_of(network), *sources]


def structure_of(network: nn.Module) -> str:
    """A text of the network's parts and their plain settings, without its weights."""
    settings = [
        f"{name}={value!r}"
        for part in _parts(network)
        for name, value in sorted(vars(part).items())
        if not name.startswith("_")
        and (isinstance(value, bool | int | float | str | tuple | None) or attrs.has(type(value)))
    ]
    return "\n".join((repr(network), *settings))


def _parts(network: nn.Module) -> list[nn.Module]:
    return [part for part in network.modules() if type(part).__module__.partition(".")[0] != "torch"]


def source_of(module: ModuleType) -> str:
    """The source of a module."""
    return Path(str(module.__file__)).read_text(encoding="utf-8")


def _weights(network: nn.Module) -> str:
    """SHA-256 of the values of all tensors."""
    digest = hashlib.sha256()
    for value in network.state_dict().values():
        digest.update(value.contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
