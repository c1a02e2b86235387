"""Zip archives as datasets are downloaded: the wanted files of one, unpacked for as long as they are read."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from emnist_diff.errors import DatasetError
from emnist_diff_plugins.datasets import idx

LARGEST = 1 << 31
"""Bytes of a file in an archive: the largest file of EMNIST has about a quarter of that."""


@contextmanager
def unpacked(archives: Sequence[Path], wanted: Callable[[str], bool]) -> Iterator[list[Path]]:
    """The files of zip archives whose names, without folders, are wanted, in a temporary folder that the block removes.

    Raises `DatasetError` naming the archive that is damaged, or a file in it that is too large or does not fit on the
    disk.
    """
    with tempfile.TemporaryDirectory(prefix="emnist-diff-") as folder:
        yield [path for archive in archives for path in _unpack(archive, wanted, Path(folder) / archive.name)]


def names(archive: Path) -> list[str]:
    """The names of the files in a zip archive, without their folders and without what systems leave behind.

    Raises `DatasetError` naming the archive when it is damaged.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            return [PurePosixPath(name).name for name in file.namelist() if _real(name)]
    except Exception as error:  # zipfile reports damage in many ways
        raise _damaged(archive, error) from error


def _real(name: str) -> bool:
    """Whether a name in an archive is of a file, and not of what macOS adds beside it."""
    parts = PurePosixPath(name).parts
    return bool(parts) and not name.endswith("/") and "__MACOSX" not in parts and not parts[-1].startswith(".")


def _unpack(archive: Path, wanted: Callable[[str], bool], folder: Path) -> Iterator[Path]:
    try:
        with zipfile.ZipFile(archive) as file:
            for item in file.infolist():
                name = PurePosixPath(item.filename).name
                if not (_real(item.filename) and wanted(name)):
                    continue
                if item.file_size > LARGEST:
                    raise DatasetError(f"{archive}: {name} claims {item.file_size} bytes, at most {LARGEST} are read")
                if idx.too_dense(item.file_size, item.compress_size):
                    raise DatasetError(
                        f"{archive}: {name} claims to unpack {item.compress_size} bytes to {item.file_size}: no images "
                        "are like that"
                    )
                folder.mkdir(exist_ok=True)
                room = shutil.disk_usage(folder).free
                if item.file_size > room:
                    raise DatasetError(
                        f"{archive}: unpacking {name} needs {item.file_size} bytes, and {tempfile.gettempdir()} has "
                        f"{room} — unpack it elsewhere and name that folder"
                    )
                with file.open(item) as source, (folder / name).open("wb") as target:
                    shutil.copyfileobj(source, target)
                yield folder / name
    except DatasetError:
        raise
    except Exception as error:  # zipfile reports damage in many ways
        raise _damaged(archive, error) from error


def _damaged(archive: Path, error: Exception) -> DatasetError:
    reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    return DatasetError(f"cannot read the archive {archive}: {reason}")
