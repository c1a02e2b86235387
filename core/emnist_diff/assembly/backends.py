"""Which backend evaluates a run's networks, and getting it ready."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any, cast, get_args

import attrs
import torch

from emnist_diff.components import Component, make
from emnist_diff.conditions import RowConditions
from emnist_diff.config import ComponentConfig
from emnist_diff.errors import ConfigError, EmnistDiffError, PluginError, UnknownName
from emnist_diff.evaluators import Backend, Evaluator, Precision, Workload
from emnist_diff.events import get_logger
from emnist_diff.plugins import Entry, Registry
from emnist_diff.protocols import Denoiser
from emnist_diff.records import BackendSpec
from emnist_diff.shortage import out_of_memory

log = get_logger()

AUTO = "auto"


@attrs.frozen(eq=False)
class Chosen:
    """The backend of a run.

    made: the component.  precision: what it computes in.  reason: why it was taken, and not a better one.
    hint: what a user can do for a better one, or "".
    rows: of a call at most, before the plan and the memory of the device have their say.
    threads: of the CPU.  libraries: what it needs.
    """

    made: Component
    precision: Precision
    reason: str
    rows: int
    threads: int
    libraries: tuple[str, ...] = ()
    hint: str = ""

    def environment(self) -> dict[str, Any]:
        """JSON-ready: its name and the versions of what it needs."""
        return {"backend": self.made.name, **{name: _version(name) for name in self.libraries}}


class ShortOfMemory(Exception):
    """A device's memory does not hold a network called with so many rows."""

    def __init__(self, rows: int) -> None:
        super().__init__(rows)
        self.rows = rows


def ready(backend: Backend, denoiser: Denoiser, work: Workload, variants: Sequence[str]) -> Evaluator:
    """The denoiser on a backend, with what setting up and first calls raise; `ShortOfMemory` of the device.

    Variants are asked once, since many backends set them up no sooner, and on a device with memory of its own the
    plain network too.
    """
    try:
        evaluator = backend.evaluator(denoiser, work)
        for variant in variants:
            if variant or work.device.type != "cpu":
                x = torch.zeros(work.rows, *denoiser.shape, device=work.device)
                index = torch.zeros(work.rows, dtype=torch.int64, device=work.device)
                with torch.inference_mode():
                    out = evaluator(x, torch.zeros(work.rows, device=work.device), RowConditions(index, variant))
                    out.sum().item()  # waits for the device
    except Exception as error:
        if out_of_memory(error):
            raise ShortOfMemory(work.rows) from error
        raise
    return evaluator


def _version(module: str) -> str | None:
    """The version of the distribution that brings a module."""
    try:
        return metadata.version(module)
    except metadata.PackageNotFoundError:
        return None


def precision_of(asked: str, device: torch.device) -> Precision:
    """What ``auto`` means here: float32 everywhere, for nothing less has been measured to be harmless on a GPU, and
    what less costs on a CPU is a choice for a person (docs/performance.md)."""
    if asked == AUTO:
        return "fp32"
    if asked not in (known := get_args(Precision)):
        raise ConfigError(f"precision {asked!r} is none of {', '.join((AUTO, *known))}")
    return cast(Precision, asked)


def choose(
    registry: Registry,
    asked: ComponentConfig,
    precision: Precision,
    denoiser: Denoiser,
    work: Callable[[int], Workload],
    rows: int,
    variants: Sequence[str] = ("",),
) -> tuple[Chosen, Evaluator]:
    """The backend that a configuration means, and the denoiser on it.

    asked: the backend; ``auto`` takes the best that can serve, and never fails because a better one cannot.
    work: the workload, from the most rows of a call that a backend wants.  rows: network rows of the whole run.
    variants: of the network, that the run asks for.

    Raises the errors of `components.make`; `ConfigError` when the one asked for by name refuses; `ShortOfMemory`; where
    none is left, what a denoiser raises when it is asked.
    """
    least = work(1)
    device = least.device
    if asked.name != AUTO:
        try:
            entry = registry.resolve(BackendSpec, asked.name)
        except UnknownName as error:
            raise UnknownName(f"{error}, or auto") from error
        chosen = _chosen(entry, make(registry, BackendSpec, asked), precision, "asked for", least)
        _require(entry, precision, device)
        try:
            if reason := chosen.made.object.refusal(denoiser, work(chosen.rows)):
                raise ConfigError(f"backend {chosen.made.name!r} cannot serve here: {reason}")
            return chosen, ready(chosen.made.object, denoiser, work(chosen.rows), variants)
        except (EmnistDiffError, ShortOfMemory):
            raise
        except Exception as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise PluginError(f"backend {chosen.made.name!r} broke: {said} — say --backend eager") from error
    if asked.settings:
        raise ConfigError("backend 'auto' has no settings — name the backend that they belong to")
    passed: list[str] = []
    elsewhere: list[str] = []  # why these were not taken is plain, and said only where nothing serves
    hints: list[str] = []
    broken: Exception | None = None
    for entry in sorted(registry.of(BackendSpec), key=lambda e: -_spec(e).priority):
        spec = _spec(entry)
        if device.type not in spec.devices:
            elsewhere.append(f"{spec.name}: not for {device.type}")
            continue
        try:
            if reason := _passed_over(spec, precision, rows):
                passed.append(f"{spec.name}: {reason}")
                hints += [passed[-1]] if reason == missing(spec) else []
                continue
            chosen = _chosen(entry, make(registry, BackendSpec, ComponentConfig(entry.qualified)), precision, "", least)
            if reason := chosen.made.object.refusal(denoiser, work(chosen.rows)):
                passed.append(f"{spec.name}: {reason}")
                continue
            evaluator = ready(chosen.made.object, denoiser, work(chosen.rows), variants)
        except ShortOfMemory:
            raise  # with fewer rows it may serve
        except Exception as error:  # one that breaks, however, is passed over
            broken = error
            log.warning("backend.broken", backend=spec.name, error=" ".join(str(error).split())[:300])
            passed.append(f"{spec.name}: broken")
            continue
        reason = "; ".join(passed) or "the best there is"
        return attrs.evolve(chosen, reason=reason, hint="; ".join(hints)), evaluator
    if isinstance(broken, EmnistDiffError):  # of the last, which asks the denoiser with the least between them
        raise broken
    reasons = "; ".join(passed + elsewhere) or "none is installed"
    raise PluginError(f"no backend can serve here — {reasons}") from broken


def _spec(entry: Entry) -> BackendSpec:
    assert isinstance(entry.spec, BackendSpec)  # the registry was asked for these
    return entry.spec


def _chosen(entry: Entry, made: Component, precision: Precision, reason: str, work: Workload) -> Chosen:
    spec = _spec(entry)
    return Chosen(made, precision, reason, spec.most_rows(work.device.type), work.threads, spec.requires)


def missing(spec: BackendSpec) -> str | None:
    """What has to be installed before a backend can serve, or None."""
    absent = [name for name in spec.requires if importlib.util.find_spec(name) is None]
    if not absent:
        return None
    way = f" — pip install 'emnist-diff[{spec.extra}]'" if spec.extra else ""
    return f"{', '.join(absent)} is not installed{way}"


def _passed_over(spec: BackendSpec, precision: Precision, rows: int) -> str | None:
    if precision not in spec.precisions:
        return f"not in {precision}"
    if rows < spec.min_rows:
        return f"not worth its set-up for {rows} network rows"
    return missing(spec)


def _require(entry: Entry, precision: Precision, device: torch.device) -> None:
    spec = _spec(entry)
    if device.type not in spec.devices:
        raise ConfigError(f"backend {spec.name!r} serves {', '.join(spec.devices)}, not {device.type}")
    if precision not in spec.precisions:
        raise ConfigError(f"backend {spec.name!r} computes in {', '.join(spec.precisions)}, not {precision}")
    if reason := missing(spec):
        raise ConfigError(f"backend {spec.name!r}: {reason}")
