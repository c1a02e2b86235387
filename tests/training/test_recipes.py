"""Recipes: each builds the network of its document, and lies under the user's settings."""

from __future__ import annotations

import json

import pytest
import torch

from emnist_diff.components import make
from emnist_diff.discovery import installed
from emnist_diff.records import DenoiserSpec
from emnist_diff_plugins.containers import checkpoint
from emnist_diff_plugins.contract import CodecSpec, RecipeSpec
from emnist_diff_plugins.training import recipes
from emnist_diff_plugins.training.config import resolve

LATENT = {"ldm": (2, 4, 4), "ldm-concat": (2, 4, 4), "ldm-cross": (2, 4, 4), "latent-rf": (2, 4, 4), "lddpm": (16,)}
CODECS = {"vae": (2, 4, 4), "ae-conv": (16,), "ae-mlp": (16,)}


def test_the_systems_of_the_documents_are_there():
    assert {entry.spec.name for entry in installed().of(RecipeSpec)} == {"ddpm", "rf", *LATENT, *CODECS}


@pytest.mark.parametrize("name", ["ddpm", "rf", *LATENT, *CODECS])
def test_a_recipe_is_a_training_that_fits_its_states(name):
    layer = recipes.layer(installed(), name)
    settings = resolve(layer, {"dataset": {"name": "mnist", "data": "."}, "codec": "ae" if name in LATENT else None})
    assert (settings.recipe, settings.warmup_steps, settings.betas) == (name, 0, (0.9, 0.999))
    spec = CodecSpec if name in CODECS else DenoiserSpec
    factory = installed().load(spec, settings.family.name)
    shape = LATENT.get(name, (1, 28, 28))
    fitted = factory.fitted(shape) if name in CODECS else factory.fitted(shape, 10)
    family = make(installed(), spec, settings.family.__class__(settings.family.name, settings={
        **settings.family.settings, **fitted})).object  # fmt: skip
    assert family.shape == CODECS.get(name, shape)
    network = family.network()
    if name not in CODECS:
        x = torch.zeros(2, *shape)
        assert family.evaluate(network, x, torch.ones(2), torch.tensor([0, 10])).shape == x.shape
    weights = sum(parameter.numel() for parameter in network.parameters())
    known = {"ddpm": 2_712_481, "rf": 2_712_481, "ae-conv": 863_505}  # document 001 says about 2.7 million, of pixels
    assert weights == known.get(name, weights)


def test_the_users_settings_lie_over_a_recipe_and_a_resumed_training_over_both(cli, data, tmp_path):
    network = ("--network", "widths=[8]", "--network", "groups=4")
    train = ("train", "vae", "--dataset", "emnist", "--data", data, "--split", "digits", *network, "--output", tmp_path)
    shown = json.loads(cli("train", "ldm-cross", "--data", data, "--codec", "vae", "--recommend", "steps=7",
                           "--network", "tokens=4", "--dry-run").out)  # fmt: skip
    assert [shown["family"]["settings"][key] for key in ("conditioning", "tokens")] == ["cross", 4]
    assert (shown["recommended"]["steps"], shown["recommended"]["guidance_scale"]) == (7, 3.0)
    done = cli(*train, "--epochs", "2", "--batch-size", "16", "--max-minutes", "1e-9", "--no-tensorboard")
    assert "state saved" in done.out, done.err
    done = cli("train", "vae", "--resume", "--output", tmp_path)
    assert done.code == 0, done.err
    header = checkpoint.read_header(tmp_path / "vae_epoch002.safetensors")
    assert (header.network["widths"], header.provenance["trained_with"]["epochs"]) == ([8], 2)
    assert header.provenance["trained_with"]["recipe"] == "vae"
