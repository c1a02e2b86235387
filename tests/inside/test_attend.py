"""Attention and hidden states of the class-conditional networks: recorded by a run, and afterwards from its file."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from emnist_diff.conditions import RowConditions
from emnist_diff.errors import ConfigError
from emnist_diff.timeline import NoiseSchedule
from emnist_diff_plugins.denoisers.unet2d import UNet2D, UNet2DDenoiser
from emnist_diff_plugins.inside import budget
from emnist_diff_plugins.inside.layers import AttentionLayer, stratified
from emnist_diff_plugins.inside.maps import kept
from emnist_diff_plugins.inside.pooling import added, averaging, fitted, overlap
from emnist_diff_plugins.inside.watching import watched
from emnist_diff_plugins.spaces import ClassSpace
from emnist_diff_trajectory.attention import AttentionRequest
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.schema import Array

RUN = (
    "run",
    "--character",
    "A,B",
    "--total-videos",
    "3",
    "--steps",
    "4",
    "--force",
    "attract_class:target=k,weight=0.2",
)
MID = "attention/mid_block.attentions.0.self"


def network(conditioning: str) -> UNet2DDenoiser:
    torch.manual_seed(0)
    family = UNet2D(
        sample_size=10, block_out_channels=(16, 32), attention=(False, True), attention_head_dim=8, num_class_embeds=4,
        conditioning=conditioning, tokens=3, cross_attention_dim=12,
    )  # fmt: skip
    space = ClassSpace(("A", "B", "C"), 3)
    return UNet2DDenoiser(family.network().eval(), family.shape, space, NoiseSchedule(), "epsilon")


@pytest.mark.parametrize("conditioning", ["embedding", "cross"])
def test_what_is_captured_is_what_the_network_computes(conditioning: str):
    denoiser, request = network(conditioning), AttentionRequest(layers=("*",), heads="all")
    x, t = torch.randn(5, 1, 10, 10), torch.full((5,), 300.0)
    conds = RowConditions(torch.tensor([0, 1, 2, 3, 0]))
    expected: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Any:
        def hook(module: Any, args: Any, out: Any) -> None:
            flat = args[0].flatten(2)
            tokens = (flat if module.group_norm is None else module.group_norm(flat)).transpose(1, 2)
            context = args[1] if len(args) > 1 else tokens
            q, k = (
                part.unflatten(2, (module.heads, -1)).transpose(1, 2)
                for part in (module.to_q(tokens), module.to_k(context))
            )
            expected[name] = (q @ k.transpose(2, 3) / q.shape[-1] ** 0.5).softmax(-1)

        return hook

    with torch.inference_mode():
        before = denoiser.predict(x, t, conds)
        found = denoiser.capture(x, t, conds, [request.text])
        assert torch.equal(denoiser.predict(x, t, conds), before)
        layers = denoiser.attention(request)
        hooks = [denoiser.network.get_submodule(e.name).register_forward_hook(keep(e.name)) for e in layers]
        denoiser.predict(x, t, conds)
        for hook in hooks:
            hook.remove()
    kinds = [layer.kind for layer in layers]
    assert kinds.count("cross") == (kinds.count("self") if conditioning == "cross" else 0) >= 0
    for layer in layers:
        name, scores = f"attention/{layer.name}.{layer.kind}", expected[layer.name].unflatten(2, layer.grid)
        maps = scores.movedim(-1, 2) if layer.kind == "cross" else scores.unflatten(-1, layer.grid)
        torch.testing.assert_close(found[name], maps, rtol=0, atol=1e-6)
        entropy = -torch.special.xlogy(scores, scores).sum(-1).mean((-1, -2))
        torch.testing.assert_close(found[f"{name}_entropy"], entropy, rtol=0, atol=1e-5)


def test_pooling_adds_keys_and_averages_queries():
    torch.manual_seed(1)
    grid, fit = (6, 9), (4, 5)
    mass = torch.rand(2, 54, dtype=torch.float64).float()
    pooled = added(mass, grid, fit)
    torch.testing.assert_close(pooled.sum((-1, -2)), mass.sum(-1))
    fine = mass.unflatten(-1, grid).repeat_interleave(4, 1).repeat_interleave(5, 2) / 20  # 24 x 45, divisible by both
    exact = fine.unflatten(1, (4, 6)).sum(2).unflatten(2, (5, 9)).sum(3)
    torch.testing.assert_close(pooled, exact)
    rows = averaging(9, 5, torch.device("cpu"))
    torch.testing.assert_close(rows.sum(1), torch.ones(5))
    torch.testing.assert_close(overlap(9, 5).sum(0), torch.ones(9))
    assert [fitted((128, 96), 32), fitted((7, 7), 16), fitted((3, 200), 10)] == [(32, 24), (7, 7), (1, 10)]


@pytest.mark.parametrize("first", [0, 3])
def test_a_joint_layer_has_both_kinds_whatever_comes_first(first: int):
    class Joint(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.to_q, self.to_k = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k = (to(x).unflatten(2, (2, 4)).transpose(1, 2) for to in (self.to_q, self.to_k))
            return F.scaled_dot_product_attention(q, k, q, scale=0.7)

    torch.manual_seed(2)
    module, x = Joint(), torch.randn(2, 15, 8)  # 3 tokens and a grid of 3 x 4
    layer = AttentionLayer("joint", "joint", "double", 2, (3, 4), 3, first)
    request = AttentionRequest(heads="all", resolution=2, self_resolution=2)
    out: dict[str, torch.Tensor] = {}
    with torch.inference_mode(), watched({"joint": module}, lambda _, call: out.update(kept(call, layer, request))):
        module(x)
    q, k = (to(x).unflatten(2, (2, 4)).transpose(1, 2) for to in (module.to_q, module.to_k))
    places = slice(first, first + 12)
    scores = (q @ k.transpose(2, 3) * 0.7).softmax(-1)[:, :, places]
    text = scores[..., :3] if first else scores[..., 12:]
    torch.testing.assert_close(out["attention/joint.cross_activation"], text.mean(2))
    total = out["attention/joint.cross"].sum(2) + out["attention/joint.self"].sum((-1, -2))
    torch.testing.assert_close(total, torch.ones_like(total))
    average = (
        text.unflatten(2, (3, 4)).repeat_interleave(2, 2).unflatten(2, (2, 3)).mean(3).unflatten(3, (2, 2)).mean(4)
    )
    torch.testing.assert_close(out["attention/joint.cross"], average.movedim(-1, 2))


def test_one_layer_a_block_is_kept_and_a_few_of_many_blocks():
    names = [f"transformer_blocks.{i}.attn" for i in range(19)] + [
        f"single_transformer_blocks.{i}.attn" for i in range(38)
    ]
    layers = [AttentionLayer(n, "joint", "single" if "single" in n else "double", 4, (2, 2), 3) for n in names]
    kept_blocks = [layer.block.rpartition(".")[2] for layer in stratified(layers)]
    assert kept_blocks == ["0", "6", "12", "18", "0", "12", "25", "37"]


def test_requests_get_smaller_in_the_order_that_is_documented():
    def arrays(request: AttentionRequest, every: int) -> list[Array]:
        sides, kinds = (request.resolution, request.self_resolution), request.kinds
        heads, steps = (8 if request.heads == "all" else 1), max(1, 12 // every)
        layers = 10 if request.layers == ("*",) else 3
        cross, own = (heads, 77, sides[0], sides[0]), (heads, sides[1] ** 2, sides[1] ** 2)
        return [Array(f"layer.{k}", (steps, layers, *(cross if k == "cross" else own)), "float16") for k in kinds]

    full = AttentionRequest(layers=("*",), heads="all")
    choices = itertools.islice(budget.cuts(full, 1, ["a"], {"cross", "self"}), 9)
    sizes = [budget.total(arrays(cut.request, cut.every)) for cut in choices]
    assert sizes == sorted(sizes, reverse=True)
    cut, given_up = budget.fit(3_000_000, budget.cuts(full, 1, ["a"], {"cross", "self"}), arrays, 12)
    assert budget.total(arrays(cut.request, cut.every)) <= 3_000_000
    assert cut.request.heads == "mean"
    assert cut.request.kinds == ("cross",)
    assert given_up[:2] == ("heads apart from each other (only their mean is kept)", "attention among places")
    with pytest.raises(ConfigError, match=r"does not fit into 1 bytes: the least is .* fewer samples"):
        budget.fit(1, budget.cuts(full, 1, ["a"], {"cross", "self"}), arrays, 12)


def test_a_request_is_read_as_it_is_written():
    for request in (AttentionRequest(), AttentionRequest(layers=("mid_block.*",), kinds=("self",), heads="all")):
        assert AttentionRequest.parse(request.text) == request
    wrong = {"attention:[]": "its settings are a table", "attention:{": "are no JSON", 'attention:{"head":1}': "head"}
    for text, message in wrong.items():
        with pytest.raises(ConfigError, match=message):
            AttentionRequest.parse(text)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the shipped model that records attention and hidden states."""
    folder = tmp_path_factory.mktemp("attend")
    sink = 'hdf5:activations=["attention","hidden/mid_block.resnets.0"]'
    command = [sys.executable, "-m", "emnist_diff", *RUN, "--sink", sink, "--output", str(folder)]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"EMNIST_DIFF_CONFIG": ""})
    (path,) = folder.rglob("trajectory.h5")
    return path


def test_what_is_captured_afterwards_is_what_the_run_records(cli: Any, recorded: Path, tmp_path: Path):
    plain = tmp_path / "plain"
    assert cli(*RUN, "--sink", "hdf5", "--output", str(plain)).code == 0
    (path,) = plain.rglob("trajectory.h5")
    with Trajectory(path) as a, Trajectory(recorded) as b:
        assert all((a.field(name)[...] == b.field(name)[...]).all() for name in a.datasets())
    done = cli("attend", str(path), "--hidden", "mid_block.resnets.0", "--dtype", "float32")
    assert done.code == 0, done.err
    sidecar = path.with_name("trajectory.attention.h5")
    with Trajectory(recorded) as run, Trajectory(sidecar) as after:
        assert after.activations == run.activations
        assert after.conditions == run.conditions == ("null", "own", "k")
        for name in run.activations:
            assert (run.activation(name)[...] == after.activation(name)[...]).all(), name
        assert abs(run.activation(MID)[...].sum((-1, -2)) - 1).max() < 1e-6
        assert after.environment["activations"]["attention"] == run.environment["activations"]["attention"]
        assert not {"trajectory/x", "trajectory/x0"} & set(after.datasets())
    assert cli("verify", str(sidecar)).code == 0
    assert "bit for bit" in cli("replay", str(recorded)).out
    again = cli("attend", str(path))
    assert again.code != 0
    assert "already exists" in again.err


def test_labelled_arrays_name_the_axes_of_maps(recorded: Path):
    pytest.importorskip("xarray")
    with Trajectory(recorded) as file:
        data = file.to_xarray()
        maps = data[f"activations.{MID.replace('/', '.')}"]
        axes = [f"{MID}.{axis}" for axis in ("head", "row", "column", "key_row", "key_column")]
        assert maps.dims == ("sample", "step", "condition", *axes)
        entropy = data[f"activations.{MID.replace('/', '.')}_entropy"]
        assert entropy.dims[3:] == (f"{MID}_entropy.head",)
        hidden = data["activations.hidden.mid_block.resnets.0"]
        assert hidden.dims[3:] == tuple(f"hidden/mid_block.resnets.0.{axis}" for axis in range(3))
        found = maps.sel(condition="k", step=2, sample=1).sum(axes[-2:])
        expected = file.activation(MID, "k")[1, 2]
        assert (maps.sel(condition="k", step=2, sample=1).values == expected).all()
        assert abs(found.values - 1).max() < 1e-6


def test_parts_of_it_are_chosen(cli: Any, recorded: Path, tmp_path: Path):
    path = tmp_path / "some.h5"
    some = ("--every", "2", "--sample", "0,2", "--condition", "own", "--layer", "up_blocks.*", "--heads", "all")
    done = cli("attend", str(recorded), *some, "--self-resolution", "4", "--output", str(path))
    assert done.code == 0, done.err
    with Trajectory(path) as file, Trajectory(recorded) as whole:
        name = "attention/up_blocks.0.attentions.0.self"
        maps = file.activation(name, "own")
        assert maps.shape == (2, 2, 4, 4, 4, 4, 4)
        assert abs(maps.astype(np.float64).sum((-1, -2)) - 1).max() < 2**-9
        kept_name = "attention/up_blocks.0.attentions.1.self_entropy"
        means = whole.activation(kept_name, "own")[[0, 2]][:, ::2, 0]
        assert (file.activation(kept_name, "own").mean(-1) <= means + 1e-2).all()  # the entropy of a mean is larger


def test_a_switch_records_attention_with_the_default_sinks(cli: Any, tmp_path: Path):
    run = ("run", "--base", "uncond", "--total-videos", "1", "--steps", "2", "--record-attention")
    done = cli(*run, "--output", str(tmp_path))
    assert done.code == 0, done.err
    (path,) = tmp_path.rglob("trajectory.h5")
    with Trajectory(path) as file:
        assert MID in file.activations
    ended = cli(*run, "--sink", "grid", "--output", str(tmp_path / "none"))
    assert ended.code == 2
    assert ended.error == (
        "emnist-diff: --record-attention: no sink of this run records what a network attends to (sinks: grid) — "
        "add one that does: --sink hdf5"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--layer", "mid_blok.*"), "unknown layer that attends 'mid_blok.*'"),
        (("--kind", "cross"), "this network has no cross attention — it has self"),
        (("--kind", "crss"), "expected cross or self, got 'crss'"),
        (("--resume", "--overwrite"), "--resume and --overwrite exclude each other"),
        (("--hidden", "mid_block"), "hands on no tensor when the network is evaluated — mid_block.resnets.1 in it is"),
        (("--hidden", "mid_blok"), "unknown module of the network 'mid_blok'"),
        (("--condition", "Z"), "unknown condition of this run 'Z'"),
        (("--sample", "7"), "sample 7 is not committed"),
        (("--every", "3", "--max-size", "1KB"), "more than 1.0 kB — use --fit"),
        (("--max-size", "soon"), "write it as 200MB"),
        (("--fit",), "--fit needs --max-size"),
        (("--no-attention",), "there is nothing to capture"),
    ],
)
def test_what_cannot_be_captured_is_refused(cli: Any, recorded: Path, arguments: tuple[str, ...], message: str):
    ended = cli("attend", str(recorded), *arguments)
    assert ended.code == 2
    assert message in ended.err
    assert not recorded.with_name("trajectory.attention.h5").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("attention=3", "attention: expected a table, got 3"),
        ('attention={"headz":"all"}', "attention: unknown setting 'headz' — did you mean 'heads'?"),
        ("activations=hidden/", "'hidden/' names no module — name one, or request 'hidden' for all blocks"),
        ("activations=hidden/mid_blok", "unknown module of the network 'mid_blok' — known: 'mid_block.attentions.0'"),
    ],
)
def test_what_a_sink_cannot_record_is_refused(cli: Any, tmp_path: Path, settings: str, message: str):
    run = ("run", "--total-videos", "1", "--steps", "2", "--sink", f"hdf5:{settings}", "--output", str(tmp_path))
    ended = cli(*run)
    assert ended.code == 2
    assert message in ended.error
    assert not list(tmp_path.rglob("*.h5"))


def test_a_run_is_not_replaced_by_what_is_captured_from_it(cli: Any, recorded: Path):
    before = recorded.read_bytes()
    ended = cli("attend", recorded, "--output", recorded, "--overwrite")
    assert "is what is read, and is not replaced — name another file" in ended.error
    assert recorded.read_bytes() == before


def test_two_sinks_cannot_have_one_name_for_different_maps(cli: Any, tmp_path: Path):
    sinks = ("--sink", "hdf5:activations=attention", "--sink", 'hdf5:filename=b.h5,attention={"heads":"all"}')
    ended = cli(*RUN, *sinks, "--output", str(tmp_path / "out"))
    assert ended.code == 2
    assert "two sinks request attention with different settings" in ended.err
