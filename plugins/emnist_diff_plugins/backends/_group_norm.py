"""Group norm of images that are stored channels last, with what surrounds it in a UNet, in few passes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emnist_diff_plugins.backends._silu import silu_


class GroupNorm(nn.Module):
    """A group norm of images (R, C, H, W), channels last, float32 or bfloat16; it is computed in float32.

    Torch's kernel for channels last goes over the channels of a group in vectors. Groups that do not fill them, and
    bfloat16, are two to six times as fast by the definition: mean, difference, mean square.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, layer: nn.GroupNorm, dtype: torch.dtype) -> None:
        super().__init__()
        self.groups, self.eps, self.dtype = layer.num_groups, layer.eps, dtype
        self.register_buffer("weight", layer.weight.float())
        self.register_buffer("bias", layer.bias.float())
        width = layer.num_channels // layer.num_groups
        self.native = width % 8 == 0 and dtype == torch.float32

    def forward(self, x: Tensor) -> Tensor:
        """norm(x)."""
        if self.native:
            return F.group_norm(x, self.groups, self.weight, self.bias, self.eps)
        return self._image(self._normed(x), x)

    def silu(self, x: Tensor) -> Tensor:
        """SiLU(norm(x))."""
        if self.native:
            return silu_(self(x))
        return self._image(silu_(self._normed(x)), x)

    def added_silu(self, x: Tensor, offset: Tensor) -> Tensor:
        """SiLU(norm(x + offset)) with offset (R, C) float32, the same for all pixels; x may be overwritten."""
        if self.native:
            return self.silu(x.add_(offset[:, :, None, None]))
        flat = _flat(x)
        centred, spread = self._centred(flat, self._over_groups(flat.mean(1) + offset) - offset)
        out = torch.addcmul(self.bias, centred, (self.weight * spread)[:, None])
        return self._image(silu_(out), x)

    def scaled_silu(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """SiLU(norm(x) · scale + shift), scale and shift (R, C) float32, the same for all pixels."""
        if self.native:
            out = torch.addcmul(shift[:, :, None, None], self(x), scale[:, :, None, None])
            return silu_(out)
        flat = _flat(x)
        centred, spread = self._centred(flat, self._over_groups(flat.mean(1)))
        shift = torch.addcmul(shift, self.bias, scale)
        out = torch.addcmul(shift[:, None], centred, (self.weight * scale * spread)[:, None])
        return self._image(silu_(out), x)

    def _normed(self, x: Tensor) -> Tensor:
        """norm(x), (R, H·W, C) float32."""
        flat = _flat(x)
        centred, spread = self._centred(flat, self._over_groups(flat.mean(1)))
        return torch.addcmul(self.bias, centred, (self.weight * spread)[:, None])

    def _centred(self, flat: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
        """flat − mean, (R, H·W, C), and one over the standard deviation of each channel's group, (R, C).

        Two passes, as the definition has it: E[x²] − E[x]² loses digits where the mean is large.
        """
        centred = flat - mean[:, None]
        variance = self._over_groups((centred * centred).mean(1))
        return centred, torch.rsqrt(variance + self.eps)

    def _over_groups(self, values: Tensor) -> Tensor:
        """Each channel's value (R, C) replaced by the mean over its group.

        Not by a matrix product: on some numbers of threads the bits of one of so few rows depend on their places.
        """
        grouped = values.unflatten(1, (self.groups, -1))
        means: Tensor = grouped.mean(2, keepdim=True).expand_as(grouped).flatten(1)
        return means

    def _image(self, flat: Tensor, like: Tensor) -> Tensor:
        image: Tensor = flat.to(self.dtype).unflatten(1, like.shape[2:]).permute(0, 3, 1, 2)
        return image


def _flat(x: Tensor) -> Tensor:
    """(R, C, H, W), channels last → (R, H·W, C) float32."""
    return x.permute(0, 2, 3, 1).flatten(1, 2).float()
