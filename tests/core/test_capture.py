"""A sink requests what the core has never heard of, and a denoiser that captures it provides it."""

from __future__ import annotations

import importlib
import uuid

import pytest
import torch

from emnist_diff.conditions import NULL, OWN, named
from emnist_diff_trajectory.reader import Trajectory

PLUGIN = """
import attrs
import torch
from emnist_diff.frames import is_requested
from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import DenoiserSpec, SinkSpec
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture, MixtureDenoiser

SEEN = []

@hookimpl
def emnist_diff_denoisers():
    yield DenoiserSpec(name="toy", factory="{module}:Toy", summary="a mixture")

@hookimpl
def emnist_diff_sinks():
    yield SinkSpec(name="within", factory="{module}:Within", summary="keeps what it requests")

@attrs.frozen
class Toy(GaussianMixture):
    def denoiser(self, device="cpu"):
        made = super().denoiser(device)
        return ToyDenoiser(self, made.process, made.device)

class ToyDenoiser(MixtureDenoiser):
    capturable = ("hidden",)

    def activations(self, requests):
        shapes = {{"hidden/mid": (2,), "hidden/sum": ()}}
        return {{name: shape for name, shape in shapes.items() if is_requested(name, requests)}}

    def capture(self, x, t, conds, requests):
        found = {{"hidden/mid": torch.stack([conds.index.float(), t], 1), "hidden/sum": x.flatten(1).sum(1)}}
        return {{name: found[name] for name in self.activations(requests)}}

@attrs.define(eq=False)
class Within:
    field: str = "hidden"

    def wants(self, at):
        return frozenset({{self.field}}) if at.index % 2 else frozenset()

    def open(self, header):
        SEEN.clear()

    def write(self, frame):
        SEEN.append(frame)

    def commit(self, batch):
        pass

    def close(self, outcome):
        pass
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    path = tmp_path / f"toy_{uuid.uuid4().hex}.py"
    path.write_text(PLUGIN.format(module=path.stem))
    monkeypatch.syspath_prepend(tmp_path)
    return path


def arguments(plugin, output, *sinks, denoiser="toy"):
    return [
        *("run", "--plugin-file", plugin, "--denoiser", f"{denoiser}:shape=[1,4,4],classes=ABC", "--character", "B,C"),
        *(
            "--total-videos",
            5,
            "--steps",
            4,
            "--force",
            "attract_class:target=A,weight=0.5",
            "--batch-size",
            3,
            "--base",
            "cfg",
        ),
        *("--batch-size", 3, "--micro-batch", 2, "--output", plugin.parent / output),
        *(part for sink in sinks for part in ("--sink", sink)),
    ]


def test_a_denoiser_provides_what_a_sink_requests_and_no_sample_changes(cli, plugin):
    alone = cli(*map(str, arguments(plugin, "alone", "hdf5")))
    assert alone.code == 0, alone.err
    beside = cli(*map(str, arguments(plugin, "beside", "hdf5", "within")))
    assert beside.code == 0, beside.err
    one, other = (next((plugin.parent / name).rglob("*.h5")) for name in ("alone", "beside"))
    with Trajectory(one) as a, Trajectory(other) as b:
        assert all((a.field(name)[...] == b.field(name)[...]).all() for name in a.datasets())
        states, timesteps, labels = torch.from_numpy(a.x[...]), a.timestep, a.labels
    frames = importlib.import_module(plugin.stem).SEEN
    assert [(f.at.index, len(f.positions)) for f in frames] == [(k, n) for n in (3, 2) for k in range(4)]
    for frame in frames:
        if frame.at.index % 2 == 0:
            assert "hidden/mid" not in frame
            assert frame.conditions == ()
            continue
        assert frame.conditions == (NULL, OWN, named("A"))
        mid = frame["hidden/mid"]
        own = [float(labels[position]) for position in frame.positions]
        assert mid[..., 0].T.tolist() == [[3.0] * len(own), own, [0.0] * len(own)]
        assert (mid[..., 1] == torch.tensor(timesteps[frame.at.index], dtype=torch.float32)).all()
        expected = states[list(frame.positions), frame.at.index].flatten(1).sum(1)
        torch.testing.assert_close(frame["hidden/sum"], expected[:, None].expand(-1, 3))


@pytest.mark.parametrize(("denoiser", "sink"), [("toy", "within:field=hidden/end"), ("gaussian-mixture", "within")])
def test_what_nobody_provides_is_refused_before_the_first_step(cli, plugin, denoiser, sink):
    ended = cli(*map(str, arguments(plugin, "out", "hdf5", sink, denoiser=denoiser)))
    assert ended.code == 2
    field = sink.partition("=")[2] or "hidden"
    assert f"sink Within requests the field '{field}', which this run does not have" in ended.err
    assert not (plugin.parent / "out").exists()
