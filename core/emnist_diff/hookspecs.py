"""The whole plugin contract. A plugin is a module named by an entry point of the group ``emnist_diff``
that implements any of these hooks; each returns an iterable of records and must import no torch.

A complete plugin::

    from emnist_diff.hookspecs import hookimpl
    from emnist_diff.records import ForceSpec

    @hookimpl
    def emnist_diff_forces():
        yield ForceSpec(name="mine", factory="my_package.force:Mine", summary="pulls toward mine")

with, in ``pyproject.toml``::

    [project.entry-points.emnist_diff]
    my-package = "my_package.plugin"
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pluggy

from emnist_diff import records

GROUP = "emnist_diff"

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def emnist_diff_forces() -> Iterable[records.ForceSpec]:  # type: ignore[empty-body]  # a spec has no body
    """Forces: terms added to the prediction (score space)."""


@hookspec
def emnist_diff_drifts() -> Iterable[records.DriftSpec]:  # type: ignore[empty-body]  # a spec has no body
    """Drifts: maps of the state after each step (state space)."""


@hookspec
def emnist_diff_schedulers() -> Iterable[records.SchedulerSpec]:  # type: ignore[empty-body]  # a spec has no body
    """Schedulers: what turns a prediction into the next state."""


@hookspec
def emnist_diff_sinks() -> Iterable[records.SinkSpec]:  # type: ignore[empty-body]  # a spec has no body
    """Sinks: what records frames."""


@hookspec
def emnist_diff_denoisers() -> Iterable[records.DenoiserSpec]:  # type: ignore[empty-body]  # a spec has no body
    """Families of denoisers."""


@hookspec
def emnist_diff_codecs() -> Iterable[records.CodecSpec]:  # type: ignore[empty-body]  # a spec has no body
    """Codecs: what turns images into latents and back."""


@hookspec
def emnist_diff_objectives() -> Iterable[records.ObjectiveSpec]:  # type: ignore[empty-body]  # a spec has no body
    """Objectives: what denoisers are trained to predict."""


@hookspec
def emnist_diff_presets() -> Iterable[records.PresetSpec]:  # type: ignore[empty-body]  # a spec has no body
    """Presets: named pieces of configuration."""


@hookspec
def emnist_diff_datasets() -> Iterable[records.DatasetSpec]:  # type: ignore[empty-body]  # a spec has no body
    """Dataset readers."""


@hookspec
def emnist_diff_commands() -> Iterable[records.CommandSpec]:  # type: ignore[empty-body]  # a spec has no body
    """Subcommands of ``emnist-diff``."""


@hookspec
def emnist_diff_plots() -> Iterable[records.PlotSpec]:  # type: ignore[empty-body]  # a spec has no body
    """Pictures; the core draws nothing itself."""


@hookspec
def emnist_diff_backends() -> Iterable[records.BackendSpec]:  # type: ignore[empty-body]  # a spec has no body
    """Backends: ways to evaluate networks."""


@hookspec
def emnist_diff_readers() -> Iterable[records.ReaderSpec]:  # type: ignore[empty-body]  # a spec has no body
    """Readers of what runs leave in their directories; the core knows no file format."""


@hookspec
def emnist_diff_displays() -> Iterable[records.DisplaySpec]:  # type: ignore[empty-body]  # a spec has no body
    """Displays: what shows a run while it goes on."""


@hookspec
def emnist_diff_layers() -> Iterable[records.LayerSpec]:  # type: ignore[empty-body]  # a spec has no body
    """Layers of settings under the user's own."""


@hookspec
def emnist_diff_forms() -> Iterable[records.FormSpec]:  # type: ignore[empty-body]  # a spec has no body
    """Forms of configuration files."""


HOOKS: dict[str, Any] = {
    "emnist_diff_forces": records.ForceSpec,
    "emnist_diff_drifts": records.DriftSpec,
    "emnist_diff_schedulers": records.SchedulerSpec,
    "emnist_diff_sinks": records.SinkSpec,
    "emnist_diff_denoisers": records.DenoiserSpec,
    "emnist_diff_codecs": records.CodecSpec,
    "emnist_diff_objectives": records.ObjectiveSpec,
    "emnist_diff_presets": records.PresetSpec,
    "emnist_diff_datasets": records.DatasetSpec,
    "emnist_diff_commands": records.CommandSpec,
    "emnist_diff_plots": records.PlotSpec,
    "emnist_diff_backends": records.BackendSpec,
    "emnist_diff_readers": records.ReaderSpec,
    "emnist_diff_displays": records.DisplaySpec,
    "emnist_diff_layers": records.LayerSpec,
    "emnist_diff_forms": records.FormSpec,
}
"""Which record each hook yields."""
