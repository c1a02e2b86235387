"""The networks of a run on the backend that its settings name, or for ``auto`` on the best that can serve."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import attrs
import torch

from emnist_diff.assembly.layout import Layout
from emnist_diff.config import AUTO, ComponentConfig
from emnist_diff.errors import ConfigError, EmnistDiffError, PluginError, UnknownName, blame
from emnist_diff.evaluators import Evaluator, Prepared
from emnist_diff.events import get_logger
from emnist_diff.plugins import Registry
from emnist_diff.protocols import Denoiser
from emnist_diff_plugins.chooser.attempts import attempt, attempt_guide, in_short
from emnist_diff_plugins.chooser.limits import Limits, Unsuitable
from emnist_diff_plugins.contract import BackendSpec, MemoryShort
from emnist_diff_plugins.decoding import decoded

log = get_logger()


@attrs.frozen
class Priority:
    """Takes the backend that a run names. For ``auto`` it takes the installed one of the highest priority that can
    serve, and never fails because a better one cannot."""

    def choose(
        self,
        registry: Registry,
        layout: Layout,
        denoisers: Mapping[str, Denoiser],
        identities: Mapping[str, str],
        device: torch.device,
    ) -> Prepared:
        """`evaluators.Chooser`. Raises as `prepare`; of guides, `ConfigError` where a backend that was requested by
        name refuses one."""
        requested = layout.settings.backend
        prepared = prepare(registry, requested, denoisers[""], Limits.of(layout, "", identities[""], device))
        guides: dict[str, Evaluator] = {}
        for name, guide in denoisers.items():
            if name:
                limits = attrs.evolve(Limits.of(layout, name, identities[name], device), rows=prepared.rows)
                guides[name] = attempt_guide(prepared, name, guide, limits, required=requested.name != AUTO)
        evaluators = {**prepared.evaluators, **guides}
        return attrs.evolve(prepared, evaluators=evaluators, decoder=partial(decoded, denoisers[""]))


def prepare(registry: Registry, requested: ComponentConfig, denoiser: Denoiser, limits: Limits) -> Prepared:
    """The denoiser on the backend requested.

    Raises the errors of `components.make`; `ConfigError` where the backend refuses or memory does not suffice;
    `PluginError` for one that breaks; for ``auto`` as `_best`.
    """
    if requested.name == AUTO:
        if requested.settings:
            raise ConfigError("backend 'auto' has no settings — name the backend that they belong to")
        return _best(registry, denoiser, limits)
    with blame(PluginError, lambda e: f"backend {requested.name!r} broke: {in_short(e)} — use --backend eager"):
        try:
            return attempt(registry, requested, denoiser, limits)
        except UnknownName as error:
            raise UnknownName(f"{error}, or auto") from error


def _best(registry: Registry, denoiser: Denoiser, limits: Limits) -> Prepared:
    """The denoiser on the best backend that can serve. Raises `MemoryShort`; where no backend is left, what a denoiser
    raises when it is evaluated, else `PluginError` with each one's reason."""
    passed: list[str] = []
    elsewhere: list[str] = []  # why these were not taken is plain, and matters only where nothing serves
    hints: list[str] = []
    broken: Exception | None = None
    specs = [(entry.qualified, entry.spec) for entry in registry.of(BackendSpec)]
    for name, spec in sorted(specs, key=lambda pair: -pair[1].priority):
        if limits.device.type not in spec.devices:
            elsewhere.append(f"{spec.name}: not for {limits.device.type}")
            continue
        if reason := _passed_over(spec, limits):
            passed.append(f"{spec.name}: {reason}")
            hints += [passed[-1]] if reason == spec.missing() else []
            continue
        try:
            prepared = attempt(registry, ComponentConfig(name), denoiser, limits)
        except MemoryShort:
            raise  # with a smaller --micro-batch it serves
        except Unsuitable as error:
            passed.append(f"{spec.name}: {error.reason}")
        except Exception as error:  # one that breaks, however, is passed over
            broken = error
            log.warning("backend.broken", backend=spec.name, error=" ".join(str(error).split())[:300])
            passed.append(f"{spec.name}: broken")
        else:
            return attrs.evolve(prepared, reason="; ".join(passed) or "the best there is", hint="; ".join(hints))
    if isinstance(broken, EmnistDiffError):  # of the last, which evaluates the denoiser with the least between them
        raise broken
    reasons = "; ".join(passed + elsewhere) or "none is installed"
    raise PluginError(f"no backend can serve here — {reasons}") from broken


def _passed_over(spec: BackendSpec, limits: Limits) -> str | None:
    """Why a backend is not tried."""
    if limits.precision not in spec.precisions:
        return f"not in {limits.precision}"
    if limits.total < spec.min_rows:
        return f"not worth its set-up for {limits.total} network rows"
    return spec.missing()
