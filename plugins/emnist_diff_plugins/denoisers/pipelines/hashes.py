"""Hashes of large files, kept on the disk of the user, so that gigabytes are read once and not for every run."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path

from emnist_diff.errors import CheckpointError, OutputError
from emnist_diff_plugins.containers.userfolder import user_cache
from emnist_diff_trajectory import files

_SMALL = 16 << 20
"""Bytes of a file that is hashed faster than it is worth a note."""


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex. A note of an earlier one holds as long as path, size, time of change and inode are
    the same. Raises `CheckpointError` where the file cannot be read."""
    try:
        state = path.stat()
        if state.st_size < _SMALL or (cache := user_cache()) is None:
            return files.sha256(path)
        key = hashlib.sha256(str(path.resolve()).encode()).hexdigest()
        note = cache / "hashes" / f"{key}.json"
        facts = [state.st_size, state.st_mtime_ns, state.st_ino]
        with suppress(OSError, ValueError, TypeError, KeyError):
            known = json.loads(note.read_text(encoding="utf-8"))
            if known["facts"] == facts and len(known["sha256"]) == 64:
                return str(known["sha256"])
        found = files.sha256(path)
        with suppress(OutputError, OSError):
            files.write_bytes(note, json.dumps({"facts": facts, "sha256": found}).encode(), sync=False)
        return found
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
