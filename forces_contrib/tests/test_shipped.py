"""Rules and terms on the shipped models, of pixels and of latents: the same formula on both."""

from __future__ import annotations

import pytest
import torch
from emnist_diff.assembly.assemble import assemble
from emnist_diff.conditions import RowConditions
from emnist_diff.engine.state import Batch
from emnist_diff.engine.walk import walk
from emnist_diff.frames import FIELDS
from emnist_diff_plugins.layers import configure


@pytest.fixture(scope="module", params=["emnist-handwritten", "mnist-latent-rf"])
def frames_with(request, registry):
    """Walk two samples of a shipped model; gives frames with the predictions of own class and of none beside each."""

    def walked(*forces, **settings):
        settings = {"checkpoint": request.param, "steps": 4, "total_videos": 2, "character": "1,7", **settings}
        config, *_ = configure(registry, {"sinks": [], "device": "cpu", "forces": list(forces), **settings})
        run = assemble(registry, config)
        header, denoiser = run.header, run.engine.denoisers[""]
        labels = tuple(header.labels.tolist())
        batch = Batch((0, 1), tuple(header.sample_ids.tolist()), labels, tuple(header.seeds.tolist()))
        rows = [torch.tensor(labels), torch.full((2,), denoiser.conditions.null_index)]
        for frame in list(walk(run.engine, batch, lambda at: frozenset(FIELDS)))[:-1]:
            t = torch.full((2,), frame.at.timestep)
            with torch.inference_mode():
                own, null = (denoiser.predict(frame["x"], t, RowConditions(row)) for row in rows)
            yield frame, own, null

    return walked


def close(got, expected):
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3)


def test_interval(frames_with):
    inside = []
    for frame, own, null in frames_with({"name": "interval", "scale": 3, "low": 0.4, "high": 30}, base="cond"):
        inside.append(0.4 < frame.at.sigma <= 30)
        close(frame["prediction"], null + 3 * (own - null) if inside[-1] else own)
    assert True in inside
    assert False in inside


def test_rescale(frames_with):
    for frame, own, null in frames_with({"name": "rescale", "phi": 1}, base="cfg", guidance_scale=4):
        guided = null + 4 * (own - null)
        for i in range(2):
            close(frame["prediction"][i], guided[i] * own[i].std() / guided[i].std())


@pytest.mark.parametrize(
    "force",
    [
        {"name": "perp_neg", "targets": ["7"], "strength": 2},
        {"name": "semantic", "targets": ["7"], "warmup": 0},
        {"name": "contrast", "away": "7"},
        {"name": "skip_layers", "layers": [1], "stop": 1},
        {"name": "regional", "targets": ["7"], "masks": ["top"], "feather": 0.1},
    ],
    ids=lambda force: force["name"],
)
def test_the_others_act_and_keep_the_ledger(frames_with, force):
    acted = 0.0
    for frame, *_ in frames_with(force, base="cond"):
        contribution = frame.group("forces")[0]
        assert torch.equal(frame["base"] + contribution, frame["prediction"])
        acted += float(contribution.abs().sum())
    assert 0 < acted < float("inf")
