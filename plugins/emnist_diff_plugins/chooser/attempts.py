"""A network set up on one backend, with as many rows in a call as memory holds."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from emnist_diff.components import Component, make
from emnist_diff.conditions import RowConditions
from emnist_diff.config import ComponentConfig
from emnist_diff.direct import Direct
from emnist_diff.errors import ConfigError, EmnistDiffError, PluginError
from emnist_diff.evaluators import Evaluator, Prepared
from emnist_diff.events import get_logger
from emnist_diff.plugins import Registry
from emnist_diff.protocols import Denoiser, offers
from emnist_diff.shortage import out_of_memory
from emnist_diff_plugins.capabilities import BoundsCalls
from emnist_diff_plugins.chooser.limits import Limits, Unsuitable
from emnist_diff_plugins.contract import BackendSpec, MemoryShort, Workload

log = get_logger()


def attempt(registry: Registry, requested: ComponentConfig, denoiser: Denoiser, limits: Limits) -> Prepared:
    """The denoiser on one backend, with half as many rows as long as the device's memory does not hold a call.

    Raises the errors of `components.make`, `Unsuitable` where the backend refuses, `MemoryShort` where memory does not
    hold even one row, and whatever else the backend raises.
    """
    backend, spec = make(registry, BackendSpec, requested), registry.resolve(BackendSpec, requested.name).spec
    if reason := spec.refusal(limits.device.type, limits.precision):
        raise Unsuitable(f"backend {spec.name!r} {reason}", reason)
    if reason := spec.missing():
        raise Unsuitable(f"backend {spec.name!r}: {reason}", reason)
    own = denoiser.most_rows(limits.device.type) if offers(denoiser, BoundsCalls) else None
    most = min(limits.largest, own or limits.largest)
    while True:
        work = limits.work(min(spec.most_rows(limits.device.type), most))
        try:
            evaluator = _set_up(backend, denoiser, work, limits.variants)
            return Prepared({"": evaluator}, work.rows, limits.precision, backend, spec.requires)
        except Exception as error:
            if not out_of_memory(error) or isinstance(error, MemoryShort):
                raise
            if limits.rows is not None or work.rows == 1:
                message = f"the memory of {limits.device} does not hold a call of {work.rows} rows"
                detail = str(error) if isinstance(error, EmnistDiffError) else ""
                raise MemoryShort(detail or f"{message} — use a smaller --micro-batch") from error
        most = work.rows // 2
        log.warning("memory.short", device=str(limits.device), rows=work.rows, instead=most)
        torch.cuda.empty_cache()


def attempt_guide(prepared: Prepared, name: str, guide: Denoiser, limits: Limits, required: bool) -> Evaluator:
    """A guide on the backend of the run's own network, in calls of as many rows.

    required: whether that backend was requested by name and so must serve; else a guide that it refuses is evaluated
    directly. Raises `ConfigError` for a guide that it must serve and refuses, and where the device's memory is short.
    """
    work, backend = limits.work(prepared.rows), prepared.component
    try:
        return _set_up(backend, guide, work, limits.variants)
    except Exception as error:
        reason = error.reason if isinstance(error, Unsuitable) else in_short(error)
        if out_of_memory(error):
            message = f"the memory of {work.device} does not hold guide {name!r} beside the network"
            raise ConfigError(f"{message} — use a smaller --micro-batch") from error
        if required and isinstance(error, Unsuitable):
            raise ConfigError(f"backend {backend.name!r} cannot serve guide {name!r}: {reason}") from error
        if required and isinstance(error, EmnistDiffError):
            raise
        if required:
            raise PluginError(f"backend {backend.name!r} broke for guide {name!r}: {reason}") from error
    log.info("backend.refused", backend=backend.name, guide=name, reason=reason)
    return Direct.of(guide, work.rows, work.device, work.threads)


def _set_up(backend: Component, denoiser: Denoiser, work: Workload, variants: Sequence[str]) -> Evaluator:
    """The denoiser on a backend, with what its set-up and first calls raise; `Unsuitable` where it refuses.

    Variants are evaluated once, since many backends set them up no sooner, and on a device with memory of its own the
    plain network too.
    """
    if reason := backend.object.refusal(denoiser, work):
        raise Unsuitable(f"backend {backend.name!r} cannot serve here: {reason}", reason)
    evaluator: Evaluator = backend.object.evaluator(denoiser, work)
    for variant in variants:
        if variant or work.device.type != "cpu":
            x = torch.zeros(work.rows, *denoiser.shape, device=work.device)
            index = torch.zeros(work.rows, dtype=torch.int64, device=work.device)
            with torch.inference_mode():
                # a sum waits for the device
                evaluator(x, torch.zeros(work.rows, device=work.device), RowConditions(index, variant)).sum().item()
    return evaluator


def in_short(error: Exception) -> str:
    """What was raised, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
