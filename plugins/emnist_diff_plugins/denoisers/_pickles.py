"""A legacy file's pickles, read through without unpickling anything.

`vetted` hands `torch.load` only what has passed here. torch's unpickler guards as well, but says little of what it
refuses (newer pickle protocols are "unsupported operands" to it), and lets more through than a checkpoint needs.
"""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

_ZIP = b"PK\x03\x04"
"""How torch tells its zip layout from the older one: by the first bytes, whatever may follow."""

_PICKLES_OF_OLD_LAYOUT = 5
"""A magic number, the protocol, facts of the system, the object, and the storages' keys; raw numbers follow."""

_LARGEST_TUPLE = 10_000

_NEWEST_PROTOCOL = 3
"""That torch's guarded unpickler reads; torch.save writes 2."""

_WELCOME = re.compile(
    r"(collections\.OrderedDict"
    r"|diffusers\.configuration_utils\.FrozenDict"
    r"|torch\.(Size|float16|bfloat16|float32|float64)"
    r"|torch\.(Half|BFloat16|Float|Double|Byte|Char|Short|Int|Long|Bool)Storage"
    r"|torch\.nn\.parameter\.Parameter"
    r"|torch\._utils\._rebuild_(tensor|tensor_v2|parameter))"
)
"""All that a legacy checkpoint has a reason to name."""

_TEXT = {"UNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINUNICODE", "STRING", "BINSTRING", "SHORT_BINSTRING"}
_PUT = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}
_GET = {"GET", "BINGET", "LONG_BINGET"}
_TUPLES = {"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}


class Unwelcome(Exception):
    """A pickle names something that a checkpoint has no need of; its text is ``module.name``."""


class Damaged(Exception):
    """The file is neither of the two layouts of ``torch.save``, or not wholly."""


@attrs.frozen(eq=False)
class _Item:
    """Something on a pickle's stack: its text if it is text, and how many things it unfolds to if it is a tuple."""

    text: str = "?"
    leaves: int = 1


_MARK = _Item()


def vetted(path: Path) -> io.BytesIO:
    """The content of a file for ``torch.load``: its pickles name nothing unwelcome, and it is no larger than the file.

    Raises `Unwelcome`, `Damaged`, and `OSError` when the file cannot be read.
    """
    data = path.read_bytes()
    if data.startswith(_ZIP):
        members = _members(data)
        for name, content in members:
            if name.endswith(".pkl"):
                _vet(io.BytesIO(content))
        return _zipped(members)
    stream = io.BytesIO(data)
    for _ in range(_PICKLES_OF_OLD_LAYOUT):
        _vet(stream)
    return io.BytesIO(data)


def _members(data: bytes) -> list[tuple[str, bytes]]:
    """The files in a zip. torch.save compresses nothing, so that together they are smaller than the zip itself."""
    members = []
    room = len(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for item in archive.infolist():
                room -= item.file_size
                if item.compress_type != zipfile.ZIP_STORED or room < 0:
                    raise Damaged(
                        f"its part {item.filename!r} unfolds to more than the file, and torch.save compresses nothing"
                    )
                members.append((item.filename, archive.read(item)))
    except Damaged:
        raise
    except Exception as error:  # zipfile reports damage in many ways
        raise Damaged(str(error) or type(error).__name__) from error
    return members


def _zipped(members: list[tuple[str, bytes]]) -> io.BytesIO:
    """A zip of these files. Not the one they came from: two zip readers can be made to find different files in one."""
    out = io.BytesIO()
    if len({name for name, _ in members}) < len(members):
        raise Damaged("it is a zip file with two parts of one name")
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    out.seek(0)
    return out


def _vet(stream: io.BytesIO) -> None:
    """Read one pickle to its end; leaves the stream behind it."""
    for name in _globals(stream):
        if not _WELCOME.fullmatch(name):
            raise Unwelcome(name)


def _globals(stream: io.BytesIO) -> Iterator[str]:
    """The globals that one pickle names, in order. Follows what each opcode does to the stack, as far as text and
    tuples go; text that is computed rather than spelled out is ``?``."""
    memo: dict[int, _Item] = {}
    stack: list[_Item] = []
    protocol = 0
    argument: Any  # of the type that its opcode takes
    opcodes = pickletools.genops(stream)
    while True:
        try:
            opcode, argument, _ = next(opcodes)
        except StopIteration:
            break
        except Exception as error:  # genops raises whatever the bytes provoke
            raise Damaged(f"its pickle breaks off ({error})") from error
        if opcode.name in _PUT:
            memo[len(memo) if argument is None else int(argument)] = stack[-1] if stack else _Item()
            continue
        taken = _take(stack, opcode.stack_before)
        pushed = _Item()
        if opcode.name in ("GLOBAL", "INST"):
            yield str(argument).replace(" ", ".", 1)
        elif opcode.name == "STACK_GLOBAL":
            yield ".".join(["?", "?", *(item.text for item in taken)][-2:])
        elif opcode.name.startswith("EXT"):
            yield f"copyreg extension {argument}"
        elif opcode.name in _TEXT:
            pushed = _Item(str(argument))
        elif opcode.name in _GET:
            pushed = memo.get(int(argument), pushed)
        elif opcode.name in _TUPLES:
            pushed = _Item(leaves=1 + sum(item.leaves for item in taken))
            if pushed.leaves > _LARGEST_TUPLE:  # tuples of the same tuples over and over would take ages to hash
                raise Damaged("its pickle holds a tuple that nothing has a use for")
        if opcode.name == "PROTO":
            protocol = int(argument)
        stack += [_MARK if opcode.name == "MARK" else pushed] * len(opcode.stack_after)
    if protocol > _NEWEST_PROTOCOL:
        raise Damaged(f"its pickle is of protocol {protocol}, and torch reads up to {_NEWEST_PROTOCOL}")


def _take(stack: list[_Item], kinds: Sequence[pickletools.StackObject]) -> list[_Item]:
    """Take off the stack what an opcode takes, which may be "everything above the last mark"; returns it."""
    count = len(kinds)
    if pickletools.markobject in kinds:
        above = next((n for n, item in enumerate(reversed(stack)) if item is _MARK), len(stack))
        count = above + 1 + list(kinds).index(pickletools.markobject)
    start = max(0, len(stack) - count)
    taken = stack[start:]
    del stack[start:]
    return taken
