"""Each rule catches a component that breaks it, and says so; components that hold them pass."""

from __future__ import annotations

import gc
import hashlib
import math
import random
import re
import threading
import time
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch

from emnist_diff.conditions import NULL, OWN, named
from emnist_diff.direct import Direct
from emnist_diff.errors import ConfigError, OutputError, RunFailed, UnknownName
from emnist_diff.families import Source
from emnist_diff.frames import is_requested
from emnist_diff.steps import SchedulerResult
from emnist_diff.timeline import FlowSchedule, NoiseSchedule
from emnist_diff_plugins.capabilities import WEIGHTS
from emnist_diff_plugins.denoisers.film import Film
from emnist_diff_plugins.objectives.flow import FlowObjective
from emnist_diff_plugins.schedulers.ddim import Ddim
from emnist_diff_plugins.spaces import ClassSpace
from emnist_diff_testing import (
    RuleBroken,
    RuleWarning,
    check_backend,
    check_codec,
    check_denoiser,
    check_drift,
    check_force,
    check_objective,
    check_preset,
    check_scheduler,
    check_sink,
    examine,
    mixture,
    rules_of,
    subjects,
    tiny_unet,
)
from emnist_diff_testing.rules import kinds, kit

STRENGTH = {"help": "how strongly"}


def strength(default: Any = 0.5, **more: Any) -> Any:
    return attrs.field(default=default, metadata=STRENGTH, **more)


# ------------------------------------------------------------------ settings


@attrs.frozen
class Pull:
    """Guidance toward the own class.

    Example: ``--force "pull:strength=0.25"``
    """

    strength: float = strength()

    def conditions(self, at):
        return (OWN, NULL)

    def __call__(self, predictions, step):
        return self.strength * predictions.direction(OWN)


class NoAttrs(Pull.__mro__[0]):  # a subclass without the decorator is still an attrs class
    """A subclass."""


class Bare:
    """No attrs class."""

    def conditions(self, at):
        return ()

    def __call__(self, predictions, step):
        return torch.zeros_like(step.x)


@attrs.frozen
class Wordless(Pull):
    strength: float = 0.5


@attrs.frozen
class Misleading(Pull):
    """Guidance.

    Example: ``--force pull:strenght=2``
    """


@attrs.frozen
class Shared(Pull):
    """Guidance by a list."""

    weights: list = attrs.field(default=[1.0], metadata=STRENGTH)  # what the rule is about


@attrs.frozen
class Unmarked(Pull):
    """Guidance by a file that nobody marked as one."""

    weights_file: str = attrs.field(default="", metadata={"help": "weights"})


@attrs.frozen
class OneWay(Pull):
    """Guidance whose setting is halved whenever it is read."""

    strength: float = strength(converter=lambda value: float(value) / 2)


@attrs.frozen
class Unsayable(Pull):
    """Guidance with a None where TOML has no word for it."""

    strengths: tuple[float | None, ...] = strength((1.0, None))


@attrs.frozen
class Held(Pull):
    """Guidance that holds a lock."""

    _lock: Any = attrs.field(init=False, factory=threading.Lock)


ANY = {
    "attrs_class": (Bare, "decorate it with @attrs.frozen"),
    "documented": (Wordless, "has no docstring"),
    "example_works": (Misleading(), "did you mean 'strength'"),
    "immutable_defaults": (Shared(), r"weights defaults to the list \[1.0\]"),
    "files_marked": (Unmarked(), r"weights_file: attrs\.field"),
    "json_round_trip": (OneWay(), "strength = 0.125 came back as 0.0625"),
    "toml_round_trip": (Unsayable(), "TOML cannot say it.*NoneType"),
    "picklable": (Held(), "cannot pickle"),
}


# ------------------------------------------------------------------ forces


def force(body, conditions=(OWN, NULL), cls_name="Odd", **more):
    """A force of a function of (self, predictions, step)."""
    asked = conditions if callable(conditions) else lambda self, at: conditions
    space = {"__doc__": "A force.", "conditions": asked, "__call__": body, **more}
    return attrs.define(type(cls_name, (), {**space, "state": None}), slots=False)


def away(predictions):
    return predictions.direction(OWN)


def entropy(like):
    """Noise that nobody can draw again."""
    return torch.from_numpy(np.random.default_rng().normal(size=like.shape)).float()


def counting(self, predictions, step):
    self.state = (self.state or 0) + 1
    return self.state * away(predictions)


def changeable(self, at):
    self.state = not self.state
    return (OWN, NULL) if self.state else (NULL, OWN)


def in_place(self, predictions, step):
    step.x.add_(0.01)
    return away(predictions)


def hoarding(self, predictions, step):
    if self.state is not None:
        self.state.add_(1.0)  # the base of an earlier step, which may be recorded by now
    self.state = step.base
    return away(predictions)


def sleeping(self, predictions, step):
    time.sleep(0.03)
    return away(predictions)


FORCES = {
    "runs": (force(lambda self, p, step: 1 / 0), "ZeroDivisionError"),
    "shape": (force(lambda self, p, step: step.x[:1]), r"\(1, 1, 8, 8\) instead of \(4, 1, 8, 8\)"),
    "dtype": (force(lambda self, p, step: away(p).double()), "torch.float64 instead of torch.float32"),
    "device": (force(lambda self, p, step: away(p).to("meta")), "meta instead of cpu"),
    "finite": (force(lambda self, p, step: away(p) / step.at.alpha_bar**4), "NaN or infinite"),
    "determinism": (
        force(lambda self, p, step: entropy(step.x)),
        "differs in prediction of sample 0 at step 0",
    ),
    "batch_independence": (
        force(lambda self, p, step: away(p) - away(p).mean(0)),
        r"walked as 2 instead of \(0, 1, 2, 3\)",
    ),
    "no_global_random": (force(lambda self, p, step: torch.randn(step.x.shape)), "torch drawn from or seeded"),
    "no_mutation": (force(in_place), "it wrote into step.x"),
    "resumable": (force(counting), "stopped before step 1, the walk differs"),
    "time_budget": (force(sleeping), r"a call takes \d\d ms, \d\d%"),
    "declared_conditions": (
        force(lambda self, p, step: p[named("B")], (OWN,)),
        "it read B, and declared own",
    ),
    "conditions_read": (force(lambda self, p, step: p[OWN]), "declared null and did not read"),
    "pure_conditions": (force(lambda self, p, step: away(p), changeable), "first own, null, then null, own"),
    "ledger": (force(hoarding), "base and contribution do not make the prediction"),
    "idle": (force(lambda self, p, step: away(p), idle=lambda self, at: True), r"idle\(\) said so"),
}


# ------------------------------------------------------------------ drifts


def drift(body, **more):
    """A drift of a function of (self, x, step)."""
    return attrs.define(type("Odd", (), {"__doc__": "A drift.", "__call__": body, "state": None, **more}), slots=False)


def stepping(self, x, step):
    self.state = (self.state or 0) + 1
    return x * (1 + 0.01 * self.state)


def shrinking(self, x, step):
    return x.mul_(0.9)


def napping(self, x, step):
    time.sleep(0.03)
    return x


def nosy(self, x, step):
    if step.at.index + 1 < step.at.steps:
        step.evaluate(x)
        step.evaluate(x)
    return x


DRIFTS = {
    "runs": (drift(lambda self, x, step: x.nothing), "has no attribute 'nothing'"),
    "shape": (drift(lambda self, x, step: x.flatten(1)), r"\(4, 64\) instead of \(4, 1, 8, 8\)"),
    "dtype": (drift(lambda self, x, step: x.double()), "torch.float64 instead of torch.float32"),
    "device": (drift(lambda self, x, step: x.to("meta")), "meta instead of cpu"),
    "finite": (
        drift(lambda self, x, step: x / x.abs().flatten(1).amax(1).view(-1, *(1,) * (x.dim() - 1))),
        "zero everywhere",
    ),
    "determinism": (
        drift(lambda self, x, step: x + entropy(x)),
        "differs in",
    ),
    "batch_independence": (drift(lambda self, x, step: x - x.mean()), r"walked as 2 instead of \(0, 1, 2, 3\)"),
    "no_global_random": (drift(lambda self, x, step: x + 0.1 * random.gauss(0, 1)), "random drawn from or seeded"),
    "no_mutation": (drift(shrinking), "it wrote into x"),
    "resumable": (drift(stepping), "stopped before step 1, the walk differs"),
    "time_budget": (drift(napping), r"a call takes \d\d ms, \d\d%"),
    "ledger": (drift(shrinking), "not half of its way was recorded"),
    "idle": (drift(lambda self, x, step: 0.9 * x, idle=lambda self, at: True), r"idle\(\) said so"),
    "declared_evaluations": (
        drift(nosy, evaluations=lambda self, at: 1),
        "it evaluated 2 times, and evaluations.. returned 1",
    ),
}


# ------------------------------------------------------------------ schedulers


class Twisted:
    """DDIM with something wrong."""

    def __init__(self, inner, twist):
        self.inner, self.twist, self.count = inner, twist, 0

    def plan(self, steps):
        laid = self.inner.plan(min(steps, 1000) if self.twist == "impossible_steps" else steps)
        self.count += 1
        if self.twist == "timeline":
            return attrs.evolve(laid, alpha_bar_next=np.append(laid.alpha_bar_next[:-1], 0.99))
        if self.twist == "pure_plan" and self.count > 1:
            return attrs.evolve(laid, timestep=laid.timestep - 0.5)
        if self.twist == "impossible_steps" and steps > 1000:
            raise IndexError("list index out of range")
        return laid

    def step(self, prediction, step):
        twist, moved = self.twist, self.inner.step(prediction, step)
        if twist == "runs":
            return (moved.x_prev, moved.x0)
        if twist == "shape":
            return SchedulerResult(moved.x_prev, moved.x0[:1])
        if twist == "finite" and step.at.alpha_bar < 0.01:
            return SchedulerResult(moved.x_prev, moved.x0 / 0)
        if twist == "exact_on_a_point":
            return SchedulerResult(moved.x_prev + 0.05 * step.noise(), moved.x0)
        if twist == "converges":
            return SchedulerResult(moved.x_prev * 1.01, moved.x0)
        if twist == "declared_evaluations":
            try:
                step.evaluate(step.x, 0)
            except RunFailed:
                return moved
        if twist == "determinism":
            return SchedulerResult(moved.x_prev + entropy(step.x), moved.x0)
        if twist == "batch_independence":
            return SchedulerResult(moved.x_prev - moved.x_prev.mean(0), moved.x0)
        if twist == "no_global_random":
            torch.manual_seed(0)
        if twist == "no_mutation":
            prediction.mul_(0.5)
        if twist == "memory_rows":
            return SchedulerResult(
                moved.x_prev, moved.x0, {"mean": moved.x0.mean(0)[:1].repeat(3, *(1,) * (moved.x0.dim() - 2))}
            )
        if twist == "resumable":
            self.count += 1
            return SchedulerResult(moved.x_prev * (1 + 0.01 * self.count), moved.x0)
        return moved


@attrs.frozen
class OddScheduler:
    """DDIM, and what is wrong with it."""

    twist: str = attrs.field(default="", metadata={"help": "the rule to break"})

    def bind(self, schedule, prediction):
        if self.twist == "binds":
            raise ConfigError("scheduler 'odd' walks nothing")
        return Twisted(Ddim().bind(schedule, prediction), self.twist)


SCHEDULERS = {
    "binds": "walks nothing",
    "timeline": "ends at alpha_bar 0.99, not at 1",
    "pure_plan": "timestep is another one the second time",
    "impossible_steps": "IndexError: list index out of range",
    "runs": "at step 0: tuple",
    "shape": "x0 is",
    "finite": "x0 has NaN or infinite values",
    "exact_on_a_point": "after 3 steps the image is off by 0",
    "converges": "after 60 steps mean and deviation are",
    "declared_evaluations": "1 evaluations, and inner levels for 0",
    "determinism": "a second walk differs in",
    "batch_independence": r"walked as 2 instead of \(0, 1, 2, 3\)",
    "no_global_random": "torch drawn from or seeded",
    "no_mutation": "it wrote into prediction",
    "memory_rows": r"memory\['mean'\] is \(3,",
    "resumable": "stopped before step 1, the walk differs",
}


# ------------------------------------------------------------------ sinks


@attrs.define
class Notes:
    """Writes a line about each sample: notes/v000.txt."""

    twist: str = attrs.field(default="", metadata={"help": "the rule to break"})
    _header: Any = attrs.field(init=False, default=None)
    _steps: int = attrs.field(init=False, default=0)
    _kept: list = attrs.field(init=False, factory=list)

    def wants(self, at):
        if self.twist == "wants_fields":
            return {"x"}
        return frozenset({"x"}) if at.index % 2 == 0 else frozenset()

    def open(self, header):
        self._header = header
        mine = {f"v{number:03d}.txt" for number in header.sample_ids.tolist()}
        there = {p.name for p in self._folder.glob("v*.txt")} & mine if self._folder.is_dir() else set()
        if there and not (header.resume or header.overwrite) and self.twist not in ("keeps_existing_files", "closes"):
            raise OutputError(f"{self._folder} already has notes — use --resume or --overwrite")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if self.twist == "clear_errors":
                raise
            raise OutputError(f"cannot write {self._folder}: {error.strerror}") from error
        if self.twist == "accounts":
            return frozenset()
        if not header.resume:
            return frozenset()
        ids = header.sample_ids.tolist()
        return frozenset(p for p, number in enumerate(ids) if f"v{number:03d}.txt" in there)

    @property
    def _folder(self):
        return self._header.output / "notes"

    def write(self, frame):
        if self.twist == "runs":
            raise ValueError("no pen")
        if self.twist == "takes_more" and frame.keys() - {"x"}:
            raise ValueError("this is not what was asked for")
        if self.twist == "no_mutation":
            frame["x"].numpy()[...] = 0
        self._steps += 1

    def commit(self, batch):
        if self.twist == "durable":
            self._kept += batch.positions
            return
        for position in batch.positions:
            self._note(position)

    def _note(self, position):
        number = int(self._header.sample_ids[position])
        (self._folder / f"v{number:03d}.txt").write_text(f"{self._steps} {time.perf_counter_ns()}")
        if self.twist == "stays_inside":
            (self._header.output.parent / "log.txt").write_text("hello")
        if self.twist == "workers":
            (self._folder / "last.txt").write_text(f"{number}")

    def close(self, outcome):
        for position in self._kept:
            self._note(position)
        if self.twist == "closes":
            (self._header.output / "end.txt").write_text(outcome.value)


SINKS = {
    "runs": "write: ValueError: no pen",
    "wants_fields": "at step 0 it gave",
    "takes_more": "write: ValueError: this is not what was asked for",
    "no_mutation": r"it wrote into frame.x \(write\)",
    "stays_inside": "it wrote output/log.txt",
    "durable": r"does not know of the committed samples \[0, 1\]|there is no notes/v00",
    "accounts": r"of a finished run it knows \[\], and not \[0, 1, 2\]",
    "keeps_existing_files": "a second run replaced notes/v000.txt unasked",
    "closes": r"close\(COMPLETED\) before open\(\): AttributeError",
    "clear_errors": "a file in the way: open raised NotADirectoryError",
    "workers": "worker 1 changed .*last.txt",
}


# ------------------------------------------------------------------ denoisers


class OddDenoiser:
    """A mixture with something wrong."""

    def __init__(self, twist=""):
        self.inner, self.twist, self.count = mixture((4,), classes="ABC").denoiser, twist, 0
        self.variants = ("upside_down",) if twist in ("", "variants") else ()

    prediction_type = property(lambda self: "noise" if self.twist == "described" else self.inner.prediction_type)
    shape = property(lambda self: self.inner.shape)
    process = property(lambda self: NoiseSchedule(beta_schedule="linear"))
    conditions = property(
        lambda self: ClassSpace("ABC", 1) if self.twist == "condition_space" else self.inner.conditions
    )

    def predict(self, x, t, conds):
        if self.twist == "conditions_matter":
            conds = attrs.evolve(conds, index=torch.full_like(conds.index, 3))
        out = self.inner.predict(x, t, conds)
        self.count += 1
        if self.twist == "shape":
            return out[None]
        if self.twist == "finite" and t[0] == 0:
            return out / 0
        if self.twist == "row_independence":
            return out + 0.01 * out.mean(0)
        if self.twist == "determinism":
            return out + self.count
        if self.twist == "no_global_random":
            np.random.rand()
        if self.twist == "no_mutation":
            x += 1
        if conds.variant and self.twist == "variants":
            return out.roll(1, 0)
        return -out if conds.variant else out

    capturable = ("hidden/a", "hidden/b")

    def activations(self, requests):
        shapes = {"hidden/a": (4,), "hidden/b": () if self.twist != "activations" else (1,)}
        return {name: shape for name, shape in shapes.items() if is_requested(name, requests)}

    def capture(self, x, t, conds, requests):
        self.count += self.twist == "capture_changes_nothing"
        if self.twist == "capture_changes_nothing":
            x += 1
        found = {"hidden/a": 2 * x, "hidden/b": x.sum(1) + (x.mean() if self.twist == "activation_rows" else 0)}
        return {name: found[name] for name in self.activations(requests)}

    def decode(self, x):
        image = x.reshape(len(x), 1, 1, -1)
        return image if self.twist == "decoding" else ((image + 1) / 2).clamp(0, 1)


@attrs.define
class Fickle:
    """A family that loads another network every time."""

    loaded: int = attrs.field(default=0, metadata={"help": "how often"})

    def source(self, registry):
        return Source.of(self.load)

    def load(self, device):
        self.loaded += 1
        return OddDenoiser("determinism" if LOADED.append(1) or len(LOADED) % 2 == 0 else "")


LOADED: list[int] = []


@attrs.define
class Boastful:
    """A family whose source says another shape than the denoiser has."""

    def source(self, registry):
        return attrs.evolve(Source.of(lambda device: OddDenoiser()), shape=(5,))


@attrs.define
class ByName:
    """A family that takes the name of a file for its content."""

    file: str = attrs.field(metadata={"help": "weights", "file": True, WEIGHTS: True})
    content: bool = attrs.field(default=False, metadata={"help": "hash the content"})

    def source(self, registry):
        data = Path(self.file).read_bytes() if self.content else self.file.encode()
        return attrs.evolve(Source.of(lambda device: OddDenoiser()), identity=hashlib.sha256(data).hexdigest())


DENOISERS = {
    "described": "prediction_type is 'noise'",
    "condition_space": "null_index 1 is the index of the class 'B'",
    "shape": r"\(1, 6, 4\) torch.float32 on cpu instead of \(6, 4\)",
    "finite": "at timestep 0: NaN or infinite",
    "row_independence": "among copies of row 2",
    "determinism": "at timestep 999: another one the second time",
    "conditions_matter": "rows that differ in their class alone get one prediction",
    "no_global_random": "numpy.random drawn from or seeded",
    "no_mutation": "it wrote into x",
    "variants": "variant 'upside_down': rows depend on their order",
    "activations": r"'hidden/b' has shape \(6,\) instead of \(6, 1\)",
    "capture_changes_nothing": "it changed x",
    "activation_rows": "among copies of row 2, 'hidden/b' differs",
    "decoding": "values -",
}


class Stubborn(torch.nn.Module):
    """A network with a table that no cast reaches."""

    table = torch.ones(1)

    def forward(self, x, t, index):
        return x * self.table


class Uncast(OddDenoiser):
    """One of such a network."""

    def module(self, variant=""):
        return Stubborn()


@attrs.frozen
class Deaf(Film):
    """A family that takes no checkpoint's word for what it was trained on."""

    def with_weights(self, weights, header, device):
        return super().with_weights(
            weights, attrs.evolve(header, schedule=NoiseSchedule(), prediction="sample"), device
        )


# ------------------------------------------------------------------ codecs


class OddCodecNetwork(torch.nn.Module):
    """Two matrices, and something wrong."""

    def __init__(self, twist, shape):
        super().__init__()
        self.twist, self.shape = twist, shape
        self.inward, self.outward = torch.nn.Linear(math.prod(shape), 3), torch.nn.Linear(3, math.prod(shape))
        self.seen = torch.nn.Parameter(torch.rand(1)) if twist == "same_again" else None
        if twist == "trains":
            self.idle = torch.nn.Linear(2, 2)

    def encode(self, images):
        out = self.inward(images.flatten(1))
        if self.twist == "batch_independence":
            out = out + images.mean()
        if self.twist == "deterministic":
            out = out + torch.randn_like(out)
        return out + torch.rand(1).item() if self.twist == "same_again" else out

    def decode(self, latents):
        flat = self.outward(latents)
        return (flat if self.twist == "reconstruction" else flat.sigmoid()).reshape(-1, *self.shape)

    def forward(self, images, noise):
        return (self.decode(self.encode(images)) - images).square().mean()


@attrs.frozen
class OddCodec:
    """A codec with something wrong."""

    twist: str = attrs.field(default="", metadata={"help": "the rule to break"})
    image_shape: tuple[int, ...] = attrs.field(default=(1, 8, 8), metadata={"help": "(C, H, W)"})

    shape = property(lambda self: (3,))
    statistics = property(lambda self: "median" if self.twist == "described" else "element")

    def fitted(self, image_shape):
        if len(image_shape) != 3 and self.twist != "fits_or_refuses":
            raise ConfigError("no images")
        channels, height, width = image_shape
        return {"image_shape": (channels, height, width)}

    def network(self):
        return OddCodecNetwork(self.twist, self.image_shape)


CODECS = {
    "described": "statistics is 'median'",
    "reconstruction": r"images of far latents reach -",
    "batch_independence": "encode gives other bits in the opposite order|alone",
    "deterministic": "other latents the second time",
    "fits_or_refuses": r"\(4,\): ValueError",
    "trains": "no gradient reaches idle.weight and 1 more",
    "same_again": "the second one encodes otherwise",
}


# ------------------------------------------------------------------ objectives


@attrs.frozen
class OddObjective(FlowObjective):
    """A flow with something wrong."""

    twist: str = attrs.field(default="", metadata={"help": "the rule to break"})

    def process(self, clip):
        return FlowSchedule(self.time_scale, 1.0 if self.twist == "process_matches" else None)

    def timesteps(self, generator, count):
        times = super().timesteps(generator, count)
        return 2 * times if self.twist == "times_in_range" else times

    def rates(self, t):
        signal, noise = super().rates(t)
        return (signal**2, noise) if self.twist == "rates_of_the_process" else (signal, noise)

    def target(self, x0, noise, t):
        return x0 - noise if self.twist == "target_of_the_prediction" else super().target(x0, noise, t)

    def weight(self, t):
        return 1 / (t - t) if self.twist == "weights" else None


OBJECTIVES = {
    "process_matches": r"process\(None\) clips at 1.0: latents have no range",
    "times_in_range": "leave 0 … 1000",
    "rates_of_the_process": "signal is off by 0.2",
    "target_of_the_prediction": "it stands for another x_0, as flow",
    "weights": "weights are inf … inf",
}


# ------------------------------------------------------------------ presets


@attrs.define
class OddPreset:
    """Attraction, and what is wrong with it.

    Example: ``--preset odd``
    """

    twist: str = attrs.field(default="", metadata={"help": "the rule to break"})
    _asked: int = attrs.field(init=False, default=0)

    def expand(self):
        self._asked += 1
        if self.twist == "expands":
            return [("base", "uncond")]
        if self.twist == "pure" and self._asked > 1:
            return {"base": "cond"}
        name = "atract_class" if self.twist == "resolves" else "attract_class"
        data = {"base": "uncond", "forces": [{"name": name, "target": "A"}]}
        if self.twist == "round_trip":
            data["forces"][0]["weight"] = lambda at: 0.5
        return data


PRESETS = {
    "expands": "it gave list",
    "pure": "the second table is another one",
    "resolves": "did you mean 'attract_class'",
    "round_trip": "cannot be loaded by name",
}


# ------------------------------------------------------------------ backends


@attrs.frozen
class OddBackend:
    """The denoiser itself, and what is wrong with it."""

    twist: str = attrs.field(default="", metadata={"help": "the rule to break"})

    def refusal(self, denoiser, work):
        if self.twist == "refuses_with_a_reason":
            return False
        return "no such device here — use eager" if self.twist == "serves" else None

    def evaluator(self, denoiser, work):
        if self.twist == "sets_up":
            raise ConfigError("not on a Sunday")
        plain, unlike = Direct(denoiser, work.rows), float(np.random.default_rng().normal())

        def ask(x, t, conds):
            out = plain(x, t, conds)
            if self.twist == "shape":
                return out.double()
            if self.twist == "faithful":
                return 1.01 * out
            if self.twist == "row_independence":
                return out + 1e-6 * out.mean()
            if self.twist == "determinism":
                return out + 1e-3 * unlike
            if self.twist == "no_mutation":
                x.numpy()[0] = 0
            return out

        return ask


BACKENDS = {
    "refuses_with_a_reason": "on epsilon .*: False",
    "serves": "no such device here — use eager",
    "sets_up": "not on a Sunday",
    "shape": "torch.float64 instead of",
    "faithful": "off by 0.01 of the largest value",
    "row_independence": "one call at a time, rows differ",
    "determinism": "set up again, it says something else",
    "no_mutation": "on epsilon .*: x",
}


# ------------------------------------------------------------------ the tests

BROKEN = {
    "any": ("force", {name: (component, said) for name, (component, said) in ANY.items()}),
    "force": ("force", {name: (cls(), said) for name, (cls, said) in FORCES.items()}),
    "drift": ("drift", {name: (cls(), said) for name, (cls, said) in DRIFTS.items()}),
    "scheduler": ("scheduler", {name: (OddScheduler(name), said) for name, said in SCHEDULERS.items()}),
    "sink": ("sink", {name: (Notes(name), said) for name, said in SINKS.items()}),
    "denoiser": (
        "denoiser",
        {
            **{name: (OddDenoiser(name), said) for name, said in DENOISERS.items()},
            "same_again": (Fickle(), "predicts something else"),
            "castable": (Uncast(), "in bfloat16 it gives torch.float32"),
            "trains_as_a_flow": (Deaf, r"with_weights\(\) gives a NoiseSchedule that predicts 'sample'"),
            "source_agrees": (Boastful(), r"its source says shape \(5,\), and the denoiser has \(4,\)"),
            "source_identity": (ByName(__file__), "a copy of the file that file names has another identity"),
        },
    ),
    "codec": ("codec", {name: (OddCodec(name), said) for name, said in CODECS.items()}),
    "objective": ("objective", {name: (OddObjective(twist=name), said) for name, said in OBJECTIVES.items()}),
    "preset": ("preset", {name: (OddPreset(name), said) for name, said in PRESETS.items()}),
    "backend": ("backend", {name: (OddBackend(name), said) for name, said in BACKENDS.items()}),
}
CASES = [(group, name) for group, (_, cases) in BROKEN.items() for name in cases]


@pytest.mark.parametrize(("group", "name"), CASES, ids=lambda part: part)
def test_a_rule_catches_what_breaks_it(group, name):
    kind, cases = BROKEN[group]
    component, said = cases[name]
    (rule,) = [rule for rule in rules_of(kind) if rule.name == name]
    findings = rule.findings(kit(kind).bench(component))
    assert findings, f"{component!r} passes"
    text = "\n".join(map(str, findings))
    assert re.search(said, text), text
    assert rule.says in text
    assert rule.because in text


@pytest.mark.parametrize("group", BROKEN)
def test_every_rule_has_something_that_it_catches(group):
    assert {rule.name for rule in rules_of(group) if group in rule.kinds} == set(BROKEN[group][1])
    assert group == "any" or group in kinds()


SOUND = {
    "force": (check_force, Pull),
    "drift": (check_drift, drift(lambda self, x, step: x + 0.1 * step.noise())()),
    "scheduler": (check_scheduler, OddScheduler),
    "sink": (check_sink, Notes),
    "denoiser": (check_denoiser, OddDenoiser()),
    "codec": (check_codec, OddCodec),
    "objective": (check_objective, OddObjective),
    "preset": (check_preset, OddPreset),
    "backend": (check_backend, OddBackend),
}


@pytest.mark.parametrize("kind", SOUND)
def test_sound_components_pass(kind):
    check, component = SOUND[kind]
    skip = ("attrs_class", "documented", "picklable", "resumable") if kind == "drift" else ()
    check(component, skip=skip or (("attrs_class",) if kind == "denoiser" else ()))


def test_a_family_that_hashes_its_file_holds_the_rule_of_its_identity():
    (rule,) = [rule for rule in rules_of("denoiser") if rule.name == "source_identity"]
    assert rule.findings(kit("denoiser").bench(ByName(__file__, content=True))) == ()


def test_a_check_raises_with_everything_that_is_wrong_and_warns_of_what_is_dear():
    with pytest.raises(RuleBroken) as caught, pytest.warns(RuleWarning, match="declared null and did not read that"):
        check_force(force(lambda self, p, step: p[OWN] - p[OWN].mean(0))())
    text = str(caught.value)
    assert "force Odd breaks the rule batch_independence: what it returns for a sample depends neither" in text
    assert "why: samples are batched, shared among workers" in text


def test_conditions_that_raise_are_told_once():
    found = examine("force", force(lambda self, p, step: away(p), lambda self, at: 1 / 0)(), skip=["picklable"])
    assert {finding.rule.name for finding in found} == {"runs"}
    assert "on epsilon (1, 8, 8): ZeroDivisionError: division by zero" in str(found[0])


def test_rules_can_be_left_out_by_name():
    shared = force(lambda self, p, step: away(p) - away(p).mean(0))()
    assert {finding.rule.name for finding in examine("force", shared)} >= {"batch_independence"}
    names = {finding.rule.name for finding in examine("force", shared, skip=["batch_independence"])}
    assert "batch_independence" not in names
    with pytest.raises(UnknownName, match="unknown rule of a force 'batch_independense' — did you mean"):
        check_force(Pull(), skip=["batch_independense"])


# ------------------------------------------------------------------ models and examples


def test_a_class_is_made_of_the_first_example_that_works():
    bench = kit("force").bench(Pull)
    assert bench.subject.make().strength == 0.25
    assert kit("force").bench(Misleading).subject.make().strength == 0.5


def test_a_setting_on_its_way_out_is_not_held_against_anybody(recwarn):
    @attrs.frozen
    class Aged(Pull):
        """Guidance."""

        power: float = attrs.field(
            default=1.0, metadata={"help": "does nothing", "deprecated": "since 2, say strength"}
        )

    names = [rule for rule in rules_of("any") if rule.name.endswith("round_trip")]
    assert [rule.findings(kit("force").bench(Aged())) for rule in names] == [(), ()]
    assert not [warning for warning in recwarn if "deprecated" in str(warning.message)]


def test_an_example_may_name_other_components_too():
    @attrs.frozen
    class Beside(Pull):
        """Guidance, beside others.

        Examples: ``emnist-diff run --force other:target=B --force "beside:strength=0.75" --force third:target=C``,
        ``--force beside:strength=0.5 --steps 20``
        """

    assert list(subjects.examples(Beside, "force")) == [{"strength": 0.75}, {"strength": 0.5}]
    assert list(subjects.examples(Beside, "drift")) == []


def test_a_class_that_nothing_can_be_made_of_says_what_it_needs():
    @attrs.frozen
    class Needy(Pull):
        target: str = attrs.field(kw_only=True, metadata={"help": "a class"})

    with pytest.raises(ConfigError, match=r"needs target \(a class\) — give the kit an object, or the docstring"):
        check_force(Needy)


@attrs.frozen
class Blur:
    """Away from the network with its attention blurred."""

    variant: str = attrs.field(default="attention_identity", metadata={"help": "variant"})

    def conditions(self, at):
        return (OWN, attrs.evolve(OWN, variant=self.variant))

    def __call__(self, predictions, step):
        return predictions[OWN] - predictions[attrs.evolve(OWN, variant=self.variant)]


def test_a_force_is_tried_on_the_models_that_have_what_it_asks_for():
    check_force(Blur())
    found = examine("force", Blur(), models=[mixture((3,))])
    assert "it works with none of the models that were tried (epsilon (3,): " in str(found[0])
    assert "give the kit one with models=[…]" in str(found[0])


@attrs.frozen
class Better:
    """Away from a weaker network: autoguidance."""

    weak: str = attrs.field(default="weak", metadata={"help": "the guide"})

    def conditions(self, at):
        return (OWN, attrs.evolve(OWN, denoiser=self.weak))

    def __call__(self, predictions, step):
        return predictions[OWN] - predictions[attrs.evolve(OWN, denoiser=self.weak)]


def test_a_force_that_asks_for_a_second_network_gets_one():
    check_force(Better())
    check_force(Better(), models=[mixture((2, 3), "v_prediction"), tiny_unet(8, 2)])
    bench = kit("force").bench(Better(), models=[mixture((4,))])
    assert float(bench.walks[0].calls[0].returned.abs().max()) > 0


@attrs.frozen
class Energy:
    """Down the gradient of |x0|², through the network."""

    gradient = True

    def conditions(self, at):
        return (OWN,)

    def __call__(self, predictions, step):
        return torch.autograd.grad(predictions[OWN].square().sum(), step.x)[0]


@attrs.frozen
class Momentum:
    """x' = x + 0.1 (x − what x was at the step before)."""

    def __call__(self, x, step):
        before = step.memory.get("x", x)
        step.remember("x", x)
        return x + 0.1 * (x - before)


@attrs.frozen
class Corrector:
    """A step along the prediction where the step ends."""

    def evaluations(self, at):
        return 1

    def __call__(self, x, step):
        return x - 0.01 * step.evaluate(x) if step.at.index + 1 < step.at.steps else x


def test_gradients_memory_and_looks_are_there_for_those_that_use_them():
    check_force(Energy())
    check_drift(Momentum())
    check_drift(Corrector())


def test_a_denoiser_of_ones_own_is_a_model():
    check_force(Pull(), models=[OddDenoiser()])


def test_a_family_that_cannot_be_loaded_says_why():
    @attrs.frozen
    class Heavy:
        """A family."""

        def source(self, registry):
            raise ConfigError("denoiser 'heavy' needs weights — use --checkpoint FILE")

    with pytest.raises(ConfigError, match="needs weights"):
        check_denoiser(Heavy)


def test_a_sink_may_be_given_its_folder_and_leaves_it_empty(tmp_path: Path):
    check_sink(Notes(), folder=tmp_path / "here")
    gc.collect()
    assert list((tmp_path / "here").iterdir()) == []


def test_the_global_generators_are_left_where_they_were():
    before = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist())
    examine("drift", DRIFTS["no_global_random"][0]())
    examine("denoiser", OddDenoiser("no_global_random"), skip=["attrs_class"])
    tiny_unet(8)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (random.getstate(), np.random.get_state()[1].tolist())
