"""Variants of a network through every backend that serves here: none of them may answer with the plain network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emnist_diff.components import make
from emnist_diff.conditions import RowConditions
from emnist_diff.config import ComponentConfig
from emnist_diff.discovery import installed
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader
from emnist_diff_plugins.contract import BackendSpec, Workload
from emnist_diff_plugins.denoisers.unet2d import UNet2D

DEAR = ("compile",)
"""Backends that take longer to set up than a test should."""
SPECS = [entry.spec for entry in installed().of(BackendSpec)]
HERE = [spec.name for spec in SPECS if "cpu" in spec.devices and spec.missing() is None and spec.name not in DEAR]


@pytest.fixture(scope="module")
def denoiser():
    torch.manual_seed(0)
    family = UNet2D(
        sample_size=8,
        block_out_channels=(8, 16),
        attention=(False, True),
        attention_head_dim=8,
        norm_num_groups=4,
        num_class_embeds=4,
    )
    header = CheckpointHeader(family="unet2d", classes=("A", "B", "C"), null_index=3)
    return family.with_weights({k: 2 * t.clone() for k, t in family.network().state_dict().items()}, header, "cpu")


@pytest.mark.parametrize("name", HERE)
def test_a_variant_is_evaluated_and_not_the_plain_network(denoiser, name):
    work = Workload(4, torch.device("cpu"), threads=1)
    backend = make(installed(), BackendSpec, ComponentConfig(name)).object
    assert backend.refusal(denoiser, work) is None
    evaluator = backend.evaluator(denoiser, work)
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((8, 1, 8, 8))).float()
    t, index = torch.full((8,), 300.0), torch.arange(8) % 4
    with torch.inference_mode():
        plain = denoiser.predict(x, t, RowConditions(index))
        for variant in ("attention_identity:all", "attention_blur@1", "attention_blur", "skip_layers@10", ""):
            conds = RowConditions(index, variant)
            torch.testing.assert_close(evaluator(x, t, conds), denoiser.predict(x, t, conds), rtol=1e-3, atol=1e-4)
            assert float((evaluator(x, t, conds) - plain).abs().max()) > 1e-2 or not variant


def test_there_are_backends_to_ask():
    assert "eager" in HERE
