"""What do pipelines of text to image give and cost beside diffusers' own?

Run it from anywhere: ``python tests/benchmarks/pipelines.py parity``, ``… speed [--rounds 5] [--side 256]`` or
``… memory``. It needs ``pip install 'emnist-diff[pipelines]'`` and no weights.

- *parity*: how far final latents and images are from those of diffusers, of tiny pipelines of random weights, from the
  same initial latents; the table of ``docs/text-to-image.md``.
- *speed*: processor seconds a network row of ours and of diffusers' own pipeline, in turns, on a UNet of SDXL's kind
  with random weights, guided, without text encoders and autoencoder.
- *memory*: parameters of networks of full size, which are built without their numbers, and what has to be in memory at
  once, in half precision, by option.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "pipelines"))

import pairs  # of the tests
import sidebyside  # it stands beside this file
from pairs import Pair

TINY = Path(__file__).parents[1] / "pipelines" / "conftest.py"
GIB = 1 << 30
VALUES_APART = 1e-3


def tiny() -> Any:
    """The makers of tiny pipelines that the tests have."""
    spec = importlib.util.spec_from_file_location("tiny_pipelines", TINY)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def saved(make: Callable[[], Any], path: Path, seed: int = 0) -> Path:
    """The folder of a pipeline of random weights."""
    torch.manual_seed(seed)
    make().save_pretrained(path)
    return path


def parity(folder: Path, rows: tuple[Pair, ...]) -> list[str]:
    """The table, in Markdown."""
    makers = tiny().MAKERS
    lines = [
        "| model | ours | steps, guidance | latents apart | values of images apart |",
        "| --- | --- | --- | --- | --- |",
    ]
    for pair in rows:
        path = folder / pair.kind
        if not path.exists():
            saved(makers[pair.kind], path, [*makers].index(pair.kind))
        found = pairs.difference(path, pair)
        if found.latents >= pairs.ALIKE or found.largest > 1 or found.share > VALUES_APART:
            raise SystemExit(f"{pair.kind} {pair.scheduler}: {found}")
        images = f"{found.share:.0e}, by {found.largest} of 255" if found.largest else "none"
        settings = f"`{pair.kind}` | `{pair.scheduler}` | {pair.steps}, {pair.guidance:g}"
        lines.append(f"| {settings} | {found.latents:.1e} | {images} |")
    return lines


def medium(side: int, width: int) -> Callable[[], Any]:
    """A pipeline of SDXL's kind.  width: of its first block, a multiple of 32."""

    def make() -> Any:
        from diffusers import UNet2DConditionModel

        pipeline = tiny().MAKERS["sdxl"]()
        unet = UNet2DConditionModel(
            block_out_channels=(width, 2 * width), layers_per_block=2, sample_size=side // 8, in_channels=4,
            out_channels=4, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), attention_head_dim=(2, 4), use_linear_projection=True,
            addition_embed_type="text_time", addition_time_embed_dim=8, transformer_layers_per_block=(1, 2),
            projection_class_embeddings_input_dim=6 * 8 + 24, cross_attention_dim=32 + 24,
        )  # fmt: skip
        return pipeline.__class__(**{**pipeline.components, "unet": unet.eval()})

    return make


def speed(folder: Path, side: int, width: int, steps: int, rounds: int) -> str:
    """Ours beside diffusers', in processor seconds a row; nothing is reported unless both make the same latents."""
    path = saved(medium(side, width), folder / "medium")
    layer = {"checkpoint": str(path), "prompt": pairs.PROMPT, "steps": steps, "guidance_scale": 5.0}
    start, end, run = pairs.ours(layer)
    pipeline = pairs.loaded(path)
    names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
    texts = dict(zip(names, pipeline.encode_prompt(pairs.PROMPT), strict=True))

    def theirs() -> Tensor:
        out: Tensor = pipeline(
            **texts, num_inference_steps=steps, guidance_scale=5.0, height=side, width=side, latents=start,
            output_type="latent",
        ).images  # fmt: skip
        return out

    def own() -> Tensor:
        from emnist_diff.engine.state import Batch
        from emnist_diff.engine.walk import walk

        with torch.inference_mode():
            *_, last = walk(run.engine, Batch((0,), (0,), (0,), (run.config.seed,)), lambda at: frozenset())
        return last.x

    apart = float((own() - theirs()).abs().max() / end.abs().max())
    if apart >= pairs.ALIKE:
        raise SystemExit(f"the latents are {apart:.1e} apart")
    took = sidebyside.interleaved({"ours": own, "diffusers": theirs}, rounds)
    ratio = sidebyside.Ratio.of(took["ours"].cpu, took["diffusers"].cpu)
    wall = sidebyside.Ratio.of(took["ours"].wall, took["diffusers"].wall)
    rows = 2 * steps
    millis = {name: 1000 * min(of.cpu) / rows for name, of in took.items()}
    million = sum(parameter.numel() for parameter in pipeline.unet.parameters()) / 1e6
    return (
        f"{million:.1f} million parameters, {side} x {side} pixels, {rows} rows: ours {millis['ours']:.1f} ms of "
        f"processors a row, diffusers {millis['diffusers']:.1f}; ratio {ratio}, of wall time {wall}"
    )


def _unet() -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=128, block_out_channels=(320, 640, 1280), layers_per_block=2, cross_attention_dim=2048,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), attention_head_dim=(5, 10, 20),
        transformer_layers_per_block=(1, 2, 10), use_linear_projection=True, addition_embed_type="text_time",
        addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816,
    )  # fmt: skip


def _sd3(layers: int, heads: int, dual: int, positions: int) -> Callable[[], Any]:
    def make() -> Any:
        from diffusers import SD3Transformer2DModel

        return SD3Transformer2DModel(
            num_layers=layers, num_attention_heads=heads, attention_head_dim=64, joint_attention_dim=4096,
            caption_projection_dim=64 * heads, pooled_projection_dim=2048, qk_norm="rms_norm",
            dual_attention_layers=tuple(range(dual)), pos_embed_max_size=positions,
        )  # fmt: skip

    return make


def _flux() -> Any:
    from diffusers import FluxTransformer2DModel

    return FluxTransformer2DModel(guidance_embeds=True)


def _clip(width: int, layers: int, heads: int, projection: int) -> Callable[[], Any]:
    def make() -> Any:
        from transformers import CLIPTextConfig, CLIPTextModelWithProjection

        return CLIPTextModelWithProjection(
            CLIPTextConfig(
                hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=heads,
                projection_dim=projection,
            )
        )  # fmt: skip

    return make


def _t5() -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(
        T5Config(d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64, feed_forward_proj="gated-gelu")
    )


def _vae(channels: int) -> Callable[[], Any]:
    def make() -> Any:
        from diffusers import AutoencoderKL

        return AutoencoderKL(
            block_out_channels=(128, 256, 512, 512), down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=2, latent_channels=channels, sample_size=1024,
        )  # fmt: skip

    return make


LARGE = {
    "SDXL": (_unet, (_clip(768, 12, 12, 768), _clip(1280, 32, 20, 1280)), 4),
    "SD3.5 medium": (_sd3(24, 24, 13, 384), (_clip(768, 12, 12, 768), _clip(1280, 32, 20, 1280), _t5), 16),
    "SD3.5 large": (_sd3(38, 38, 0, 192), (_clip(768, 12, 12, 768), _clip(1280, 32, 20, 1280), _t5), 16),
    "FLUX.1": (_flux, (_clip(768, 12, 12, 768), _t5), 16),
}
"""Network, text encoders, and channels of a latent, as the folders of their authors have them."""


def parameters(make: Callable[[], Any]) -> int:
    """Of a network that is built without its numbers, and what it holds beside them, as tables of positions."""
    with torch.device("meta"):
        network = make()
    return sum(tensor.numel() for tensor in (*network.parameters(), *network.buffers()))


def memory(names: tuple[str, ...] = tuple(LARGE)) -> list[str]:
    """The table, in Markdown: GiB of weights in half precision, the autoencoder's in single precision."""
    head = ("model", "network", "largest text encoder", "autoencoder", "`--offload none`", "`--offload model`")
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for name in names:
        network, encoders, channels = LARGE[name]
        count = parameters(network)
        core, text, vae = (
            2 * count / GIB,
            2 * max(map(parameters, encoders)) / GIB,
            4 * parameters(_vae(channels)) / GIB,
        )
        lines.append(
            f"| {name} | {count / 1e9:.2f} · 10⁹, {core:.1f} | {text:.1f} | {vae:.1f} | {max(text, core + vae):.1f} "
            f"| {max(text, core, vae):.1f} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("parity", "speed", "memory"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", type=int, default=256, help="pixels of an image's height and width")
    parser.add_argument("--width", type=int, default=128, help="channels of the first block")
    parser.add_argument("--steps", type=int, default=5)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", "__array__ implementation")  # of diffusers
    with tempfile.TemporaryDirectory() as folder:
        if options.what == "parity":
            print("\n".join(parity(Path(folder), (*pairs.OTHERS, *pairs.DIFFUSIONS))))
        elif options.what == "speed":
            print(sidebyside.machine_line(sidebyside.machine(), torch.get_num_threads()))
            print(speed(Path(folder), options.side, options.width, options.steps, options.rounds))
        else:
            print("\n".join(memory()))


if __name__ == "__main__":
    main()
