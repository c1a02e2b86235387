"""Commands of ``emnist-diff``, forked from a process that has finished one, so that they start at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

SERVER = """
import contextlib, io, json, os, sys
from emnist_diff import main

sys.argv = ["emnist-diff", *sys.argv[1:]]
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    with contextlib.suppress(SystemExit):
        main()
print(flush=True)
for line in sys.stdin:
    arguments, errors, environment = json.loads(line)
    child = os.fork()
    if not child:
        for number, name, mode in ((0, os.devnull, os.O_RDONLY), (1, os.devnull, os.O_WRONLY),
                                   (2, errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)):
            os.dup2(os.open(name, mode, 0o644), number)
        sys.argv = ["emnist-diff", *arguments]
        os.environ.update(environment)
        if "LARGEST_FILE" in environment:
            import resource
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(environment["LARGEST_FILE"]), resource.RLIM_INFINITY))
        try:
            main()
        except SystemExit as end:
            os._exit(end.code or 0)  # taking the interpreter down would take longer than the run
    print(child, flush=True)
    sys.stdin.readline()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Forked:
    """A process that forks commands; the first one is run in it."""

    def __init__(self, folder: Path, first: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self.errors_at = folder / "stderr"
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER, *first],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # one thread, because a fork leaves the others behind
            env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
        )
        assert self._server.stdout is not None
        self._server.stdout.readline()

    def command(self, arguments: Sequence[str | Path], **environment: str) -> int:
        """Start ``emnist-diff`` with these arguments and more in its environment, of which LARGEST_FILE limits the
        bytes of a file; returns its process id, which stays its own until `wait`."""
        return int(self._ask(json.dumps([[str(word) for word in arguments], str(self.errors_at), environment])))

    def wait(self) -> int:
        """Wait for the command's end; returns its exit code, or minus the signal that ended it."""
        return int(self._ask(""))

    @property
    def errors(self) -> str:
        """What the last command wrote to stderr."""
        return self.errors_at.read_text()

    def close(self) -> None:
        """End the process."""
        self._server.communicate()

    def _ask(self, line: str) -> str:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(line, file=self._server.stdin, flush=True)
        return self._server.stdout.readline()
