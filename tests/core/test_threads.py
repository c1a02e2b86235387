"""Threads: as many as this process has cores, and no more in sum where it is one of several."""

from __future__ import annotations

import os
from pathlib import Path

import attrs
import pytest
import torch

from emnist_diff.assembly.assemble import assemble
from emnist_diff.discovery import installed
from emnist_diff.running.run import execute, prepare
from emnist_diff_plugins.machine import processors, threads
from emnist_diff_plugins.machine.processors import cpu_quota, usable_cpus
from emnist_diff_plugins.machine.threads import default_threads, physical_cores, wait_quietly
from emnist_diff_plugins.runconfig import resolve


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A machine that is only files: CPUs, hyperthreads of a core, and files of control groups."""

    def make(cpus: int = 8, siblings: int = 1, files: dict[str, str] | None = None) -> Path:
        for module in (threads, processors):
            monkeypatch.setattr(module, "usable_cpu_numbers", lambda root: frozenset(range(cpus)))
        for cpu in range(cpus):
            first = cpu % (cpus // siblings)
            group = ",".join(str(first + k * cpus // siblings) for k in range(siblings))
            write(f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list", group)
        for name, text in (files or {}).items():
            write(name, text)
        return tmp_path

    def write(name: str, text: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")

    return make


def test_a_machine_of_its_own(machine):
    assert default_threads({}, machine(8)).count == 8
    assert default_threads({}, machine(8)).reason == "8 CPUs"


def test_hyperthreads_of_a_core_count_once(machine):
    root = machine(16, siblings=2)
    assert physical_cores(frozenset(range(16)), root) == 8
    assert physical_cores(frozenset({0, 8}), root) == 1
    assert default_threads({}, root) == threads.Threads(8, "8 cores")
    assert usable_cpus(root) == 16


def test_the_user_decides(machine):
    root = machine(8)
    assert default_threads({"OMP_NUM_THREADS": "3"}, root).count == 3
    assert default_threads({"OMP_NUM_THREADS": "12,2", "LOCAL_WORLD_SIZE": "4"}, root).count == 12
    for nonsense in ("", "0", "many", "-2"):
        assert default_threads({"OMP_NUM_THREADS": nonsense}, root).count == 8


V2 = "0::/outer/inner"
V1 = "7:memory:/elsewhere\n4:cpu,cpuacct:/group"


@pytest.mark.parametrize(
    ("files", "quota", "count"),
    [
        ({"proc/self/cgroup": V2}, None, 8),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/outer/inner/cpu.max": "max 100000"}, None, 8),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/outer/inner/cpu.max": "250000 100000"}, 2.5, 2),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/outer/cpu.max": "50000 100000"}, 0.5, 1),
        (
            {
                "proc/self/cgroup": V2,
                "sys/fs/cgroup/outer/cpu.max": "300000 100000",
                "sys/fs/cgroup/outer/inner/cpu.max": "600000 100000",
            },
            3.0,
            3,
        ),
        (
            {"proc/self/cgroup": V2, "sys/fs/cgroup/cpu.max": "400000 100000"},
            4.0,
            4,
        ),  # of a container, seen from inside
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/cpu.max": "100000 0"}, None, 8),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/outer/inner/cpu.max": "1600000 100000"}, 16.0, 8),
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu,cpuacct/group/cpu.cfs_quota_us": "150000",
                "sys/fs/cgroup/cpu,cpuacct/group/cpu.cfs_period_us": "50000",
            },
            3.0,
            3,
        ),
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            None,
            8,
        ),
    ],
)
def test_a_quota_is_kept(machine, files, quota, count):
    root = machine(8, files=files)
    assert cpu_quota(root) == quota
    assert default_threads({}, root).count == count
    assert usable_cpus(root) == count


STEP = {"SLURM_STEP_ID": "0", "SLURM_PROCID": "0"}


@pytest.mark.parametrize(
    ("environment", "count"),
    [
        ({"LOCAL_WORLD_SIZE": "4"}, 2),
        ({"LOCAL_WORLD_SIZE": "3"}, 2),
        ({"LOCAL_WORLD_SIZE": "100"}, 1),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, 4),
        (
            {
                "SLURM_STEP_ID": "0",
                "SLURM_PROCID": "0",
                "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
                "SLURM_CPUS_ON_NODE": "8",
            },
            2,
        ),
        ({**STEP, "SLURM_TASKS_PER_NODE": "2(x3),1", "SLURM_CPUS_ON_NODE": "8"}, 4),
        ({**STEP, "SLURM_NTASKS_PER_NODE": "8"}, 1),
        (
            {**STEP, "SLURM_TASKS_PER_NODE": "4", "SLURM_CPUS_ON_NODE": "32"},
            8,
        ),  # bound to its share already
        ({**STEP, "SLURM_TASKS_PER_NODE": "2", "SLURM_CPUS_PER_TASK": "3"}, 3),
        # the batch script, which is alone
        ({"SLURM_PROCID": "0", "SLURM_TASKS_PER_NODE": "4", "SLURM_CPUS_ON_NODE": "4"}, 4),
        ({"SLURM_STEP_ID": "4294967291", "SLURM_PROCID": "0", "SLURM_TASKS_PER_NODE": "4"}, 8),
        ({"SLURM_CPUS_ON_NODE": "2", "SLURM_ARRAY_TASK_ID": "3"}, 2),
    ],
)
def test_workers_share_a_machine(machine, environment, count):
    assert default_threads(environment, machine(8)).count == count


def test_how_idle_threads_wait_is_said_unless_the_user_has():
    environment: dict[str, str] = {}
    wait_quietly(environment)
    assert environment == {"OMP_WAIT_POLICY": "PASSIVE"}
    for said in ({"OMP_WAIT_POLICY": "ACTIVE"}, {"KMP_BLOCKTIME": "200"}, {"GOMP_SPINCOUNT": "1000"}):
        mine = dict(said)
        wait_quietly(mine)
        assert mine == said


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system binds no processes")
def test_a_process_that_is_bound_counts_what_it_is_bound_to():
    before = os.sched_getaffinity(0)
    one = {min(before)}
    try:
        os.sched_setaffinity(0, one)
        assert usable_cpus() == 1
        assert default_threads({}).count == 1
    finally:
        os.sched_setaffinity(0, before)


def test_a_run_sets_the_threads_of_torch_and_assembling_one_does_not(tmp_path):
    mixture = {"name": "gaussian-mixture", "settings": {"shape": [3], "classes": "AB"}}
    config = resolve({"output": str(tmp_path), "denoiser": mixture, "total_videos": 1, "steps": 2, "sinks": []})
    before = torch.get_num_threads()
    config = attrs.evolve(config, threads=before + 1)
    try:
        assembly = assemble(installed(), config)
        assert torch.get_num_threads() == before
        assert assembly.config.threads == assembly.header.environment["threads"] == before + 1
        execute(assembly)
        assert torch.get_num_threads() == before + 1
        torch.set_num_threads(before)
        prepare(installed(), config)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
