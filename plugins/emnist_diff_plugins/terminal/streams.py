"""Standard streams that end a command well, whatever they lead to, a full disk, a reader that went away or nothing, and
whatever their locale lacks, which knows few characters under ``LC_ALL=C``."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from emnist_diff.errors import OutputError

READER_GONE = 141
"""The exit code when nobody reads the results any more, as a shell has it for programs that SIGPIPE ends. It is not 0:
what was not read may have been a problem found."""

_ESCAPES = "emnist_diff.escapes"


class _Stream(io.FileIO):
    """A file descriptor that stays open; once it has failed, it leads to the null device."""

    def __init__(self, number: int) -> None:
        super().__init__(number, "w", closefd=False)

    def _abandon(self) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())
        os.close(null)


class _Results(_Stream):
    """stdout: what cannot be written ends the command."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            self._abandon()
            raise SystemExit(READER_GONE) from None
        except OSError as error:
            self._abandon()
            raise OutputError(
                f"standard output cannot be written: {error.strerror} — files that the command made are complete"
            ) from error


class _Messages(_Stream):
    """stderr: what cannot be written is lost, for a log must not end the work that it is about."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            self._abandon()
            return len(data)


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Have stdout and stderr behave so, unless somebody has put other streams in their places already.

    A descriptor that is closed leads to the null device from now on; else the next file would be opened in its place,
    and receive what is printed. What an encoding lacks is written as escapes, which are those of JSON, so that output
    that is JSON stays it.
    """
    before = sys.stdout, sys.stderr
    if os.name != "nt":  # whose consoles are no files
        with contextlib.suppress(OSError):  # no null device either
            while (number := os.open(os.devnull, os.O_RDWR)) < 3:
                pass
            os.close(number)
        if sys.stdout is sys.__stdout__:
            sys.stdout = _text(_Results(1), before[0])
        if sys.stderr is sys.__stderr__:
            sys.stderr = _text(_Messages(2), before[1], line_buffering=True)
    codecs.register_error(_ESCAPES, _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPES)
    try:
        yield
    finally:
        try:
            sys.stdout.flush()
        finally:
            sys.stderr.flush()
            sys.stdout, sys.stderr = before


def _text(raw: _Stream, like: TextIO | None, line_buffering: bool = False) -> TextIO:
    """A text stream on `raw`, in the encoding of `like`."""
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding="utf-8" if like is None else like.encoding,
        line_buffering=line_buffering or raw.isatty(),
        write_through=isinstance(like, io.TextIOWrapper) and like.write_through,
    )


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2)), error.end
