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

There is a hook for each kind of component, named after the kind: ``emnist_diff_forces`` yields records of class
`records.ForceSpec`. A plugin adds kinds with the hook ``emnist_diff_kinds``, which yields their record classes, derived
from `records.Spec`; any plugin may then register components of the kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import ModuleType

import pluggy

from emnist_diff import records

GROUP = "emnist_diff"
KINDS_HOOK = f"{GROUP}_kinds"
"""The hook that yields record classes of further kinds."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


def hook_of(record: type[records.Spec]) -> str:
    """The name of the hook that yields records of a class."""
    return f"{GROUP}_{record.kind}s"


def specifications(names: Iterable[str]) -> ModuleType:
    """What pluggy checks implementations of hooks by: functions of these names, none of which takes an argument."""
    module = ModuleType(f"{__name__}.specifications")
    vars(module).update({name: hookspec(lambda: ()) for name in names})
    return module


HOOKS: Mapping[str, type[records.Spec]] = {
    hook_of(record): record
    for record in vars(records).values()
    if isinstance(record, type) and issubclass(record, records.Spec) and record is not records.Spec
}
"""Which record each hook of the core's own kinds yields."""
