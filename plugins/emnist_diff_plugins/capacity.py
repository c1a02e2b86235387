"""What this machine has of memory, and the refusal of what needs more before any of it is done.

A system may promise memory that it does not have, and end the process when it is used: asking beforehand is the only
way to say what was too large.
"""

from __future__ import annotations

import re
from pathlib import Path

from emnist_diff.errors import ConfigError
from emnist_diff_plugins.machine.processors import control_groups

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]  # a module there, None here

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB", "EB")
_NO_LIMIT = 1 << 60
"""Control groups of version 1 have a number about as large as this where there is no limit."""


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes that this process can still take: of what the system has free or can free, within the limits of control
    groups and of the process. None where nothing says. root: where /proc and /sys are."""
    known = []
    free = {
        key: int(value) * 1024 for key, value in re.findall(r"^(\w+):\s+(\d+) kB$", _text(root / "proc/meminfo"), re.M)
    }
    if "MemAvailable" in free:
        known.append(free["MemAvailable"] + free.get("SwapFree", 0))
    for folder in control_groups("memory", root):
        for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            most, taken = _text(folder / limit), _text(folder / used)
            if most.isdecimal() and taken.isdecimal() and int(most) < _NO_LIMIT:
                known.append(max(0, int(most) - int(taken)) + _reclaimable(folder))
    if resource is not None:
        most_addresses, _ = resource.getrlimit(resource.RLIMIT_AS)
        pages = _text(root / "proc/self/statm").partition(" ")[0]
        if most_addresses != resource.RLIM_INFINITY and pages.isdecimal():
            known.append(max(0, most_addresses - int(pages) * resource.getpagesize()))
    return min(known, default=None)


def require_memory(needed: float, what: str, remedy: str) -> None:
    """Raise `ConfigError` where something needs more bytes of main memory than there are.

    what: the beginning of the message, ``sink 'grid': the picture``.  remedy: its end.
    """
    available = available_memory() if needed > 1e8 else None
    if available is not None and needed > available:
        raise ConfigError(f"{what} needs {size(needed)} of memory, {size(available)} are free — {remedy}")


def size(count: float) -> str:
    """A number of bytes for people: ``1.2 GB``."""
    for unit in _UNITS[:-1]:
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.0f} {_UNITS[-1]}"


def _reclaimable(folder: Path) -> int:
    """Bytes of the files that a control group's processes have read, which the system gives up when asked."""
    found = re.search(r"^(?:total_)?inactive_file (\d+)$", _text(folder / "memory.stat"), re.M)
    return int(found[1]) if found else 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
