"""Attention and hidden states of the networks of pipelines: what is recorded is what they compute."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from emnist_diff.assembly.assemble import assemble
from emnist_diff.conditions import RowConditions
from emnist_diff.discovery import installed
from emnist_diff.errors import ConfigError
from emnist_diff_plugins.layers import configure
from emnist_diff_trajectory.attention import AttentionRequest
from emnist_diff_trajectory.reader import Trajectory

Folder = Callable[[str], Path]
ALL = AttentionRequest(layers=("*",), heads="all", resolution=4096, self_resolution=1024)


def denoiser(folder: Path, **settings: Any) -> Any:
    registry = installed()
    layer = {"checkpoint": str(folder), "prompt": ["a cat", "two dogs"], "sinks": [], "device": "cpu", "steps": 2}
    run, found = configure(registry, layer | settings)
    return assemble(registry, run, denoiser=found).engine.denoisers[""]


def rows(network: Any) -> tuple[torch.Tensor, torch.Tensor, RowConditions]:
    x = torch.randn(3, *network.shape, generator=torch.Generator().manual_seed(1))
    return x, torch.full((3,), 400.0), RowConditions(torch.tensor([0, 1, -1]))


@pytest.mark.parametrize(
    ("kind", "kinds"),
    [
        ("sdxl", {"attn1": "self", "attn2": "cross"}),
        ("sd3", {"attn": "joint", "attn2": "self"}),
        ("flux", {"attn": "joint"}),
    ],
)
def test_capturing_changes_no_bit_and_probabilities_sum_to_one(pipeline: Folder, kind: str, kinds: dict[str, str]):
    network = denoiser(pipeline(kind))
    x, t, conds = rows(network)
    with torch.inference_mode():
        before = network.predict(x, t, conds)
        found = network.capture(x, t, conds, [ALL.text, "hidden"])
        assert torch.equal(network.predict(x, t, conds), before)
    assert {name: tuple(value.shape[1:]) for name, value in found.items()} == network.activations([ALL.text, "hidden"])
    layers = network.attention_layers()
    assert {layer.name: layer.kind for layer in layers} == {
        name: kinds[name.rpartition(".")[2]]
        for name, module in network.network.named_modules()
        if hasattr(module, "to_q")
    }
    assert len({layer.kind for layer in layers}) == len(kinds)
    for layer in layers:
        name = f"attention/{layer.name}"
        total = torch.zeros(3, layer.heads, *layer.grid)
        if layer.kind != "self":
            total += found[f"{name}.cross"].sum(2)
            torch.testing.assert_close(found[f"{name}.cross_activation"], found[f"{name}.cross"].mean((-1, -2)))
        if layer.kind != "cross":
            total += found[f"{name}.self"].sum((-1, -2))
        torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-6)
    assert any(name.startswith("hidden/") for name in found)


def test_maps_are_the_probabilities_that_diffusers_computes(pipeline: Folder):
    network = denoiser(pipeline("sdxl"))
    x, t, conds = rows(network)
    expected: dict[str, torch.Tensor] = {}

    class Scores:
        """A processor that computes the scores as diffusers' own slow one does."""

        def __init__(self, name: str) -> None:
            self.name = name

        def __call__(self, attention: Any, states: Any, encoder_hidden_states: Any = None, **_: Any) -> Any:
            context = states if encoder_hidden_states is None else encoder_hidden_states
            query, key, value = (
                attention.head_to_batch_dim(part)
                for part in (attention.to_q(states), attention.to_k(context), attention.to_v(context))
            )
            scores = attention.get_attention_scores(query, key)
            expected[self.name] = scores.unflatten(0, (-1, attention.heads))
            return attention.to_out[0](attention.batch_to_head_dim(torch.bmm(scores, value)))

    with torch.inference_mode():
        found = network.capture(x, t, conds, [ALL.text])
        own = dict(network.network.attn_processors)
        network.network.set_attn_processor({name: Scores(name.removesuffix(".processor")) for name in own})
        network.predict(x, t, conds)
        network.network.set_attn_processor(own)
    for layer in network.attention_layers():
        name, scores = f"attention/{layer.name}", expected[layer.name].unflatten(2, layer.grid)
        maps = scores.movedim(-1, 2) if layer.kind == "cross" else scores.unflatten(-1, layer.grid)
        torch.testing.assert_close(found[f"{name}.{layer.kind}"], maps, rtol=0, atol=2e-6)
        entropy = -torch.special.xlogy(scores, scores).sum(-1).mean((-1, -2))
        torch.testing.assert_close(found[f"{name}.{layer.kind}_entropy"], entropy, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["sdxl", "sd3", "flux"])
def test_tokens_are_those_that_layers_attend_to(pipeline: Folder, kind: str):
    network = denoiser(pipeline(kind))
    described = network.describe(["attention"])
    lists = described["tokens"]
    assert set(lists) == {"a cat", "two dogs", ""}
    (length,) = {len(each) for text in lists.values() for each in text.values()}
    assert {layer["tokens"] for layer in described["attention"]} - {0} == {length}
    dogs = lists["two dogs"]
    own = [place for place, special in enumerate(dogs["special"]) if not special]
    encoders = list(dict.fromkeys(dogs["encoder"][place] for place in own))
    for encoder in encoders:
        places = [place for place in own if dogs["encoder"][place] == encoder]
        assert "".join(dogs["text"][place] for place in places).replace(" ", "") == "twodogs"
        assert dogs["word"][places[0]] == 0
        assert dogs["word"][places[-1]] == 1 or kind == "sdxl"
    assert all((word == -1) == bool(special) for word, special in zip(dogs["word"], dogs["special"], strict=True))
    assert len(encoders) == (2 if kind == "sd3" else 1)
    assert all(lists[""]["special"])


def test_a_run_records_and_replays_attention(cli: Any, pipeline: Folder, tmp_path: Path):
    run = (
        "run", "--checkpoint", pipeline("sdxl"), "--prompt", "a cat", "--steps", 2, "--output", tmp_path,
        "--sink", 'hdf5:attention={"kinds":["cross"],"resolution":4},conditions=own',
    )  # fmt: skip
    assert (done := cli(*map(str, run))).code == 0, done.err
    (path,) = tmp_path.rglob("trajectory.h5")
    with Trajectory(path) as file:
        facts = file.environment["activations"]
        assert facts["requests"] == ['attention:{"kinds": ["cross"], "resolution": 4}']
        for layer in facts["attention"]:
            maps = file.activation(f"attention/{layer['name']}.cross", "own")
            assert maps.shape == (1, 2, 1, layer["tokens"], 4, 4)
            assert abs(maps.sum(3) - 1).max() < 1e-6
    assert "bit for bit" in (replayed := cli("replay", str(path), "--checkpoint", str(pipeline("sdxl")))).out, (
        replayed.err
    )


def test_what_hides_the_kernel_is_named(pipeline: Folder):
    network = denoiser(pipeline("sdxl"), attention_slicing=True)
    with pytest.raises(ConfigError, match=r"no attention to record: .* never reaches .* attention_slicing"):
        network.activations(["attention"])
