"""Runs of ours beside diffusers' own pipelines, from the same initial latents: a scheduler of ours, and the one that is
its equal there. Tests hold them to their figures, and ``tests/benchmarks/pipelines.py`` prints these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import attrs
import diffusers
import torch
from torch import Tensor

from emnist_diff.assembly.assemble import Assembly, assemble
from emnist_diff.discovery import installed
from emnist_diff.engine.state import Batch
from emnist_diff.engine.walk import walk
from emnist_diff_plugins.denoisers.pipelines.flux import latents_of, tokens_of
from emnist_diff_plugins.layers import configure

ALIKE = 1e-5
"""Of the largest latent."""

PROMPT, SIDE = "a cat, sitting", 64

Grid = Callable[[Any, int], dict[str, float]]


def ends_of_sigmas(scheduler: Any, steps: int) -> dict[str, float]:
    """Between which noise levels diffusers lays out a grid, as our settings say it."""
    scheduler.set_timesteps(steps)
    return {"sigma_max": float(scheduler.sigmas[0]), "sigma_min": float(scheduler.sigmas[-2])}


@attrs.frozen
class Pair:
    """A scheduler of ours and diffusers' one.

    ours: its settings.  cls, theirs: class and settings of theirs, which the folder's own complete.
    grid: further settings of ours, from theirs.  exact: whether theirs has to be given the exact timesteps of a grid,
    which it rounds.  steps, guidance: of both.  more: of the pipeline's call.
    """

    name: str
    ours: Mapping[str, Any]
    cls: str
    theirs: Mapping[str, Any] = attrs.field(factory=dict)
    kind: str = "sdxl"
    grid: Grid | None = None
    exact: bool = False
    steps: int = 6
    guidance: float = 5.0
    more: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def scheduler(self) -> str:
        """Ours as the command line has it."""
        settings = ",".join(f"{key}={value}" for key, value in self.ours.items())
        return f"{self.name}:{settings}" if settings else self.name


LEADING = {"spacing": "leading", "steps_offset": 1}
TRAILING = {"spacing": "trailing"}
DDIM = {"set_alpha_to_one": True, "clip_sample": False}
SPACED = {"timestep_spacing": "trailing"}
FLOW = "FlowMatchEulerDiscreteScheduler"

DIFFUSIONS = (
    Pair("ddim", LEADING, "DDIMScheduler", DDIM),
    Pair("ddim", TRAILING, "DDIMScheduler", DDIM | SPACED, steps=5),
    Pair("dpmpp_2m", TRAILING, "DPMSolverMultistepScheduler", SPACED),
    Pair("dpmpp_2m", {"spacing": "karras"}, "DPMSolverMultistepScheduler",
         {"use_karras_sigmas": True, "timestep_spacing": "linspace"}, exact=True),
    Pair("unipc", TRAILING, "UniPCMultistepScheduler", SPACED),
    Pair("lms", LEADING, "LMSDiscreteScheduler"),
    Pair("heun", LEADING, "HeunDiscreteScheduler"),
    Pair("euler", {"spacing": "karras"}, "EulerDiscreteScheduler", {"use_karras_sigmas": True}, grid=ends_of_sigmas),
    Pair("euler_ancestral", LEADING, "EulerAncestralDiscreteScheduler"),
)  # fmt: skip
"""Of SDXL, beside the folder's own Euler."""

OTHERS = (
    Pair("euler", LEADING, "EulerDiscreteScheduler"),
    Pair("euler", LEADING, "EulerDiscreteScheduler", steps=30, guidance=7.5),
    Pair("flow_euler", {"shift": 3.0}, FLOW, kind="sd3", more={"sigmas": [1 - i / 6 for i in range(6)]}),
    Pair("flow_euler", {"tokens": 16}, FLOW, kind="flux", guidance=1.0),
    Pair("flow_euler", {"tokens": 16}, FLOW, kind="flux", guidance=3.0, more={"negative_prompt": "blurry"}),
    Pair("flow_euler", {}, FLOW, kind="schnell", guidance=1.0, steps=4),
)


@attrs.frozen
class Difference:
    """Between the final latents, as a share of the largest. Between images of 8 bits, the largest, and the share of
    values that differ at all."""

    latents: float
    largest: int
    share: float

    @classmethod
    def of(cls, run: Assembly, own: Tensor, other: Tensor) -> Difference:
        denoiser = run.engine.denoisers[""]
        images = [(255 * denoiser.decode(x)).round() for x in (own, other)]
        apart = (images[0] - images[1]).abs()
        latents = float((own - other).abs().max() / other.abs().max())
        return cls(latents, int(apart.max()), float((apart > 0).float().mean()))


@cache
def loaded(folder: Path) -> Any:
    """diffusers' own pipeline of a folder, with the folder's scheduler."""
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def ours(layer: Mapping[str, Any]) -> tuple[Tensor, Tensor, Assembly]:
    """Initial and final latents of the first sample of a run, and its assembly."""
    registry = installed()
    settings, found = configure(registry, {"sinks": [], "device": "cpu", **layer})
    run = assemble(registry, settings, denoiser=found)
    with torch.inference_mode():
        *frames, last = walk(run.engine, Batch((0,), (0,), (0,), (settings.seed,)), lambda at: frozenset({"x"}))
    return frames[0]["x"], last.x, run


def difference(folder: Path, pair: Pair) -> Difference:
    """Of the pair on a tiny pipeline."""
    pipeline = loaded(folder)
    scheduler = getattr(diffusers, pair.cls).from_config(pipeline.scheduler.config, **pair.theirs)
    grid = pair.grid(scheduler, pair.steps) if pair.grid else {}
    family = "flux" if pair.kind == "schnell" else pair.kind
    start, end, run = ours({
        "denoiser": {"name": family, "path": str(folder), "height": SIDE, "width": SIDE}, "prompt": PROMPT,
        "steps": pair.steps, "guidance_scale": pair.guidance, "scheduler": {"name": pair.name, **pair.ours, **grid},
        **{key: value for key, value in pair.more.items() if key == "negative_prompt"},
    })  # fmt: skip
    if pair.exact:
        times = [run.header.timeline.at(step).timestep for step in range(pair.steps)]
        scheduler.set_timesteps = _exactly(scheduler, scheduler.set_timesteps, times)
    with mock.patch.object(pipeline, "scheduler", scheduler):
        return Difference.of(run, end, _theirs(pipeline, pair, run, start))


def _exactly(scheduler: Any, own: Callable[..., None], times: list[float]) -> Callable[..., None]:
    """A `set_timesteps` that rounds nothing."""

    def set_timesteps(steps: int, **more: Any) -> None:
        own(steps, **more)
        scheduler.timesteps = torch.tensor(times)

    return set_timesteps


def _theirs(pipeline: Any, pair: Pair, run: Assembly, start: Tensor) -> Tensor:
    drawn = iter(range(pair.steps))

    def noise(*shape: Any, **more: Any) -> Tensor:
        return run.engine.normal((run.config.seed,), (0,), next(drawn), "scheduler/", run.engine.shape)

    call = {"num_inference_steps": pair.steps, "height": SIDE, "width": SIDE, "output_type": "latent", **pair.more}
    flux = pair.kind in ("flux", "schnell")
    if flux:
        call |= {"true_cfg_scale": pair.guidance, "guidance_scale": 3.5, "latents": tokens_of(start)}
    else:
        call |= {"guidance_scale": pair.guidance, "latents": start}
    with mock.patch("diffusers.schedulers.scheduling_euler_ancestral_discrete.randn_tensor", noise):
        out: Tensor = pipeline(PROMPT, **call).images
    return latents_of(out, SIDE // 16, SIDE // 16) if flux else out
