"""The command line: what makes any command work. It has no command of its own; all are records, of plugins."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # importing typing would take time in which Ctrl-C is not yet expected
if TYPE_CHECKING:
    from collections.abc import Callable

    from emnist_diff.cli.stopping import Stops

_INTERRUPTED, _UNUSABLE = 130, 2


def main() -> None:
    """Entry point of ``emnist-diff``: errors of this package become one line and their documented exit code."""
    try:
        from emnist_diff.cli.stopping import Stops

        with Stops() as stops:
            stops.end(_exit_code(_with_streams, stops))
            code = stops.code
    except KeyboardInterrupt:  # before the first line of the context, or after its last
        code = _stopped()
    sys.exit(code)


def _exit_code(call: Callable[[Stops], int], stops: Stops) -> int:
    """What `call` returns, or the exit code of what it raises."""
    try:
        return call(stops)
    except SystemExit as ended:  # nobody reads the results
        return ended.code if isinstance(ended.code, int) else 1
    except KeyboardInterrupt:
        return _stopped()
    except Exception as error:
        return _failed(error, stops)


def _with_streams(stops: Stops) -> int:
    """Run the command, with streams that may fail; raises where the results cannot be written."""
    from emnist_diff.cli.streams import guarded

    with guarded():
        return _exit_code(_command, stops)


def _command(stops: Stops) -> int:
    """Run the command; its exit code."""
    from emnist_diff.machine.threads import wait_quietly

    wait_quietly()

    if os.name == "posix":
        from emnist_diff import probing
        from emnist_diff.cli.isolation import Isolation

        probing.care = Isolation()

    from emnist_diff.cli.app import app

    code = app(prog_name="emnist-diff", standalone_mode=False)  # the same name however it was started
    return _stopped() if code == _INTERRUPTED else int(code or 0)


def _failed(error: Exception, stops: Stops) -> int:
    """Say in one line what went wrong; the exit code. What is no error of ours, nor of usage, is shown in full."""
    import io

    from emnist_diff.cli.help import UsageError
    from emnist_diff.errors import EmnistDiffError, Interrupted
    from emnist_diff.printable import echo
    from emnist_diff.shown import shown

    if stops.came and not isinstance(error, Interrupted):  # what is interrupted while it is imported may raise anything
        return _stopped()
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
        import traceback

        text, code = "".join(traceback.format_exception(error)), 1
        text += "emnist-diff: this is a fault of emnist-diff or of a plugin — please report it with these lines"
    for line in text.rstrip("\n").split("\n"):
        echo(line, err=True)
    return code


def _stopped() -> int:
    """Say that a signal ended the command, for Typer would not; the exit code."""
    print("emnist-diff: stopped", file=sys.stderr)
    return _INTERRUPTED
