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

from collections.abc import Callable, Iterable

import pluggy

from emnist_diff import records

GROUP = "emnist_diff"

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


def _hook(record: type[records.Spec], summary: str) -> Callable[[], Iterable[records.Spec]]:
    """The hook that yields records of one class."""

    def hook() -> Iterable[records.Spec]:
        return ()

    hook.__name__ = hook.__qualname__ = f"{GROUP}_{record.kind}s"
    hook.__doc__ = summary
    return hookspec(hook)


emnist_diff_forces = _hook(records.ForceSpec, "Forces: terms added to the prediction (score space).")
emnist_diff_drifts = _hook(records.DriftSpec, "Drifts: maps of the state after each step (state space).")
emnist_diff_schedulers = _hook(records.SchedulerSpec, "Schedulers: what turns a prediction into the next state.")
emnist_diff_sinks = _hook(records.SinkSpec, "Sinks: what records frames.")
emnist_diff_denoisers = _hook(records.DenoiserSpec, "Families of denoisers.")
emnist_diff_codecs = _hook(records.CodecSpec, "Codecs: what turns images into latents and back.")
emnist_diff_objectives = _hook(records.ObjectiveSpec, "Objectives: what denoisers are trained to predict.")
emnist_diff_recipes = _hook(records.RecipeSpec, "Recipes: named settings of a training.")
emnist_diff_presets = _hook(records.PresetSpec, "Presets: named pieces of configuration.")
emnist_diff_datasets = _hook(records.DatasetSpec, "Dataset readers.")
emnist_diff_commands = _hook(records.CommandSpec, "Subcommands of ``emnist-diff``.")
emnist_diff_plots = _hook(records.PlotSpec, "Pictures; the core draws nothing itself.")
emnist_diff_backends = _hook(records.BackendSpec, "Backends: ways to evaluate networks.")
emnist_diff_readers = _hook(records.ReaderSpec, "Readers of what runs leave in their directories.")
emnist_diff_displays = _hook(records.DisplaySpec, "Displays: what shows a run while it goes on.")
emnist_diff_layers = _hook(records.LayerSpec, "Layers of settings under the user's own.")
emnist_diff_forms = _hook(records.FormSpec, "Forms of configuration files.")
emnist_diff_choosers = _hook(records.ChooserSpec, "Choosers: what takes a backend where none is named.")
emnist_diff_reviews = _hook(records.ReviewSpec, "Reviews: what expands, amends, refuses and records runs to start.")

HOOKS: dict[str, type[records.Spec]] = {
    f"{GROUP}_{record.kind}s": record
    for record in vars(records).values()
    if isinstance(record, type) and issubclass(record, records.Spec) and record is not records.Spec
}
"""Which record each hook yields."""
