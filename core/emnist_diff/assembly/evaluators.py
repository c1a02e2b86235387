"""The networks of a run on the backend that was chosen for it."""

from __future__ import annotations

import attrs
import torch

from emnist_diff.assembly.backends import AUTO, Chosen, ShortOfMemory, choose, precision_of, ready
from emnist_diff.assembly.layout import Layout
from emnist_diff.config import RunConfig
from emnist_diff.engine.direct import Direct
from emnist_diff.engine.plan import Plan
from emnist_diff.errors import ConfigError, EmnistDiffError, PluginError
from emnist_diff.evaluators import Evaluator, Workload
from emnist_diff.events import get_logger
from emnist_diff.machine.forks import generation
from emnist_diff.plugins import Registry
from emnist_diff.protocols import Denoiser

log = get_logger()


def on_backend(
    registry: Registry,
    settings: RunConfig,
    laid: Layout,
    denoiser: Denoiser,
    identity: str,
    device: torch.device,
    threads: int,
) -> tuple[Layout, Chosen, Evaluator]:
    """The layout with the rows of a call decided, and the denoiser on the backend that was chosen for it.

    identity: the SHA-256 of the denoiser's checkpoint, or "".  threads: of the CPU.

    A device whose memory does not hold a call is asked again with half as many rows, before anything is made.
    """
    generation()  # from here on, a process that is forked minds what it is left without
    precision = precision_of(settings.precision, device)
    asked = [variant for name, variant in laid.plan.networks if not name]
    most = laid.plan.largest

    def planned(rows: int) -> Plan:
        return laid.plan if settings.micro_batch is not None else laid.plan.cut(min(rows, most))

    def work(rows: int) -> Workload:
        plan = planned(rows)
        return Workload(plan.micro_batch, device, precision, plan.calls, identity, threads)

    while True:
        try:
            chosen, evaluator = choose(registry, settings.backend, precision, denoiser, work, laid.plan.rows, asked)
        except ShortOfMemory as short:
            if settings.micro_batch is not None or short.rows == 1:
                raise ConfigError(
                    f"the memory of {device} does not hold a call of {short.rows} rows — say a smaller --micro-batch"
                ) from short
            most = short.rows // 2
            log.warning("memory.short", device=str(device), rows=short.rows, instead=most)
            torch.cuda.empty_cache()
            continue
        return attrs.evolve(laid, plan=planned(chosen.rows)), chosen, evaluator


def guide_on_backend(
    settings: RunConfig,
    laid: Layout,
    backend: Chosen,
    name: str,
    denoiser: Denoiser,
    identity: str,
    device: torch.device,
) -> Evaluator:
    """A guide on the backend that was chosen for the run's own network.

    Raises `ConfigError` where that backend was asked for by name and refuses, one that was chosen here is left out; and
    where the device's memory is short.
    """
    mine = [network for network in laid.plan.networks if network[0] == name]
    calls, asked = sum(map(laid.plan.calls_of, mine)), [variant for _, variant in mine]
    rows = laid.plan.micro_batch
    work = Workload(rows, device, backend.precision, calls, identity, backend.threads)
    try:
        if not (reason := backend.made.object.refusal(denoiser, work)):
            return ready(backend.made.object, denoiser, work, asked)
    except ShortOfMemory as error:
        raise ConfigError(
            f"the memory of {device} does not hold guide {name!r} beside the network — say a smaller --micro-batch"
        ) from error
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        if settings.backend.name != AUTO:
            if isinstance(error, EmnistDiffError):
                raise
            raise PluginError(f"backend {backend.made.name!r} broke for guide {name!r}: {reason}") from error
    if settings.backend.name != AUTO:
        raise ConfigError(f"backend {backend.made.name!r} cannot serve guide {name!r}: {reason}")
    log.info("backend.refused", backend=backend.made.name, guide=name, reason=reason)
    return Direct.of(denoiser, rows, device, backend.threads)
