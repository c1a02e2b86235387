"""Perturbed attention against the same network with its attention written out by hand."""

from __future__ import annotations

import math

import attrs
import numpy as np
import pytest
import torch

from emnist_diff.conditions import Cond, RowConditions
from emnist_diff.errors import ConfigError
from emnist_diff.onethread import one_thread
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader
from emnist_diff_plugins.denoisers._attention import VARIANTS, Perturbed, blurred
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
HEADER = CheckpointHeader(family="unet2d", classes=("A", "B", "C"), null_index=3)
X = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 1, 12, 12))).float()
T, ROWS = torch.tensor([400.0] * 3), torch.tensor([0, 3, 1])


@pytest.fixture(scope="module", params=["default", "scale_shift"])
def denoiser(request):
    torch.manual_seed(0)
    family = attrs.evolve(TINY, resnet_time_scale_shift=request.param)
    return family.with_weights({k: 2 * t.clone() for k, t in family.network().state_dict().items()}, HEADER, "cpu")


def ask(denoiser, variant=""):
    with torch.inference_mode():
        return denoiser.predict(X, T, RowConditions(ROWS, variant))


def gaussian(size, sigma):
    """The blur along one axis as a matrix, (size, size) float64: each row a kernel, folded at the border."""
    half = min(math.ceil(6 * sigma) // 2, size // 2)
    matrix = np.zeros((size, size))
    for i in range(size):
        for d in range(-half, half + 1):
            j = abs(i + d)
            matrix[i, j if j < size else 2 * (size - 1) - j] += math.exp(-(d**2) / (2 * sigma**2))
    return matrix / matrix.sum(1, keepdims=True)


def by_hand(variant):
    """An attention as torch has it in a forward hook: float64, by einsum, with the softmax written out."""

    def attend(module, arguments, options, output):
        x = arguments[0].double()
        rows, channels, height, width = x.shape
        flat = x.reshape(rows, channels, -1)
        if module.group_norm is not None:
            groups = flat.reshape(rows, module.group_norm.num_groups, -1)
            mean, variance = groups.mean(2, keepdim=True), groups.var(2, keepdim=True, unbiased=False)
            flat = ((groups - mean) / (variance + module.group_norm.eps).sqrt()).reshape(flat.shape)
            flat = flat * module.group_norm.weight.double()[:, None] + module.group_norm.bias.double()[:, None]

        def linear(layer, tokens):
            return torch.einsum("oc,rtc->rto", layer.weight.double(), tokens) + layer.bias.double()

        tokens = flat.transpose(1, 2)
        q, k, v = (linear(layer, tokens) for layer in (module.to_q, module.to_k, module.to_v))
        if variant.name == "attention_identity":
            mixed = v
        else:
            grid = q.reshape(rows, height, width, -1)
            if variant.value is None:
                grid = grid.mean((1, 2), keepdim=True).expand_as(grid)
            else:
                down, across = (torch.from_numpy(gaussian(size, variant.value)) for size in (height, width))
                grid = torch.einsum("ih,jw,rhwc->rijc", down, across, grid)
            q = grid.reshape(q.shape)
            q, k, v = (t.reshape(rows, -1, module.heads, t.shape[2] // module.heads) for t in (q, k, v))
            weights = torch.exp(torch.einsum("rihc,rjhc->rhij", q, k) / math.sqrt(q.shape[3]))
            weights = weights / weights.sum(3, keepdim=True)
            mixed = torch.einsum("rhij,rjhc->rihc", weights, v).reshape(rows, height * width, -1)
        out = linear(module.to_out[0], mixed).transpose(1, 2).reshape(x.shape) + x
        return out.to(output.dtype)

    return attend


@pytest.mark.parametrize(
    "text", ["attention_identity", "attention_blur", "attention_blur@0.4", "attention_blur@1.5", "attention_blur@30"]
)
@pytest.mark.parametrize("where", ["", ":all"])
def test_the_prediction_is_that_of_attention_by_hand(denoiser, text, where):
    variant = Variant.parse(text + where)
    blocks = [denoiser.network.mid_block]
    if where:
        blocks += [*denoiser.network.down_blocks, *denoiser.network.up_blocks]
    attentions = [attention for block in blocks for attention in block.attentions]
    assert len(attentions) == (7 if where else 1)
    hooks = [a.register_forward_hook(by_hand(variant), with_kwargs=True) for a in attentions]
    try:
        expected = ask(denoiser)
    finally:
        for hook in hooks:
            hook.remove()
    got = ask(denoiser, str(variant))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    assert float((got - ask(denoiser)).abs().max()) > 1e-3


def test_a_blur_narrower_than_a_token_is_none(denoiser):
    torch.testing.assert_close(ask(denoiser, "attention_blur@0.001:all"), ask(denoiser), rtol=1e-5, atol=1e-5)


def test_blur_keeps_a_constant_and_the_mean_is_its_end():
    flat = torch.full((2, 3, 5, 4), 1.5)
    torch.testing.assert_close(blurred(flat, 2.0), flat)
    grid = torch.arange(20.0).reshape(1, 1, 4, 5)
    assert torch.equal(blurred(grid, math.inf), torch.full((1, 1, 4, 5), 9.5))
    assert blurred(torch.ones(1, 1, 1, 1), 3.0).item() == 1.0


def test_weights_are_shared_and_the_plain_network_stays_plain(denoiser):
    before = ask(denoiser)
    made = denoiser.network_of("attention_identity:all")
    own = {p.data_ptr() for p in denoiser.network.parameters()}
    assert {p.data_ptr() for p in made.parameters()} == own
    assert not any(isinstance(m, Perturbed) for m in denoiser.network.modules())
    assert torch.equal(ask(denoiser), before)
    assert denoiser.network_of("attention_identity:all") is made


def test_the_module_for_backends_is_the_same_network(denoiser):
    with torch.inference_mode(), one_thread("cpu"):
        got = denoiser.module("attention_identity")(X, T, ROWS)
    assert torch.equal(got, ask(denoiser, "attention_identity"))


def test_declared_variants_are_the_ones_it_understands(denoiser):
    assert set(VARIANTS) <= set(denoiser.variants)
    for one in ("attention_identity", "attention_blur", "attention_blur@3", "attention_blur@3:all"):
        assert understood(one, VARIANTS)
    with pytest.raises(ConfigError, match=r"denoiser 'unet2d' has no variant 'attention_identity@2'"):
        ask(denoiser, "attention_identity@2")


@attrs.frozen
class Dark:
    """∇ₓ of the summed prediction: what a force that wants gradients through this network does."""

    variant: str = ""

    gradient = True

    def conditions(self, at):
        return (Cond("own", variant=self.variant),)

    def __call__(self, predictions, step):
        return torch.autograd.grad(predictions[Cond("own", variant=self.variant)].sum(), step.x)[0]


@pytest.mark.parametrize("variant", ["", "attention_identity"])
def test_gradients_reach_through_the_network_and_know_no_neighbours(denoiser, make_engine, walk_all, variant):
    settings = {"denoiser": denoiser, "forces": [(Dark(variant), 0.05)], "steps": 2, "micro_batch": 4}
    together = walk_all(make_engine(**settings), range(5), label=(0, 1, 2, 0, 1))
    assert all(float(frame.group("forces")[0].abs().max()) > 1e-4 for frame in together.frames)
    alone = walk_all(make_engine(**settings), (3, 1), label=(0, 1))
    assert torch.equal(alone.x, together.x[[3, 1]])
    x, t = together.frames[0]["x"], together.frames[0].at.timestep
    one = torch.zeros_like(x)
    one[2, 0, 4, 5] = 3e-3
    with torch.inference_mode():
        ahead, behind = (
            denoiser.predict(x + sign * one, torch.full((5,), t), RowConditions(torch.tensor([0, 1, 2, 0, 1]), variant))
            for sign in (1, -1)
        )
    slope = 0.05 * float((ahead - behind).sum()) / 6e-3
    assert abs(float(together.frames[0].group("forces")[0][2, 0, 4, 5]) - slope) < 2e-2 * abs(slope) + 1e-4


def test_rows_do_not_see_each_other(denoiser):
    some = [2, 0, 0]
    with torch.inference_mode():
        got = denoiser.predict(X[some], T, RowConditions(ROWS[some], "attention_blur@1"))
    assert torch.equal(got, ask(denoiser, "attention_blur@1")[some])
