"""Codecs: autoencoders between images and the latents that denoisers walk through."""

from __future__ import annotations

from collections.abc import Iterable

from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import Spec
from emnist_diff_plugins.contract import CodecSpec


@hookimpl
def emnist_diff_kinds() -> Iterable[type[Spec]]:
    yield CodecSpec


@hookimpl
def emnist_diff_codecs() -> Iterable[CodecSpec]:
    yield CodecSpec(
        name="conv_ae",
        factory=f"{__name__}.conv_ae:ConvAutoencoder",
        summary="convolutional autoencoder, images to a vector",
        aliases=("conv-ae", "ae-conv"),
    )
    yield CodecSpec(
        name="mlp_ae",
        factory=f"{__name__}.mlp_ae:MlpAutoencoder",
        summary="autoencoder of dense layers, images to a vector",
        aliases=("mlp-ae", "ae-mlp"),
    )
    yield CodecSpec(
        name="vae", factory=f"{__name__}.vae:Vae", summary="small variational autoencoder, images to small images"
    )
    yield CodecSpec(
        name="autoencoder_kl",
        factory=f"{__name__}.autoencoder_kl:AutoencoderKL",
        summary="diffusers' AutoencoderKL, images to small images",
        aliases=("autoencoder-kl",),
    )
