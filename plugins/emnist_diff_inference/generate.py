"""Samples made one by one, or together, with their frames in memory: the engine's walk, watched."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs
import torch
from torch import Tensor

from emnist_diff.assembly.assemble import chosen_backend, report_on
from emnist_diff.assembly.devices import choose_device
from emnist_diff.assembly.layout import Layout, lay_out
from emnist_diff.assembly.sources import found_guides, opened
from emnist_diff.config import RunConfig
from emnist_diff.discovery import installed
from emnist_diff.engine.state import Batch, Engine
from emnist_diff.engine.walk import walk
from emnist_diff.errors import ConfigError
from emnist_diff.evaluators import Prepared
from emnist_diff.frames import Frame
from emnist_diff.plugins import Registry
from emnist_diff.protocols import Denoiser, offers
from emnist_diff.records import SchedulerSpec
from emnist_diff.running.threads import use_threads
from emnist_diff.structuring import unstructure
from emnist_diff.timeline import StepInfo
from emnist_diff_inference import mapping
from emnist_diff_inference.checkpoints import BuiltScheduler, CheckpointInfo, LoadedDenoiser, headed
from emnist_diff_inference.config import InferenceConfig
from emnist_diff_inference.frames import FrameData, GenerationResult, picture
from emnist_diff_inference.limits import refuse_files, refuse_later
from emnist_diff_plugins.capabilities import ForgetsTexts
from emnist_diff_plugins.reviews.declared import require_declared
from emnist_diff_trajectory.pixels import Pixels, to_uint8

_STATE = frozenset(("x",))

FrameCallback = Callable[..., object]
"""Called for each kept step, in order, with (step, total_steps, frame_u8), or with the `FrameData` when it takes one
argument."""
ProgressCallback = Callable[[int, int], object]
"""Called after each step with the number of steps done and the number of steps in all."""


def generate_sample(
    model: LoadedDenoiser,
    scheduler: BuiltScheduler,
    config: InferenceConfig,
    ckpt_info: CheckpointInfo,
    index: int = 0,
    *,
    frame_callback: FrameCallback | None = None,
    progress_callback: ProgressCallback | None = None,
) -> GenerationResult:
    """Make one sample and keep its frames.

    model, scheduler, ckpt_info: from `load_unet`, `build_scheduler` and `load_checkpoint`.
    index: of the sample in the run, from 0. The same index is the same sample, bit for bit, as in the file of a run
    with the same settings, if both have the same ``micro_batch``, which they have by default.
    frame_callback: called for each kept step, in order, as soon as its end state is known, with ``(step, total_steps,
    frame_u8)``: the step's index, how many there are, and the decoded state, uint8 (H, W) or (H, W, C), enlarged by
    ``VideoConfig.upscale``. A callback that takes one argument gets the `FrameData`.
    progress_callback: called after each step with ``(steps_done, total_steps)``.

    Raises `ConfigError` for settings that cannot be met, `RunFailed` when a component misbehaves. What a callback
    raises passes through.
    """
    watch = None if frame_callback is None else _Watch(frame_callback, together=False)
    return _generate(model, scheduler, config, ckpt_info, [index], watch, progress_callback)[0]


def generate_samples(
    model: LoadedDenoiser,
    scheduler: BuiltScheduler,
    config: InferenceConfig,
    ckpt_info: CheckpointInfo,
    indices: Iterable[int] | None = None,
    *,
    frame_callback: FrameCallback | None = None,
    progress_callback: ProgressCallback | None = None,
) -> list[GenerationResult]:
    """Make several samples, ``EnvironmentConfig.batch_size`` at a time; each is what `generate_sample` makes.

    indices: of the samples in the run; None for those of this worker: ``range(slurm_rank, total_videos,
    slurm_world)``. Callbacks are called for each batch as `generate_sample` says, `frame_callback` with the list of the
    batch's frames in place of one.
    """
    if indices is None:
        indices = range(config.env.slurm_rank, config.total_videos, config.env.slurm_world)
    watch = None if frame_callback is None else _Watch(frame_callback, together=True)
    return _generate(model, scheduler, config, ckpt_info, list(indices), watch, progress_callback)


def _generate(
    model: LoadedDenoiser,
    scheduler: BuiltScheduler,
    config: InferenceConfig,
    ckpt: CheckpointInfo,
    indices: Sequence[int],
    watch: _Watch | None,
    progress: ProgressCallback | None,
) -> list[GenerationResult]:
    for index in indices:
        if index < 0:
            raise ConfigError(f"sample index {index}: must be at least 0")
    refuse_later(config)
    refuse_files(config)
    use_threads(None)  # those that torch has; from now on a forked process computes alone
    _check_fit(model, scheduler, config, ckpt)
    registry = installed()
    settings = attrs.evolve(mapping.settings(config, ckpt.path, ckpt.header, registry), threads=model.threads)
    if offers(model.denoiser, ForgetsTexts):
        model.denoiser.forget_texts()  # those of the samples before
    guides = _guides(registry, settings, model, ckpt)
    spaces = {"": model.denoiser.conditions} | {name: guide.conditions for name, guide in guides.items()}
    layout = lay_out(registry, settings, spaces, scheduler.scheduler, f"scheduler {scheduler.name!r}")
    denoisers = {"": model.denoiser, **guides}
    require_declared(layout.plan.networks, denoisers)
    backend = _on_backend(registry, settings, layout, model, guides)
    layout = layout.with_rows(backend.rows)
    engine = layout.engine(denoisers, model.device, backend)
    out: list[GenerationResult] = []
    size = layout.plan.batch_size
    for start in range(0, len(indices), size):
        out += _walk(engine, layout, config, indices[start : start + size], watch, progress)
    return out


def _guides(
    registry: Registry, settings: RunConfig, model: LoadedDenoiser, ckpt: CheckpointInfo
) -> dict[str, Denoiser]:
    """The guides that the settings name, which are loaded once for all samples."""
    if not settings.guides:
        return {}
    found = found_guides(registry, settings, opened(registry, str(ckpt.path)).source)
    for guide in found.values():
        if guide.source.identity not in model.guides:
            model.guides[guide.source.identity] = guide.load(str(model.device))
    return {name: model.guides[guide.source.identity] for name, guide in found.items()}


def _on_backend(
    registry: Registry, settings: RunConfig, layout: Layout, model: LoadedDenoiser, guides: Mapping[str, Denoiser]
) -> Prepared:
    """Model and guides on the backend that the settings mean, which is set up once for all samples of the same run."""
    requested = repr((unstructure(settings.backend), settings.precision, settings.micro_batch, dict(settings.guides)))
    key = (requested, layout.plan.rows, layout.plan.largest, tuple(layout.plan.networks))
    if key not in model.on_backends:
        report_on(registry, layout)  # once for all samples of the same run
        denoisers, identities = {"": model.denoiser, **guides}, {"": model.sha256}
        for name, guide in guides.items():
            identities[name] = next(known for known, loaded in model.guides.items() if loaded is guide)
        model.on_backends[key] = chosen_backend(registry, layout, denoisers, identities, model.device)
    return model.on_backends[key]


def _walk(
    engine: Engine,
    layout: Layout,
    config: InferenceConfig,
    indices: Sequence[int],
    watch: _Watch | None,
    progress: ProgressCallback | None,
) -> list[GenerationResult]:
    """The samples of one batch, walked together."""
    size, seed = len(indices), config.base_seed
    labels = tuple(layout.labels[index] if index < len(layout.labels) else layout.labels[-1] for index in indices)
    batch = Batch(tuple(range(size)), tuple(indices), labels, (seed,) * size)
    model_classes = engine.denoisers[""].conditions.classes
    started = time.perf_counter()
    camera = _Camera(engine, config, started, watch)
    first, last, images = _filmed(engine, batch, camera, progress)
    seconds = time.perf_counter() - started
    return [
        GenerationResult(
            index=index,
            seed=seed,
            character=model_classes[labels[i]] if layout.conditioned else None,
            label=labels[i],
            x_init=first[i].clone(),
            x_final=last[i].clone(),
            frames=tuple(frames[i] for frames in camera.kept),
            final_image=to_uint8(images[i]),
            total_time=seconds,
            micro_batch=engine.micro_batch,
        )
        for i, index in enumerate(indices)
    ]


def _filmed(
    engine: Engine, batch: Batch, camera: _Camera, progress: ProgressCallback | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Walk a batch before the camera: its first and last states, (B, *shape) on the CPU, and the images of the last.

    A step ends in the state that the next one begins in, so it is reported when that one has been computed.
    """
    states: list[Tensor] = []  # the first and, from the second step on, the last two
    step: StepInfo | None = None
    images = torch.empty(0)
    for event in walk(engine, batch, lambda at: _STATE):
        state = event["x"] if isinstance(event, Frame) else event.x
        states = [*states[:1], *states[-1:], state.to("cpu", copy=True)]
        if step is not None:
            if camera.config.capture.saves(step.index, step.steps):
                camera.take(step, states[-2], states[-1], state)
            if progress is not None:
                progress(step.index + 1, step.steps)
        if isinstance(event, Frame):
            step = event.at
        else:
            images = event.images
    return states[0], states[-1], images


@attrs.define(eq=False)
class _Camera:
    """Takes the frames of a batch and keeps them, and shows them to whoever watches."""

    engine: Engine
    config: InferenceConfig
    started: float
    watch: _Watch | None
    kept: list[list[FrameData]] = attrs.field(factory=list)
    _previous: list[Pixels] | None = None

    def take(self, step: StepInfo, before: Tensor, after: Tensor, on_device: Tensor) -> None:
        """The frame of each sample: states (B, *shape) on the CPU, and `after` once more where the denoiser is."""
        capture, upscale = self.config.capture, self.config.video.upscale
        images: list[Pixels] | None = None
        if capture.keeps_pixels or capture.keeps_deltas or capture.keeps_l2_maps or self.watch is not None:
            images = [to_uint8(image) for image in self.engine.decode(on_device)]
        holds = capture.keeps_latents or capture.keeps_l2_maps or capture.keeps_x_before_after
        alpha = step.alpha_bar / step.alpha_bar_next
        frames = [
            FrameData(
                k=len(self.kept),
                step_index=step.index,
                total_steps=step.steps,
                timestep=step.timestep,
                wall_dt=time.perf_counter() - self.started,
                alpha_t=alpha,
                beta_t=1.0 - alpha,
                alpha_cumprod_t=step.alpha_bar,
                capture=capture,
                upscale=upscale,
                before=before[i] if holds else None,
                after=after[i] if holds else None,
                image=None if images is None else images[i],
                previous=None if self._previous is None else self._previous[i],
            )
            for i in range(len(after))
        ]
        self._previous = images
        self.kept.append(frames)
        if self.watch is not None:
            self.watch(frames)


class _Watch:
    """A frame callback in either of its forms, for one sample or for a batch of them together."""

    def __init__(self, callback: FrameCallback, together: bool) -> None:
        self._callback = callback
        self._together = together
        self._takes_frame = _takes_frame(callback)

    def __call__(self, frames: Sequence[FrameData]) -> None:
        if self._takes_frame:
            self._callback(list(frames) if self._together else frames[0])
            return
        pictures = [picture(frame) for frame in frames]
        at = frames[0]
        self._callback(at.step_index, at.total_steps, pictures if self._together else pictures[0])


def _takes_frame(callback: FrameCallback) -> bool:
    """Whether a callback takes one argument, not three."""
    try:
        signature = inspect.signature(callback)
    except (TypeError, ValueError):  # built in, and silent about its arguments
        return False
    for arguments in ((0, 0, 0), (0,)):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return len(arguments) == 1
    raise ConfigError(f"frame_callback{signature}: must take (step, total_steps, frame_u8), or one FrameData")


def _check_fit(model: LoadedDenoiser, scheduler: BuiltScheduler, config: InferenceConfig, ckpt: CheckpointInfo) -> None:
    """What is set twice must be said alike: model and scheduler belong to the checkpoint, and to the configuration."""
    if model.sha256 != ckpt.sha256:
        raise ConfigError(f"the model was loaded from another checkpoint than {ckpt.path} — load_unet(ckpt_info)")
    if (scheduler.schedule, scheduler.prediction) != (model.denoiser.process, model.denoiser.prediction_type):
        raise ConfigError(
            f"the scheduler was built for {scheduler.prediction} on {scheduler.schedule}, the model of {ckpt.path} "
            f"predicts {model.denoiser.prediction_type} on {model.denoiser.process} — build_scheduler(ckpt_info)"
        )
    if config.checkpoint is not None:
        named, _ = headed(config.checkpoint, config.checkpoint_epoch)
        if named.resolve() != ckpt.path.resolve():
            raise ConfigError(f"the configuration names checkpoint {named}, but ckpt_info is {ckpt.path}")
    name = config.scheduler
    if name is not None and installed().resolve(SchedulerSpec, name).spec.name != scheduler.name:
        raise ConfigError(
            f"InferenceConfig.scheduler = {name!r}, but the scheduler is {scheduler.name!r} — "
            f"build_scheduler(ckpt_info, {name!r})"
        )
    if config.eta is not None and scheduler.settings.get("eta") != config.eta:
        raise ConfigError(
            f"InferenceConfig.eta = {config.eta:g}, but the scheduler {scheduler.name!r} has "
            f"eta = {scheduler.settings.get('eta')} — build_scheduler(ckpt_info, eta={config.eta:g})"
        )
    if config.env.device != "auto":
        requested = torch.device(choose_device(config.env.device))
        if requested.type != model.device.type or requested.index not in (None, model.device.index):
            raise ConfigError(
                f"EnvironmentConfig.device = {config.env.device!r}, but the model is on {model.device} — "
                f"load_unet(ckpt_info, {config.env.device!r})"
            )
