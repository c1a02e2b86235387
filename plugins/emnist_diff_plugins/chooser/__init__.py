"""What puts the networks of a run on a backend: the one that its settings name, or the best that can serve."""

from __future__ import annotations

from collections.abc import Iterable

from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import ChooserSpec, Spec
from emnist_diff_plugins.contract import BackendSpec


@hookimpl
def emnist_diff_kinds() -> Iterable[type[Spec]]:
    yield BackendSpec


@hookimpl
def emnist_diff_choosers() -> Iterable[ChooserSpec]:
    yield ChooserSpec(
        name="priority",
        factory=f"{__name__}.priority:Priority",
        summary="the backend of a run's settings, or the best one that can serve",
        default=True,
    )
