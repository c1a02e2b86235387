"""One writer to a file: a lock that ends with its process, however that ends."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from emnist_diff.errors import OutputError
from emnist_diff.events import get_logger
from emnist_diff_trajectory.files import fcntl

log = get_logger()

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class WriterLock:
    """The exclusive right to write the file that has this name now; taken on construction, given back by `release`.

    It is the kind of lock that HDF5 takes, so that foreign writers are kept out as well. On a file system without
    locks, as some network ones are, it warns and locks nothing. On Windows it locks nothing: an open file can be
    neither replaced nor, by HDF5, opened twice for writing there.

    Raises `OutputError` when another writer has the file; `OSError` when the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._handle: int | None = None
        while fcntl is not None and not self._taken(path):
            pass

    def _taken(self, path: Path) -> bool:
        """Lock what is there; False when the name has gone to another file meanwhile."""
        self._handle = os.open(path, os.O_RDWR)  # for writing: network file systems lock nothing else exclusively
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(self._handle), path.stat()):
                return True
        except BlockingIOError:
            self.release()
            raise OutputError(f"{path} is in use by another run or program — wait for it, or stop it") from None
        except OSError as error:
            self.release()
            if error.errno not in _NO_LOCKS:
                raise
            log.warning("file.not_locked", path=str(path), reason=error.strerror, hint="let no other run write it")
            return True
        self.release()
        return False

    def release(self) -> None:
        """Give the lock back; safe to call twice."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)
