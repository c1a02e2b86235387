"""The command line. One thin file per command; heavy imports happen inside commands."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Entry point of ``emnist-diff``: errors of this package become one line and their documented exit code."""
    from emnist_diff.threads import wait_quietly

    wait_quietly()

    from emnist_diff.probing import probe_from_now_on

    probe_from_now_on()

    from emnist_diff.cli.app import app
    from emnist_diff.errors import EmnistDiffError

    try:
        app(prog_name="emnist-diff")  # the same name however it was started
    except EmnistDiffError as error:
        print(f"emnist-diff: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("emnist-diff: stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
