"""Stable Diffusion 3 and 3.5 (Esser et al., 2024, arXiv:2403.03206)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs
import torch
from torch import Tensor
from torch.nn import functional as F

from emnist_diff.errors import ConfigError
from emnist_diff.timeline import ForwardProcess, PredictionType
from emnist_diff_plugins.denoisers.pipelines import recommended
from emnist_diff_plugins.denoisers.pipelines.denoiser import Given
from emnist_diff_plugins.denoisers.pipelines.family import Pipeline
from emnist_diff_plugins.denoisers.pipelines.folder import PipelineFolder
from emnist_diff_plugins.denoisers.pipelines.text import Encoded, Encoder
from emnist_diff_plugins.inside.layers import Layout

T5_TOKENS = 256
_LARGE_LAYERS = 38
"""Layers of the large model of 3.5."""


@attrs.frozen(kw_only=True)
class Sd3(Pipeline):
    """Stable Diffusion 3 or 3.5 from a folder as diffusers saves it, with or without its T5.

    Example: ``--denoiser sd3:path=DIR,height=768,width=768 --prompt "a cat"``
    """

    name: ClassVar[str] = "sd3"
    network: ClassVar[str] = "transformer"
    multiple: ClassVar[int] = 16
    encoders: ClassVar[tuple[Encoder, ...]] = (
        Encoder("text_encoder", "tokenizer", "penultimate", "text_embeds"),
        Encoder("text_encoder_2", "tokenizer_2", "penultimate", "text_embeds"),
        Encoder("text_encoder_3", "tokenizer_3", "last", longest=T5_TOKENS),
    )
    token_encoders: ClassVar[tuple[tuple[Encoder, ...], ...]] = (encoders[:2], encoders[2:])
    classes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "transformer": ("SD3Transformer2DModel",),
        "vae": ("AutoencoderKL", "AutoencoderTiny"),
        "text_encoder": ("CLIPTextModelWithProjection",),
        "text_encoder_2": ("CLIPTextModelWithProjection",),
        "text_encoder_3": ("T5EncoderModel",),
        "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
        "tokenizer_2": ("CLIPTokenizer", "CLIPTokenizerFast"),
        "tokenizer_3": ("T5Tokenizer", "T5TokenizerFast"),
    }
    optional: ClassVar[frozenset[str]] = frozenset(("text_encoder_3", "tokenizer_3"))

    def process(self, folder: PipelineFolder) -> tuple[ForwardProcess, PredictionType]:
        """See `Pipeline.process`."""
        return recommended.flow(folder.path, folder.config("scheduler")), "flow"

    def recommended(self, folder: PipelineFolder, height: int, width: int) -> Mapping[str, Any]:
        """See `Pipeline.recommended`: the large model of 3.5 takes 50 steps and guidance 7, the medium one 28 and 5,
        and 3 itself 28 and 7."""
        config = folder.config(self.network)
        large, newer = int(config.get("num_layers", 0)) >= _LARGE_LAYERS, bool(config.get("dual_attention_layers"))
        scheduler = recommended.flow_scheduler(folder.config("scheduler"), height * width // 256)
        return {
            "steps": 50 if large else 28,
            "guidance_scale": 5.0 if newer and not large else 7.0,
            "scheduler": scheduler,
        }

    def size(self, folder: PipelineFolder) -> tuple[int, int]:
        """See `Pipeline.size`; positions bound it."""
        height, width = super().size(folder)
        most = int(folder.config(self.network).get("pos_embed_max_size") or 96) * self.multiple
        if max(height, width) > most:
            raise ConfigError(f"{height}x{width} pixels are more than this network has positions for — at most {most}")
        return height, width

    def joined(self, folder: PipelineFolder, encoded: list[Encoded], chunks: int) -> tuple[Tensor, Tensor]:
        """The tokens of both CLIPs beside each other and those of T5 behind them, and both vectors."""
        clip = torch.cat([each.filled(chunks) for each in encoded[:2]], dim=-1)
        width = int(folder.config(self.network).get("joint_attention_dim", 4096))
        t5 = encoded[2].filled(1) if len(encoded) > 2 else clip.new_zeros(T5_TOKENS, width)
        vectors = [each.pooled for each in encoded[:2] if each.pooled is not None]
        return torch.cat((F.pad(clip, (0, width - clip.shape[-1])), t5.to(clip.dtype))), torch.cat(vectors, dim=-1)

    def layout(self, shape: tuple[int, ...], tokens: int) -> Layout:
        """Patches of 2 x 2, and behind them the tokens of the text."""
        return Layout(((shape[1] // 2, shape[2] // 2),), tokens)

    def evaluate(self, network: Any, x: Tensor, t: Tensor, given: Given) -> Tensor:
        """The transformer's velocity."""
        out: Tensor = network(
            hidden_states=x, timestep=t, encoder_hidden_states=given.tokens, pooled_projections=given.vector,
            return_dict=False,
        )[0]  # fmt: skip
        return out
