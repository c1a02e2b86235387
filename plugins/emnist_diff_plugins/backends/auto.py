"""What ``--backend auto`` means: the installed backend of the highest priority that can serve."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from emnist_diff.errors import EmnistDiffError, PluginError
from emnist_diff.evaluators import Limits, MemoryShort, Prepared, Unsuitable
from emnist_diff.events import get_logger
from emnist_diff.records import BackendSpec

if TYPE_CHECKING:
    from emnist_diff.plugins import Registry

log = get_logger()


@attrs.frozen
class Auto:
    """Takes the best backend that can serve, and never fails because a better one cannot."""

    def choose(self, registry: Registry, limits: Limits, attempt: Callable[..., Prepared]) -> Prepared:
        """`evaluators.Chooser`. Raises `MemoryShort`; where no backend is left, what a denoiser raises when it is
        evaluated, else `PluginError` with each one's reason."""
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
                prepared = attempt(name)
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
