"""A network filled with the tensors of a file, which must be exactly those that it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from emnist_diff.errors import CheckpointError
from emnist_diff_plugins.containers.rowwise import rowwise

N = TypeVar("N", bound=nn.Module)


def filled(build: Callable[[], N], weights: Mapping[str, Tensor], device: str, what: str = "the checkpoint") -> N:
    """The network that `build` makes, with these weights, in eval mode and fixed; its layers are `rowwise`.

    Raises `CheckpointError`, in the name of `what`, when a tensor is missing, foreign, or has another shape than the
    network's.
    """
    with torch.device("meta"), _Undrawn():  # what the header claims costs nothing until the tensors match it
        network = build()
    own = network.state_dict()
    missing, foreign = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    wrong = [k for k in own.keys() & weights.keys() if own[k].shape != weights[k].shape]
    for problem, names in (("lacks", missing), ("has foreign", foreign), ("has mis-shaped", sorted(wrong))):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise CheckpointError(f"{what} does not fit its header: it {problem} tensor {names[0]!r}{more}")
    nhwc = device == "cpu"  # channels last: faster convolutions on a CPU
    network.load_state_dict({k: _placed(t, own[k].dtype, device, nhwc) for k, t in weights.items()}, assign=True)
    return rowwise(network).eval().requires_grad_(False)


class _Undrawn(TorchFunctionMode):
    """Modules built inside keep the weights they were allocated with. Drawing them where there is no memory would be
    harmless, but for normal numbers torch imports its compiler, which takes a second."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(function, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return function(*args, **(kwargs or {}))


def _placed(tensor: Tensor, dtype: torch.dtype, device: str, nhwc: bool) -> Tensor:
    """A copy of a weight where and as it is used: a file's own tensors are views of the file, aligned as it is."""
    layout = torch.channels_last if nhwc and tensor.dim() == 4 else torch.contiguous_format
    return tensor.to(device=device, dtype=dtype, copy=True, memory_format=layout)
