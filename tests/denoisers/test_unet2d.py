"""The UNet family: what it builds, and that weights that do not fit are refused by name."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch
from diffusers import UNet2DModel

from emnist_diff.conditions import RowConditions
from emnist_diff.discovery import installed
from emnist_diff.errors import CheckpointError, ConfigError
from emnist_diff.onethread import one_thread
from emnist_diff.protocols import Denoiser
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader
from emnist_diff_plugins.containers.families import TrainableFamily
from emnist_diff_plugins.denoisers.unet2d import UNet2D, UNet2DDenoiser

TINY = UNet2D(
    sample_size=8,
    block_out_channels=(8, 16),
    attention=(False, True),
    attention_head_dim=8,
    norm_num_groups=4,
    num_class_embeds=4,
)
HEADER = CheckpointHeader(family="unet2d", classes=("A", "B", "C"), null_index=3)


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {k: t.clone() for k, t in TINY.network().state_dict().items()}


@pytest.fixture(scope="module")
def denoiser(weights: dict[str, torch.Tensor]) -> UNet2DDenoiser:
    return TINY.with_weights(weights, HEADER, "cpu")


def test_contracts(denoiser: UNet2DDenoiser) -> None:
    assert isinstance(TINY, TrainableFamily)
    assert isinstance(denoiser, Denoiser)
    assert denoiser.shape == (1, 8, 8)
    assert denoiser.prediction_type == HEADER.prediction
    assert denoiser.process == HEADER.schedule
    assert denoiser.conditions.classes == HEADER.classes
    assert denoiser.conditions.null_index == 3
    assert not denoiser.network.training
    assert not any(p.requires_grad for p in denoiser.network.parameters())


def test_every_setting_has_help() -> None:
    assert all(field.metadata.get("help") for field in attrs.fields(UNet2D))


def test_prediction_is_the_networks_own(weights: dict[str, torch.Tensor], denoiser: UNet2DDenoiser) -> None:
    network = TINY.network()
    network.load_state_dict(weights)
    network = network.eval().to(memory_format=torch.channels_last)
    x, t, rows = torch.randn(3, 1, 8, 8), torch.tensor([0.0, 10.0, 99.0]), torch.tensor([0, 3, 1])
    with torch.inference_mode(), one_thread("cpu"):
        got = denoiser.predict(x, t, RowConditions(rows))
        assert torch.equal(got, network(x, t, rows))
    assert got.is_contiguous()
    assert got.shape == x.shape


def test_class_and_time_matter(denoiser: UNet2DDenoiser) -> None:
    x = torch.randn(1, 1, 8, 8).expand(3, -1, -1, -1)
    with torch.inference_mode():
        a, b, later = denoiser.predict(x, torch.tensor([5.0, 5.0, 50.0]), RowConditions(torch.tensor([0, 3, 0])))
    assert not torch.equal(a, b)
    assert not torch.equal(a, later)


def test_decode(denoiser: UNet2DDenoiser) -> None:
    x = torch.tensor([-3.0, -1.0, 0.0, 0.5, 1.0, 3.0]).reshape(1, 1, 2, 3)
    assert denoiser.decode(x).flatten().tolist() == [0.0, 0.0, 0.5, 0.75, 1.0, 1.0]


def test_attention_sits_where_it_is_asked_for() -> None:
    network = attrs.evolve(TINY, attention=(True, False)).network()
    assert [block.attentions is not None for block in network.down_blocks] == [True, False]
    assert [block.attentions is not None for block in network.up_blocks] == [False, True]


@pytest.mark.parametrize("seed", range(8))
def test_the_network_is_that_of_diffusers_to_the_bit(seed: int) -> None:
    """The same tensors in the same order, drawn alike, and the same predictions and gradients."""
    random = np.random.default_rng(seed)
    levels = int(random.integers(1, 4))
    asked = UNet2D(
        sample_size=8,
        channels=int(random.choice([1, 3])),
        block_out_channels=tuple(random.choice([8, 16, 24, 40], levels).tolist()),
        attention=tuple(bool(a) for a in random.integers(0, 2, levels)),
        layers_per_block=int(random.integers(1, 3)),
        resnet_time_scale_shift=("default", "scale_shift")[seed % 2],
        norm_num_groups=int(random.choice([4, 8])),
        attention_head_dim=8,
        num_class_embeds=5,
    )
    torch.manual_seed(seed)
    reference = UNet2DModel(
        sample_size=8,
        in_channels=asked.channels,
        out_channels=asked.channels,
        layers_per_block=asked.layers_per_block,
        block_out_channels=asked.block_out_channels,
        down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in asked.attention),
        up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(asked.attention)),
        resnet_time_scale_shift=asked.resnet_time_scale_shift,
        norm_num_groups=asked.norm_num_groups,
        attention_head_dim=asked.attention_head_dim,
        num_class_embeds=asked.num_class_embeds,
    )
    torch.manual_seed(seed)
    network = asked.network()
    assert list(network.state_dict()) == list(reference.state_dict())
    assert all(map(torch.equal, network.state_dict().values(), reference.state_dict().values()))
    for rows in (1, 5, 33):
        x, t = torch.randn(rows, asked.channels, 8, 8), torch.rand(rows) * 999
        index = torch.randint(0, 5, (rows,))
        for layout in (torch.contiguous_format, torch.channels_last):
            for module in (network, reference):
                module.eval().to(memory_format=layout)
            with torch.inference_mode():
                assert torch.equal(network(x, t, index), reference(x, t, class_labels=index).sample)
    for module in (network, reference):
        module.train()
    network(x, t, index).square().sum().backward()
    reference(x, t, class_labels=index).sample.square().sum().backward()
    for mine, theirs in zip(network.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda w: w.pop("conv_in.bias"), r"lacks tensor 'conv_in\.bias'$"),
        (lambda w: [w.pop("conv_in.bias"), w.pop("conv_out.bias")], r"lacks tensor 'conv_in\.bias' and 1 more"),
        (lambda w: w.update(extra=torch.zeros(1)), "foreign tensor 'extra'"),
        (lambda w: w.update({"conv_in.bias": torch.zeros(9)}), r"mis-shaped tensor 'conv_in\.bias'"),
    ],
)
def test_weights_that_do_not_fit(weights, change, match: str) -> None:
    mine = dict(weights)
    change(mine)
    with pytest.raises(CheckpointError, match=match) as error:
        TINY.with_weights(mine, HEADER, "cpu")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("header", [attrs.evolve(HEADER, null_index=4), attrs.evolve(HEADER, classes=tuple("ABCDE"))])
def test_more_classes_than_embeddings(weights, header: CheckpointHeader) -> None:
    with pytest.raises(CheckpointError, match="class index 4 of 4 embeddings"):
        TINY.with_weights(weights, header, "cpu")


@pytest.mark.timeout(20)
def test_settings_out_of_all_proportion(weights) -> None:
    """A header costs nothing to write; what it claims must not cost time or memory to refuse."""
    with pytest.raises(CheckpointError, match="does not fit its header"):
        attrs.evolve(TINY, layers_per_block=64).with_weights(weights, HEADER, "cpu")
    with pytest.raises(CheckpointError, match="does not fit its header"):
        attrs.evolve(TINY, block_out_channels=(2**14, 2**14)).with_weights(weights, HEADER, "cpu")
    for absurd in (
        {"layers_per_block": 10**9},
        {"block_out_channels": (2**45, 2**45)},
        {"block_out_channels": (8,) * 40, "attention": (False,) * 40},
        {"sample_size": 2**31},
        {"channels": 2**62},
        {"num_class_embeds": 2**40},
    ):
        with pytest.raises(ValueError, match=next(iter(absurd))):
            attrs.evolve(TINY, **absurd)


def test_no_weights() -> None:
    with pytest.raises(ConfigError, match="--checkpoint"):
        TINY.source(installed())


@pytest.mark.parametrize(
    "change",
    [{"attention": (True,)}, {"norm_num_groups": 3}, {"dropout": 1.0}, {"resnet_time_scale_shift": "other"}],
)
def test_impossible_settings(change: dict) -> None:
    with pytest.raises((ConfigError, ValueError)):
        attrs.evolve(TINY, **change)
