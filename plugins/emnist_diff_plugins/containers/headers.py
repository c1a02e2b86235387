"""The JSON header in a safetensors file: one set of steps from text to attrs class, for checkpoints and states."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import attrs

from emnist_diff.errors import CheckpointError, ConfigError
from emnist_diff.structuring import structure
from emnist_diff_plugins.containers.tensorfile import TensorFile
from emnist_diff_trajectory.plaindata import from_json

T = TypeVar("T")


@attrs.frozen
class HeaderFormat(Generic[T]):
    """A header of one kind.

    key: of the file's metadata that holds it.  version: the newest that is read.  cls: what it becomes.
    name: how messages call its version (``checkpoint format``).  what: how they call the header itself.
    foreign: says what a file without the key is.  remedy: what to do about a damaged one, or "".
    check: raises `ConfigError` for plain data that `cls` would refuse with a worse message.
    """

    key: str
    version: int
    cls: type[T]
    name: str
    what: str
    foreign: Callable[[TensorFile], str]
    remedy: str = ""
    check: Callable[[dict[str, Any]], None] = lambda raw: None

    def read(self, path: Path, file: TensorFile) -> T:
        """The header of a file. Raises `CheckpointError` for one that is foreign, damaged or newer."""
        text = file.metadata.get(self.key)
        if not isinstance(text, str):
            raise CheckpointError(f"{path} is no {self.foreign(file)}")
        try:
            raw = from_json(text, names=True)
        except ValueError as error:
            raise self.damaged(path, f"its {self.what} is no JSON ({error})") from error
        version = raw.get("format_version") if isinstance(raw, dict) else None
        if isinstance(version, int) and version > self.version:
            raise CheckpointError(
                f"{path} has {self.name} {version}, this emnist-diff reads {self.version} — upgrade emnist-diff"
            )
        try:
            if isinstance(raw, dict):
                self.check(raw)
            return structure(raw, self.cls, self.what)
        except ConfigError as error:
            if self.remedy:
                raise self.damaged(path, error) from error
            raise CheckpointError(f"{path}: {error}") from error

    def damaged(self, path: Path, reason: object) -> CheckpointError:
        """The error for a file that does not hold what its header says."""
        return CheckpointError(f"{path} is damaged: {reason}" + (f" — {self.remedy}" if self.remedy else ""))
