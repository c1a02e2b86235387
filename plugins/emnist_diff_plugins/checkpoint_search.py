"""Looks for a checkpoint by its SHA-256, so that a recorded file whose model is near need not be given its path."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import attrs

from emnist_diff.assembly.sources import opened
from emnist_diff.errors import CheckpointError, EmnistDiffError
from emnist_diff.events import get_logger
from emnist_diff.paths import local_path
from emnist_diff.plugins import Registry
from emnist_diff.structuring import unstructure
from emnist_diff_plugins.benching import userconfig
from emnist_diff_plugins.containers import checkpoint, shipped
from emnist_diff_trajectory import files

log = get_logger()

VARIABLE = "EMNIST_DIFF_CHECKPOINTS"
"""The environment variable that names folders of checkpoints, separated as those of ``PATH`` are."""

_PARENTS = 4
"""Folders above that of the recorded file."""
_MOST_ENTRIES = 1000
"""Entries of one folder that are examined."""


@attrs.frozen
class Wanted:
    """A checkpoint that a file was made with.

    sha256: what a `families.Source` calls its identity.  facts: what the file's environment says of it, its name as
    ``file`` among others.
    """

    sha256: str
    facts: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name of its file, or "" where none is recorded that a file can have."""
        name = self.facts.get("file")
        return name if isinstance(name, str) and name == Path(name).name and "\0" not in name else ""

    def is_at(self, registry: Registry, path: Path) -> bool:
        """Whether it is the file or folder at this path, which some family opens."""
        with suppress(EmnistDiffError, OSError):
            return opened(registry, str(path)).source.identity == self.sha256
        return False

    def has_content(self, path: Path) -> bool:
        """Whether it is the checkpoint file at this path, of whatever name. The header is compared first, which costs
        nothing beside the hash."""
        with suppress(EmnistDiffError, OSError):
            header = checkpoint.read_header(path)
            own = {"epoch": header.epoch, "schedule": unstructure(header.schedule)}
            same = all(self.facts.get(key, value) == value for key, value in own.items())
            return same and files.sha256(path) == self.sha256
        return False


def find(registry: Registry, wanted: Wanted, beside: Path) -> Path | None:
    """The checkpoint with this hash that is nearest to the file at `beside`, or None.

    Each folder is searched for its recorded name, in the folder and in those directly in it; then for a checkpoint of
    another name. Folders: that of the file and its parents, the working directory, those that the user configures, and
    that of the shipped checkpoints.
    """
    folders = _folders(beside)
    for folder in folders if wanted.name else ():
        for path in _named(folder, wanted.name):
            if wanted.is_at(registry, path):
                return _noted(path, beside)
    for folder in folders:
        for path in _entries(folder):
            if path.suffix == ".safetensors" and wanted.has_content(path):
                return _noted(path, beside)
    return None


def missing(wanted: Wanted, beside: Path, what: str, option: str) -> CheckpointError:
    """The error for a checkpoint that was not found.

    what: what it was for the recorded file, e.g. ``the checkpoint``.  option: of the command that names it.
    """
    nearest, *above = _above(beside)
    others = [Path.cwd(), *_configured()]
    places = [f"in {nearest}", *([f"in the folders above it up to {above[-1]}"] if above else [])]
    places += [f"in {folder}" for folder in others if folder not in (nearest, *above)]
    called = f" {wanted.name!r:.80}" if wanted.name else ""
    return CheckpointError(
        f"{beside} was made with {what}{called} of sha256 {wanted.sha256:.12}…, which is "
        f"not {', nor '.join(places)} — use {option}, or name its folder in ${VARIABLE}"
    )


def _above(file: Path) -> list[Path]:
    """The folder of a file and those above it, but for the root, whose folders are anybody's."""
    folders = Path(os.path.abspath(file)).parents
    return [folder for folder in folders[: 1 + _PARENTS] if folder.parent != folder] or [folders[0]]


def _configured() -> list[Path]:
    """The folders that the environment and the user's file of this machine name."""
    named = [part for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    return [Path(local_path(folder)).absolute() for folder in (*named, *userconfig.checkpoint_folders())]


def _folders(beside: Path) -> list[Path]:
    """All that are searched, nearest first; of those that are configured their own folders too."""
    configured = [each for folder in _configured() for each in (folder, *filter(Path.is_dir, _entries(folder)))]
    return list(dict.fromkeys([*_above(beside), Path.cwd(), *configured, shipped.FOLDER]))


def _entries(folder: Path) -> list[Path]:
    """What a folder holds, in the order of the names; of a large one some, of one that cannot be read nothing."""
    with suppress(OSError):
        return sorted(islice(folder.iterdir(), _MOST_ENTRIES))
    return []


def _named(folder: Path, name: str) -> Iterator[Path]:
    """The paths of this name that exist, in a folder and in those directly in it."""
    for path in (folder / name, *(entry / name for entry in _entries(folder))):
        with suppress(OSError):
            if path.exists():
                yield path


@cache
def _noted(path: Path, beside: Path) -> Path:
    """The path, which the log names once."""
    log.info("checkpoint.found", file=str(path), of=str(beside))
    return path
