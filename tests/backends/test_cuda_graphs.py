"""CUDA graphs: what is refused on a machine without a GPU, and how a recording is used, with a stand-in for one."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import torch
from torch import Tensor

from emnist_diff.conditions import RowConditions
from emnist_diff.errors import ConfigError, PluginError
from emnist_diff_plugins.backends import cuda_graphs as backend
from emnist_diff_plugins.backends.cuda_graphs import CudaGraphs
from emnist_diff_plugins.contract import Workload
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


class Scaling(torch.nn.Module):
    """Each row times its index and the variant's number, plus its timestep."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(factor), requires_grad=False)

    def forward(self, x: Tensor, t: Tensor, index: Tensor) -> Tensor:
        return (x * self.factor * index[:, None] + t[:, None]).to(x.dtype)


class Holding:
    shape = (3,)

    def __init__(self) -> None:
        self.asked: list[str] = []

    def module(self, variant: str = "") -> torch.nn.Module:
        self.asked.append(variant)
        return Scaling(2.0 if variant else 1.0)


@attrs.define(eq=False)
class Replayed:
    """A recording that computes when it is replayed, from and into memory that stays where it is, as a GPU does."""

    network: Any
    rows: int
    shape: tuple[int, ...]
    device: torch.device
    inputs: tuple[Tensor, ...] = attrs.field(init=False)
    output: Tensor = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.inputs = (torch.zeros(self.rows, *self.shape), torch.zeros(self.rows), torch.zeros(self.rows).long())
        self.output = torch.zeros(self.rows, *self.shape)

    def replay(self) -> None:
        self.output.copy_(self.network(*self.inputs))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    monkeypatch.setattr(backend, "Recording", Replayed)


def test_it_refuses_a_processor():
    with pytest.raises(
        ConfigError, match=r"'cuda_graphs' cannot serve here: it serves cuda, not cpu — use --backend auto"
    ):
        CudaGraphs().evaluator(Holding(), Workload(4, CPU))  # type: ignore[arg-type]


def test_it_refuses_what_it_cannot_do(gpu, monkeypatch):
    holding: Any = Holding()
    assert CudaGraphs().refusal(holding, Workload(4, GPU)) is None
    assert "--precision fp32" in (CudaGraphs(tf32=True).refusal(holding, Workload(4, GPU, "bf16")) or "")
    mixture = GaussianMixture().denoiser()
    assert "--backend eager" in (CudaGraphs().refusal(mixture, Workload(4, GPU)) or "")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert "--precision fp16" in (CudaGraphs().refusal(holding, Workload(4, GPU, "bf16")) or "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert CudaGraphs().refusal(holding, Workload(4, GPU)) == "torch sees no GPU"


def test_every_call_is_copied_in_and_out(gpu):
    """Answers do not share the recording's memory, and each variant has a recording of its own, made once."""
    holding: Any = Holding()
    evaluate = CudaGraphs().evaluator(holding, Workload(2, GPU))
    x, t, index = torch.randn(6, 3), torch.arange(6.0), torch.arange(6)
    truth = x * index[:, None] + t[:, None]
    with torch.inference_mode():
        first = evaluate(x, t, RowConditions(index))
        again = evaluate(2 * x, t, RowConditions(index))
        twice = evaluate(x, t, RowConditions(index, "twice"))
    assert torch.equal(first, truth)
    assert torch.equal(again, 2 * x * index[:, None] + t[:, None])
    assert torch.equal(twice, 2 * x * index[:, None] + t[:, None])
    assert torch.equal(evaluate(x, t, RowConditions(index)), truth)  # outside of inference mode too
    assert holding.asked == ["", "twice"]


@pytest.mark.parametrize("tf32", [True, False])
def test_the_arithmetic_is_that_asked_for_and_only_while_recording(gpu, monkeypatch, tf32):
    seen = []

    def recording(*arguments: Any) -> Replayed:
        cudnn = torch.backends.cudnn
        seen.append((torch.backends.cuda.matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark))
        return Replayed(*arguments)

    monkeypatch.setattr(backend, "Recording", recording)
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic
    CudaGraphs(tf32=tf32).evaluator(Holding(), Workload(2, GPU))  # type: ignore[arg-type]
    assert seen == [(tf32, tf32, True, False)]
    after = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic
    assert after == before


@pytest.mark.parametrize(
    ("raised", "seen"),
    [(RuntimeError("operation not permitted when stream is capturing"), PluginError),
     (torch.cuda.OutOfMemoryError("no"), torch.cuda.OutOfMemoryError)],
)  # fmt: skip
def test_a_recording_that_fails(gpu, monkeypatch, raised, seen):
    """Out of memory is for the run to hear: it asks again with fewer rows."""

    def failing(*arguments: Any) -> None:
        raise raised

    monkeypatch.setattr(backend, "Recording", failing)
    with pytest.raises(seen, match=r"use --backend eager" if seen is PluginError else "no"):
        CudaGraphs().evaluator(Holding(), Workload(2, GPU))  # type: ignore[arg-type]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_on_a_gpu():
    holding: Any = Holding()
    evaluate = CudaGraphs().evaluator(holding, Workload(2, GPU))
    x, t, index = torch.randn(6, 3), torch.arange(6.0), torch.arange(6)
    with torch.inference_mode():
        got = evaluate(x.cuda(), t.cuda(), RowConditions(index.cuda())).cpu()
    torch.testing.assert_close(got, x * index[:, None] + t[:, None])
