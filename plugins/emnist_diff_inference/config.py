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

from emnist_diff import seeds
from emnist_diff.brief import briefly
from emnist_diff.config import AUTO, ComponentConfig, RunConfig
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
    path,
    plain,
    setting,
    table,
    text,
)
from emnist_diff_inference.derived import of_run
from emnist_diff_plugins import runconfig


def _stack(items: object) -> tuple[ComponentConfig, ...]:
    if isinstance(items, str | Mapping) or not isinstance(items, list | tuple):
        raise ConfigError(f"ForceConfig.force_stack = {shown(items)}: must be a list of forces")
    out = []
    for i, item in enumerate(items):
        what = f"ForceConfig.force_stack[{i}]"
        out.append(structure(plain(runconfig.component(item, what), what), ComponentConfig, what))
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

    guidance_scale: float | None = of_run("guidance_scale", None)
    base: str | None = of_run("base", None)
    preset: str | None = setting(None, "a named stack of forces; see emnist-diff presets", named)
    preset_args: Mapping[str, Any] = setting(
        {}, "settings of the preset", anything, converter=table("ForceConfig.preset_args")
    )
    force_stack: tuple[ComponentConfig, ...] = setting((), "forces, in order", anything, converter=_stack)
    global_cfg: Mapping[str, Any] = setting(
        {}, "settings of every force that knows them", anything, converter=table("ForceConfig.global_cfg")
    )
    clip_abs: float | None = of_run("clip_abs", None)
    clip_norm: float | None = of_run("clip_norm", None, note="taken after clip_abs")
    guides: Mapping[str, str] = of_run("guides", note="a table, name → checkpoint file", converter=_guides)
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

    device: str = of_run("device")
    batch_size: int | None = of_run("batch_size", None)
    micro_batch: int | None = of_run("micro_batch", None)
    backend: str = of_run("backend", AUTO, check=named)
    precision: str = of_run("precision")
    cache_root: str | None = setting(None, "directory of checkpoints, or of one a size_name", named, converter=path)
    output_root: str = setting("", "directory that output_dir is relative to", text, converter=path)
    slurm_rank: int = of_run("rank")
    slurm_world: int = of_run("world_size")
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

    character: str | None = of_run("character", None)
    total_videos: int = of_run("total_videos")
    steps: int | None = of_run("steps", None)
    base_seed: int = of_run("seed", converter=seeds.seed, aliases=("seed",))
    scheduler: str | None = of_run("scheduler", None, check=named)
    eta: float | None = setting(None, "share of DDPM's noise in ddim, 0 … 1", number(0, 1))
    checkpoint_path: str | None = of_run("checkpoint", None, converter=path)
    checkpoint_epoch: int | None = of_run("epoch", None)
    size_name: str | None = setting(None, "directory of checkpoints within env.cache_root", named)
    split: str | None = setting(None, "split of the training data", named, later="the checkpoint decides the classes")
    experiment_name: str | None = setting(None, "directory of a run within output_dir", named)
    output_dir: str = of_run("output", note="generate_sample writes nothing", converter=path, aliases=())

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
