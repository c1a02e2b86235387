"""HDF5 files whose bytes are known to have reached the file.

HDF5 holds writes back, and what the system refuses while it flushes or closes may end as a message that nobody reads.
So that it cannot, HDF5 writes through an object of ours, which never fails, remembers what was refused, and says so
when the file is closed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from emnist_diff_trajectory.files import sync_file, write_at


class Device:
    """A file as h5py's ``fileobj`` driver wants one, empty at first whatever bytes were allocated for it.

    refused: the first error, or None. After it nothing is written any more.
    """

    def __init__(self, path: Path) -> None:
        self.refused: BaseException | None = None
        self._file = open(path, "r+b", buffering=0)  # noqa: SIM115  # until close
        self._size = self._place = 0

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        """Go to a byte, or to the end."""
        self._place = self._size + place if whence == os.SEEK_END else place
        return self._place

    def tell(self) -> int:
        """Which byte is next."""
        return self._place

    def read(self, size: int) -> bytes:
        """The next bytes; zeros where none were written."""
        data = b""
        try:
            self._file.seek(self._place)
            while len(data) < size and (more := self._file.read(size - len(data))):
                data += more
        except BaseException as error:
            self._remember(error)
        self._place += size
        return data.ljust(size, b"\0")

    def write(self, data: bytes) -> int:
        """Write the next bytes."""
        try:
            if self.refused is None:
                write_at(self._file, self._place, data)
        except BaseException as error:  # an interrupt, too, would be lost inside of HDF5
            self._remember(error)
        self._place += len(data)
        self._size = max(self._size, self._place)
        return len(data)

    def truncate(self, size: int) -> None:
        """Say how long the file is; it becomes so when it is finished, because its room was allocated on purpose."""
        self._size = size

    def flush(self) -> None:
        """Nothing is held back here."""

    def check(self) -> None:
        """Raise what was refused."""
        if self.refused is not None:
            raise self.refused

    def finish(self) -> None:
        """Return when the file has its length and is on the disk. Raises what was refused."""
        self.check()
        self._file.truncate(self._size)
        sync_file(self._file)

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._file.close()

    def _remember(self, error: BaseException) -> None:
        if self.refused is None:
            self.refused = error


@contextmanager
def building(path: Path) -> Iterator[tuple[Any, Device]]:
    """A new HDF5 file in place of the bytes of `path`, closed and on the disk when the block ends, and its device,
    which long work should `check` now and then.

    Raises what the system refused, whatever HDF5 made of it.
    """
    device = Device(path)
    try:
        try:
            with h5py.File(device, "w", alignment_threshold=8, alignment_interval=8) as file:
                yield file, device
        except BaseException:
            device.check()
            raise
        device.finish()
    finally:
        device.close()
