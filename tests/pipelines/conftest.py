"""Tiny pipelines with random weights, saved as diffusers saves them: full in every part, and small in each."""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers", reason="these tests need pip install 'emnist-diff[pipelines]'")


def clip_tokenizer() -> Any:
    """One token a character, so that it is plain where a prompt is longer than 77 tokens."""
    from transformers import CLIPTokenizer

    characters = string.ascii_lowercase + string.digits + ",.!-'"
    names = [*characters, *(f"{c}</w>" for c in characters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={name: number for number, name in enumerate(names)}, merges=[], model_max_length=77)


def t5_tokenizer() -> Any:
    from transformers import T5Tokenizer

    pieces = ["<pad>", "</s>", "<unk>", "▁", *string.ascii_lowercase, *string.digits, ",", ".", "!", "-", "'"]
    return T5Tokenizer(vocab=[(p, -float(i > 2)) for i, p in enumerate(pieces)], extra_ids=0, model_max_length=512)


def clip(projected: bool, width: int) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    size = len(clip_tokenizer())
    config = CLIPTextConfig(
        hidden_size=width, intermediate_size=37, num_attention_heads=4, num_hidden_layers=3, vocab_size=size,
        bos_token_id=size - 2, eos_token_id=size - 1, pad_token_id=size - 1, projection_dim=width,
    )  # fmt: skip
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config).eval()


def t5(width: int = 32) -> Any:
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        d_model=width, d_kv=8, d_ff=37, num_layers=2, num_heads=4, vocab_size=len(t5_tokenizer()),
        feed_forward_proj="gated-gelu",
    )  # fmt: skip
    return T5EncoderModel(config).eval()


def vae(channels: int, **more: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=channels, norm_num_groups=4, sample_size=128, **more,
    ).eval()  # fmt: skip


def sdxl() -> Any:
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel

    unet = UNet2DConditionModel(
        block_out_channels=(16, 32), layers_per_block=1, sample_size=16, in_channels=4, out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4), use_linear_projection=True, addition_embed_type="text_time",
        addition_time_embed_dim=8, transformer_layers_per_block=(1, 2), norm_num_groups=8,
        projection_class_embeddings_input_dim=6 * 8 + 24, cross_attention_dim=32 + 24,
    )  # fmt: skip
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="leading", steps_offset=1
    )
    return StableDiffusionXLPipeline(
        vae=vae(4, scaling_factor=0.13025), text_encoder=clip(False, 32), text_encoder_2=clip(True, 24),
        tokenizer=clip_tokenizer(), tokenizer_2=clip_tokenizer(), unet=unet.eval(), scheduler=scheduler,
    )  # fmt: skip


def sd3() -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    transformer = SD3Transformer2DModel(
        sample_size=16, patch_size=2, in_channels=16, out_channels=16, num_layers=3, attention_head_dim=8,
        num_attention_heads=4, joint_attention_dim=64, caption_projection_dim=32, pooled_projection_dim=56,
        dual_attention_layers=(0, 1), qk_norm="rms_norm",
    )  # fmt: skip
    return StableDiffusion3Pipeline(
        transformer=transformer.eval(), scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae(16, scaling_factor=1.5305, shift_factor=0.0609),
        text_encoder=clip(True, 32), tokenizer=clip_tokenizer(), text_encoder_2=clip(True, 24),
        tokenizer_2=clip_tokenizer(), text_encoder_3=t5(64), tokenizer_3=t5_tokenizer(),
    )  # fmt: skip


def flux(guided: bool) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    transformer = FluxTransformer2DModel(
        in_channels=64, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=32, guidance_embeds=guided, axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=guided), transformer=transformer.eval(),
        vae=vae(16, scaling_factor=0.3611, shift_factor=0.1159), text_encoder=clip(False, 32),
        tokenizer=clip_tokenizer(), text_encoder_2=t5(), tokenizer_2=t5_tokenizer(),
    )  # fmt: skip


MAKERS: dict[str, Callable[[], Any]] = {
    "sdxl": sdxl, "sd3": sd3, "flux": lambda: flux(True), "schnell": lambda: flux(False),
}  # fmt: skip


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny pipeline by its kind; each is made once, and a test that changes one copies it."""
    folder = tmp_path_factory.mktemp("pipelines")

    def make(kind: str) -> Path:
        path = folder / kind
        if not path.exists():
            torch.manual_seed(list(MAKERS).index(kind))
            MAKERS[kind]().save_pretrained(path)
        return path

    return make
