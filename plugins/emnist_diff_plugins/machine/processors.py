"""The processors that this process can keep busy: those that it may run on, within what control groups give it."""

from __future__ import annotations

import os
from pathlib import Path


def usable_cpus(root: Path = Path("/")) -> int:
    """How many CPUs this process can keep busy, at least 1: those it may run on, at most its quota."""
    count, quota = len(usable_cpu_numbers(root)), cpu_quota(root)
    return count if quota is None else max(1, min(count, int(quota)))


def usable_cpu_numbers(root: Path = Path("/")) -> frozenset[int]:
    """The CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """The CPUs' worth of time that control groups (version 2 or 1) give this process; None without a limit."""
    limits = (_limit(folder) for folder in control_groups("cpu", root))
    return min((limit for limit in limits if limit is not None), default=None)


def control_groups(controller: str, root: Path = Path("/")) -> list[Path]:
    """The folders of the control groups (version 2 or 1) that a process is in, and of those around them, for one
    controller, ``cpu`` or ``memory``."""
    found = []
    for line in system_text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0" and not controllers:
            mounts = [root / "sys/fs/cgroup", root / "sys/fs/cgroup/unified"]
        elif controller in controllers.split(","):
            mounts = [root / "sys/fs/cgroup" / name for name in (controller, controllers)]
        else:
            continue
        # In a container the path may be that of the host; then its own group is mounted at the root.
        inside = Path(group.lstrip("/"))
        found += [mount / folder for mount in mounts for folder in (inside, *inside.parents)]
    return found


def _limit(folder: Path) -> float | None:
    """The limit that one control group sets."""
    quota, _, period = system_text(folder / "cpu.max").partition(" ")
    if not quota:
        quota, period = system_text(folder / "cpu.cfs_quota_us"), system_text(folder / "cpu.cfs_period_us")
    if not quota.isdecimal() or not period.isdecimal() or not int(period):  # "max", or -1: no limit
        return None
    return int(quota) / int(period)


def system_text(path: Path) -> str:
    """The content of a small file of the system, "" where it is not there."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
