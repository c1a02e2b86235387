"""Recipes: the systems of documents 001 and 004 as named settings of ``emnist-diff train``."""

from __future__ import annotations

from collections.abc import Iterable

from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import Spec
from emnist_diff_plugins.contract import RecipeSpec

_RECIPES = {
    "ddpm": ("pixels:Ddpm", "noise of a diffusion of pixels, by a UNet; sampled by ddim or ddpm"),
    "rf": ("pixels:RectifiedFlow", "rectified flow of pixels, by a UNet"),
    "ldm": ("latents:Ldm", "diffusion of the latents of --codec, by a UNet; the class joins the time"),
    "ldm-concat": ("latents:LdmConcat", "ldm whose class is a plane beside the channels"),
    "ldm-cross": ("latents:LdmCross", "ldm whose places attend to the class"),
    "latent-rf": ("latents:LatentFlow", "rectified flow of the latents of --codec, by a UNet"),
    "lddpm": ("latents:Lddpm", "diffusion of the vectors of --codec, by a dense network"),
    "vae": ("codecs:Vae", "variational autoencoder, images to 2×4×4"),
    "ae-conv": ("codecs:ConvAutoencoder", "convolutional autoencoder, images to 16 numbers"),
    "ae-mlp": ("codecs:MlpAutoencoder", "autoencoder of dense layers, images to 16 numbers"),
}


@hookimpl
def emnist_diff_kinds() -> Iterable[type[Spec]]:
    yield RecipeSpec


@hookimpl
def emnist_diff_recipes() -> Iterable[RecipeSpec]:
    for name, (factory, summary) in _RECIPES.items():
        yield RecipeSpec(name=name, factory=f"{__name__}.{factory}", summary=summary)
