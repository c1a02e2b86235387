"""`generate_sample` is the engine of a run, watched: the same bits, and every step told of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import h5py
import numpy as np
import pytest
import torch
from structlog.testing import capture_logs

from emnist_diff import (
    CaptureConfig,
    CheckpointInfo,
    DriftConfig,
    EnvironmentConfig,
    ForceConfig,
    FrameData,
    GenerationResult,
    InferenceConfig,
    LoadedDenoiser,
    VideoConfig,
    build_scheduler,
    generate_sample,
    generate_samples,
    load_checkpoint,
    load_unet,
)
from emnist_diff.config import ComponentConfig
from emnist_diff.errors import ConfigError, RunFailed, UnknownName
from emnist_diff.running.run import run


def recorded(config: InferenceConfig) -> dict[str, np.ndarray]:
    """What a run of the same settings records."""
    result = run(attrs.evolve(config.to_run_config(), sinks=(ComponentConfig("hdf5"),)))
    with h5py.File(result.output / "trajectory.h5") as file:
        return {"x": file["trajectory/x"][:], "images": file["images"][:], "micro_batch": result.micro_batch}


def assert_same(result: GenerationResult, file: dict[str, Any]) -> None:
    """The sample in memory is, bit for bit, the one in the file."""
    x = file["x"][result.index]
    assert result.micro_batch == file["micro_batch"]
    assert np.array_equal(result.x_init.numpy(), x[0])
    assert np.array_equal(np.stack([frame.latent.numpy() for frame in result.frames]), x[1:])
    assert np.array_equal(result.x_final.numpy(), x[-1])
    assert np.array_equal(result.final_image, file["images"][result.index])


def test_an_idle_force_is_reported_once_and_no_class_is_named_that_nobody_reads(
    mixture: CheckpointInfo, mixture_file: Path
):
    force = ForceConfig(force_stack=[{"name": "attract_class", "target": "C", "weight": 0}], base="uncond")
    config = InferenceConfig(character="B", total_videos=3, steps=2, checkpoint_path=mixture_file, force=force)
    model, scheduler = load_unet(mixture), build_scheduler(mixture)
    with capture_logs() as log:
        results = [generate_sample(model, scheduler, config, mixture, index) for index in range(3)]
    assert [(result.character, result.label) for result in results] == [(None, 1)] * 3
    assert [entry["event"] for entry in log].count("force.unused") == 1


def test_the_sample_is_the_one_in_the_file_of_a_run(
    mixture: CheckpointInfo, model: LoadedDenoiser, mixture_file: Path, tmp_path: Path
):
    config = InferenceConfig(
        character="B",
        total_videos=5,
        scheduler="ddpm",
        checkpoint_path=mixture_file,
        force=ForceConfig(force_stack=[{"name": "attract_class", "target": "C", "weight": 0.5}]),
        drift=DriftConfig(enabled=True),
        env=EnvironmentConfig(output_root=tmp_path, batch_size=2),
    )
    file = recorded(config)
    scheduler = build_scheduler(mixture, "ddpm")
    for index in (3, 0):
        result = generate_sample(model, scheduler, config, mixture, index)
        assert (result.index, result.seed, result.character, result.label) == (index, 1000, "B", 1)
        assert_same(result, file)
    together = generate_samples(model, scheduler, config, mixture)
    assert [result.index for result in together] == [0, 1, 2, 3, 4]
    for result in together:
        assert_same(result, file)


def test_the_shipped_checkpoint_gives_the_same_bits(tmp_path: Path):
    ckpt = load_checkpoint()
    config = InferenceConfig(
        total_videos=2,
        steps=3,
        force=ForceConfig(force_stack=[{"name": "repel_class", "target": "B"}]),
        env=EnvironmentConfig(output_root=tmp_path, device="cpu"),
    )
    result = generate_sample(
        model=load_unet(ckpt, device="cpu"), scheduler=build_scheduler(ckpt), config=config, ckpt_info=ckpt, index=1
    )
    assert_same(result, recorded(config))
    assert result.final_image.shape == (28, 28)


def test_a_model_keeps_the_threads_that_it_was_loaded_with():
    ckpt = load_checkpoint()
    scheduler, config = build_scheduler(ckpt), InferenceConfig(total_videos=3, steps=2)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        model = load_unet(ckpt, device="cpu")
        alone = [generate_sample(model, scheduler, config, ckpt, index=index) for index in range(3)]
        torch.set_num_threads(3)
        assert torch.equal(generate_sample(model, scheduler, config, ckpt, index=2).x_final, alone[2].x_final)
        model.on_backends.clear()  # as for a configuration that it has not met
        for together, one in zip(generate_samples(model, scheduler, config, ckpt), alone, strict=True):
            assert torch.equal(together.x_final, one.x_final)
    finally:
        torch.set_num_threads(before)


def make(mixture: CheckpointInfo, model: LoadedDenoiser, callback: Any = None, **settings: Any) -> GenerationResult:
    config = InferenceConfig(**settings)
    return generate_sample(model, build_scheduler(mixture), config, mixture, frame_callback=callback)


def test_micro_batch_alone_may_change_last_bits(mixture: CheckpointInfo, model: LoadedDenoiser):
    one = make(mixture, model)
    two = make(mixture, model, env=EnvironmentConfig(micro_batch=2))
    assert (one.micro_batch, two.micro_batch) == (20, 2)
    assert torch.allclose(one.x_final, two.x_final, atol=1e-5)


def test_workers_share_the_samples(mixture: CheckpointInfo, model: LoadedDenoiser):
    scheduler = build_scheduler(mixture)
    done = []
    for rank in range(3):
        config = InferenceConfig(total_videos=7, env=EnvironmentConfig(slurm_rank=rank, slurm_world=3))
        done += [result.index for result in generate_samples(model, scheduler, config, mixture)]
    assert sorted(done) == list(range(7))


def test_both_kinds_of_frame_callback(mixture: CheckpointInfo, model: LoadedDenoiser):
    told: list[tuple[int, int, np.ndarray]] = []
    seen: list[FrameData] = []
    video = VideoConfig(upscale=2)
    result = make(mixture, model, lambda step, total, frame_u8: told.append((step, total, frame_u8)), video=video)
    again = make(mixture, model, seen.append, video=video)
    assert [(step, total) for step, total, _ in told] == [(i, 6) for i in range(6)]
    for (_, _, frame_u8), frame in zip(told, result.frames, strict=True):
        assert frame_u8.dtype == np.uint8
        assert frame_u8.shape == (12, 12)
        assert np.array_equal(frame_u8, frame.frame_u8)
    assert tuple(seen) == again.frames


def test_a_callback_sees_images_that_are_not_kept(mixture: CheckpointInfo, model: LoadedDenoiser):
    told: list[np.ndarray] = []
    capture = CaptureConfig(save_latents=False, save_pixels=False, save_deltas=False, save_every=4)
    result = make(mixture, model, lambda *told_of: told.append(told_of[2]), capture=capture)
    whole = make(mixture, model)
    assert len(told) == len(result.frames) == 3
    for image, index in zip(told, (0, 4, 5), strict=True):
        assert np.array_equal(image, whole.frames[index].frame_u8)


def test_callbacks_of_a_batch_get_its_frames_together(mixture: CheckpointInfo, model: LoadedDenoiser):
    told: list[tuple[int, int, int]] = []
    progress: list[tuple[int, int]] = []
    config = InferenceConfig(total_videos=3, steps=2, env=EnvironmentConfig(batch_size=2))
    generate_samples(
        model,
        build_scheduler(mixture),
        config,
        mixture,
        frame_callback=lambda step, total, frames: told.append((step, total, len(frames))),
        progress_callback=lambda done, total: progress.append((done, total)),
    )
    assert told == [(0, 2, 2), (1, 2, 2), (0, 2, 1), (1, 2, 1)]
    assert progress == [(1, 2), (2, 2)] * 2


def test_progress_counts_every_step(mixture: CheckpointInfo, model: LoadedDenoiser):
    progress: list[tuple[int, int]] = []
    config = InferenceConfig(capture=CaptureConfig(save_every=5))
    generate_sample(
        model, build_scheduler(mixture), config, mixture, progress_callback=lambda *told: progress.append(told)
    )
    assert progress == [(i, 6) for i in range(1, 7)]


def test_what_a_callback_raises_passes_through(mixture: CheckpointInfo, model: LoadedDenoiser):
    class Enough(Exception):
        pass

    told = []

    def stop(step: int, total: int, frame_u8: np.ndarray) -> None:
        told.append(step)
        if step == 2:
            raise Enough

    with pytest.raises(Enough):
        make(mixture, model, stop)
    assert told == [0, 1, 2]


def test_a_callback_of_another_form_is_refused(mixture: CheckpointInfo, model: LoadedDenoiser):
    with pytest.raises(ConfigError, match=r"frame_callback\(step, frame\): must take"):
        make(mixture, model, lambda step, frame: None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"character": "c"}, "unknown class 'c' — did you mean 'C'"),
        ({"character": "[" * 100_000}, r"unknown class '\[\[\["),
        ({"steps": 1001}, "1001 is more than the 1000"),
        ({"scheduler": "ddpm"}, r"InferenceConfig\.scheduler = 'ddpm', but the scheduler is 'ddim'"),
        ({"eta": 0.5}, r"InferenceConfig\.eta = 0\.5, but the scheduler 'ddim' has eta = 0\.25"),
        ({"env": EnvironmentConfig(device="meta")}, r"device = 'meta', but the model is on cpu"),
        ({"capture": CaptureConfig(save_frames=True)}, r"CaptureConfig\.save_frames asks for files, .*to_run_config"),
        ({"video": VideoConfig(write_video=True)}, r"VideoConfig\.write_video asks for files"),
    ],
)
def test_what_cannot_be_met_is_refused(
    settings: dict[str, Any], message: str, mixture: CheckpointInfo, model: LoadedDenoiser
):
    with pytest.raises(ConfigError, match=message):
        make(mixture, model, **settings)


def test_model_scheduler_and_checkpoint_belong_together(mixture: CheckpointInfo, model: LoadedDenoiser):
    shipped = load_checkpoint()
    config = InferenceConfig()
    with pytest.raises(ConfigError, match="the model was loaded from another checkpoint"):
        generate_sample(model, build_scheduler(mixture), config, shipped)
    with pytest.raises(ConfigError, match="the scheduler was built for v_prediction"):
        generate_sample(model, build_scheduler(shipped), config, mixture)
    with pytest.raises(ConfigError, match="the configuration names checkpoint"):
        make(mixture, model, checkpoint_path=shipped.path)
    with pytest.raises(ConfigError, match="sample index -1"):
        generate_sample(model, build_scheduler(mixture), config, mixture, -1)


def test_a_failing_component_is_named(mixture: CheckpointInfo, model: LoadedDenoiser):
    strong = ForceConfig(force_stack=[{"name": "attract_class", "target": "C", "weight": 1e38, "strength": 1e38}])
    with pytest.raises(RunFailed, match="force 'attract_class' returned non-finite values"):
        make(mixture, model, force=strong)
    with pytest.raises(UnknownName, match="unknown class 'c'"):
        make(mixture, model, force=ForceConfig(force_stack=[{"name": "attract_class", "target": "c"}]))
