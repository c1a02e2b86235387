"""The command line. One thin file per command; heavy imports happen inside commands."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # importing typing would take time in which Ctrl-C is not yet expected
if TYPE_CHECKING:
    from emnist_diff.cli.stopping import Stops


def main() -> None:
    """Entry point of ``emnist-diff``: errors of this package become one line and their documented exit code."""
    try:
        from emnist_diff.cli.stopping import Stops

        with Stops() as stops:
            stops.end(_guarded(stops))
            code = stops.code
    except KeyboardInterrupt:  # before the first line of the context, or after its last
        code = _stopped()
    sys.exit(code)


def _guarded(stops: Stops) -> int:
    """Run the command, with streams that may fail; its exit code."""
    from emnist_diff.cli.streams import guarded

    try:
        with guarded():
            return _code(stops)
    except SystemExit as ended:  # nobody reads the results
        return ended.code if isinstance(ended.code, int) else 1
    except KeyboardInterrupt:
        return _stopped()
    except Exception as error:  # the results could not be written
        return _failed(error, stops)


def _code(stops: Stops) -> int:
    """Run the command; its exit code."""
    try:
        from emnist_diff.cli.locales import speak_any_locale
        from emnist_diff.machine.threads import wait_quietly

        wait_quietly()
        speak_any_locale()

        if os.name == "posix":
            from emnist_diff import probing
            from emnist_diff.cli.isolation import Isolation

            probing.care = Isolation()

        from emnist_diff.cli.app import app

        code = app(prog_name="emnist-diff", standalone_mode=False)  # the same name however it was started
    except KeyboardInterrupt:
        return _stopped()
    except Exception as error:
        return _failed(error, stops)
    return _stopped() if code == _INTERRUPTED else int(code or 0)


def _failed(error: Exception, stops: Stops) -> int:
    """Say in one line what went wrong; the exit code. What is no error of ours, nor of usage, is shown in full."""
    from emnist_diff.errors import EmnistDiffError, Interrupted
    from emnist_diff.printable import echo

    if stops.came and not isinstance(error, Interrupted):  # what is interrupted while it is imported may raise anything
        return _stopped()
    if isinstance(error, EmnistDiffError):
        echo(f"emnist-diff: {error}", err=True)
        return error.exit_code
    if hasattr(error, "show"):  # wrong usage, as Typer shows it
        import io

        text = io.StringIO()
        error.show(file=text)
        for line in text.getvalue().rstrip("\n").split("\n"):
            echo(line, err=True)
        return int(getattr(error, "exit_code", 2))
    if isinstance(error, OSError) and error.filename is not None:  # a name that no file can have, say
        from emnist_diff.shown import shown

        echo(f"emnist-diff: cannot use {shown(str(error.filename))}: {error.strerror}", err=True)
        return _UNUSABLE
    if isinstance(error, MemoryError):
        echo("emnist-diff: there is not enough memory for this — ask for less at a time", err=True)
        return _UNUSABLE
    if isinstance(error, RuntimeError) and str(error) == "can't start new thread":  # as Python says it of the system
        echo("emnist-diff: the system starts no more threads — raise its limits of memory or of processes", err=True)
        return _UNUSABLE
    import traceback

    for line in "".join(traceback.format_exception(error)).rstrip("\n").split("\n"):
        echo(line, err=True)
    echo("emnist-diff: this is a fault of emnist-diff or of a plugin — please report it with these lines", err=True)
    return 1


_INTERRUPTED = 130
_UNUSABLE = 2


def _stopped() -> int:
    """Say that a signal ended the command, for Typer would not; the exit code."""
    print("emnist-diff: stopped", file=sys.stderr)
    return _INTERRUPTED
