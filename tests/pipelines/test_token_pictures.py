"""Pictures of what texts get attention: the numbers are DAAM's, and they are drawn from a run's file and beside it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from emnist_diff.assembly.assemble import assemble
from emnist_diff.conditions import RowConditions
from emnist_diff.discovery import installed
from emnist_diff_plugins.layers import configure
from emnist_diff_plugins.plots.attended import Attended, pieces
from emnist_diff_plugins.plots.chosen import choose, open_runs
from emnist_diff_plugins.plots.heat import heat
from emnist_diff_plugins.plots.token_dominance import TokenDominance
from emnist_diff_trajectory.attention import beside
from emnist_diff_trajectory.reader import Trajectory

Folder = Callable[[str], Path]
ALL = ["evolution_strip", "token_maps", "token_dominance", "attention_entropy"]


@pytest.fixture(scope="module")
def attended_run(pipeline: Folder, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any, str], Path]:
    """The file of a run of a tiny pipeline, with cross attention of all layers and heads beside it."""
    folder = tmp_path_factory.mktemp("runs")

    def make(cli: Any, kind: str) -> Path:
        if not (folder / kind).exists():
            words = (
                "--prompt",
                "a cat",
                "--prompt",
                "two dogs",
                "--steps",
                3,
                "--sink",
                "hdf5",
                "--output",
                folder / kind,
            )
            done = cli("run", "--checkpoint", pipeline(kind), *words)
            assert done.code == 0, done.error
            (path,) = (folder / kind).rglob("trajectory.h5")
            words = ("--layer", "*", "--kind", "cross", "--heads", "all", "--resolution", 4096, "--dtype", "float32")
            done = cli("attend", path, "--checkpoint", pipeline(kind), *words)
            assert done.code == 0, done.error
        (path,) = (folder / kind).rglob("trajectory.h5")
        return path

    return make


def daam(file: Trajectory, folder: Path, size: tuple[int, int]) -> np.ndarray:
    """(T, H, W) of sample 1 by the definition: the scores that diffusers computes, of each layer, step and head, each
    enlarged bicubically to the picture, added up."""
    registry = installed()
    run, found = configure(
        registry, {"checkpoint": str(folder), "prompt": ["a cat", "two dogs"], "sinks": [], "device": "cpu", "steps": 3}
    )
    engine = assemble(registry, run, denoiser=found).engine
    network: Any = engine.denoisers[""]
    total = torch.zeros(network.layout().tokens, *size)

    class Adding:
        """A processor that computes scores as diffusers' own slow one does, and adds them up."""

        def __call__(self, attention: Any, states: Any, encoder_hidden_states: Any = None, **_: Any) -> Any:
            context = states if encoder_hidden_states is None else encoder_hidden_states
            query, key, value = (
                attention.head_to_batch_dim(part)
                for part in (attention.to_q(states), attention.to_k(context), attention.to_v(context))
            )
            scores = attention.get_attention_scores(query, key)
            if encoder_hidden_states is not None:
                for head in scores:
                    side = int(len(head) ** 0.5)
                    small = head.T.reshape(1, -1, side, side)
                    total.add_(F.interpolate(small, size=size, mode="bicubic", align_corners=False)[0])
            return attention.to_out[0](attention.batch_to_head_dim(torch.bmm(scores, value)))

    network.network.set_attn_processor(Adding())
    with torch.inference_mode():
        for step in range(3):
            x = torch.from_numpy(np.asarray(file.x[1, step])[None])
            network.predict(
                x, torch.tensor([engine.timeline.at(step).timestep]).float(), RowConditions(torch.tensor([1]))
            )
    return total.numpy()


def test_maps_are_those_of_daam(cli: Any, pipeline: Folder, attended_run: Any):
    path = attended_run(cli, "sdxl")
    with Trajectory(path) as file, Trajectory(beside(path)) as captured:
        source = Attended(captured)
        layers, some = source.layers("cross"), pieces(source.tokens(1, "own"), words=False)
        assert "".join(piece.text for piece in some) == "twodogs"
        size = tuple(file.images.shape[1:3])
        expected = daam(file, pipeline("sdxl"), size)[[piece.places[0] for piece in some]]
        found = heat(source, layers, 1, "own", [0, 1, 2], some, size)
        count = 3 * sum(layer.heads for layer in layers)
        np.testing.assert_allclose(found * count, expected, rtol=1e-4)
        assert np.ptp(expected) > 100 * np.abs(found * count - expected).max()
        (two, dogs) = heat(source, layers, 1, "own", [0, 1, 2], pieces(source.tokens(1, "own"), words=True), size)
        np.testing.assert_allclose(two, found[:3].mean(0), rtol=1e-4)
        np.testing.assert_allclose(dogs, found[3:].mean(0), rtol=1e-4)
        heads = [
            heat(one := attrs.evolve(source, head=head), one.layers("cross"), 1, "own", [0, 1, 2], some, size)
            for head in range(4)
        ]
        assert {layer.heads for layer in layers} == {4}
        np.testing.assert_allclose(np.mean(heads, axis=0), found, atol=1e-6)


def test_the_overlay_is_drawn_from_either_file(cli: Any, pipeline: Folder, attended_run: Any, tmp_path: Path):
    path, where = attended_run(cli, "sdxl"), ("--checkpoint", pipeline("sdxl"), "--output", tmp_path)
    names = ("token_maps", "evolution_strip")
    plots = ("--plot", "token_maps:words=true,head=1,steps=[0,2]", "--plot", "evolution_strip:word=dogs,moments=2")
    drawn = []
    for file in (path, beside(path)):
        assert (done := cli("plot", file, *plots, *where)).code == 0, done.error
        drawn.append([(tmp_path / f"{name}.png").read_bytes() for name in names])
    assert drawn[0] == drawn[1]
    assert cli("plot", path, "--plot", 'attention_entropy:layers=["mid*attn2"]', *where).code == 0
    done = cli("plot", path, "--plot", "evolution_strip:word=dogz", *where)
    assert done.code == 2
    assert "did you mean 'dogs'" in done.error


def test_shares_of_tokens_are_recorded_means(cli: Any, attended_run: Any):
    path = attended_run(cli, "sdxl")
    with ExitStack() as stack:
        (run,) = open_runs(stack, [path], installed())
        assert set(ALL) <= set(choose(installed(), (), [run]).drawn)
        cat, dogs = TokenDominance()._texts(run)
        captured = stack.enter_context(Trajectory(beside(path)))
        names = [name for name in captured.activations if name.endswith("cross_activation")]
        mean = np.mean([captured.activation(name, "own")[1].mean((0, 1)) for name in names], axis=0)
        assert (cat[0], dogs[0]) == ("a cat", "two dogs")
        assert sorted(dogs[1]) == sorted("twodogs")
        np.testing.assert_allclose(dogs[2], np.sort(mean[1:8])[::-1], rtol=1e-5)
        assert dogs[3] == pytest.approx(1 - mean[1:8].sum(), rel=1e-5)
        last = TokenDominance(head=1, steps=(2,))._texts(run)[1]
        one = np.mean([captured.activation(name, "own")[1, 2, 1] for name in names], axis=0)
        np.testing.assert_allclose(last[2], np.sort(one[1:8])[::-1], rtol=1e-5)
