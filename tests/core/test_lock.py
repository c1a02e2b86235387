"""One writer to a file."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys

import pytest
import structlog

from emnist_diff.errors import OutputError
from emnist_diff_trajectory import lock as locking
from emnist_diff_trajectory.lock import WriterLock

pytestmark = pytest.mark.skipif(locking.fcntl is None, reason="Windows has no such locks")

HOLD = """
import sys, time
from pathlib import Path
from emnist_diff_trajectory.lock import WriterLock
lock = WriterLock(Path(sys.argv[1]))
print(flush=True)
time.sleep(60)
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "t.h5"
    path.touch()
    return path


def test_a_lock_keeps_others_out_until_it_is_released(path):
    first = WriterLock(path)
    with pytest.raises(OutputError, match=r"t\.h5 is in use by another run or program — wait for it, or stop it"):
        WriterLock(path)
    first.release()
    first.release()
    WriterLock(path).release()


def test_a_lock_dies_with_its_process_however_it_ends(path):
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(OutputError, match="in use"):
            WriterLock(path)
        other.send_signal(signal.SIGKILL)
    WriterLock(path).release()


def test_the_lock_is_on_the_file_that_has_the_name(path, monkeypatch):
    """Between opening and locking, another run may put a new file in this one's place."""
    flock = locking.fcntl.flock

    def replace_first(handle, how):
        monkeypatch.setattr(locking.fcntl, "flock", flock)
        (path.parent / "new").touch()
        os.replace(path.parent / "new", path)
        flock(handle, how)

    monkeypatch.setattr(locking.fcntl, "flock", replace_first)
    lock = WriterLock(path)
    with pytest.raises(OutputError, match="in use"):
        WriterLock(path)
    lock.release()


def test_a_file_system_without_locks_is_worked_on_with_a_warning(path, monkeypatch):
    def refuse(handle, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locking.fcntl, "flock", refuse)
    with structlog.testing.capture_logs() as logs:
        WriterLock(path).release()
    assert [(log["event"], log["path"], log["log_level"]) for log in logs] == [
        ("file.not_locked", str(path), "warning")
    ]


def test_what_cannot_be_opened_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        WriterLock(tmp_path / "nothing.h5")
