"""A network rewritten for compilers is the network, up to rounding."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from emnist_diff_plugins.backends import _graph
from emnist_diff_plugins.denoisers import _unet
from emnist_diff_plugins.denoisers.unet2d import UNet2D


def relative(got: torch.Tensor, truth: torch.Tensor) -> float:
    return float((got - truth).norm() / truth.norm())


@st.composite
def families(draw: st.DrawFn) -> UNet2D:
    groups = draw(st.sampled_from((2, 4)))
    widths = draw(st.lists(st.sampled_from((8, 12, 16)), min_size=1, max_size=3))
    return UNet2D(
        sample_size=8,
        channels=draw(st.sampled_from((1, 3))),
        block_out_channels=tuple(widths),
        layers_per_block=draw(st.sampled_from((1, 2))),
        attention=tuple(draw(st.booleans()) for _ in widths),
        resnet_time_scale_shift=draw(st.sampled_from(("default", "scale_shift"))),
        norm_num_groups=groups,
        attention_head_dim=draw(st.sampled_from((4, 8))),
        num_class_embeds=5,
    )


@given(families(), st.integers(0, 2**31))
@settings(max_examples=15, deadline=None)
def test_it_computes_the_same_function(family, seed):
    torch.manual_seed(seed)
    network = family.network().double().eval()
    with torch.no_grad():
        for value in network.parameters():
            value.add_(torch.randn_like(value), alpha=0.1)
        x, t = torch.randn(3, family.channels, 8, 8, dtype=torch.float64), torch.tensor([1.0, 500.0, 999.0])
        index = torch.tensor([0, 4, 2])
        truth = network(x, t, index)
        assert relative(_graph.rewritten(network)(x, t, index), truth) < 1e-12


def test_the_network_itself_stays_as_it_is():
    torch.manual_seed(0)
    network = UNet2D(sample_size=8, block_out_channels=(8, 8), attention=(True, False), attention_head_dim=8).network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    kinds = [type(part) for part in network.modules()]
    rewritten = _graph.rewritten(network)
    assert [type(part) for part in network.modules()] == kinds
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    left = {type(part) for part in rewritten.modules()}
    assert not left & {nn.GroupNorm, _unet.Residual, _unet.Attention, _unet.Upsample}


@pytest.mark.parametrize("shape", [(5, 12), (5, 12, 7), (5, 12, 4, 6), (5, 12, 2, 3, 4)])
@pytest.mark.parametrize("affine", [True, False])
def test_group_norms_of_any_shape(shape, affine):
    torch.manual_seed(1)
    layer = nn.GroupNorm(4, 12, affine=affine)
    for value in layer.parameters():
        nn.init.normal_(value)
    network = nn.Sequential(layer)
    x = torch.randn(shape)
    with torch.no_grad():
        torch.testing.assert_close(_graph.rewritten(network)(x), network(x), rtol=1e-5, atol=1e-5)


def test_a_norm_of_what_is_far_from_zero_keeps_its_digits():
    """E[x²] − E[x]² in float32 would keep none of them here."""
    torch.manual_seed(2)
    layer = nn.GroupNorm(2, 8)
    x = torch.randn(2, 8, 6, 6) + 3000.0
    truth = F.group_norm(x.double(), 2, eps=layer.eps)
    with torch.no_grad():
        assert relative(_graph.rewritten(layer)(x).double(), truth) < 1e-3


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.booleans())
@settings(max_examples=20, deadline=None)
def test_upsampling_is_one_transposed_convolution(height, inside, out, biased):
    torch.manual_seed(height)
    layer = _unet.Upsample(inside)
    layer.conv = nn.Conv2d(inside, out, 3, padding=1, bias=biased)
    layer.double()
    x = torch.randn(2, inside, height, height + 1, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(_graph.rewritten(layer)(x), layer(x), rtol=1e-12, atol=1e-12)
