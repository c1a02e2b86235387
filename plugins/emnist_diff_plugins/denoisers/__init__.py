"""Families of denoisers and their checkpoints."""

from __future__ import annotations

from collections.abc import Iterable

from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import DenoiserSpec


@hookimpl
def emnist_diff_denoisers() -> Iterable[DenoiserSpec]:
    yield DenoiserSpec(
        name="checkpoint",
        factory=f"{__name__}.checkpoint:Checkpoint",
        summary="the network in a checkpoint file; the one that comes with this package when none is named",
        default=True,
        opens_paths=True,
    )
    yield DenoiserSpec(
        name="unet2d",
        factory=f"{__name__}.unet2d:UNet2D",
        summary="class-conditional diffusers UNet2DModel with a null class",
    )
    yield DenoiserSpec(
        name="film",
        factory=f"{__name__}.film:Film",
        summary="class-conditional dense network over vectors, such as latents of an autoencoder",
        aliases=("film_mlp", "film-mlp"),
    )
    yield DenoiserSpec(
        name="gaussian-mixture",
        factory=f"{__name__}.gaussian_mixture:GaussianMixture",
        summary="the exact denoiser of a class-conditional Gaussian mixture; needs no weights",
        aliases=("gaussian_mixture",),
    )
    for name, factory, summary in (
        ("sdxl", "sdxl:Sdxl", "Stable Diffusion XL from a folder as diffusers saves it"),
        ("sd3", "sd3:Sd3", "Stable Diffusion 3 and 3.5 from a folder as diffusers saves it"),
        ("flux", "flux:Flux", "FLUX.1 dev and schnell from a folder as diffusers saves it"),
    ):
        yield DenoiserSpec(name=name, factory=f"{__name__}.pipelines.{factory}", summary=summary, opens_paths=True)
