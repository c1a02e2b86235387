"""The promise that every backend keeps: a row's bits depend on its inputs and on the rows of a call, and on nothing
else — neither on its place in the call, nor on its neighbours, nor on how many calls come at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from emnist_diff.conditions import RowConditions
from emnist_diff.discovery import installed
from emnist_diff.errors import ConfigError
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader
from emnist_diff_plugins.contract import BackendSpec, Workload
from emnist_diff_plugins.denoisers.unet2d import UNet2D

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def denoiser() -> Any:
    """A small network with attention, with weights that are not trained."""
    torch.manual_seed(0)
    family = UNet2D(
        sample_size=28, block_out_channels=(32, 32), attention=(False, True), attention_head_dim=16, num_class_embeds=4
    )
    weights = {name: value + 0.02 * torch.randn_like(value) for name, value in family.network().state_dict().items()}
    header = CheckpointHeader(family="unet2d", classes=("A", "B", "C"), null_index=3)
    return family.with_weights(weights, header, "cpu")


def serving() -> list[Any]:
    """Every backend that could serve on this machine, in each of its precisions."""
    cases = []
    for entry in installed().of(BackendSpec):
        assert isinstance(entry.spec, BackendSpec)
        if entry.spec.name == "compile":  # takes half a minute a case; its own tests ask the same of it
            continue
        absent = entry.spec.missing() or ("no CPU backend" if "cpu" not in entry.spec.devices else None)
        for precision in entry.spec.precisions:
            mark = pytest.mark.skipif(absent is not None, reason=str(absent))
            cases.append(pytest.param(entry.spec.name, precision, marks=mark, id=f"{entry.spec.name}-{precision}"))
    return cases


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def ready(backend: Any, denoiser: Any, work: Workload) -> Any:
    """The denoiser on a backend; the test is skipped where it has no arithmetic of the precision."""
    if reason := backend.refusal(denoiser, work):
        pytest.skip(reason)
    try:
        return backend.evaluator(denoiser, work)
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(("name", "precision"), serving())
@pytest.mark.parametrize(("rows", "count"), [(1, 1), (2, 2), (3, 4), (4, 3), (6, 2)])
def test_a_row_is_the_same_wherever_it_stands(denoiser, threads, name, precision, rows, count):
    threads(count)
    backend = installed().load(BackendSpec, name)()
    work = Workload(rows, CPU, precision, identity="promise", threads=count)
    evaluate = ready(backend, denoiser, work)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(4 * rows, 1, 28, 28, generator=generator)
    t = torch.linspace(0.0, 999.0, 4 * rows)
    index = torch.arange(4 * rows) % 4
    with torch.inference_mode():
        all_at_once = evaluate(x, t, RowConditions(index)).clone()
        assert all_at_once.dtype == torch.float32
        assert all_at_once.is_contiguous()
        for order in (torch.arange(4 * rows).flip(0), torch.randperm(4 * rows, generator=generator)):
            again = evaluate(x[order], t[order], RowConditions(index[order])).clone()
            assert torch.equal(again, all_at_once[order])
        for call in range(4):
            part = slice(call * rows, (call + 1) * rows)
            alone = evaluate(x[part], t[part], RowConditions(index[part])).clone()
            assert torch.equal(alone, all_at_once[part])


@pytest.mark.parametrize(("name", "precision"), serving())
def test_it_is_the_networks_own_answer(denoiser, name, precision):
    backend = installed().load(BackendSpec, name)()
    work = Workload(3, CPU, precision, identity="promise", threads=1)
    evaluate = ready(backend, denoiser, work)
    x = torch.randn(6, 1, 28, 28, generator=torch.Generator().manual_seed(2))
    t, index = torch.linspace(0.0, 999.0, 6), torch.tensor([0, 1, 2, 3, 0, 1])
    with torch.inference_mode():
        truth = denoiser.module().double()(x.double(), t.double(), index).float()
        denoiser.module().float()
        error = (evaluate(x, t, RowConditions(index)) - truth).norm() / truth.norm()
    assert error < {"fp32": 1e-5, "bf16": 3e-2, "fp16": 5e-3}[precision]
