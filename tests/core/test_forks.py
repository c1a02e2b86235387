"""A process that is forked from one that has made samples makes the same samples, or says why not, and never waits for
threads that it does not have."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import emnist_diff
from emnist_diff import EnvironmentConfig, InferenceConfig

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

SECONDS = 120
"""After which a child is held to hang; it takes less than one."""


class Maker:
    """Makes one sample in two steps, on a backend and with two threads."""

    def __init__(self, backend: str) -> None:
        self.checkpoint = emnist_diff.load_checkpoint()
        self.model = emnist_diff.load_unet(self.checkpoint, "cpu")
        self.scheduler = emnist_diff.build_scheduler(self.checkpoint)
        self.config = InferenceConfig(character="A", steps=2, env=EnvironmentConfig(backend=backend))

    def __call__(self) -> torch.Tensor:
        made = emnist_diff.generate_sample(self.model, self.scheduler, self.config, self.checkpoint)
        return made.x_final


@pytest.fixture
def two_threads() -> Iterator[None]:
    """torch with two threads that have computed, which is when it holds them."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.ones(1 << 21).add(1)
    yield
    torch.set_num_threads(before)


def in_fork(function: Callable[[], Any]) -> Any:
    """What `function` returns in a forked process, or the text of what it raises."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def child() -> None:
        try:
            theirs.send(function())
        except Exception as error:
            theirs.send(str(error))

    process = context.Process(target=child)
    process.start()
    try:
        assert ours.poll(SECONDS), "the forked process hangs"
        return ours.recv()
    finally:
        process.kill()
        process.join()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_makes_the_same_sample(two_threads):
    make = Maker("eager")
    before = make()
    torch.ones(1 << 21).add(1)

    def again() -> Any:
        torch.ones(1 << 21).add(1)  # more than torch gives to one thread
        return make().numpy(), in_fork(lambda: make().numpy())

    child, grandchild = in_fork(again)
    assert (child == before.numpy()).all()
    assert (grandchild == before.numpy()).all()
    assert torch.equal(make(), before)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_so_does_one_of_os_fork(two_threads):
    make = Maker("eager")
    make()
    pid = os.fork()
    if not pid:
        signal.alarm(SECONDS)
        try:
            make()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0


class Samples(Dataset):
    def __init__(self, make: Maker) -> None:
        self.make = make

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.make()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_so_do_the_workers_of_a_data_loader(two_threads):
    make = Maker("eager")
    before = make()
    loader = DataLoader(Samples(make), num_workers=1, timeout=SECONDS, multiprocessing_context="fork")
    assert all(torch.equal(batch[0], before) for batch in loader)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_openvino_says_that_it_cannot(two_threads):
    pytest.importorskip("openvino")
    make = Maker("openvino")
    make()
    said = "OpenVINO cannot continue in a process that was forked after its first use — start processes with 'spawn'"
    assert said in in_fork(make)
    assert said in in_fork(lambda: Maker("openvino")())
    assert in_fork(lambda: Maker("auto")().shape) == (1, 28, 28)
