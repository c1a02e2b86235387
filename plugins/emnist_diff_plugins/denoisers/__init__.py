"""Families of denoisers and their checkpoints; codecs and objectives, which latent models are made of beside them."""

from __future__ import annotations

from collections.abc import Iterable

from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import CodecSpec, DenoiserSpec, ObjectiveSpec


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


@hookimpl
def emnist_diff_codecs() -> Iterable[CodecSpec]:
    package = __name__.rpartition(".")[0] + ".codecs"
    yield CodecSpec(
        name="conv_ae",
        factory=f"{package}.conv_ae:ConvAutoencoder",
        summary="convolutional autoencoder, images to a vector",
        aliases=("conv-ae", "ae-conv"),
    )
    yield CodecSpec(
        name="mlp_ae",
        factory=f"{package}.mlp_ae:MlpAutoencoder",
        summary="autoencoder of dense layers, images to a vector",
        aliases=("mlp-ae", "ae-mlp"),
    )
    yield CodecSpec(
        name="vae", factory=f"{package}.vae:Vae", summary="small variational autoencoder, images to small images"
    )
    yield CodecSpec(
        name="autoencoder_kl",
        factory=f"{package}.autoencoder_kl:AutoencoderKL",
        summary="diffusers' AutoencoderKL, images to small images",
        aliases=("autoencoder-kl",),
    )


@hookimpl
def emnist_diff_objectives() -> Iterable[ObjectiveSpec]:
    package = __name__.rpartition(".")[0] + ".objectives"
    yield ObjectiveSpec(
        name="diffusion",
        factory=f"{package}.diffusion:DiffusionObjective",
        summary="noise, image or v of a diffusion, weighted by noise level",
        default=True,
    )
    yield ObjectiveSpec(name="flow", factory=f"{package}.flow:FlowObjective", summary="velocity of a rectified flow")
