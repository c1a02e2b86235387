"""Torch without a compiler: what it refuses, what it sets up, and that it is the network's own answer."""

from __future__ import annotations

import copy
import threading
from typing import Any

import pytest
import torch

from emnist_diff.conditions import RowConditions
from emnist_diff.direct import Direct
from emnist_diff.errors import ConfigError
from emnist_diff.onethread import one_thread
from emnist_diff_plugins.backends import _traced
from emnist_diff_plugins.backends.eager import Eager
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader
from emnist_diff_plugins.contract import Workload
from emnist_diff_plugins.denoisers._attention import perturbed
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture
from emnist_diff_plugins.denoisers.unet2d import UNet2D
from emnist_diff_plugins.variants import Variant

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def denoiser() -> Any:
    torch.manual_seed(0)
    family = UNet2D(
        sample_size=8, block_out_channels=(8, 16), attention=(False, True), attention_head_dim=8, norm_num_groups=4,
        num_class_embeds=4,
    )  # fmt: skip
    return family.with_weights(
        family.network().state_dict(), CheckpointHeader(family="unet2d", classes=("A", "B", "C"), null_index=3), "cpu"
    )


def asked(rows: int) -> tuple[torch.Tensor, torch.Tensor, RowConditions]:
    x = torch.randn(rows, 1, 8, 8, generator=torch.Generator().manual_seed(rows))
    return x, torch.full((rows,), 123.0), RowConditions(torch.arange(rows) % 4)


def relative(got: torch.Tensor, truth: torch.Tensor) -> float:
    return float((got - truth).norm() / truth.norm())


@pytest.mark.parametrize("rewrite", [True, False])
@pytest.mark.parametrize(("precision", "near"), [("fp32", 1e-5), ("bf16", 3e-2)])
def test_it_is_the_networks_own_answer(denoiser, rewrite, precision, near):
    work = Workload(5, CPU, precision)
    x, t, conds = asked(15)
    with torch.inference_mode():
        got = Eager(rewrite).evaluator(denoiser, work)(x, t, conds)
        assert relative(got, denoiser.predict(x, t, conds)) < near
    assert got.dtype == torch.float32
    assert got.is_contiguous()


def test_without_rewriting_it_is_the_network_to_the_bit(denoiser):
    x, t, conds = asked(5)
    with torch.inference_mode(), one_thread("cpu"):
        got = Eager(rewrite=False).evaluator(denoiser, Workload(5, CPU))(x, t, conds)
        assert torch.equal(got, denoiser.predict(x, t, conds))


def test_it_can_be_asked_outside_of_inference_mode(denoiser):
    x, t, conds = asked(4)
    evaluate = Eager().evaluator(denoiser, Workload(2, CPU, threads=2))
    with torch.inference_mode():
        there = evaluate(x, t, conds).clone()
    assert torch.equal(evaluate(x, t, conds), there)


def test_other_denoisers_are_asked_themselves():
    mixture = GaussianMixture().denoiser()
    evaluate = Eager().evaluator(mixture, Workload(4, CPU))
    assert isinstance(evaluate, Direct)
    assert (evaluate.denoiser, evaluate.rows) == (mixture, 4)
    with pytest.raises(ConfigError, match=r"offers no network to be cast to bf16 — use --precision fp32"):
        Eager().evaluator(mixture, Workload(4, CPU, "bf16"))


def test_another_network_is_cast(denoiser):
    """What is not of `unet2d` is evaluated as it is, with its weights in the narrower type."""

    class Other(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor([1.001953125, 3.0]), requires_grad=False)

        def forward(self, x: torch.Tensor, t: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
            assert x.dtype == self.scale.dtype
            return x * self.scale[index][:, None, None, None]

    class Holding:
        shape, made = (1, 8, 8), Other()

        def module(self, variant: str = "") -> torch.nn.Module:
            twice = copy.deepcopy(self.made)
            twice.scale *= 2 if variant == "twice" else 1
            return twice

    holding: Any = Holding()
    x, t, _ = asked(4)
    evaluate = Eager().evaluator(holding, Workload(2, CPU, "bf16"))
    index = torch.tensor([0, 1, 1, 0])
    narrow = x.bfloat16().float()
    scales = torch.tensor([1.0, 3.0])[index][:, None, None, None]  # bfloat16 has no 1.00195
    assert torch.equal(evaluate(x, t, RowConditions(index)), (narrow * scales).bfloat16().float())
    assert torch.equal(evaluate(x, t, RowConditions(index, "twice")), (narrow * 2 * scales).bfloat16().float())
    assert holding.made.scale.dtype == torch.float32


def test_networks_of_one_structure_share_a_graph_and_keep_their_weights(denoiser, monkeypatch):
    """Torch keeps every graph for ever; one for every run would fill the memory of a process that makes many."""
    monkeypatch.setattr(_traced, "_GRAPHS", {})
    header = CheckpointHeader(family="unet2d", classes=("A", "B", "C"), null_index=3)

    def like(**more: Any) -> Any:
        family = UNet2D(
            sample_size=8, block_out_channels=(8, 16), attention=(False, True), attention_head_dim=8, norm_num_groups=4,
            num_class_embeds=4, **more,
        )  # fmt: skip
        torch.manual_seed(1)
        return family.with_weights(family.network().state_dict(), header, "cpu")

    x, t, conds = asked(4)
    first, second = denoiser, like()
    with torch.inference_mode():
        answers = [Eager().evaluator(one, Workload(4, CPU))(x, t, conds) for one in (first, second, first)]
        for answer, one in zip(answers, (first, second, first), strict=True):
            assert relative(answer, one.predict(x, t, conds)) < 1e-5
        assert torch.equal(answers[0], answers[2])
        assert not torch.allclose(answers[0], answers[1])
        assert len(_traced._GRAPHS) == 1
        for work in (Workload(3, CPU), Workload(4, CPU, "bf16")):
            Eager().evaluator(first, work)
        assert len(_traced._GRAPHS) == 3
        for other in (like(resnet_time_scale_shift="default"), like(layers_per_block=2)):
            got = Eager().evaluator(other, Workload(4, CPU))(x, t, conds)
            assert relative(got, other.predict(x, t, conds)) < 1e-5
        assert len(_traced._GRAPHS) == 5
        for number, variant in enumerate(("attention_identity", "attention_blur", "attention_blur@1.5"), 1):
            Eager().evaluator(first, Workload(4, CPU))(x, t, RowConditions(conds.index, variant))
            assert len(_traced._GRAPHS) == 5 + number


def test_a_row_has_the_same_bits_whatever_threads_its_caller_has(denoiser):
    """8 channels leave elements over, which several threads of torch would share in other ways."""
    x, t, conds = asked(3)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        evaluate = Eager().evaluator(denoiser, Workload(3, CPU))
        first = evaluate(x, t, conds)
        torch.set_num_threads(3)
        for order in (torch.tensor([2, 0, 1]), torch.tensor([1, 2, 0])):
            assert torch.equal(evaluate(x[order], t, RowConditions(conds.index[order])), first[order])
        assert torch.equal(Eager().evaluator(denoiser, Workload(3, CPU))(x, t, conds), first)
    finally:
        torch.set_num_threads(before)


def test_setting_up_leaves_other_threads_their_threads(denoiser, monkeypatch):
    """Torch gives a new thread the number that was set last anywhere, so while networks are traced none is set."""
    seen = []
    trace = torch.jit.trace

    def watched(*given: Any, **more: Any) -> Any:
        looking = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        looking.start()
        looking.join()
        return trace(*given, **more)

    monkeypatch.setattr(torch.jit, "trace", watched)
    monkeypatch.setattr(_traced, "_GRAPHS", {})
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        Eager().evaluator(denoiser, Workload(4, CPU, threads=2))
        assert seen == [3]
    finally:
        torch.set_num_threads(before)


def test_variants_of_one_name_are_told_apart_by_what_they_are(denoiser):
    """A denoiser may call its variants as it likes."""

    class Own:
        shape, conditions = denoiser.shape, denoiser.conditions

        def __init__(self, way: str) -> None:
            self.way = way

        def module(self, variant: str = "") -> torch.nn.Module:
            return perturbed(denoiser.module(), Variant.parse(self.way)) if variant else denoiser.module()

    x, t, conds = asked(4)
    for way in ("attention_identity:all", "attention_blur@0.8:all", "attention_blur:all"):
        own: Any = Own(way)
        with torch.inference_mode():
            got = Eager().evaluator(own, Workload(4, CPU))(x, t, RowConditions(conds.index, "worse"))
            assert relative(got, own.module("worse")(x, t, conds.index)) < 1e-5


def test_half_precision_is_not_for_processors(denoiser):
    with pytest.raises(ConfigError, match=r"backend 'eager' cannot serve here: .* use --precision bf16"):
        Eager().evaluator(denoiser, Workload(4, CPU, "fp16"))
