"""`InferenceConfig` and the configurations nested in it: what to make, and what to keep of it.

All are frozen, check themselves on construction, and go to plain data and back (`to_dict`, `from_dict`) without loss.
Importing them costs no torch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from emnist_diff import config as runs
from emnist_diff import seeds
from emnist_diff.brief import briefly
from emnist_diff.config import ComponentConfig, RunConfig
from emnist_diff.errors import ConfigError
from emnist_diff.shown import shown
from emnist_diff.structuring import as_written, structure
from emnist_diff_inference.capture import CaptureConfig, Settings, VideoConfig
from emnist_diff_inference.checks import (
    a,
    anything,
    flag,
    named,
    number,
    one_of,
    path,
    plain,
    positive,
    setting,
    table,
    text,
    whole,
)


def _stack(items: object) -> tuple[ComponentConfig, ...]:
    if isinstance(items, str | Mapping) or not isinstance(items, list | tuple):
        raise ConfigError(f"ForceConfig.force_stack = {shown(items)}: must be a list of forces")
    out = []
    for i, item in enumerate(items):
        what = f"ForceConfig.force_stack[{i}]"
        out.append(structure(plain(runs.component(item, what), what), ComponentConfig, what))
    return tuple(out)


def _guides(data: object) -> dict[str, str]:
    if not isinstance(data, Mapping):
        raise ConfigError(f"ForceConfig.guides = {shown(data)}: must be a table, name → checkpoint file")
    for name, file in data.items():
        if not isinstance(name, str) or not isinstance(file, str | os.PathLike):
            raise ConfigError(f"ForceConfig.guides = {shown(data)}: must be a table, name → checkpoint file")
    return {name: path(file) for name, file in data.items()}


@briefly
@as_written
@attrs.frozen(kw_only=True)
class ForceConfig(Settings):
    """What is added to the prediction (score space).

    preset: a named stack of forces, which stands before `force_stack` and says the base where `base` does not; its
    settings are `preset_args`.
    force_stack: forces in order, each a name, a table with the settings beside the name (``{"name": "attract_class",
    "target": "B", "weight": 2.0}``), or a `ComponentConfig`. A number that may change over the run is a schedule, as
    data (``{"kind": "ramp"}``) or as a function; functions are recorded by name, see `emnist_diff.schedules`.
    global_cfg: settings laid under those of every force of `force_stack` that knows them.
    """

    guidance_scale: float | None = setting(
        None,
        "scale of classifier-free guidance: 0 ignores the class, 1 is the plain conditional model; "
        "the checkpoint's recommendation when None",
        number(),
    )
    base: str | None = setting(None, "what forces are added to: cfg, cond or uncond", one_of("cfg", "cond", "uncond"))
    preset: str | None = setting(None, "a named stack of forces; see emnist-diff presets", named)
    preset_args: Mapping[str, Any] = setting(
        {}, "settings of the preset", anything, converter=table("ForceConfig.preset_args")
    )
    force_stack: tuple[ComponentConfig, ...] = setting((), "forces, in order", anything, converter=_stack)
    global_cfg: Mapping[str, Any] = setting(
        {}, "settings of every force that knows them", anything, converter=table("ForceConfig.global_cfg")
    )
    clip_abs: float | None = setting(None, "largest absolute value of what all forces add together, > 0", positive)
    clip_norm: float | None = setting(
        None, "largest L2 norm, a sample, of what all forces add together, > 0; taken after clip_abs", positive
    )
    guides: Mapping[str, str] = setting(
        {}, "further networks that forces can name: name → checkpoint file", anything, converter=_guides
    )
    enable_cache: bool = setting(True, "has no effect: within a step no prediction is ever computed twice", flag)

    def __attrs_post_init__(self) -> None:
        if self.preset_args and self.preset is None:
            raise ConfigError("ForceConfig.preset_args: needs a preset — use ForceConfig(preset=…) too")


@briefly
@as_written
@attrs.frozen(kw_only=True)
class DriftConfig(Settings):
    """What happens to the state after each step (state space). Nothing unless `enabled`."""

    enabled: bool = setting(False, "whether there is a drift", flag)
    function_name: str = setting("default", "which drift; see emnist-diff plugins list --kind drift", named)
    noise_scale: float = setting(
        0.03, "standard deviation of the noise added a step, ≥ 0", number(0), aliases=("scale",)
    )
    decay: float = setting(0.0, "share of the state taken away a step, 0 … 1", number(0, 1))
    custom_cfg: Mapping[str, Any] = setting(
        {},
        "more settings of the drift; they win over the above",
        anything,
        converter=table("DriftConfig.custom_cfg"),
    )


@briefly
@as_written
@attrs.frozen(kw_only=True)
class EnvironmentConfig(Settings):
    """Where and how the work is done. Nothing here changes a sample but in its last bits, which `micro_batch` and
    `backend` do, and less than float32 in `precision`."""

    device: str = setting("auto", "auto, cpu, cuda, cuda:1, …", named)
    batch_size: int | None = setting(
        None, "samples that generate_samples walks together; changes no result; 16 on a CPU when None", whole(1)
    )
    micro_batch: int | None = setting(
        None, "rows of one network call; as emnist-diff run chooses them for all samples when None", whole(1)
    )
    backend: str = setting("auto", "what evaluates the network: auto, eager, openvino, …", named)
    precision: str = setting("auto", "what it computes in; auto is fp32", one_of("auto", "fp32", "bf16", "fp16"))
    cache_root: str | None = setting(None, "directory of checkpoints, or of one a size_name", named, converter=path)
    output_root: str = setting("", "directory that output_dir is relative to", text, converter=path)
    slurm_rank: int = setting(0, "which worker this is, 0 … slurm_world-1", whole(0))
    slurm_world: int = setting(1, "how many workers share the samples", whole(1))
    variation: str | None = setting(
        None, "kind of checkpoint within a directory", named, later="name the file: InferenceConfig.checkpoint_path"
    )
    log_dir: str = setting(
        "", "directory of log files", text, converter=path, later="logging is the application's: configure structlog"
    )

    def __attrs_post_init__(self) -> None:
        if self.slurm_rank >= self.slurm_world:
            raise ConfigError(
                f"EnvironmentConfig.slurm_rank = {self.slurm_rank}: must be less than slurm_world = {self.slurm_world}"
            )


def _part(kind: type[Settings], help: str) -> Any:
    """A configuration within another, which may be written as a table."""
    return setting(attrs.Factory(kind), help, a(kind), converter=kind.taken)


@briefly
@as_written
@attrs.frozen(kw_only=True)
class InferenceConfig(Settings):
    """What to make. None means what the checkpoint recommends, where it recommends something."""

    character: str | None = setting(None, "the class to generate; A, or the model's first, when None", named)
    total_videos: int = setting(10, "how many samples", whole(1))
    steps: int | None = setting(None, "denoising steps", whole(1), aliases=("num_inference_steps",))
    base_seed: int = setting(
        1000,
        "seed, 0 … 2**63-1, or random: one that is drawn",
        whole(0, 2**63),
        converter=seeds.seed,
        aliases=("seed",),
    )
    scheduler: str | None = setting(None, "what moves the state: ddim, ddpm, …", named)
    eta: float | None = setting(None, "share of DDPM's noise in ddim, 0 … 1", number(0, 1))
    checkpoint_path: str | None = setting(
        None, "checkpoint file, or a directory whose newest epoch is taken", named, converter=path
    )
    checkpoint_epoch: int | None = setting(None, "which epoch of a checkpoint directory", whole(0))
    size_name: str | None = setting(None, "directory of checkpoints within env.cache_root", named)
    split: str | None = setting(None, "split of the training data", named, later="the checkpoint decides the classes")
    experiment_name: str | None = setting(None, "directory of a run within output_dir", named)
    output_dir: str = setting("output", "directory of runs; generate_sample writes nothing", named, converter=path)

    capture: CaptureConfig = _part(CaptureConfig, "what is kept of each step")
    video: VideoConfig = _part(VideoConfig, "how images are shown")
    force: ForceConfig = _part(ForceConfig, "what is added to the prediction")
    drift: DriftConfig = _part(DriftConfig, "what happens to the state")
    env: EnvironmentConfig = _part(EnvironmentConfig, "where and how")

    @property
    def checkpoint(self) -> str | None:
        """The checkpoint file or directory that this names, or None for the shipped one.

        Raises `ConfigError` for settings that contradict each other.
        """
        if self.size_name is not None and (self.env.cache_root is None or self.checkpoint_path is not None):
            raise ConfigError(
                f"InferenceConfig.size_name = {self.size_name!r}: is a directory within EnvironmentConfig.cache_root — "
                "set that, or checkpoint_path alone"
            )
        named = self.checkpoint_path
        if named is None and self.env.cache_root is not None:
            named = str(Path(self.env.cache_root, self.size_name or ""))
        if named is None and self.checkpoint_epoch is not None:
            raise ConfigError(
                f"InferenceConfig.checkpoint_epoch = {self.checkpoint_epoch}: chooses from a directory — "
                "name it in checkpoint_path"
            )
        return named

    @property
    def output(self) -> str:
        """The directory that receives one folder a character from a run."""
        return str(Path(self.env.output_root, self.output_dir, self.experiment_name or ""))

    def to_run_config(self) -> RunConfig:
        """The same work for `emnist_diff.run`, recommendations of the checkpoint filled in. A run keeps
        every step of every sample in trajectory.h5; `capture` and `video` say which files it writes beside that.

        Raises `ConfigError` for what a run cannot do yet, and the errors of `load_checkpoint`.
        """
        from emnist_diff_inference.mapping import to_run_config  # needs torch, by way of the plugins

        return to_run_config(self)


NESTED: dict[str, type[Settings]] = {
    "capture": CaptureConfig,
    "video": VideoConfig,
    "force": ForceConfig,
    "drift": DriftConfig,
    "env": EnvironmentConfig,
}
"""The fields of `InferenceConfig` that are configurations themselves."""
