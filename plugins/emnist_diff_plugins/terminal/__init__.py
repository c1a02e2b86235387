"""The program ``emnist-diff``: the commands of all plugins, with streams, signals, a log, and care with their code.

All of this holds beneath `main` alone: a program that uses the core as a library keeps its own.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # importing typing would take time in which Ctrl-C is not yet expected
if TYPE_CHECKING:
    from collections.abc import Callable

    from emnist_diff_plugins.terminal.stopping import Stops

_INTERRUPTED = 130


def main() -> None:
    """Entry point of ``emnist-diff``: errors of this package become one line and their documented exit code."""
    try:
        from emnist_diff_plugins.terminal.stopping import Stops

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
        from emnist_diff.errors import Interrupted
        from emnist_diff_plugins.terminal.exits import failed

        # what is interrupted while it is imported may raise anything
        return _stopped() if stops.came and not isinstance(error, Interrupted) else failed(error)


def _with_streams(stops: Stops) -> int:
    """Run the command, with streams that may fail; raises where the results cannot be written."""
    from emnist_diff_plugins.terminal.streams import guarded

    with guarded():
        return _exit_code(_command, stops)


def _command(stops: Stops) -> int:
    """Run the command; its exit code."""
    from emnist_diff_plugins.machine.threads import wait_quietly

    wait_quietly()

    if os.name == "posix":
        from emnist_diff import probing
        from emnist_diff_plugins.terminal.isolation import Isolation

        probing.care = Isolation()

    from emnist_diff_plugins.terminal.app import app

    code = app(prog_name="emnist-diff", standalone_mode=False)  # the same name however it was started
    return _stopped() if code == _INTERRUPTED else int(code or 0)


def _stopped() -> int:
    """Say that a signal ended the command, for Typer would not; the exit code."""
    print("emnist-diff: stopped", file=sys.stderr)
    return _INTERRUPTED
