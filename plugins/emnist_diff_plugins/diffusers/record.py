"""What a recorded call of a pipeline says of itself: its prompts, its seeds, its scheduler and its arguments."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch

from emnist_diff.frames import RunHeader
from emnist_diff.timeline import Timeline
from emnist_diff_plugins.diffusers.calls import Steps
from emnist_diff_plugins.diffusers.outcome import Decoder
from emnist_diff_plugins.machine.surroundings import surroundings

RECORDER = "emnist_diff_plugins.diffusers.Recorder"
"""What the record names as its writer, so that nothing takes it for a run of the engine."""
_OWN = ("prompt", "negative_prompt", "guidance_scale", "generator")
"""Arguments that stand in the record under their own keys."""
_UNNAMED = "sample"
"""The class of samples of a pipeline that takes no prompt."""
_LONGEST, _DEEPEST = 64, 4


@attrs.frozen(eq=False)
class Call:
    """A call that is finished, with the arguments it was given by name, and its generators' seeds as they were before.

    seeds: of all samples or of each, None where it is not known.
    """

    pipeline: Any
    given: Mapping[str, Any]
    seeds: tuple[int | None, ...]
    steps: Steps

    def header(self, output: Path, decoder: Decoder, image_shape: tuple[int, ...], overwrite: bool) -> RunHeader:
        """What the sinks are told."""
        count = len(self.steps.taken[0].x)
        classes, labels = self._classes(count)
        seeds = self.seeds * count if len(self.seeds) == 1 else self.seeds
        known = len(seeds) == count and None not in seeds
        return RunHeader(
            output=output,
            config=self._config(classes or (_UNNAMED,), count, list(seeds) if known else None),
            environment=self._environment(classes),
            timeline=self._timeline(),
            shape=tuple(decoder.states(self.steps.taken[0].x[:1]).shape[1:]),
            image_shape=image_shape,
            sample_ids=np.arange(count, dtype=np.int64),
            labels=labels,
            seeds=np.array(seeds if known else [0] * count, dtype=np.uint64),
            classes=classes or (_UNNAMED,),
            conditioned=bool(classes),
            forces=self.steps.forces,
            drifts=(),
            force_weights=self._weights(),
            overwrite=overwrite,
            decode=decoder,
            prediction_type=self.steps.levels.prediction_type,
        )

    def _weights(self) -> Any:
        """(forces, steps); 0 where forces did not act."""
        forces = self.steps.forces
        rows = [step.weights or (0.0,) * len(forces) for step in self.steps.taken]
        return np.array(rows, dtype=np.float64).T.reshape(len(forces), len(rows))

    def _classes(self, count: int) -> tuple[tuple[str, ...], Any]:
        """The prompts, none twice, and the index of each sample's; () and zeros where there are none."""
        prompts = self.given.get("prompt")
        prompts = self.given.get("class_labels") if prompts is None else prompts
        listed = [prompts] if isinstance(prompts, str | int) else prompts
        if not isinstance(listed, Sequence) or not listed or count % len(listed):
            return (), np.zeros(count, np.int64)
        texts = [_text(prompt) for prompt in listed]
        classes = tuple(dict.fromkeys(texts))
        each = count // len(texts)  # pipelines repeat a prompt for its images, one after the other
        return classes, np.array([classes.index(text) for text in texts for _ in range(each)], dtype=np.int64)

    def _config(self, classes: tuple[str, ...], count: int, seeds: list[int | None] | None) -> dict[str, Any]:
        """What decided the samples, as far as the pipeline says it."""
        scheduler = self.steps.levels.scheduler
        shared = None if seeds is None or len(set(seeds)) > 1 else seeds[0]
        config = {
            "recorder": RECORDER,
            "denoiser": {"name": type(self.pipeline).__name__, "settings": {}},
            "scheduler": {"name": type(scheduler).__name__, "settings": plain(scheduler.config)},
            "steps": len(self.steps.taken),
            "character": list(classes),
            "total_videos": count,
            "seed": shared,
            "forces": [],
            "drifts": [],
            "arguments": {key: plain(v) for key, v in self.given.items() if key not in _OWN and v is not None},
        }
        if seeds is not None and shared is None:
            config["seeds"] = seeds
        for name in ("negative_prompt", "guidance_scale"):
            if self.given.get(name) is not None:
                config[name] = plain(self.given[name])
        if (guider := getattr(self.pipeline, "guider", None)) is not None:
            config["guider"] = {"name": type(guider).__name__, "settings": plain(guider.config)}
        return config

    def _environment(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """Versions and device; of the folder no more than its name."""
        import diffusers

        device = torch.device(getattr(self.pipeline, "_execution_device", "cpu"))
        source = getattr(getattr(self.pipeline, "config", None), "_name_or_path", None) or ""
        data: dict[str, Any] = {
            **surroundings(device),
            "diffusers": diffusers.__version__,
            "precision": str(getattr(self.pipeline, "dtype", torch.float32)).removeprefix("torch."),
            "checkpoint": {"file": Path(str(source)).name or None},
        }
        return data if classes else data | {"conditioned": False}

    def _timeline(self) -> Timeline:
        taken = self.steps.taken
        return Timeline(
            timestep=np.array([step.timestep for step in taken]),
            alpha_bar=np.array([step.alpha_bar for step in taken]),
            alpha_bar_next=np.array([*(step.alpha_bar for step in taken[1:]), taken[-1].alpha_bar_next]),
            process=self.steps.levels.process,
            inner=tuple(step.inner for step in taken) if any(step.inner for step in taken) else (),
        )


def seeds_of(pipeline: Any, generator: Any) -> tuple[int | None, ...]:
    """The seeds from which a call will draw, one of all samples or one of each: of its generators, or of torch's own.
    None for a generator that has been drawn from since it was seeded, of which no seed tells what it will give."""
    if generator is None:
        device = torch.device(getattr(pipeline, "_execution_device", "cpu"))
        if device.type != "cuda":
            return (_fresh_seed(torch.default_generator),) if device.type == "cpu" else (None,)
        index = torch.cuda.current_device() if device.index is None else device.index
        return (_fresh_seed(torch.cuda.default_generators[index]),)
    generators = generator if isinstance(generator, list | tuple) else [generator]
    return tuple(_fresh_seed(each) if isinstance(each, torch.Generator) else None for each in generators)


def _fresh_seed(generator: torch.Generator) -> int | None:
    seed = generator.initial_seed()
    fresh = torch.Generator(generator.device).manual_seed(seed)
    return seed if torch.equal(fresh.get_state(), generator.get_state()) else None


def plain(value: Any, depth: int = 0) -> Any:
    """A value of a configuration or a call as JSON holds it; of what cannot be, such as an image, what it is."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, torch.Tensor | np.ndarray):
        return f"{type(value).__name__} {tuple(value.shape)}"
    if isinstance(value, Mapping) and depth < _DEEPEST:
        kept = {str(key): item for key, item in value.items() if not str(key).startswith("_")}
        return {_text(key): plain(item, depth + 1) for key, item in kept.items()}
    if isinstance(value, list | tuple) and depth < _DEEPEST and len(value) <= _LONGEST:
        return [plain(item, depth + 1) for item in value]
    return type(value).__name__


def _text(value: Any) -> str:
    """Text that a file can hold: without null characters and halves of characters."""
    return str(value).replace("\0", "�").encode("utf-8", "replace").decode()
