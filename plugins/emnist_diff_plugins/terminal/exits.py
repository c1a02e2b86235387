"""How errors end a command: one line and their documented exit code."""

from __future__ import annotations

import io
import traceback

from emnist_diff.errors import EmnistDiffError
from emnist_diff.shown import shown
from emnist_diff_plugins.terminal.help import UsageError
from emnist_diff_trajectory.printing import echo

_UNUSABLE = 2


def failed(error: Exception) -> int:
    """Say in one line what went wrong; the exit code. What is no error of ours, nor of usage, is shown in full."""
    code = _UNUSABLE
    if isinstance(error, EmnistDiffError):
        text, code = f"emnist-diff: {error}", error.exit_code
    elif isinstance(error, UsageError):
        page = io.StringIO()
        error.show(page)
        text, code = page.getvalue(), error.exit_code
    elif isinstance(error, OSError) and error.filename is not None:  # a name that no file can have, say
        text = f"emnist-diff: cannot use {shown(str(error.filename))}: {error.strerror}"
    elif isinstance(error, MemoryError):
        text = "emnist-diff: there is not enough memory for this — ask for less at a time"
    elif isinstance(error, RuntimeError) and str(error) == "can't start new thread":  # as Python says it of the system
        text = "emnist-diff: the system starts no more threads — raise its limits of memory or of processes"
    else:
        text, code = "".join(traceback.format_exception(error)), 1
        text += "emnist-diff: this is a fault of emnist-diff or of a plugin — please report it with these lines"
    for line in text.rstrip("\n").split("\n"):
        echo(line, err=True)
    return code
