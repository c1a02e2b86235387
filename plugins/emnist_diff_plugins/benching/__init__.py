"""What this machine can do: ``emnist-diff bench``."""

from __future__ import annotations

from collections.abc import Iterable

from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import Spec
from emnist_diff_plugins.contract import LayerSpec


@hookimpl
def emnist_diff_kinds() -> Iterable[type[Spec]]:
    yield LayerSpec


@hookimpl
def emnist_diff_layers() -> Iterable[LayerSpec]:
    yield LayerSpec(
        name="user-config",
        factory=f"{__name__}.userconfig:UserConfig",
        summary="Read what emnist-diff bench --write left for this machine",
    )
