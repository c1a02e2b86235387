"""What a person sees at a prompt: everything public is shown on one line, whatever it holds."""

from __future__ import annotations

import inspect

import attrs
import numpy as np
import torch

import emnist_diff
from emnist_diff.assembly.assemble import assemble
from emnist_diff.brief import brief, briefly
from emnist_diff.config import ComponentConfig, RunConfig
from emnist_diff.discovery import installed
from emnist_diff.engine.state import Batch
from emnist_diff.engine.walk import walk
from emnist_diff.frames import FIELDS
from emnist_diff.running.run import RunResult

LONGEST = 1000


def public(tmp_path) -> list[object]:
    """An instance of everything that the interface hands out, and of what that is made of."""
    checkpoint = emnist_diff.load_checkpoint()
    unet, scheduler = emnist_diff.load_unet(checkpoint), emnist_diff.build_scheduler(checkpoint)
    frames = []
    config = emnist_diff.InferenceConfig(character="A", total_videos=1, num_inference_steps=2)
    result = emnist_diff.generate_sample(unet, scheduler, config, checkpoint, frame_callback=frames.append)
    settings = RunConfig(
        denoiser=ComponentConfig("gaussian-mixture", settings={"shape": [1, 28, 28], "classes": "AB"}),
        forces=(ComponentConfig("attract_class", settings={"target": "B"}),), drifts=(ComponentConfig("clamp"),),
        total_videos=500, steps=50, output=str(tmp_path),
    )  # fmt: skip
    assembly = assemble(installed(), settings)
    engine = assembly.engine
    walked = list(walk(engine, Batch((0,), (0,), (0,), (7,)), lambda at: frozenset(FIELDS)))
    return [
        checkpoint, checkpoint.header, unet, unet.denoiser, scheduler, scheduler.scheduler, scheduler.schedule,
        config, config.capture, config.video, config.drift, config.force, config.env, result, *frames,
        settings, assembly, engine, assembly.plan, assembly.header, engine.timeline, assembly.backend, installed(),
        *engine.denoisers.values(), engine.scheduler, *assembly.sinks, *engine.forces, *engine.drifts,
        walked[0], walked[-1], RunResult(tmp_path, 1, 0, 1.0, 2, 1, 7),
    ]  # fmt: skip


def test_everything_public_is_shown_on_one_short_line(tmp_path):
    things = public(tmp_path)
    for thing in things:
        text = repr(thing)
        assert text.startswith(type(thing).__name__)
        assert "\n" not in text
        assert len(text) <= LONGEST, text
        assert "tensor(" not in text and "array(" not in text  # noqa: PT018
    classes = {n for n in emnist_diff.__all__ if inspect.isclass(getattr(emnist_diff, n))}
    assert classes - {type(thing).__name__ for thing in things} == {"Trajectory"}


def test_brief_names_what_is_large_and_shows_what_is_small():
    @briefly
    @attrs.frozen
    class Thing:
        size: int
        weights: torch.Tensor
        same: str = "default"
        table: dict[str, int] = attrs.field(factory=dict)

    thing = Thing(3, torch.zeros(2, 5))
    assert repr(thing) == "Thing(size=3, weights=float32[2, 5])"
    assert repr(attrs.evolve(thing, table={"a": 1}, same="b")) == (
        "Thing(size=3, weights=float32[2, 5], same='b', table={'a': 1})"
    )
    assert brief(list(range(1000))) == "[0, 1, 2, 3, … 1000 in all]"
    assert brief(np.float32(2.5)) == repr(np.float32(2.5))
    assert brief("x" * 100) == "'" + "x" * 57 + "…'"
    assert brief(torch.nn.Linear(3, 2)) == "Linear of 8 parameters"
    assert brief([thing]) == f"[{thing!r}]"
    assert brief(attrs.evolve(thing, same="b" * 30)) == "Thing(…)"
