"""How large the files of a run become, known before its first step, and runs that keep less where that is too much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from emnist_diff.assembly.assemble import Assembly, default_sinks
from emnist_diff.assembly.record import activation_requests
from emnist_diff.components import make
from emnist_diff.config import ComponentConfig
from emnist_diff.frames import RunHeader
from emnist_diff.protocols import Sink, offers
from emnist_diff.records import SinkSpec
from emnist_diff_plugins.capabilities import KeepsLess, SaysSize
from emnist_diff_plugins.inside import budget
from emnist_diff_plugins.reviews.inside import described
from emnist_diff_trajectory.attention import AttentionRequest
from emnist_diff_trajectory.schema import Array


def files(sinks: Sequence[Sink], header: RunHeader) -> dict[Path, Sequence[Array]]:
    """What each file of a run will hold whose size its sink knows."""
    return {sink.file(header): sink.arrays(header) for sink in sinks if offers(sink, SaysSize)}


def table(found: Mapping[Path, Sequence[Array]]) -> list[str]:
    """Lines for people: what takes how much in each file."""
    return [line for path, arrays in found.items() for line in (str(path), *budget.table(arrays))]


def within(assembly: Assembly, most: int, fit: bool) -> tuple[Assembly, tuple[str, ...]]:
    """The run with files of at most so many bytes in all, as far as `files` knows them, and what was given up for it.
    fit: whether anything may be.

    Raises `ConfigError` where they are larger.
    """
    held = _all(assembly.sinks, assembly.header)
    if budget.total(held) <= most:
        return assembly, ()
    smaller = [sink for sink in assembly.sinks if offers(sink, KeepsLess)]
    if not fit or not smaller:
        raise budget.too_large(held, most, "fields, samples or steps")
    request = next((sink.request for sink in smaller if sink.request is not None), None)
    choices = budget.choices(assembly.engine.denoisers[""], request, 1)

    def arrays(request: AttentionRequest | None, every: int) -> Sequence[Array]:
        run = _keeping(assembly, request, every)
        return _all(run.sinks, run.header)

    cut, given_up = budget.fit(most, choices, arrays, len(assembly.header.timeline))
    run = _keeping(assembly, cut.request, cut.every)
    return attrs.evolve(run, header=budget.noted(run.header, given_up)), given_up


def _all(sinks: Sequence[Sink], header: RunHeader) -> list[Array]:
    return [array for arrays in files(sinks, header).values() for array in arrays]


def _keeping(assembly: Assembly, request: AttentionRequest | None, every: int) -> Assembly:
    """The run whose sinks keep this attention, and each `every`-th of the steps that they keep."""
    settings, header = assembly.config, assembly.header
    requested = settings.sinks if settings.sinks is not None else default_sinks(assembly.registry)
    configs = [_changed(config, sink, request, every) for config, sink in zip(requested, assembly.sinks, strict=True)]
    sinks = [make(assembly.registry, SinkSpec, config) for config in configs]
    denoiser: Any = assembly.engine.denoisers[""]
    requests = activation_requests(sinks, header.timeline)
    return attrs.evolve(
        assembly,
        config=attrs.evolve(settings, sinks=tuple(configs)),
        sinks=tuple(sink.object for sink in sinks),
        header=attrs.evolve(
            header,
            environment={**header.environment, **described(denoiser, requests)},
            activations=denoiser.activations(requests) if header.activations else {},
        ),
    )


def _changed(config: ComponentConfig, sink: Sink, request: AttentionRequest | None, every: int) -> ComponentConfig:
    """The settings of a sink that keeps less, where it can."""
    if not offers(sink, KeepsLess):
        return config
    changes = sink.kept(request if sink.request is not None else None, every)
    return attrs.evolve(config, settings={**config.settings, **changes})
