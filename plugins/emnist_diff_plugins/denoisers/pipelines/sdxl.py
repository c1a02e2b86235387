"""Stable Diffusion XL (Podell et al., 2023, arXiv:2307.01952): base models, without a refiner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs
import torch
from attrs import validators as v
from torch import Tensor

from emnist_diff.timeline import ForwardProcess, PredictionType
from emnist_diff_plugins.denoisers.pipelines import recommended
from emnist_diff_plugins.denoisers.pipelines.denoiser import Given
from emnist_diff_plugins.denoisers.pipelines.family import LARGEST_SIDE, Pipeline
from emnist_diff_plugins.denoisers.pipelines.folder import PipelineFolder
from emnist_diff_plugins.denoisers.pipelines.text import Encoded, Encoder
from emnist_diff_plugins.fields import between
from emnist_diff_plugins.inside.layers import Layout

_SIZES = ("original_height", "original_width", "crop_top", "crop_left", "target_height", "target_width")


@attrs.frozen(kw_only=True)
class Sdxl(Pipeline):
    """Stable Diffusion XL from a folder as diffusers saves it.

    Example: ``--denoiser sdxl:path=DIR,height=768,width=768 --prompt "a cat"``
    """

    name: ClassVar[str] = "sdxl"
    network: ClassVar[str] = "unet"
    encoders: ClassVar[tuple[Encoder, ...]] = (
        Encoder("text_encoder", "tokenizer", "penultimate"),
        Encoder("text_encoder_2", "tokenizer_2", "penultimate", "text_embeds"),
    )
    token_encoders: ClassVar[tuple[tuple[Encoder, ...], ...]] = (encoders,)
    classes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "unet": ("UNet2DConditionModel",),
        "vae": ("AutoencoderKL", "AutoencoderTiny"),
        "text_encoder": ("CLIPTextModel",),
        "text_encoder_2": ("CLIPTextModelWithProjection",),
        "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
        "tokenizer_2": ("CLIPTokenizer", "CLIPTokenizerFast"),
    }
    inputs: ClassVar[tuple[str, ...]] = _SIZES

    original_size: tuple[int, int] | None = attrs.field(
        default=None,
        validator=v.optional(v.deep_iterable(between(1, LARGEST_SIDE))),  # type: ignore[arg-type]  # attrs' stubs lack it
        metadata={"help": "height and width that the network takes the image to have had; its own when left out"},
    )
    crop: tuple[int, int] = attrs.field(
        default=(0, 0),
        validator=v.deep_iterable(between(0, LARGEST_SIDE)),
        metadata={"help": "top and left of the crop that the network takes the image to be"},
    )

    def process(self, folder: PipelineFolder) -> tuple[ForwardProcess, PredictionType]:
        """See `Pipeline.process`."""
        return recommended.diffusion(folder.path, folder.config("scheduler"))

    def recommended(self, folder: PipelineFolder, height: int, width: int) -> Mapping[str, Any]:
        """See `Pipeline.recommended`: 30 steps, guidance 7.5."""
        scheduler = recommended.diffusion_scheduler(folder.config("scheduler"))
        return {"steps": 30, "guidance_scale": 7.5, "scheduler": scheduler}

    def null(self, folder: PipelineFolder) -> str | None:
        """The negative prompt; without one zeros, where the folder says so."""
        if self.negative_prompt is None and folder.index.get("force_zeros_for_empty_prompt", True):
            return None
        return super().null(folder)

    def numbers(self, inputs: dict[str, float]) -> list[float]:
        """Sizes and crop, as the network was trained to take them."""
        own = (self.height, self.width)
        usual = (*(self.original_size or own), *self.crop, *own)
        return [inputs.get(name, float(value or 0)) for name, value in zip(_SIZES, usual, strict=True)]

    def joined(self, folder: PipelineFolder, encoded: list[Encoded], chunks: int) -> tuple[Tensor, Tensor]:
        """The tokens of both encoders beside each other, and the vector of the second."""
        vector = encoded[-1].pooled
        assert vector is not None
        return torch.cat([each.filled(chunks) for each in encoded], dim=-1), vector

    def layout(self, shape: tuple[int, ...], tokens: int) -> Layout:
        """Grids of all levels, each half the one before."""
        (_, *size), grids = shape, []
        while True:
            grids.append((size[0], size[1]))
            if max(size) == 1:
                return Layout(tuple(grids), tokens)
            size = [-(-side // 2) for side in size]

    def evaluate(self, network: Any, x: Tensor, t: Tensor, given: Given) -> Tensor:
        """The UNet's prediction."""
        beside = {"text_embeds": given.vector, "time_ids": given.numbers.to(x.dtype)}
        out: Tensor = network(x, t, encoder_hidden_states=given.tokens, added_cond_kwargs=beside, return_dict=False)[0]
        return out
