"""What does it cost to record attention? Runs with it and without, in turns, and as others do it.

Run it from anywhere: ``python tests/benchmarks/capture.py shipped [--rounds 5]`` or ``… sdxl [--side 256]``.

- *shipped*: the model of 62 characters, all of whose layers have their attention kept: during the run, and afterwards
  from its states, as ``emnist-diff attend`` does.
- *sdxl*: a UNet of SDXL's kind with random weights, guided. Beside ours stands diffusers' own pipeline with processors
  that store ``get_attention_scores`` of the same layers in the mean of the heads, which are compared before anything is
  timed. Afterwards, others generate again; ours evaluates the network at the recorded states. It needs
  ``pip install 'emnist-diff[pipelines]'`` and no weights.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))

import sidebyside  # it stands beside this file

from emnist_diff.engine.batch import BatchEngine
from emnist_diff.engine.capture import captured
from emnist_diff.engine.plan import conditions_at
from emnist_diff.engine.state import Batch, Engine
from emnist_diff.engine.walk import walk
from emnist_diff.frames import Frame
from emnist_diff_trajectory.attention import AttentionRequest, Kind

ALIKE = 1e-5


def request(kinds: tuple[Kind, ...]) -> str:
    """All layers of these kinds at the resolution of the network."""
    return AttentionRequest(layers=("*",), kinds=kinds, resolution=4096, self_resolution=1024).text


def walked(engine: Engine, batch: Batch, requests: frozenset[str]) -> tuple[list[Frame], Tensor]:
    """The frames of a walk, and its final states."""
    with torch.inference_mode():
        *frames, last = walk(engine, batch, lambda at: requests)
    return frames, last.x


def afterwards(engine: Engine, batch: Batch, states: list[Tensor], requests: frozenset[str]) -> list[dict[str, Tensor]]:
    """What the network attends to at states that were recorded."""
    run, out = BatchEngine.of(engine, batch), []
    for step, x in enumerate(states):
        at = engine.timeline.at(step)
        with torch.inference_mode():
            packing = run.calls(conditions_at(at, engine.base, engine.forces), False).packing
            out.append(captured(run, at, x, packing, requests)[1])
    return out


def ours(engine: Engine, batch: Batch, kinds: tuple[str, ...]) -> dict[str, Callable[[], object]]:
    """Ways of ours. Raises `SystemExit` unless they agree to the bit."""
    wanted = frozenset({request(kinds)})
    frames, x = walked(engine, batch, wanted | {"x"})
    states = [frame["x"] for frame in frames]
    later = afterwards(engine, batch, states, wanted)
    same = torch.equal(x, walked(engine, batch, frozenset())[1])
    for frame, found in zip(frames, later, strict=True):
        same = same and all(torch.equal(frame[name], value) for name, value in found.items())
    if not same:
        raise SystemExit("capture changes samples, or what is captured afterwards is something else")
    return {
        "without": lambda: walked(engine, batch, frozenset()),
        "during the run": lambda: walked(engine, batch, wanted),
        "afterwards": lambda: afterwards(engine, batch, states, wanted),
    }


def assembled(layer: Mapping[str, Any]) -> Any:
    """A run without sinks."""
    from emnist_diff.assembly.assemble import assemble
    from emnist_diff.discovery import installed
    from emnist_diff_plugins.layers import configure

    settings, found = configure(installed(), {"sinks": [], "device": "cpu", **layer})
    return assemble(installed(), settings, denoiser=found)


def shipped(samples: int, steps: int, rounds: int) -> list[str]:
    """The table of the shipped model, in Markdown."""
    run = assembled({"character": "A", "total_videos": samples, "steps": steps, "seed": 0})
    header = run.header
    batch = Batch(
        tuple(range(samples)), *(tuple(each.tolist()) for each in (header.sample_ids, header.labels, header.seeds))
    )
    return _table(sidebyside.interleaved(ours(run.engine, batch, ("self",)), rounds), {"without": "without"})


def storing(store: list[Tensor]) -> Any:
    """A processor as people write them: the scores of diffusers' slow attention, in the mean of the heads."""

    def process(attention: Any, states: Tensor, encoder_hidden_states: Tensor | None = None, **_: Any) -> Any:
        context = states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            attention.head_to_batch_dim(part)
            for part in (attention.to_q(states), attention.to_k(context), attention.to_v(context))
        )
        scores = attention.get_attention_scores(query, key)
        store.append(scores.unflatten(0, (-1, attention.heads)).mean(1))
        return attention.to_out[1](attention.to_out[0](attention.batch_to_head_dim(torch.bmm(scores, value))))

    return process


def sdxl(folder: Path, side: int, width: int, steps: int, rounds: int) -> list[str]:
    """The table of a pipeline, in Markdown: cross attention, as most people store it."""
    import pipelines  # it stands beside this file

    path = pipelines.saved(pipelines.medium(side, width), folder / "medium")
    run = assembled(
        {"checkpoint": str(path), "prompt": pipelines.pairs.PROMPT, "steps": steps, "guidance_scale": 5.0, "seed": 0}
    )
    batch = Batch((0,), (0,), (0,), (run.config.seed,))
    ways = ours(run.engine, batch, ("cross",))
    frames, x = walked(run.engine, batch, frozenset({"x", request(("cross",))}))
    pipeline, stored = pipelines.pairs.loaded(path), list[Tensor]()
    names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
    texts = dict(zip(names, pipeline.encode_prompt(pipelines.pairs.PROMPT), strict=True))
    plain = dict(pipeline.unet.attn_processors)
    own = {name: storing(stored) if "attn2" in name else each for name, each in plain.items()}

    def theirs(processors: Mapping[str, Any]) -> Tensor:
        stored.clear()
        pipeline.unet.set_attn_processor(dict(processors))
        out: Tensor = pipeline(
            **texts, num_inference_steps=steps, guidance_scale=5.0, height=side, width=side,
            latents=frames[0]["x"], output_type="latent",
        ).images  # fmt: skip
        return out

    apart = float((theirs(own) - x).abs().max() / x.abs().max())
    maps = [value for frame in frames for name, value in frame.items() if name.endswith(".cross")]
    for other, mine in zip(stored, maps, strict=True):  # theirs: null, then own, (2, places, tokens)
        found = mine[0, :, 0].flatten(2).transpose(1, 2)
        apart = max(apart, min(float((each - other).abs().max()) for each in (found, found.flip(0))))
    if apart >= ALIKE:
        raise SystemExit(f"what is stored is {apart:.1e} apart")
    ways |= {"diffusers without": lambda: theirs(plain), "diffusers with processors": lambda: theirs(own)}
    base = {name: "diffusers without" for name in ways if name.startswith("diffusers")}
    return _table(sidebyside.interleaved(ways, rounds), base)


def _table(took: Mapping[str, sidebyside.Took], base: Mapping[str, str]) -> list[str]:
    lines = [
        "| | processor seconds | of the same without | wall time of the same without |",
        "| --- | --- | --- | --- |",
    ]
    for name, each in took.items():
        below = took[base.get(name, "without")]
        ratios = [sidebyside.Ratio.of(getattr(each, of), getattr(below, of)) for of in ("cpu", "wall")]
        lines.append(f"| {name} | {min(each.cpu):.2f} | {ratios[0]} | {ratios[1]} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("shipped", "sdxl"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=16, help="of the shipped model")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--side", type=int, default=256, help="pixels of an image's height and width")
    parser.add_argument("--width", type=int, default=64, help="channels of the first block")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", "__array__ implementation")  # of diffusers
    print(sidebyside.machine_line(sidebyside.machine(), torch.get_num_threads()))
    if options.what == "shipped":
        print("\n".join(shipped(options.samples, options.steps, options.rounds)))
        return
    with tempfile.TemporaryDirectory() as folder:
        print("\n".join(sdxl(Path(folder), options.side, options.width, options.steps, options.rounds)))


if __name__ == "__main__":
    main()
