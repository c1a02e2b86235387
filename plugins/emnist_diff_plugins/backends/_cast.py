"""Networks that compute in another type than their weights were made in."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from emnist_diff.evaluators import Precision

DTYPES: Mapping[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""What a network computes in, by precision."""


class Cast(nn.Module):
    """A copy of a network that computes in `dtype` with images channels last; what goes in and comes out is float32."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.network = copy.deepcopy(network).to(  # type: ignore[call-overload]  # torch's types lack the format
            dtype=dtype, memory_format=torch.channels_last
        )

    def forward(self, x: Tensor, t: Tensor, index: Tensor) -> Tensor:
        """x (R, *shape) float32, t (R,) float32, index (R,) int64 → (R, *shape) float32, contiguous."""
        layout = torch.channels_last if x.dim() == 4 else torch.contiguous_format
        out: Tensor = self.network(x.to(self.dtype).contiguous(memory_format=layout), t, index)
        return out.float().contiguous()
