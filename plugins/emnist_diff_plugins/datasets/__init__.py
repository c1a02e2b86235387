"""Dataset readers: labelled images, decoded once."""

from __future__ import annotations

from collections.abc import Iterable

from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import Spec
from emnist_diff_plugins.contract import DatasetSpec


@hookimpl
def emnist_diff_kinds() -> Iterable[type[Spec]]:
    yield DatasetSpec


@hookimpl
def emnist_diff_datasets() -> Iterable[DatasetSpec]:
    yield DatasetSpec(name="emnist", factory=f"{__name__}.emnist:Emnist", summary="EMNIST in its official IDX files")
    yield DatasetSpec(name="mnist", factory=f"{__name__}.mnist:Mnist", summary="MNIST in its original IDX files")
    yield DatasetSpec(
        name="folder", factory=f"{__name__}.folder:Folder", summary="a folder of images, one subfolder a class"
    )
