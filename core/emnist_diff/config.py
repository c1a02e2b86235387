"""The configuration of a run: one attrs class, filled from command line, file, checkpoint and defaults alike."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Literal

import attrs
from attrs import validators as v

from emnist_diff import seeds
from emnist_diff.brief import briefly
from emnist_diff.errors import ConfigError
from emnist_diff.paths import local_path
from emnist_diff.scalars import scalar, scalars
from emnist_diff.schedules import Constant, Schedule, schedule
from emnist_diff.structuring import as_written

AUTO = "auto"
"""Of a backend, precision or device: what the run chooses itself."""

LARGEST_RUN = 1 << 40
"""The most samples of a run, all its workers together."""

MOST_STEPS = 1 << 20
"""The most denoising steps that a configuration may ask for: each is laid out before a run, and more take minutes."""

MOST_THREADS = 256
"""The most CPU threads that a configuration may ask for; where the system has not enough of them, torch crashes."""

_GUIDE = re.compile(r"[A-Za-z][A-Za-z0-9_-]*\Z")


def _setting(default: Any, panel: str, help: str, validator: Any = None, **more: Any) -> Any:
    """A setting of a run, which is also an option of ``emnist-diff run``.

    panel: the heading under which the help page lists it.  Among `more`: ``converter``; ``aliases``, other spellings;
    ``otherwise``, what holds where the setting is left out, for the help page; ``recommended``, whether a checkpoint
    may recommend a value; ``decides``, whether samples depend on it; ``read``, what makes a value of the option's text;
    ``kind``, of the components that hold where it is left out.
    """
    converter = more.pop("converter", scalar)
    metadata = {"help": help, "panel": panel, **more}
    return attrs.field(default=default, converter=converter, validator=validator, metadata=metadata)


def _path(path: Any) -> Any:
    return local_path(path) if isinstance(path, str | os.PathLike) else path


def _files(files: Any) -> Any:
    return {name: local_path(f) for name, f in scalars(files).items()} if isinstance(files, Mapping) else files


@attrs.frozen
class ComponentConfig:
    """A plugin component asked for: its name, its weight, bounds, and its settings.

    weight: a number or a schedule of them; of forces it multiplies the contribution, of drifts the change of the state.
    clip_abs, clip_norm: bounds on a force's weighted contribution, see `emnist_diff.engine.base.Clip`.

    In files a component is a table (``{name = "attract_class", target = "B"}``) or just its name.
    """

    name: str
    weight: Schedule = attrs.field(default=Constant(1.0), converter=schedule)
    settings: Mapping[str, Any] = attrs.field(factory=dict, converter=scalars)
    clip_abs: float | None = attrs.field(default=None, converter=scalar, validator=v.optional(v.gt(0)))
    clip_norm: float | None = attrs.field(default=None, converter=scalar, validator=v.optional(v.gt(0)))


GENERATION, MODEL, FORCES, OUTPUT, SPEED = "Generation", "Model", "Forces and drifts", "Output", "Speed"
WORKERS = "Several workers"
PANELS = (GENERATION, MODEL, FORCES, OUTPUT, SPEED, WORKERS)
"""Headings of the help page of ``emnist-diff run``, in the order in which a newcomer needs them."""

_AT_LEAST_0, _AT_LEAST_1, _POSITIVE = v.optional(v.ge(0)), v.optional(v.ge(1)), v.optional(v.gt(0))
_COUNT = v.optional(v.and_(v.ge(1), v.le(LARGEST_RUN)))


@briefly
@as_written
@attrs.frozen(kw_only=True)
class RunConfig:
    """What a run does. Every field is a key of the configuration file and an option of ``emnist-diff run``, which are
    made of it: the text of the help page stands beside the field."""

    checkpoint: str | None = _setting(
        None, MODEL, "checkpoint file, or a directory whose newest epoch is taken", converter=_path,
        otherwise="the shipped one", decides=False,
    )  # fmt: skip
    epoch: int | None = _setting(None, MODEL, "epoch to take from a checkpoint directory", _AT_LEAST_0, decides=False)
    denoiser: ComponentConfig | None = _setting(
        None, MODEL, 'the denoiser and its settings, e.g. "gaussian-mixture:shape=[2],classes=ABC"'
    )
    guides: Mapping[str, str] = _setting(
        attrs.Factory(dict), MODEL, "a network that forces can name, as NAME=FILE", converter=_files, decides=False
    )
    character: str | tuple[str, ...] | None = _setting(
        None, GENERATION, "the class to generate, several as A,B,k or as a JSON list, or all",
        v.optional(v.min_len(1)), aliases=("class",), otherwise="A, or the model's first",
    )  # fmt: skip
    total_videos: int = _setting(10, GENERATION, "number of all samples, assigned to the classes in turn", _COUNT)
    per_character: int | None = _setting(
        None, GENERATION, "number of samples of each class, in place of the total", _COUNT
    )
    seed: int = _setting(
        1000, GENERATION, "seed of the run, 0 … 2**63-1, or random for one that is drawn",
        v.and_(v.ge(0), v.lt(2**63)), converter=seeds.seed, read=seeds.typed, aliases=("base_seed",),
    )  # fmt: skip
    steps: int = _setting(
        50, GENERATION, "denoising steps", v.and_(v.ge(1), v.le(MOST_STEPS)), aliases=("num_inference_steps",),
        recommended=True,
    )  # fmt: skip
    scheduler: ComponentConfig | None = _setting(
        None, GENERATION, 'what moves the state, e.g. ddpm or "ddim:eta=0.5"', recommended=True, kind="scheduler"
    )
    base: Literal["cfg", "cond", "uncond"] = _setting(
        "cfg", GENERATION, "the prediction to which forces are added: cfg, cond or uncond"
    )
    guidance_scale: float = _setting(
        3.0, GENERATION, "scale of classifier-free guidance: 0 ignores the class, 1 is the plain conditional model",
        recommended=True,
    )  # fmt: skip
    forces: tuple[ComponentConfig, ...] = _setting(
        (), FORCES, 'a force, e.g. "repel_class:target=O,weight=0.5"', aliases=("force_stack",)
    )
    clip_abs: float | None = _setting(
        None, FORCES, "largest absolute value of what all forces add together", _POSITIVE, otherwise="no bound"
    )
    clip_norm: float | None = _setting(
        None, FORCES, "largest L2 norm, a sample, of what all forces add together", _POSITIVE, otherwise="no bound"
    )
    drifts: tuple[ComponentConfig, ...] = _setting((), FORCES, 'a drift, e.g. "default:noise_scale=0.03"')
    output: str = _setting(
        "output", OUTPUT, "directory that receives a folder per character", converter=_path, aliases=("output_dir",),
        decides=False,
    )  # fmt: skip
    sinks: tuple[ComponentConfig, ...] | None = _setting(
        None, OUTPUT, 'a sink, e.g. "hdf5:dtype=float16"', kind="sink", decides=False
    )
    batch_size: int | None = _setting(
        None, SPEED, "samples walked together; changes no result", _AT_LEAST_1, otherwise="16, or 256 on a GPU",
        decides=False,
    )  # fmt: skip
    micro_batch: int | None = _setting(
        None, SPEED, "rows of one network call", _AT_LEAST_1, otherwise="chosen from the plan", decides=False
    )
    backend: ComponentConfig = _setting(
        attrs.Factory(lambda: ComponentConfig(AUTO)), SPEED,
        'what evaluates the network: auto, eager, compile, "openvino:cache=false", …',
    )  # fmt: skip
    precision: Literal["auto", "fp32", "bf16", "fp16"] = _setting(
        "auto", SPEED, "arithmetic of the network: fp32, bf16, fp16 or auto, which is fp32", recommended=True
    )
    device: str = _setting(
        "auto", SPEED, "where the network runs: auto, cpu, cuda, cuda:1, …", v.min_len(1), decides=False
    )
    threads: int | None = _setting(  # in Python, torch's choice where it is left out
        None, SPEED, "CPU threads", v.optional(v.and_(v.ge(1), v.le(MOST_THREADS))),
        otherwise="the cores that it can count on", decides=False,
    )  # fmt: skip
    fsync: bool = _setting(
        True, SPEED, "wait at each commit until the disk has it; without, a power cut may cost committed samples",
        decides=False,
    )  # fmt: skip
    rank: int = _setting(
        0, WORKERS, "which worker this is, 0 … world size - 1; it makes every world-size-th sample, into its own file",
        v.ge(0), otherwise="", decides=False,
    )  # fmt: skip
    world_size: int = _setting(1, WORKERS, "how many workers share the samples", v.ge(1), decides=False)

    def __attrs_post_init__(self) -> None:
        if self.epoch is not None and self.checkpoint is None:
            raise ConfigError(f"epoch {self.epoch}: epoch chooses from a directory — name it with --checkpoint")
        for name in self.guides:
            if not _GUIDE.match(name):
                raise ConfigError(f"guide {name!r}: a guide's name is a letter, and letters, digits, - and _ behind it")
        if self.rank >= self.world_size:
            raise ConfigError(f"rank {self.rank} of {self.world_size} workers: ranks are 0 … {self.world_size - 1}")
