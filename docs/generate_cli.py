"""Rewrite the help texts in the pages: ``python docs/generate_cli.py``.

A comment ``<!-- help: emnist-diff run -->`` in a page is followed by a block with the output of
``emnist-diff run --help`` at 100 columns. This script puts the current output there.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BLOCK = re.compile(r"<!-- help: (?P<command>emnist-diff[^\n]*?) -->\n(?:\n```text\n.*?\n```\n)?", re.DOTALL)


def help_text(command: str) -> str:
    """What ``COMMAND --help`` prints at 100 columns. Raises `RuntimeError` with its error when it fails."""
    arguments = [sys.executable, "-m", "emnist_diff", *command.split()[1:], "--help"]
    environment = os.environ | {
        "COLUMNS": "100",
        "NO_COLOR": "1",
        "PYTHONIOENCODING": "utf-8",
        "EMNIST_DIFF_PLUGINS": "",
    }
    done = subprocess.run(arguments, env=environment, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise RuntimeError(f"{command} --help failed: {done.stderr.strip()}")
    return "\n".join(line.rstrip() for line in done.stdout.strip("\n").splitlines())


def updated(page: str, failures: list[str] | None = None) -> str:
    """The page's text with every help block as it is now.

    A command that fails raises `RuntimeError`; with `failures`, its message goes there and its block stays.
    """

    def block(match: re.Match[str]) -> str:
        command = match["command"]
        try:
            text = help_text(command)
        except RuntimeError as error:
            if failures is None:
                raise
            failures.append(str(error))
            return match[0]
        return f"<!-- help: {command} -->\n\n```text\n{text}\n```\n"

    return BLOCK.sub(block, page)


def main() -> int:
    """Rewrite every page; 1 when a command's help failed."""
    failures: list[str] = []
    for path in sorted(HERE.glob("*.md")):
        before = path.read_text(encoding="utf-8")
        after = updated(before, failures)
        if after != before:
            path.write_text(after, encoding="utf-8")
            print(f"rewrote {path.name}")
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
