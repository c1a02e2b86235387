"""diffusers' `AutoencoderKL` (Rombach et al., 2022, arXiv:2112.10752), for public VAEs and for training one."""

from __future__ import annotations

from typing import Any

import attrs
from attrs import validators as v
from torch import Tensor, nn
from torch.nn import functional as F

from emnist_diff.errors import ConfigError
from emnist_diff_plugins.codecs._plain import LARGEST_SIDE, WIDEST, ImageSettings, widths
from emnist_diff_plugins.codecs.vae import divergence
from emnist_diff_plugins.containers.families import Statistics
from emnist_diff_plugins.fields import between, setting


@attrs.frozen
class AutoencoderKL(ImageSettings):
    """diffusers' variational autoencoder; a level more than its downsamplings.

    Example: ``emnist-diff train autoencoder_kl --network "block_out_channels=[32,64]" --data DIR``
    """

    size: int = setting(32, "height and width of the images", between(1, LARGEST_SIDE))
    block_out_channels: tuple[int, ...] = widths((32, 64), "channels of each level, full resolution first")
    layers_per_block: int = setting(1, "residual layers a level", between(1, 64))
    latent_channels: int = setting(4, "channels of a latent", between(1, WIDEST))
    norm_num_groups: int = setting(8, "groups of the group norms", between(1, WIDEST))
    quant_conv: bool = setting(True, "whether a convolution stands beside the latents, as in Stable Diffusion 1 and 2")
    mid_attention: bool = setting(True, "whether the middle attends to itself")
    repeats: int = setting(
        1,
        "times that an image's channels are repeated for the network, 3 for gray ones and one of colors",
        between(1, 4),
    )
    kl_weight: float = setting(1e-6, "weight of the divergence from a standard normal", v.and_(v.ge(0), v.le(1e6)))
    statistics: Statistics = setting("scale", "how latents are standardised: element, channel or scale")

    def __attrs_post_init__(self) -> None:
        if self.size % self._factor:
            raise ConfigError(f"images of {self.size} pixels do not divide by {self._factor}")

    @property
    def _factor(self) -> int:
        return int(2 ** (len(self.block_out_channels) - 1))

    @property
    def shape(self) -> tuple[int, ...]:
        """`CodecFamily.shape`."""
        return (self.latent_channels, self.size // self._factor, self.size // self._factor)

    def network(self) -> KLNetwork:
        """`CodecFamily.network`. Raises `ConfigError` for settings that diffusers refuses."""
        from diffusers import AutoencoderKL as Diffusers

        levels = len(self.block_out_channels)
        try:
            return KLNetwork(
                Diffusers(  # type: ignore[no-untyped-call]  # diffusers has no types here
                    in_channels=self.channels * self.repeats,
                    out_channels=self.channels * self.repeats,
                    down_block_types=("DownEncoderBlock2D",) * levels,
                    up_block_types=("UpDecoderBlock2D",) * levels,
                    block_out_channels=self.block_out_channels,
                    layers_per_block=self.layers_per_block,
                    latent_channels=self.latent_channels,
                    norm_num_groups=self.norm_num_groups,
                    sample_size=self.size,
                    use_quant_conv=self.quant_conv,
                    use_post_quant_conv=self.quant_conv,
                    mid_block_add_attention=self.mid_attention,
                ),
                self.kl_weight,
                self.repeats,
            )
        except (ValueError, TypeError, ZeroDivisionError) as error:
            raise ConfigError(f"autoencoder_kl: no network can be built with these settings: {error}") from error


class KLNetwork(nn.Module):
    """`CodecNetwork` around diffusers' model; images are in [-1, 1] there, and their channels repeated `repeats` times,
    which are averaged in what it decodes."""

    def __init__(self, model: Any, kl_weight: float, repeats: int) -> None:
        super().__init__()
        self.model, self.kl_weight, self.repeats = model, kl_weight, repeats

    def encode(self, images: Tensor) -> Tensor:
        """The modes of the latents, (B, *shape)."""
        mode: Tensor = self.model.encode(self._pixels(images)).latent_dist.mode()
        return mode

    def decode(self, latents: Tensor) -> Tensor:
        """Images in [0, 1], (B, C, H, W)."""
        images: Tensor = ((self.model.decode(latents).sample + 1.0) / 2.0).clamp(0.0, 1.0)
        return images if self.repeats == 1 else images.unflatten(1, (self.repeats, -1)).mean(1)

    def forward(self, images: Tensor, noise: Tensor) -> Tensor:
        """Mean squared error of pixels in [-1, 1], and `kl_weight` times the divergence, summed over a latent."""
        pixels = self._pixels(images)
        posterior = self.model.encode(pixels).latent_dist
        shown = self.model.decode(posterior.mean + posterior.std * noise).sample
        return F.mse_loss(shown.float(), pixels) + self.kl_weight * divergence(posterior.mean, posterior.logvar)

    def _pixels(self, images: Tensor) -> Tensor:
        return 2.0 * images.repeat(1, self.repeats, 1, 1) - 1.0
