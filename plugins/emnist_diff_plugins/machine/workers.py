"""Which worker this is, of how many: as a user says it, or as the environment of a launcher does.

Inside a job's array each element is a share of its own; inside an element, or a job without an array, each process that
a launcher starts is one. Launchers are torchrun and accelerate, Open MPI, MVAPICH2, MPICH and Intel MPI, and srun. A
batch script is started by none of them, though SLURM tells it ``SLURM_PROCID=0`` and how many tasks its job may start.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from emnist_diff.errors import ConfigError

SLURM = (
    "SLURM_JOB_ID",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_ARRAY_TASK_COUNT",
    "SLURM_ARRAY_TASK_MIN",
    "SLURM_ARRAY_TASK_MAX",
    "SLURM_ARRAY_TASK_STEP",
    "SLURM_STEP_ID",
    "SLURM_STEP_NUM_TASKS",
    "SLURM_PROCID",
    "SLURM_NTASKS",
)
"""The variables that a file records; no other variable of the environment is recorded."""

_MPI = (
    ("Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("MVAPICH2", "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
    ("MPICH", "PMI_RANK", "PMI_SIZE"),
)
"""Launchers that may use srun underneath, so that what they say counts and SLURM's step does not."""

_SPECIAL_STEPS = 0xFFFFFFF0
"""Numbers of steps from here on are those of batch scripts and interactive shells (slurm.h, SLURM_MAX_NORMAL_STEP_ID),
in which nothing was started by srun."""

_BOTH = "use --rank and --world-size"


def recorded(environment: Mapping[str, str]) -> dict[str, str]:
    """The SLURM variables that a file records."""
    return {name: environment[name][:64] for name in SLURM if name in environment}


def in_slurm_step(environment: Mapping[str, str]) -> bool:
    """Whether srun has started this process: in a batch script ``SLURM_STEP_ID`` is absent, or names a special step."""
    step = environment.get("SLURM_STEP_ID", environment.get("SLURM_STEPID", ""))
    return step.isdecimal() and int(step) < _SPECIAL_STEPS


def chosen(rank: int | None, world_size: int | None, environment: Mapping[str, str]) -> tuple[int, int]:
    """(rank, world size) where each is what a user says, or else what the environment does.

    The environment is not even looked at when both are given. Raises as `from_environment`, and `ConfigError` when what
    is given does not fit the environment: the rank in a group of another size would be a share of other samples.
    """
    if rank is not None and world_size is not None:
        return rank, world_size
    found, count = from_environment(environment)
    if world_size is not None and world_size != count:
        raise ConfigError(
            f"--world-size {world_size} with --distributed: the environment counts {count} worker{'s'[: count != 1]}, "
            "so that its rank is another — use --rank too"
        )
    if rank is not None and not 0 <= rank < count:
        raise ConfigError(
            f"--rank {rank} with --distributed: the environment counts {count} worker{'s'[: count != 1]} — "
            "use --world-size too"
        )
    return (found if rank is None else rank), count


def from_environment(environment: Mapping[str, str]) -> tuple[int, int]:
    """(rank, world size) of this process: the elements of an array count, and so do the processes of a launcher.

    The array must be evenly spaced (``--array=0-9``, ``10-40:10``), and an element that is requeued keeps its rank.
    Raises `ConfigError` where nothing says which worker this is, and where what does is incomplete or contradictory.
    """
    inner, element = _process(environment), _element(environment)
    if inner is None and element is None:
        raise ConfigError(_nothing_counts(environment))
    task, tasks = (0, 1) if inner is None else (inner.rank, inner.count)
    place, count = (0, 1) if element is None else (element.rank, element.count)
    return place * tasks + task, count * tasks


@attrs.frozen
class _Place:
    """What one source says: `rank` of `count`, and the names of the variables that say so."""

    rank: int
    count: int
    names: tuple[str, str]

    def __str__(self) -> str:
        return f"{self.names[0]} {self.rank} of {self.names[1]} {self.count}"


def _process(environment: Mapping[str, str]) -> _Place | None:
    """This process among those that its launcher has started; None where none has."""
    step = _slurm_step(environment)
    launched = _pair(environment, "RANK", "WORLD_SIZE")
    if launched is not None:
        _check_torch(environment, launched, step)
        return launched
    for _, rank, size in _MPI:
        if (place := _pair(environment, rank, size)) is not None:
            return place
    if step is None and environment.get("SLURM_NTASKS", "1") == "1" and "SLURM_JOB_ID" in environment:
        return _Place(0, 1, ("SLURM_PROCID", "SLURM_NTASKS"))  # the batch script of a job of one task
    return step


def _slurm_step(environment: Mapping[str, str]) -> _Place | None:
    """The task of srun's step that this process is; None outside a step."""
    if not in_slurm_step(environment):
        return None
    size = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in environment else "SLURM_NTASKS"
    return _place(environment, "SLURM_PROCID", size)


def _pair(environment: Mapping[str, str], rank: str, size: str) -> _Place | None:
    """What two variables say together; None unless both are there."""
    return _place(environment, rank, size) if rank in environment and size in environment else None


def _place(environment: Mapping[str, str], rank: str, size: str) -> _Place:
    place = _Place(_number(environment, rank), _number(environment, size), (rank, size))
    if place.rank >= place.count:
        raise ConfigError(f"--distributed: {rank} {place.rank} is none of {size} {place.count} — {_BOTH}")
    return place


def _check_torch(environment: Mapping[str, str], launched: _Place, step: _Place | None) -> None:
    """Raise `ConfigError` where several tasks of a step would take themselves for the same workers: each has started a
    torchrun that counts its own processes alone, or inherits variables that were set outside of the step."""
    if step is None or step.count == 1:
        return
    if "TORCHELASTIC_RUN_ID" in environment:
        agents = environment.get("GROUP_WORLD_SIZE", "")
        if agents.isdecimal() and int(agents) == 1:
            raise ConfigError(
                f"--distributed: srun has started {step.count} tasks, and torchrun counts the processes of one "
                f"(GROUP_WORLD_SIZE 1) — start torchrun with --nnodes={step.count} and one rendezvous, or {_BOTH}"
            )
    elif (launched.rank, launched.count) != (step.rank, step.count):
        raise ConfigError(f"--distributed: {launched}, and {step} — unset the wrong ones, or {_BOTH}")


def _element(environment: Mapping[str, str]) -> _Place | None:
    """This element of the job's array; None without one."""
    names = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT")
    if names[0] not in environment:
        return None
    first, step = _number(environment, "SLURM_ARRAY_TASK_MIN", 0), _number(environment, "SLURM_ARRAY_TASK_STEP", 1)
    last, count = _number(environment, "SLURM_ARRAY_TASK_MAX"), _number(environment, names[1])
    place, off = divmod(_number(environment, names[0]) - first, max(1, step))
    spaced = count == 1 or last - first == (count - 1) * step
    if off or not spaced or not 0 <= place < count:
        raise ConfigError(
            f"--distributed: the {count} tasks {first} … {last} of this array are not spaced by {step} — {_BOTH}"
        )
    return _Place(place, count, names)


def _nothing_counts(environment: Mapping[str, str]) -> str:
    """The message for a process that nothing calls a worker: what is there, and what is missing."""
    tasks = environment.get("SLURM_NTASKS")
    if "SLURM_JOB_ID" in environment or "SLURM_PROCID" in environment:
        return (
            f"--distributed: this is no task of srun (SLURM_STEP_ID is {environment.get('SLURM_STEP_ID', 'not set')}), "
            f"though the job has room for {tasks or 'several'} tasks — start it with srun, or {_BOTH}"
        )
    for rank, size in (("RANK", "WORLD_SIZE"), *(names[1:] for names in _MPI)):
        if (rank in environment) != (size in environment):
            present, lacking = (rank, size) if rank in environment else (size, rank)
            return f"--distributed: {present} is set and {lacking} is not — set both, or {_BOTH}"
    return (
        "--distributed: no variable of SLURM, torchrun or MPI says which worker this is — start it by sbatch --array, "
        f"srun, torchrun or mpirun, or {_BOTH}"
    )


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environment.get(name)
    if text is None and default is not None:
        return default
    if text is None or not text.isdecimal():
        raise ConfigError(f"--distributed: {name} is {text!r:.40}, no number — {_BOTH}")
    return int(text)
