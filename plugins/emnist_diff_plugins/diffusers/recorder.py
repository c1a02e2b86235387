"""Any diffusers pipeline's calls as trajectory files of this package."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import attrs
import torch
from torch import Tensor

from emnist_diff.components import make
from emnist_diff.discovery import installed
from emnist_diff.errors import ConfigError, OutputError
from emnist_diff.events import get_logger
from emnist_diff.frames import STATES, BatchResult, Frame, Outcome, RunHeader, component_fields
from emnist_diff.protocols import Sink
from emnist_diff.records import SinkSpec
from emnist_diff.running.recording import call_sink, hand_to_sinks, requested_fields
from emnist_diff_plugins.diffusers.calls import Steps, follow, stepping, unfollow
from emnist_diff_plugins.diffusers.levels import Levels
from emnist_diff_plugins.diffusers.outcome import Decoder, images_of, require_images
from emnist_diff_plugins.diffusers.record import Call, seeds_of
from emnist_diff_plugins.runconfig import resolve

log = get_logger()


@attrs.define(eq=False)
class Recorder:
    """Records what a pipeline of diffusers does within a block, and changes no bit of it::

        with Recorder(pipeline, "output/cat"):
            image = pipeline("a cat", num_inference_steps=30).images[0]

    ``output/cat/trajectory.h5`` then holds the state of every step, the first too, predictions, estimates of the
    image, noise levels, prompts, seeds, and the settings of the scheduler and the call. Each call is a run of its own:
    the next within the block, or within a later block of the same recorder, is written to ``output/cat-2``. What a
    killed program had recorded of earlier calls stays; a call that fails leaves nothing.

    pipeline: of diffusers, with a ``scheduler``: of Stable Diffusion, SDXL, SD3, Flux, DDPM, or a modular one.
    output: the directory of the first call.
    sinks: as in a configuration: names, or tables of a name and settings, of what records.
    overwrite: replace what the directories hold.

    Raises `ConfigError` for what is no such pipeline, for a scheduler whose steps cannot be recorded, and for a
    pipeline that another recorder has; `OutputError` where the directory is not empty. What keeps a finished call from
    being written is raised when the block ends, so that its images are not lost.
    """

    pipeline: Any
    output: Path = attrs.field(converter=Path)
    sinks: Sequence[Any] = attrs.field(default=("hdf5",), kw_only=True)
    overwrite: bool = attrs.field(default=False, kw_only=True)
    outputs: list[Path] = attrs.field(init=False, factory=list)
    """The directories of the calls that are recorded, in order."""
    _failure: Exception | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        if not callable(self.pipeline) or not hasattr(getattr(self.pipeline, "scheduler", None), "step"):
            raise ConfigError(f"Recorder: {type(self.pipeline).__name__} is no pipeline with a scheduler that steps")
        self._opened_sinks()

    def __enter__(self) -> Recorder:
        Levels.of(self.pipeline.scheduler)
        self._free_folder()
        self._failure = None
        follow(self.pipeline, self._call)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        unfollow(self.pipeline)
        if error is None and self._failure is not None:
            raise self._failure

    def _call(self, call: Callable[[], Any], given: Mapping[str, Any]) -> Any:
        """Let the pipeline do a call, and record it. Raises what the pipeline raises, and as `Recorder`."""
        steps = Steps(Levels.of(self.pipeline.scheduler), getattr(self.pipeline, "guider", None))
        folder, seeds = self._free_folder(), seeds_of(self.pipeline, given.get("generator"))
        with stepping(self.pipeline.scheduler, steps):
            result = call()
        try:
            self._write(folder, Call(self.pipeline, given, seeds, steps), result)
        except Exception as error:  # which must not cost the user what the pipeline returned
            log.error("recorder.failed", output=str(folder), error=str(error))
            self._failure = self._failure or error
        return result

    def _write(self, folder: Path, call: Call, result: Any) -> None:
        """Hand a finished call to the sinks."""
        taken, name = call.steps.taken, type(self.pipeline).__name__
        if not taken:
            raise ConfigError(f"Recorder: {name} took no step by its scheduler, so that there is nothing to record")
        assert call.steps.end is not None
        decoder = Decoder.of(self.pipeline, tuple(taken[0].x.shape[1:]), call.given)
        end, count = decoder.states(call.steps.end), len(call.steps.end)
        images = None if call.given.get("output_type") == "latent" else images_of(result, count)
        images = require_images(decoder(end) if images is None else images, count)
        header = call.header(folder, decoder, tuple(images.shape[1:]), self.overwrite)
        played(
            self._opened_sinks(),
            header,
            frames(call.steps, header, decoder.states),
            BatchResult(range(count), end, images),
        )
        self.outputs.append(folder)
        log.info("recorder.recorded", output=str(folder), steps=len(taken), samples=count)

    def _opened_sinks(self) -> list[Sink]:
        registry = installed()
        configured = resolve({"sinks": list(self.sinks)}).sinks or ()
        return [make(registry, SinkSpec, config).object for config in configured]

    def _free_folder(self) -> Path:
        """The directory of the next call. Raises `OutputError` where something is in it that is not to be replaced."""
        number = len(self.outputs) + 1
        folder = self.output if number == 1 else self.output.with_name(f"{self.output.name}-{number}")
        if not self.overwrite and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise OutputError(f"Recorder: {folder} is not empty — choose another output, or give overwrite=True")
        return folder


def frames(steps: Steps, header: RunHeader, states: Callable[[Tensor], Tensor]) -> Iterator[Frame]:
    """The steps of a call as sinks take them.  states: those of the file from the scheduler's."""
    positions = range(len(header.sample_ids))
    for index, step in enumerate(steps.taken):
        tensors = {name: states(getattr(step, name)) for name in STATES}
        contributions = step.contributions or (torch.zeros_like(step.x),) * len(steps.forces)
        tensors |= dict(zip(component_fields("forces", steps.forces), map(states, contributions), strict=True))
        yield Frame(header.timeline.at(index), positions, tensors)


def played(sinks: Sequence[Sink], header: RunHeader, steps: Iterator[Frame], batch: BatchResult) -> None:
    """Let sinks record a batch from start to end. Raises as they do."""
    opened, outcome = list[Sink](), Outcome.FAILED
    try:
        for sink in sinks:
            opened.append(sink)
            call_sink(sink, "open", sink.open, header)
        requested_fields(sinks, header)
        for frame in steps:
            hand_to_sinks(sinks, frame)
        hand_to_sinks(sinks, batch)
        outcome = Outcome.COMPLETED
    finally:
        for sink in opened:
            call_sink(sink, "close", sink.close, outcome)
