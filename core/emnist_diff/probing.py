"""Care with the code of plugins: what it prints while it is imported, what it raises, whether it ends the process."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from emnist_diff.printable import printable
from emnist_diff.shown import shortened


class Care:
    """What a library can do: it must not fork the process that it is used in, whose threads and devices it does not
    know, nor change where that process writes to. A program, which owns its process, does more."""

    def fatal(self, count: int, visit: Callable[[int], None]) -> dict[int, str]:
        """Which of `visit(0)` … `visit(count - 1)` must not be called, and why: those that end or block the process, or
        raise `KeyboardInterrupt`, which could not be told from a user's. `visit` raises nothing else."""
        return {}

    @contextlib.contextmanager
    def printing(self) -> Iterator[None]:
        """What is printed meanwhile goes to stderr: stdout is the command's, whose reader may expect JSON."""
        with contextlib.redirect_stdout(sys.stderr):
            yield

    def loading(self) -> contextlib.AbstractContextManager[None]:
        """The same, while a component is loaded."""
        return self.printing()


care = Care()
"""How this process treats the code of plugins; a program sets another."""


def reason(error: BaseException) -> str:
    """What a stranger's exception says, on one line of bounded length, whatever its class does."""
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:
        text = type(error).__name__
    return printable(shortened(" ".join(text.split()).removesuffix(":"), 500))
