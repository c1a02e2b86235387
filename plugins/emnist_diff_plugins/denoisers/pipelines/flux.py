"""FLUX.1 of Black Forest Labs (2024): dev, whose guidance is a number that its network is given, and schnell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs
import torch
from attrs import validators as v
from torch import Tensor

from emnist_diff.errors import ConfigError
from emnist_diff.timeline import ForwardProcess, PredictionType
from emnist_diff_plugins.denoisers.pipelines import recommended
from emnist_diff_plugins.denoisers.pipelines.denoiser import Given
from emnist_diff_plugins.denoisers.pipelines.family import Pipeline
from emnist_diff_plugins.denoisers.pipelines.folder import PipelineFolder
from emnist_diff_plugins.denoisers.pipelines.text import Encoded, Encoder
from emnist_diff_plugins.inside.layers import Layout

T5_TOKENS = 512
_GUIDANCE = 3.5


@attrs.frozen(kw_only=True)
class Flux(Pipeline):
    """FLUX.1 dev or schnell from a folder as diffusers saves it. States are latents (16, H/8, W/8), which its network
    has as tokens of 2 x 2.

    Example: ``--denoiser flux:path=DIR,height=768,width=768,guidance=2.5 --prompt "a cat"``
    """

    name: ClassVar[str] = "flux"
    network: ClassVar[str] = "transformer"
    multiple: ClassVar[int] = 16
    encoders: ClassVar[tuple[Encoder, ...]] = (
        Encoder("text_encoder", "tokenizer", "last", "pooler_output"),
        Encoder("text_encoder_2", "tokenizer_2", "last", longest=T5_TOKENS),
    )
    token_encoders: ClassVar[tuple[tuple[Encoder, ...], ...]] = (encoders[1:],)
    classes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "transformer": ("FluxTransformer2DModel",),
        "vae": ("AutoencoderKL", "AutoencoderTiny"),
        "text_encoder": ("CLIPTextModel",),
        "text_encoder_2": ("T5EncoderModel",),
        "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
        "tokenizer_2": ("T5Tokenizer", "T5TokenizerFast"),
    }

    guidance: float | None = attrs.field(
        default=None,
        validator=v.optional(v.and_(v.ge(0), v.le(100))),
        metadata={"help": "guidance that the network is given, of dev alone; 3.5 when left out"},
    )

    def inputs_of(self, folder: PipelineFolder) -> tuple[str, ...]:
        """See `Pipeline.inputs_of`: dev is given its guidance. Raises `ConfigError` where schnell is to be."""
        if folder.config(self.network).get("guidance_embeds"):
            return ("guidance",)
        if self.guidance is not None:
            raise ConfigError(f"{folder.path} is given no guidance, as schnell is not — leave guidance out")
        return ()

    def process(self, folder: PipelineFolder) -> tuple[ForwardProcess, PredictionType]:
        """See `Pipeline.process`."""
        return recommended.flow(folder.path, folder.config("scheduler")), "flow"

    def recommended(self, folder: PipelineFolder, height: int, width: int) -> Mapping[str, Any]:
        """See `Pipeline.recommended`: dev takes 50 steps and schnell 4, both without guidance by a second row."""
        steps = 50 if self.inputs_of(folder) else 4
        scheduler = recommended.flow_scheduler(folder.config("scheduler"), height * width // 256)
        return {"steps": steps, "guidance_scale": 1.0, "scheduler": scheduler}

    def latent_shape(self, folder: PipelineFolder, height: int, width: int) -> tuple[int, ...]:
        """See `Pipeline.latent_shape`: a token holds four."""
        channels, *size = super().latent_shape(folder, height, width)
        return (channels // 4, *size)

    def numbers(self, inputs: dict[str, float]) -> list[float]:
        """The guidance, which a network without an embedding of it does not read."""
        return [inputs.get("guidance", _GUIDANCE if self.guidance is None else self.guidance)]

    def joined(self, folder: PipelineFolder, encoded: list[Encoded], chunks: int) -> tuple[Tensor, Tensor]:
        """The tokens of T5 and the vector of CLIP."""
        clip, t5 = encoded
        assert clip.pooled is not None
        return t5.filled(1), clip.pooled

    def layout(self, shape: tuple[int, ...], tokens: int) -> Layout:
        """Patches of 2 x 2, and before them the tokens of the text."""
        return Layout(((shape[1] // 2, shape[2] // 2),), tokens, "first")

    def evaluate(self, network: Any, x: Tensor, t: Tensor, given: Given) -> Tensor:
        """The transformer's velocity."""
        rows, columns = x.shape[2] // 2, x.shape[3] // 2
        places = torch.zeros(rows, columns, 3, device=x.device, dtype=x.dtype)
        places[..., 1] = torch.arange(rows, device=x.device)[:, None]
        places[..., 2] = torch.arange(columns, device=x.device)[None]
        out: Tensor = network(
            hidden_states=tokens_of(x),
            timestep=t.to(x.dtype) / 1000,
            guidance=given.numbers[:, 0] if network.config.guidance_embeds else None,
            pooled_projections=given.vector,
            encoder_hidden_states=given.tokens,
            txt_ids=torch.zeros(given.tokens.shape[1], 3, device=x.device, dtype=x.dtype),
            img_ids=places.flatten(0, 1),
            return_dict=False,
        )[0]
        return latents_of(out, rows, columns)


def tokens_of(x: Tensor) -> Tensor:
    """Latents (R, C, 2h, 2w) as tokens (R, h · w, 4C), channels first and rows of a patch before columns."""
    tokens: Tensor = x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
    return tokens


def latents_of(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """The latents that `tokens_of` makes such tokens of."""
    patches = tokens.unflatten(1, (rows, columns)).unflatten(3, (-1, 2, 2)).permute(0, 3, 1, 4, 2, 5)
    latents: Tensor = patches.flatten(4).flatten(2, 3)
    return latents
