"""Which worker this is: every launcher's variables, alone and inside each other; and what the others left."""

from __future__ import annotations

import pytest

from emnist_diff.errors import ConfigError
from emnist_diff_plugins.machine.workers import chosen, from_environment

JOB = {"SLURM_JOB_ID": "77", "SLURM_PROCID": "0", "SLURM_NTASKS": "4"}
"""What the batch script of ``sbatch --ntasks=4`` sees."""
STEP = {**JOB, "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4"}
ELEMENT = {
    "SLURM_JOB_ID": "79", "SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": "3",
    "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_MAX": "2", "SLURM_PROCID": "0", "SLURM_NTASKS": "1",
}  # fmt: skip
SPACED = {
    **ELEMENT, "SLURM_ARRAY_TASK_ID": "30", "SLURM_ARRAY_TASK_MIN": "10", "SLURM_ARRAY_TASK_MAX": "40",
    "SLURM_ARRAY_TASK_STEP": "10", "SLURM_ARRAY_TASK_COUNT": "4",
}  # fmt: skip
AGAIN = {**ELEMENT, "SLURM_ARRAY_TASK_COUNT": "1", "SLURM_ARRAY_TASK_MIN": "2"}
TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "TORCHELASTIC_RUN_ID": "none", "GROUP_WORLD_SIZE": "4"}
OPEN_MPI = {"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "6", "PMIX_RANK": "3"}
MPICH = {"PMI_RANK": "1", "PMI_SIZE": "2"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        pytest.param({**STEP, "SLURM_PROCID": "3"}, (3, 4), id="srun"),
        pytest.param({**STEP, "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"}, (1, 2), id="a step of fewer tasks"),
        pytest.param({"SLURM_STEPID": "7", "SLURM_PROCID": "5", "SLURM_NTASKS": "8"}, (5, 8), id="an old srun"),
        pytest.param({**JOB, "SLURM_NTASKS": "1"}, (0, 1), id="a batch script of one task"),
        pytest.param({"SLURM_JOB_ID": "77", "SLURM_PROCID": "0"}, (0, 1), id="a batch script that counts nothing"),
        pytest.param(ELEMENT, (2, 3), id="an array"),
        pytest.param({**ELEMENT, "SLURM_NTASKS": "4"}, (2, 3), id="an array's batch script beside idle tasks"),
        pytest.param(SPACED, (2, 4), id="a spaced array"),
        pytest.param(AGAIN, (0, 1), id="one element again"),
        pytest.param({**ELEMENT, **STEP, "SLURM_PROCID": "1"}, (9, 12), id="srun in an array"),
        pytest.param(TORCHRUN, (5, 8), id="torchrun"),
        pytest.param({"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}, (0, 2), id="accelerate"),
        pytest.param({**JOB, **TORCHRUN}, (5, 8), id="torchrun in a batch script"),
        pytest.param({**STEP, **TORCHRUN}, (5, 8), id="one torchrun a node, by srun"),
        pytest.param({**ELEMENT, **TORCHRUN}, (21, 24), id="torchrun in an array"),
        pytest.param({**STEP, "RANK": "0", "WORLD_SIZE": "4"}, (0, 4), id="srun and its own numbers exported"),
        pytest.param(OPEN_MPI, (3, 6), id="Open MPI"),
        pytest.param({**STEP, **OPEN_MPI}, (3, 6), id="Open MPI on a further node, whose daemon srun has started"),
        pytest.param({**JOB, **OPEN_MPI}, (3, 6), id="Open MPI in a batch script"),
        pytest.param({"MV2_COMM_WORLD_RANK": "1", "MV2_COMM_WORLD_SIZE": "3"}, (1, 3), id="MVAPICH2"),
        pytest.param(MPICH, (1, 2), id="MPICH"),
        pytest.param({**ELEMENT, **MPICH}, (5, 6), id="MPICH in an array"),
        pytest.param({**STEP, "SLURM_PROCID": "3", "PMI_RANK": "3", "PMI_SIZE": "4"}, (3, 4), id="srun --mpi=pmi2"),
        pytest.param({**STEP, "SLURM_PROCID": "2", "WORLD_SIZE": "9"}, (2, 4), id="a stray variable beside srun"),
    ],
)
def test_the_environment_says_which_worker_this_is(variables, expected):
    assert from_environment(variables) == expected
    assert chosen(7, 9, variables) == (7, 9)
    assert chosen(None, expected[1], variables) == expected


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({}, "no variable of SLURM, torchrun or MPI"),
        (JOB, "no task of srun .* room for 4 tasks — start it with srun"),
        ({**JOB, "SLURM_STEP_ID": "4294967291"}, "SLURM_STEP_ID is 4294967291"),  # the batch step
        ({**JOB, "SLURM_STEP_ID": "4294967290"}, "SLURM_STEP_ID is 4294967290"),  # an interactive shell
        ({**JOB, "SLURM_STEP_ID": "batch"}, "SLURM_STEP_ID is batch"),
        ({"SLURM_PROCID": "5", "SLURM_NTASKS": "8"}, "SLURM_STEP_ID is not set"),
        ({"SLURM_STEP_ID": "0", "SLURM_PROCID": "x", "SLURM_NTASKS": "2"}, "SLURM_PROCID is 'x', no number"),
        ({"SLURM_STEP_ID": "0", "SLURM_PROCID": "1"}, "SLURM_NTASKS is None"),
        ({**STEP, "SLURM_PROCID": "4"}, "SLURM_PROCID 4 is none of SLURM_STEP_NUM_TASKS 4"),
        ({**ELEMENT, "SLURM_ARRAY_TASK_MAX": "7"}, "not spaced by 1"),
        ({"SLURM_ARRAY_TASK_ID": "3"}, "SLURM_ARRAY_TASK_MAX is None"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is set and RANK is not"),
        ({"PMI_RANK": "2"}, "PMI_RANK is set and PMI_SIZE is not"),
        ({"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "2"}, "is none of OMPI_COMM_WORLD_SIZE 2"),
        ({**STEP, **TORCHRUN, "GROUP_WORLD_SIZE": "1"}, "srun has started 4 tasks, and torchrun counts .* one"),
        ({**STEP, "SLURM_PROCID": "3", "RANK": "0", "WORLD_SIZE": "4"}, "RANK 0 of WORLD_SIZE 4, and SLURM_PROCID 3"),
    ],
)
def test_an_environment_that_says_too_little_is_refused_and_what_the_user_says_is_not(variables, complaint):
    for rank, world_size in ((None, None), (1, None), (None, 4)):
        with pytest.raises(ConfigError, match=f"{complaint}.*--rank and --world-size"):
            chosen(rank, world_size, variables)
    assert chosen(1, 4, variables) == (1, 4)


def test_half_of_what_the_user_says_must_fit_the_environment():
    assert chosen(1, None, STEP) == (1, 4)
    with pytest.raises(ConfigError, match="--rank 4 with --distributed: the environment counts 4 workers"):
        chosen(4, None, STEP)
    with pytest.raises(ConfigError, match=r"--world-size 3 .* counts 1 worker, .* use --rank too"):
        chosen(None, 3, AGAIN)  # its rank is not 0


def run_command(output):
    return (
        *("run", "--denoiser", "gaussian-mixture:shape=[1,4,4],classes=AB", "--total-videos", "6", "--steps", "2"),
        *("--sink", "hdf5", "--output", str(output)),
    )


def test_one_element_again_is_refused_with_its_rank(cli, tmp_path, monkeypatch):
    command, inside = run_command(tmp_path), tmp_path / "A"
    array = {"SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_MIN": "10", "SLURM_ARRAY_TASK_MAX": "12"}
    for name, value in array.items():
        monkeypatch.setenv(name, value)
    for element in (10, 12):
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", str(element))
        assert cli(*command, "--distributed").code == 0

    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "11")
    for name in array:
        monkeypatch.setenv(name, "1" if name.endswith("COUNT") else "11")
    for more in ((), ("--overwrite",), ("--resume",)):
        again = cli(*command, "--distributed", *more)
        assert again.code == 7
        assert "files of 3 workers" in again.error
        assert "for this element (11) of the array use --rank 1 --world-size 3" in again.error
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID")
    assert "use --rank R --world-size 3 with the rank that is to be made (rank 1 left no file)" in cli(*command).error
    assert not (inside / "trajectory.h5").exists()

    lacking = cli("merge", inside)
    assert lacking.code == 5
    assert "no file is of rank 1, whose samples --rank 1 --world-size 3 makes" in lacking.error
    (inside / "trajectory-0002-of-0003.h5").rename(tmp_path / "aside.h5")
    few = cli("merge", inside)
    assert "is the file of worker 0 of 3 alone: the files of ranks 1 and 2 are not beside it" in few.error
    (tmp_path / "aside.h5").rename(inside / "trajectory-0002-of-0003.h5")
    assert cli(*command, "--distributed", "--rank", "1", "--world-size", "3").code == 0
    assert cli("merge", inside).code == 0
    assert "is not one of them" in cli("merge", inside / "trajectory.h5").error
    assert cli(*command, "--rank", "1", "--world-size", "3", "--resume").code == 0  # beside what was joined


def test_a_worker_is_refused_beside_a_lone_run_and_half_a_place_is_none(cli, tmp_path):
    command = run_command(tmp_path)
    assert cli(*command).code == 0
    refused = cli(*command, "--rank", "0", "--world-size", "2")
    assert refused.code == 7
    assert "holds the samples of a lone run, and this is worker 0 of 2" in refused.error
    for half in (("--rank", "0"), ("--world-size", "2")):
        refused = cli(*command, *half, "--overwrite")
        assert refused.code == 2
        assert "give both, or use --distributed" in refused.error
