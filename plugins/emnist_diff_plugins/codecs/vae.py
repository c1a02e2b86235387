"""The variational autoencoder of document 001 (Kingma and Welling, 2014, arXiv:1312.6114): images to small images."""

from __future__ import annotations

import attrs
from attrs import validators as v
from torch import Tensor, nn
from torch.nn import functional as F

from emnist_diff.errors import ConfigError
from emnist_diff_plugins.codecs._plain import WIDEST, ImageSettings, widths
from emnist_diff_plugins.containers.families import Statistics
from emnist_diff_plugins.containers.rowwise import silu
from emnist_diff_plugins.denoisers._unet import Attention, Downsample, Upsample
from emnist_diff_plugins.fields import between, setting

_LOG_VARIANCE = (-30.0, 20.0)


@attrs.frozen
class Vae(ImageSettings):
    """A variational autoencoder; three levels take 1×28×28, mirrored out to 32×32, to 2×4×4.

    Example: ``emnist-diff train vae --dataset mnist --data DIR``
    """

    widths: tuple[int, ...] = widths((16, 32, 64), "channels of each level; document 001 has 64, 128, 256")
    latent_channels: int = setting(2, "channels of a latent", between(1, WIDEST))
    kl_weight: float = setting(1e-6, "weight of the divergence from a standard normal", v.and_(v.ge(0), v.le(1e6)))
    groups: int = setting(8, "groups of the group norms; document 001 has 32", between(1, WIDEST))
    statistics: Statistics = setting("scale", "how latents are standardised: element, channel or scale")

    def __attrs_post_init__(self) -> None:
        for width in self.widths:
            if width % self.groups:
                raise ConfigError(f"widths: {width} channels do not divide into {self.groups} groups")
        if self.padded - self.size >= 2 * self.size:
            raise ConfigError(f"images of {self.size} pixels are too small for {len(self.widths)} levels")

    @property
    def padded(self) -> int:
        """Height and width of what the network sees: the next multiple of what the levels divide by."""
        step = int(2 ** len(self.widths))
        return -(-self.size // step) * step

    @property
    def shape(self) -> tuple[int, ...]:
        """`CodecFamily.shape`."""
        side = self.padded // 2 ** len(self.widths)
        return (self.latent_channels, side, side)

    def network(self) -> VaeNetwork:
        """`CodecFamily.network`."""
        return VaeNetwork(self)


class VaeNetwork(nn.Module):
    """`CodecNetwork` whose encoder says mean and logarithm of the variance of each number of a latent."""

    def __init__(self, settings: Vae) -> None:
        super().__init__()
        first, last, latent = settings.widths[0], settings.widths[-1], settings.latent_channels
        norm = settings.groups
        self.size, self.kl_weight = settings.size, settings.kl_weight
        room = settings.padded - settings.size
        self.padding = (room // 2, room - room // 2, room // 2, room - room // 2)
        down: list[nn.Module] = [nn.Conv2d(settings.channels, first, 3, padding=1)]
        for before, width in zip((first, *settings.widths), settings.widths, strict=False):
            down += [Residual(before, width, norm), Downsample(width)]
        self.encoder = nn.Sequential(*down, *_middle(last, norm), *_out(last, 2 * latent, norm))
        self.to_moments = nn.Conv2d(2 * latent, 2 * latent, 1)
        self.from_latent = nn.Conv2d(latent, latent, 1)
        up: list[nn.Module] = [nn.Conv2d(latent, last, 3, padding=1), *_middle(last, norm)]
        for before, width in zip((last, *settings.widths[::-1]), settings.widths[::-1], strict=False):
            up += [Residual(before, width, norm), Upsample(width)]
        self.decoder = nn.Sequential(*up, *_out(first, settings.channels, norm))

    def moments(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(mean, log variance) of the latents, (B, *shape) each, of images (B, C, H, W) in [0, 1]."""
        padded = F.pad(2.0 * images - 1.0, self.padding, mode="reflect")
        mean, log_variance = self.to_moments(self.encoder(padded)).chunk(2, dim=1)
        return mean, log_variance.clamp(*_LOG_VARIANCE)

    def encode(self, images: Tensor) -> Tensor:
        """The means of the latents, (B, *shape)."""
        return self.moments(images)[0]

    def decode(self, latents: Tensor) -> Tensor:
        """Images in [0, 1], (B, C, H, W)."""
        return ((self._drawn(latents) + 1.0) / 2.0).clamp(0.0, 1.0)

    def forward(self, images: Tensor, noise: Tensor) -> Tensor:
        """Mean squared error of pixels in [-1, 1], and `kl_weight` times the divergence, summed over a latent."""
        mean, log_variance = self.moments(images)
        drawn = self._drawn(mean + (0.5 * log_variance).exp() * noise)
        return F.mse_loss(drawn.float(), 2.0 * images - 1.0) + self.kl_weight * divergence(mean, log_variance)

    def _drawn(self, latents: Tensor) -> Tensor:
        """Pixels in about [-1, 1], without the padding."""
        left, _, top, _ = self.padding
        padded: Tensor = self.decoder(self.from_latent(latents))
        return padded[:, :, top : top + self.size, left : left + self.size]


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) ‖ N(0, 1)), summed over each latent (B, *shape), the mean over B; a scalar in float32."""
    mean, log_variance = mean.float(), log_variance.float()
    return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).flatten(1).sum(1).mean()


class Residual(nn.Module):
    """Two convolutions, added to what came in."""

    def __init__(self, inside: int, out: int, groups: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(groups, inside), nn.Conv2d(inside, out, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(groups, out), nn.Conv2d(out, out, 3, padding=1)
        self.shortcut = nn.Conv2d(inside, out, 1) if inside != out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(silu(self.norm1(x)))
        out: Tensor = self.shortcut(x) + self.conv2(silu(self.norm2(h)))
        return out


def _middle(width: int, groups: int) -> list[nn.Module]:
    return [Residual(width, width, groups), Attention(width, width, groups), Residual(width, width, groups)]


def _out(width: int, out: int, groups: int) -> list[nn.Module]:
    return [nn.GroupNorm(groups, width), nn.SiLU(), nn.Conv2d(width, out, 3, padding=1)]
