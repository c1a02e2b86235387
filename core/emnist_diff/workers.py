"""Which worker this is, of how many: from a SLURM job's environment."""

from __future__ import annotations

from collections.abc import Mapping

from emnist_diff.errors import ConfigError

SLURM = (
    "SLURM_JOB_ID",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_ARRAY_TASK_COUNT",
    "SLURM_ARRAY_TASK_MIN",
    "SLURM_ARRAY_TASK_MAX",
    "SLURM_ARRAY_TASK_STEP",
    "SLURM_PROCID",
    "SLURM_NTASKS",
)
"""The variables that are read, and recorded; no other variable of the environment is."""


def recorded(environment: Mapping[str, str]) -> dict[str, str]:
    """The SLURM variables that a file records."""
    return {name: environment[name][:64] for name in SLURM if name in environment}


def from_slurm(environment: Mapping[str, str]) -> tuple[int, int]:
    """(rank, world size) of this process: the tasks of an array count, and so do those that srun starts in each.

    The array must be evenly spaced (``--array=0-9``, ``10-40:10``), and a task that is run again keeps its rank.
    Raises `ConfigError` outside a job, and for an array with gaps.
    """
    if "SLURM_ARRAY_TASK_ID" not in environment and "SLURM_PROCID" not in environment:
        raise ConfigError(
            "--distributed: no SLURM_ARRAY_TASK_ID and no SLURM_PROCID here — start it by sbatch --array or srun, or "
            "say --rank and --world-size"
        )
    task, tasks = _number(environment, "SLURM_PROCID", 0), _number(environment, "SLURM_NTASKS", 1)
    if "SLURM_PROCID" not in environment:
        tasks = 1  # the batch script itself, of which there is one
    place, count = 0, 1
    if "SLURM_ARRAY_TASK_ID" in environment:
        first, step = _number(environment, "SLURM_ARRAY_TASK_MIN", 0), _number(environment, "SLURM_ARRAY_TASK_STEP", 1)
        last = _number(environment, "SLURM_ARRAY_TASK_MAX", None)
        count = _number(environment, "SLURM_ARRAY_TASK_COUNT", None)
        place, off = divmod(_number(environment, "SLURM_ARRAY_TASK_ID", None) - first, max(1, step))
        if off or last - first != (count - 1) * step or not 0 <= place < count:
            raise ConfigError(
                f"--distributed: the {count} tasks {first} … {last} of this array are not spaced by {step} — "
                "say --rank and --world-size"
            )
    if not 0 <= task < tasks:
        raise ConfigError(f"--distributed: SLURM_PROCID {task} is none of {tasks} — say --rank and --world-size")
    return place * tasks + task, count * tasks


def _number(environment: Mapping[str, str], name: str, default: int | None) -> int:
    text = environment.get(name)
    if text is None and default is not None:
        return default
    if text is None or not text.isdecimal():
        raise ConfigError(f"--distributed: {name} is {text!r}, no number — say --rank and --world-size")
    return int(text)
