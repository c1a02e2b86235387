"""What a pickle would import, told without unpickling it.

`unwelcome` is what makes a refusal readable, and a first gate; the unpickler of ``torch.load(weights_only=True)`` is
the guard, which holds whatever this reading of the opcodes misses.
"""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

_LARGEST_PICKLE = 64 << 20
"""Bytes; a checkpoint's pickle describes tensors and does not hold them, and is far smaller than this."""

_PICKLES_OF_OLD_LAYOUT = 5
"""A magic number, the protocol, facts of the system, the object, and the storages' keys."""

_WELCOME = re.compile(
    r"(collections\.OrderedDict"
    r"|diffusers\.configuration_utils\.FrozenDict"
    r"|torch\.(Size|\w+Storage|float16|bfloat16|float32|float64)"
    r"|torch\.nn\.parameter\.Parameter"
    r"|torch\._utils\._rebuild_(tensor|tensor_v2|parameter))"
)
"""All that a legacy checkpoint has a reason to name."""

_TEXT = {"UNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINUNICODE", "STRING", "BINSTRING", "SHORT_BINSTRING"}
_NEUTRAL = {"PROTO", "FRAME", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}


def unwelcome(path: Path) -> str | None:
    """The first global that a file's pickles name beyond those a checkpoint needs, as ``module.name``; else None.

    Reads both layouts of ``torch.save``: a zip with ``*.pkl`` members, and pickles one after another.
    """
    for pickle in _pickles(path):
        for name in _globals(pickle):
            if not _WELCOME.fullmatch(name):
                return name
    return None


def _pickles(path: Path) -> Iterator[io.BytesIO]:
    """Each pickle of a file, as a stream that stands at its start."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.filename.endswith(".pkl"):
                    with archive.open(member) as file:
                        yield io.BytesIO(file.read(_LARGEST_PICKLE))
        return
    with path.open("rb") as file:
        stream = io.BytesIO(file.read(_LARGEST_PICKLE))
    size = len(stream.getbuffer())
    for _ in range(_PICKLES_OF_OLD_LAYOUT):  # raw numbers follow, in which anything could be found
        if stream.tell() < size:
            yield stream  # `_globals` leaves it behind the pickle


def _globals(stream: io.BytesIO) -> Iterator[str]:
    """The globals that one pickle names, in order. Damaged pickles end early; text that the opcodes compute rather
    than spell out is shown as ``?``."""
    memo: dict[int, str] = {}
    recent: list[str] = ["?", "?"]  # the last things put on the stack, where they were text
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name in ("GLOBAL", "INST"):
                yield str(argument).replace(" ", ".", 1)
                recent.append("?")
            elif opcode.name == "STACK_GLOBAL":
                yield f"{recent[-2]}.{recent[-1]}"
                recent.append("?")
            elif opcode.name.startswith("EXT"):
                yield f"copyreg extension {argument}"
            elif opcode.name in _TEXT:
                recent.append(argument if isinstance(argument, str) else argument.decode("latin-1"))
            elif opcode.name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
                memo[len(memo) if argument is None else int(argument)] = recent[-1]
            elif opcode.name in ("GET", "BINGET", "LONG_BINGET"):
                recent.append(memo.get(int(argument), "?"))
            elif opcode.name not in _NEUTRAL:
                recent.append("?")
    except Exception:  # not a pickle from here on; genops raises whatever the bytes provoke
        stream.seek(0, io.SEEK_END)
