"""``emnist-diff run --dashboard``: a run as it happens, on a terminal.

`watch` tells `state` what the run does, `devices` what the machine does; `screen` turns a snapshot of the state into
something that rich can draw, and `dashboard` puts it on the terminal and takes it away again.
"""

from __future__ import annotations

from collections.abc import Iterable

from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import Spec
from emnist_diff_plugins.contract import DisplaySpec


@hookimpl
def emnist_diff_kinds() -> Iterable[type[Spec]]:
    yield DisplaySpec


@hookimpl
def emnist_diff_displays() -> Iterable[DisplaySpec]:
    yield DisplaySpec(
        name="progress",
        factory=f"{__name__}.progress:Progress",
        summary="A bar on the terminal",
        default=True,
    )
    yield DisplaySpec(
        name="dashboard",
        factory=f"{__name__}.progress:DashboardDisplay",
        summary="Show log, devices, progress, finished samples and pictures on the whole terminal",
    )
