"""Families of denoisers, and their checkpoints."""

from __future__ import annotations

from collections.abc import Iterable

from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import DenoiserSpec


@hookimpl
def emnist_diff_denoisers() -> Iterable[DenoiserSpec]:
    yield DenoiserSpec(
        name="unet2d",
        factory=f"{__name__}.unet2d:UNet2D",
        summary="class-conditional diffusers UNet2DModel with a null class",
        shipped="emnist_diff_plugins:checkpoints/emnist-handwritten.safetensors",
    )
    yield DenoiserSpec(
        name="gaussian-mixture",
        factory=f"{__name__}.gaussian_mixture:GaussianMixture",
        summary="the exact denoiser of a class-conditional Gaussian mixture; needs no weights",
        aliases=("gaussian_mixture",),
        needs_weights=False,
    )
