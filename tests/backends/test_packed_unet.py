"""The network for many calls of one size computes what the network itself does, for every setting it can have."""

from __future__ import annotations

import copy
import gc
import sys
import threading
import time
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from emnist_diff_plugins.backends import _packed, _traced
from emnist_diff_plugins.backends._group_norm import GroupNorm
from emnist_diff_plugins.backends._packed_unet import PackedUNet, known
from emnist_diff_plugins.backends._silu import silu_
from emnist_diff_plugins.backends._traced import Traced, traced
from emnist_diff_plugins.denoisers import _unet
from emnist_diff_plugins.denoisers._attention import perturbed
from emnist_diff_plugins.denoisers._unet import UNet
from emnist_diff_plugins.denoisers.unet2d import UNet2D
from emnist_diff_plugins.variants import Variant


def error(got: torch.Tensor, truth: torch.Tensor) -> float:
    return float((got.double() - truth).norm() / truth.norm())


def network(seed: int) -> tuple[UNet2D, UNet]:
    """Settings by chance, and such a network with weights that are not those of an untrained one."""
    random = np.random.default_rng(seed)
    levels = int(random.integers(1, 4))
    family = UNet2D(
        sample_size=8,
        channels=int(random.choice([1, 3])),
        block_out_channels=tuple(random.choice([16, 32, 48, 80], levels).tolist()),
        attention=tuple(bool(a) for a in random.integers(0, 2, levels)),
        layers_per_block=int(random.integers(1, 3)),
        resnet_time_scale_shift=("default", "scale_shift")[seed % 2],
        norm_num_groups=int(random.choice([1, 2, 8, 16])),
        attention_head_dim=int(random.choice([4, 12, 16])),
        num_class_embeds=5,
    )
    torch.manual_seed(seed)
    made = family.network().eval().requires_grad_(False)
    for value in made.parameters():
        value += 0.05 * torch.randn_like(value)
    return family, made


@pytest.fixture(params=[True, False], ids=["onednn", "plain"])
def onednn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if not request.param:
        monkeypatch.setattr(_packed, "onednn", lambda dtype: False)
    elif not _packed.onednn(torch.float32):
        pytest.skip("torch is built without oneDNN")
    return bool(request.param)


@pytest.mark.parametrize("seed", range(10))
def test_it_computes_the_same_function(seed, onednn):
    family, made = network(seed)
    rows = 1 + seed % 4
    x, t = torch.randn(rows, family.channels, 8, 8), torch.rand(rows) * 999
    index = torch.randint(0, 5, (rows,))
    with torch.inference_mode():
        truth = copy.deepcopy(made).double()(x.double(), t.double(), index)
        packed = PackedUNet(made, rows, (8, 8), torch.float32)
        got = packed(x, t, index)
        assert got.shape == x.shape
        assert error(got, truth) < 3e-6
        assert torch.equal(packed(x, t, index), got)
        assert error(PackedUNet(made, rows, (8, 8), torch.bfloat16)(x, t, index), truth) < 5e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("seed", range(6))
def test_as_a_graph_it_has_the_same_bits(seed, dtype, onednn):
    """Also of other inputs than it was traced by, outside of inference mode, and from several threads at once."""
    family, made = network(seed)
    rows = 1 + seed % 3
    with torch.inference_mode():
        packed = PackedUNet(made, rows, (8, 8), dtype)
        example = (torch.zeros(rows, family.channels, 8, 8), torch.zeros(rows), torch.zeros(rows).long())
        graph = traced(packed, example, object())
        assert isinstance(graph, Traced)
        asked = [
            (torch.randn(rows, family.channels, 8, 8), torch.rand(rows) * 999, torch.randint(5, (rows,)))
            for _ in range(8)
        ]
        truths = [packed(*one) for one in asked]

    def answer(one):
        torch.set_num_threads(before)  # of this thread
        return graph(*one)

    before = torch.get_num_threads()
    with ThreadPoolExecutor(4) as pool:
        for got, truth in zip(pool.map(answer, asked), truths, strict=True):
            assert torch.equal(got, truth)


def test_what_cannot_be_traced_is_used_as_it_is(monkeypatch):
    family, made = network(1)
    packed = PackedUNet(made, 1, (8, 8), torch.float32)

    def gone(*args, **settings):
        raise AttributeError("there is no TorchScript any more")

    monkeypatch.setattr(torch.jit, "trace", gone)
    held = {name: value.data_ptr() for name, value in packed.named_parameters()}
    example = (torch.zeros(1, family.channels, 8, 8), torch.zeros(1), torch.zeros(1).long())
    assert traced(packed, example, object()) is packed
    assert {name: value.data_ptr() for name, value in packed.named_parameters()} == held


def test_operators_that_cannot_be_scripted_are_called_as_they_are(monkeypatch):
    def gone(function):
        raise RuntimeError("there is no TorchScript any more")

    monkeypatch.setattr(torch.jit, "script", gone)
    assert _packed._scripted.__wrapped__(_packed._conv) is _packed._conv


def test_where_tracing_is_off_it_is_used_as_it_is(monkeypatch):
    """As with PYTORCH_JIT=0, where torch gives back the function: as a graph it would be one network's for all."""
    monkeypatch.setattr(torch.jit, "trace", lambda function, *_, **__: function)
    _, made = network(1)
    packed = PackedUNet(made, 1, (8, 8), torch.float32)
    assert traced(packed, (torch.zeros(1, 1, 8, 8), torch.zeros(1), torch.zeros(1).long()), object()) is packed


def test_a_graph_keeps_no_network_alive():
    family, made = network(1)
    example = (torch.zeros(1, family.channels, 8, 8), torch.zeros(1), torch.zeros(1).long())
    packed = PackedUNet(made, 1, (8, 8), torch.float32)
    graph, gone = traced(packed, example, "kept"), weakref.ref(packed)
    assert "kept" in _traced._GRAPHS
    del packed, graph
    gc.collect()
    assert gone() is None


def test_warnings_are_as_they_were_when_several_threads_have_traced():
    before = list(warnings.filters)
    family, made = network(1)
    example = (torch.zeros(1, family.channels, 8, 8), torch.zeros(1), torch.zeros(1).long())

    def one(_):
        return traced(PackedUNet(made, 1, (8, 8), torch.float32), example, object())

    with ThreadPoolExecutor(4) as pool:
        assert all(isinstance(graph, Traced) for graph in pool.map(one, range(12)))
    assert list(warnings.filters) == before


class Slow(nn.Module):
    """Convolutions, and at the end a mark in what it was asked for."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(64, 64, 3, padding=1).requires_grad_(False)

    def forward(self, x, t, index):
        for _ in range(50):
            x = self.layer(x)
        t.add_(1)
        return x


def ends_while_the_lock_is_held(call, seconds):
    """Whether a call comes to its end while this thread, once the call has let go of Python's lock, keeps it."""
    x, t, index = torch.randn(1, 64, 28, 28), torch.zeros(1), torch.zeros(1).long()
    held = torch.jit.script([x, t]), torch.jit.script([index])  # as weights are, or their last use would want the lock
    mark, begun = t.numpy(), []  # no lock of Python's, which would be let go of

    def run():
        begun.append(True)
        with torch.inference_mode():
            call(x, t, index)

    calling = threading.Thread(target=run)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # nobody has to let go
    try:
        calling.start()
        while not begun:
            time.sleep(0.001)
        deadline = time.monotonic() + seconds
        while not mark[0] and time.monotonic() < deadline:
            pass
        return bool(mark[0] and held)
    finally:
        sys.setswitchinterval(before)
        calling.join()


def test_a_graph_is_walked_without_pythons_lock():
    """The network itself is not: it wants the lock again after every operator."""
    slow = Slow()
    graph = traced(slow, (torch.zeros(1, 64, 28, 28), torch.zeros(1), torch.zeros(1).long()), object())
    assert isinstance(graph, Traced)
    assert ends_while_the_lock_is_held(graph, 60)
    assert not ends_while_the_lock_is_held(slow, 0.5)


def test_only_networks_that_are_known_to_their_last_part_are_rewritten():
    """Another part might compute anything."""

    class Other(_unet.Attention):
        pass

    _, made = network(3)
    assert known(made)
    assert known(perturbed(made, Variant.parse("attention_blur")))
    assert not known(nn.Conv2d(1, 1, 1))
    made.mid_block.attentions[0].__class__ = Other
    assert not known(made)


def test_the_network_itself_stays_as_it_is():
    family, made = network(3)
    before = copy.deepcopy(made.state_dict())
    with torch.inference_mode():
        PackedUNet(made, 2, (8, 8), torch.float32)(
            torch.randn(2, family.channels, 8, 8), torch.ones(2), torch.ones(2).long()
        )
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())


@pytest.mark.parametrize(("width", "groups"), [(8, 8), (12, 4), (32, 4), (48, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_norms(width, groups, dtype):
    layer = nn.GroupNorm(groups, width).requires_grad_(False)
    layer.weight += torch.randn(width)
    layer.bias += torch.randn(width)
    exact, norm = copy.deepcopy(layer).double(), GroupNorm(layer, dtype)
    x = torch.randn(3, width, 5, 7).to(dtype, memory_format=torch.channels_last)
    told, scale, shift = torch.randn(3, 3, width)
    wide = x.double()
    silu = nn.functional.silu
    told_, scale_, shift_ = (value.double()[:, :, None, None] for value in (told, scale, shift))
    near = 1e-6 if dtype == torch.float32 else 1e-2
    assert error(norm(x), exact(wide)) < near
    assert error(norm.silu(x), silu(exact(wide))) < near
    assert error(norm.scaled_silu(x, scale, shift), silu(exact(wide) * scale_ + shift_)) < near
    got = norm.added_silu(x.clone(memory_format=torch.preserve_format), told)
    assert error(got, silu(exact(wide + told_))) < near
    assert got.dtype == dtype
    assert got.is_contiguous(memory_format=torch.channels_last)


def test_a_norm_of_what_is_far_from_zero_keeps_its_digits():
    layer = nn.GroupNorm(4, 16).requires_grad_(False)
    x = (1000 + torch.randn(2, 16, 6, 6)).to(memory_format=torch.channels_last)
    assert error(GroupNorm(layer, torch.float32)(x), copy.deepcopy(layer).double()(x.double())) < 1e-3


@pytest.mark.parametrize(("height", "inside", "out", "biased"), [(1, 3, 4, True), (4, 8, 8, False), (7, 16, 5, True)])
def test_upsampling_is_one_transposed_convolution(height, inside, out, biased, onednn):
    layer = nn.Conv2d(inside, out, 3, padding=1, bias=biased).requires_grad_(False)
    x = torch.randn(2, inside, height, 6).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        larger = nn.functional.interpolate(x.double(), scale_factor=2.0, mode="nearest")
        truth = copy.deepcopy(layer).double()(larger)
        assert error(_packed.upsampling_conv(layer, (2, height, 6), torch.float32)(x), truth) < 1e-6


@pytest.mark.parametrize("stride", [1, 2])
def test_convolutions(stride, onednn):
    layer = nn.Conv2d(8, 12, 3, stride, padding=1).requires_grad_(False)
    x = torch.randn(2, 8, 7, 9).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        truth = copy.deepcopy(layer).double()(x.double())
        to = torch.randn(truth.shape).to(memory_format=torch.channels_last)
        kept = to.clone()
        assert error(_packed.conv(layer, (2, 7, 9), torch.float32)(x), truth) < 1e-6
        assert error(_packed.conv_adding(layer, (2, 7, 9), torch.float32)(x, to), truth + to) < 1e-6
        assert torch.equal(to, kept)


def test_linear_layers(onednn):
    weight, bias, x = torch.randn(12, 8), torch.randn(12), torch.randn(3, 5, 8)
    truth = nn.functional.linear(x.double(), weight.double(), bias.double())
    with torch.inference_mode():
        assert error(_packed.linear(weight, bias, 15, torch.float32)(x), truth) < 1e-6


def test_a_torch_without_the_operators_is_noticed(monkeypatch):
    class Ops:
        """As torch looks where it is built without oneDNN."""

    monkeypatch.setattr(_packed, "_OPS", Ops())
    assert not _packed.onednn.__wrapped__(torch.float32)


@pytest.mark.parametrize("threads", [1, 3, 4])
@pytest.mark.parametrize("width", [8, 12, 32])
def test_activations_do_not_depend_on_where_a_row_stands(threads, width):
    """Also where torch's own do: three threads share so many elements that what is left over falls into other rows."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        x = torch.randn(4, width, 29, 31).to(memory_format=torch.channels_last)
        got = silu_(x.clone())
        assert torch.allclose(got, nn.functional.silu(x), atol=1e-6)
        for shift in range(1, 4):
            assert torch.equal(silu_(x.roll(shift, 0)), got.roll(shift, 0))
    finally:
        torch.set_num_threads(before)
