"""How many CPU threads a process should compute with, on a machine of its own and on one that it shares.

torch takes a thread for every core that it sees. That is too many in a container with a quota, which it does not look
at, and for each of several workers on one node, which do not know of each other.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import attrs

from emnist_diff_plugins.machine.processors import cpu_quota, system_text, usable_cpu_numbers
from emnist_diff_plugins.machine.workers import in_slurm_step

WAIT_POLICY = "OMP_WAIT_POLICY"
THREADS_VARIABLE = "OMP_NUM_THREADS"

_LOCAL_WORKERS = ("LOCAL_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS")
"""How many processes a launcher (torchrun and accelerate, Open MPI, MPICH) has started on this machine."""


def wait_quietly(environment: dict[str, str] | os._Environ[str] = os.environ) -> None:
    """Have idle threads of OpenMP sleep, unless the user has said how they wait; to be called before torch is imported.

    By default they spin, in the belief that the machine is theirs. Where it is not, they take the processors from those
    that have work, and a run takes ten times as long; sleeping costs the microseconds that waking takes.
    """
    if not {WAIT_POLICY, "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & set(environment):
        environment[WAIT_POLICY] = "PASSIVE"


@attrs.frozen
class Threads:
    """A number of threads and why: one line for people."""

    count: int
    reason: str


def default_threads(environment: Mapping[str, str] = os.environ, root: Path = Path("/")) -> Threads:
    """The threads to compute with unless a configuration says otherwise, at least 1.

    ``OMP_NUM_THREADS`` where the user has set it. Else the cores that this process may run on, hyperthreads of one core
    counted once, at most what control groups allow, and of those this worker's share where a launcher has started
    several.  root: where /proc and /sys are.
    """
    chosen = environment.get(THREADS_VARIABLE, "").split(",")[0]
    if chosen.isdecimal() and int(chosen):
        return Threads(int(chosen), THREADS_VARIABLE)
    usable = usable_cpu_numbers(root)
    cores, reason = physical_cores(usable, root), f"{len(usable)} CPUs"
    if cores < len(usable):
        reason = f"{cores} cores"
    quota = cpu_quota(root)
    if quota is not None and quota < cores:
        cores, reason = max(1, int(quota)), f"a quota of {quota:g} CPUs"
    cores_of_worker = _share(cores, environment)
    if cores_of_worker < cores:
        reason += f", shared with other workers: {_workers(environment)} on this machine"
    return Threads(cores_of_worker, reason)


def share(threads: int, environment: Mapping[str, str] = os.environ) -> int:
    """This worker's part of the threads that somebody meant for the whole machine, at least 1."""
    return max(1, threads // _workers(environment))


def physical_cores(cpus: frozenset[int], root: Path = Path("/")) -> int:
    """How many cores these CPUs are: a core's hyperthreads count once. All of them where the system does not say."""
    cores = set()
    for cpu in cpus:
        siblings = system_text(root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        cores.add(siblings or str(cpu))
    return max(1, len(cores))


def _share(cores: int, environment: Mapping[str, str]) -> int:
    """The cores of this worker, of those that it may run on."""
    allotted = environment.get("SLURM_CPUS_PER_TASK", "")
    if allotted.isdecimal() and int(allotted):
        return max(1, min(cores, int(allotted)))
    workers, on_node = _workers(environment), environment.get("SLURM_CPUS_ON_NODE", "")
    if on_node.isdecimal() and int(on_node):
        if cores <= int(on_node) // workers:  # the scheduler has bound this worker to its share already
            return cores
        cores = min(cores, int(on_node))
    return max(1, cores // workers)


def _workers(environment: Mapping[str, str]) -> int:
    """How many processes a launcher has started on this machine."""
    for name in _LOCAL_WORKERS:
        if environment.get(name, "").isdecimal():
            return max(1, int(environment[name]))
    if in_slurm_step(environment):  # the batch script itself is alone
        # "4", or a list by node as in "2(x3),1": the most of any node, which is too careful on the others at worst
        counts = re.findall(r"(?:^|,)(\d+)", environment.get("SLURM_STEP_TASKS_PER_NODE", ""))
        counts = counts or re.findall(r"(?:^|,)(\d+)", environment.get("SLURM_TASKS_PER_NODE", ""))
        counts = counts or re.findall(r"^(\d+)$", environment.get("SLURM_NTASKS_PER_NODE", ""))
        return max(1, *map(int, counts), 1)
    return 1
