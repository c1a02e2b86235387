"""Finding a dataset's files, and saying which they were."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from emnist_diff.errors import DatasetError
from emnist_diff.paths import local_path
from emnist_diff_trajectory.files import sha256

LEFTOVERS = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "icon\r", "$recycle.bin"})
"""What Windows, macOS and network disks leave in folders, in lower case, beside what is hidden by a dot."""


def directory(data: str | Path) -> Path:
    """`data` as a path. Raises `DatasetError` when it is no directory."""
    folder = Path(local_path(data))
    if folder.is_file():
        raise DatasetError(f"{str(data)!r} is a file, and this reader takes a directory — unpack it if it is packed")
    if not folder.is_dir():
        raise DatasetError(f"{str(data)!r} is no directory — name the one that holds the dataset's files")
    return folder


def listing(data: str, *within: str) -> list[Path]:
    """The files of `data` and of the folders `within` it, in order; hidden ones are left out, and a ``.gz`` that
    stands beside the file it was unpacked to, because some downloaders keep both. Of a file, this file.

    Raises `DatasetError` when `data` is neither a directory that can be read nor a file.
    """
    if Path(data).is_file():
        return [Path(data)]
    top = directory(data)
    files = [p for f in (top, *(top / w for w in within)) if f.is_dir() for p in entries(f) if p.is_file()]
    plain = {p for p in files if p.suffix != ".gz"}
    return [p for p in files if p.suffix != ".gz" or p.with_suffix("") not in plain]


def entries(folder: Path) -> list[Path]:
    """What a folder holds, by name; hidden entries and what systems leave behind are left out.

    Raises `DatasetError` when it cannot be read.
    """
    try:
        found = sorted(folder.iterdir())
        return [p for p in found if not p.name.startswith(".") and p.name.casefold() not in LEFTOVERS]
    except OSError as error:
        raise DatasetError(f"cannot read {folder}: {error.strerror}") from error


def unzipped(path: Path) -> str:
    """The file's name without ``.gz``."""
    return path.name.removesuffix(".gz")


def only(found: list[Path], what: str, data: str) -> Path | None:
    """The one file found, None for none. Raises `DatasetError` naming them all when there are several."""
    if len(found) > 1:
        names = ", ".join(_relative(p, data) for p in found)
        raise DatasetError(f"{data} holds several {what}: {names} — keep one")
    return found[0] if found else None


def _relative(path: Path, data: str) -> str:
    """A path within `data`, or a name where it is elsewhere, as a file unpacked from an archive is."""
    return str(path.relative_to(data)) if path != Path(data) and path.is_relative_to(data) else path.name


def shown(paths: Iterable[Path], data: str) -> str:
    """For messages: a few names of what is there instead."""
    names = [_relative(p, data) for p in paths]
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return f"files there: {', '.join(names[:6])}{more}" if names else "no files are there"


def digests(paths: Iterable[Path]) -> dict[str, str]:
    """File names → SHA-256 in hex; names only, because directories tell whose disk they were on."""
    return {path.name: sha256(path) for path in paths}
