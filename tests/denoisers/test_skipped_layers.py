"""Layers skipped, against the plain network whose layers are led past by hooks."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch

from emnist_diff.conditions import RowConditions
from emnist_diff.errors import ConfigError
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader
from emnist_diff_plugins.denoisers._skipping import Skipped, skipped_layers
from emnist_diff_plugins.denoisers.unet2d import UNet2D
from emnist_diff_plugins.variants import Variant, understood

TINY = UNet2D(
    sample_size=12,
    block_out_channels=(8, 16),
    attention=(True, True),
    attention_head_dim=8,
    norm_num_groups=4,
    num_class_embeds=4,
)
LAYERS = 8
"""Two on the way down, two in the middle, four on the way up."""
HEADER = CheckpointHeader(family="unet2d", classes=("A", "B", "C"), null_index=3)
X = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 1, 12, 12))).float()
T, ROWS = torch.tensor([400.0] * 3), torch.tensor([0, 3, 1])


@pytest.fixture(scope="module", params=["embedding", "concat", "cross"])
def denoiser(request):
    torch.manual_seed(0)
    family = attrs.evolve(TINY, conditioning=request.param, tokens=2, cross_attention_dim=8)
    return family.with_weights({k: 2 * t.clone() for k, t in family.network().state_dict().items()}, HEADER, "cpu")


def ask(denoiser, variant=""):
    with torch.inference_mode():
        return denoiser.predict(X, T, RowConditions(ROWS, variant))


def led_past(module, arguments, output):
    shortcut = getattr(module, "conv_shortcut", None)
    return arguments[0] if shortcut is None else shortcut(arguments[0])


def parts(network):
    """For each layer in the order of evaluation its residual layer and the attention after it."""
    for stage in (*network.down_blocks, network.mid_block, *network.up_blocks):
        for place, residual in enumerate(stage.resnets):
            lists = (stage.attentions or (), stage.cross_attentions or ())
            yield [residual, *(attentions[place] for attentions in lists if place < len(attentions))]


@pytest.mark.parametrize("layers", [(0,), (2, 3), (1, 4, 7), tuple(range(LAYERS))])
def test_what_stays_of_a_skipped_layer_is_its_shortcut(denoiser, layers):
    found = list(parts(denoiser.network))
    assert len(found) == LAYERS
    hooks = [part.register_forward_hook(led_past) for layer in layers for part in found[layer]]
    try:
        expected = ask(denoiser)
    finally:
        for hook in hooks:
            hook.remove()
    got = ask(denoiser, str(Variant("skip_layers", float(sum(2**layer for layer in layers)))))
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)
    assert float((got - ask(denoiser)).abs().max()) > 1e-3


def test_weights_are_shared_and_the_plain_network_stays_plain(denoiser):
    before = ask(denoiser)
    changed = denoiser.network_of("skip_layers@6")
    own = {parameter.data_ptr() for parameter in denoiser.network.parameters()}
    assert {parameter.data_ptr() for parameter in changed.parameters()} < own
    assert not any(isinstance(module, Skipped) for module in denoiser.network.modules())
    assert torch.equal(ask(denoiser), before)


def test_numbers_that_name_no_layers_are_refused(denoiser):
    assert skipped_layers(Variant.parse("skip_layers@896"), 24) == (7, 8, 9)
    assert understood("skip_layers@896", denoiser.variants)
    assert not understood("skip_layers", denoiser.variants)
    with pytest.raises(ConfigError, match=r"there is no layer 8 to skip — this network has 8, 0 … 7"):
        ask(denoiser, "skip_layers@256")
    with pytest.raises(ConfigError, match=r"the sum of 2\^i over the layers i"):
        ask(denoiser, "skip_layers@2.5")
