"""Families from outside: a checkpoint of another format, conditions that are any text, states made of images."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import attrs
import pytest
import torch

from emnist_diff.assembly.assemble import assemble
from emnist_diff.assembly.sources import found
from emnist_diff.conditions import Cond, pack
from emnist_diff.errors import ConfigError, PluginError
from emnist_diff.protocols import Encodes
from emnist_diff_plugins.layers import configure
from emnist_diff_plugins.pluginfiles import with_files
from emnist_diff_plugins.spaces import ClassSpace, TextSpace
from emnist_diff_trajectory.reader import Trajectory

PLUGIN = '''
import hashlib, json
from pathlib import Path
import attrs, torch
from emnist_diff.conditions import NULL, Cond
from emnist_diff.families import Source
from emnist_diff_plugins.capabilities import WEIGHTS
from emnist_diff_trajectory.files import sha256
from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import DenoiserSpec, ForceSpec
from emnist_diff_plugins.spaces import ClassSpace, TextSpace
from emnist_diff.timeline import FlowSchedule
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture

@attrs.frozen
class ToyFlow:
    """A flow whose checkpoint is a file of its own format."""
    path: str = attrs.field(metadata={"help": "the file", WEIGHTS: True})
    components: int = attrs.field(default=1, metadata={"help": "Gaussians a class"})

    @classmethod
    def opened(cls, path, epoch):
        return cls(str(path)) if path.suffix == ".toy" else None

    def source(self, registry):
        data, path = json.loads(Path(self.path).read_text()), Path(self.path)
        mixture = GaussianMixture(
            shape=(2,), classes=data["classes"], seed=data["seed"], components=self.components, prediction="flow"
        )
        return attrs.evolve(
            mixture.source(registry), recommended={"steps": 3, "scheduler": "flow_euler"}, label=str(path),
            identity=sha256(path), facts={"file": path.name, "sha256": sha256(path)},
        )

@attrs.frozen(eq=False)
class TextDenoiser:
    """Pulls each row toward what its text and numbers hash to."""
    conditions: TextSpace
    device: str
    prediction_type = "flow"
    process = FlowSchedule()
    shape = (4,)
    table: dict = attrs.field(factory=dict)

    def embedding(self, index):
        if index not in self.table:
            digest = hashlib.sha256(repr(self.conditions.entry(index)).encode()).digest()
            self.table[index] = torch.tensor([b / 255 for b in digest[:4]])
        return self.table[index]

    def predict(self, x, t, conds):
        means = torch.stack([self.embedding(i) for i in conds.index.tolist()]).to(x.device)
        return x - means

    def decode(self, x):
        return x.reshape(-1, 1, 2, 2).clamp(0, 1)

    def encode(self, images):
        return images.reshape(-1, 4)

@attrs.frozen
class Texts:
    """A latent model that is asked for by any text."""
    shared: bool = attrs.field(default=True, metadata={"help": "whether source and denoiser have one space"})

    def source(self, registry):
        space = TextSpace()
        return Source(
            conditions=space, process=FlowSchedule(), prediction_type="flow", shape=(4,),
            load=lambda device: TextDenoiser(space if self.shared else TextSpace(), device),
        )

@attrs.frozen
class Sized:
    """The difference that a number beside the sample's own text makes."""
    size: float = attrs.field(default=64.0, metadata={"help": "the number"})
    def conditions(self, at):
        return (Cond("own"), Cond("own", inputs={"size": self.size}))
    def __call__(self, predictions, step):
        return predictions[Cond("own", inputs={"size": self.size})] - predictions[Cond("own")]

@attrs.frozen
class Away:
    """Away from what the guide called weak predicts."""
    def conditions(self, at):
        return (Cond("own"), Cond("own", denoiser="weak"))
    def __call__(self, predictions, step):
        return predictions[Cond("own")] - predictions[Cond("own", denoiser="weak")]

@hookimpl
def emnist_diff_denoisers():
    yield DenoiserSpec(name="toy-flow", factory="toys:ToyFlow", summary="a toy", opens_paths=True)
    yield DenoiserSpec(name="texts", factory="toys:Texts", summary="a toy")

@hookimpl
def emnist_diff_forces():
    yield ForceSpec(name="away", factory="toys:Away", summary="a toy")
    yield ForceSpec(name="sized", factory="toys:Sized", summary="a toy")
'''


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the plugin file and two checkpoints of its format, to stand in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "toys", raising=False)
    Path("toys.py").write_text(PLUGIN)
    for name, seed in (("main", 1), ("weak", 2)):
        Path(f"{name}.toy").write_text(json.dumps({"classes": "ABC", "seed": seed}))
    return tmp_path / "toys.py"


def test_a_flow_of_a_foreign_format_is_run_recorded_replayed_and_a_guide(cli, toys):
    plugin = ("--plugin-file", toys)
    run = (
        "run",
        *plugin,
        "--checkpoint",
        "main.toy",
        "--guide",
        "weak=weak.toy",
        "--character",
        "B",
        "--force",
        "away",
    )
    done = cli(*run, "--total-videos", "2", "--sink", "hdf5", "--output", "out")
    assert done.code == 0, done.error
    path = Path("out/B/trajectory.h5")
    with Trajectory(path) as trajectory:
        record, environment = trajectory.config, trajectory.environment
        assert len(trajectory.timestep) == 3  # which the source recommends
        assert record["scheduler"]["name"] == "flow_euler"
        assert record["denoiser"] == {"name": "toy-flow", "settings": {"components": 1}}  # and no path
        assert environment["checkpoint"]["file"] == "main.toy"
        assert environment["guides"]["weak"]["file"] == "weak.toy"
        assert abs(trajectory.field("forces/00_away/contribution")[0]).min() > 0
    replay = ("replay", path, *plugin, "--guide", "weak=weak.toy", "--checkpoint")
    assert cli(*replay, "main.toy").code == 0
    refused = cli(*replay, "weak.toy")
    assert refused.code != 0
    assert "and weak.toy is another" in refused.error


def test_settings_beside_the_weights_are_recorded_and_taken_up_again(cli, toys):
    run = ("run", "--plugin-file", toys, "--denoiser", "toy-flow:path=main.toy,components=3", "--steps", "2")
    assert cli(*run, "--scheduler", "flow_euler", "--total-videos", "1", "--sink", "hdf5", "--output", "out").code == 0
    path = Path("out/A/trajectory.h5")
    with Trajectory(path) as trajectory:
        assert trajectory.config["denoiser"]["settings"] == {"components": 3}
    Path("main.toy").rename("moved.toy")
    replayed = cli("replay", path, "--plugin-file", toys, "--checkpoint", "moved.toy")
    assert replayed.code == 0, replayed.error


def test_any_text_is_a_condition(cli, toys):
    asked = ("--character", "a cat, sitting", "--force", 'attract_class:target="any text"', "--steps", "3")
    run = ("run", "--plugin-file", toys, "--denoiser", "texts", "--scheduler", "flow_euler", *asked)
    done = cli(*run, "--total-videos", "2", "--sink", "hdf5", "--output", "out")
    assert done.code == 0, done.error
    (path,) = Path("out").rglob("trajectory.h5")
    with Trajectory(path) as trajectory:
        assert trajectory.classes == ("a cat, sitting", "any text")
        assert trajectory.labels.tolist() == [0, 0]
    assert cli("replay", path, "--plugin-file", toys).code == 0


def texts(toys: Path, **more):
    layer = {"denoiser": "texts", "scheduler": "flow_euler", "steps": 3, "total_videos": 4, "sinks": []} | more
    registry = with_files([toys])
    return assemble(registry, configure(registry, layer)[0])


def test_texts_share_a_packed_evaluation_and_no_row_is_there_twice(toys):
    forces = [{"name": "attract_class", "target": target} for target in ("any text", "a cat", "any text")]
    run = texts(toys, character=["a cat", "a dog"], forces=forces)
    space = run.engine.denoisers[""].conditions
    assert space.classes == ("a cat", "a dog", "any text")
    # of a cat: itself, nothing, any text; of a dog: itself, nothing, any text, a cat
    assert run.plan.rows == 3 * (2 * 3 + 2 * 4)
    packing = pack(run.plan.evaluations.conditions[0], [0, 1, 0, 1], {"": space})
    assert len(packing.groups) == 1
    rows = list(zip(packing.groups[0].sample.tolist(), packing.groups[0].index.tolist(), strict=True))
    assert len(rows) == len(set(rows)) == 14


def test_a_condition_with_numbers_is_a_row_of_its_own(toys):
    run = texts(toys, character="a cat", base="cond", forces=[{"name": "sized", "size": 32}])
    assert run.plan.rows == 3 * 4 * 2
    denoiser = run.engine.denoisers[""]
    assert denoiser.conditions.entry(1) == ("a cat", (("size", 32.0),))
    assert not torch.equal(denoiser.embedding(0), denoiser.embedding(1))
    assert Cond("own", inputs={"b": 1, "a": 2}) == Cond("own", inputs=(("a", 2.0), ("b", 1.0)))
    with pytest.raises(ConfigError, match="takes a class and no numbers beside it"):
        pack([Cond("class", "A", inputs={"size": 1})], [0], {"": ClassSpace(("A",))})


def test_an_open_space_is_one_of_source_and_denoiser(toys):
    with pytest.raises(PluginError, match="the denoiser has another open condition space"):
        texts(toys, denoiser={"name": "texts", "shared": False}, character="a cat")
    with pytest.raises(ConfigError, match="use --character TEXT"):
        texts(toys)
    assert TextSpace().characters('["a, b", "c"]') == ("a, b", "c")
    for text in ('["a\\u0000"]', '["\\ud800"]', "[" * 100_000, "[1]"):  # no lists of names, though they start like one
        assert TextSpace().characters(text) == (text,)


def test_a_latent_model_encodes_and_decodes(toys):
    registry = with_files([toys])
    settings, _ = configure(registry, {"denoiser": "texts", "scheduler": "flow_euler"})
    denoiser = found(registry, attrs.evolve(settings, denoiser=settings.denoiser)).load("cpu")
    assert isinstance(denoiser, Encodes)
    images = torch.linspace(0, 1, 8).reshape(2, 1, 2, 2)
    assert torch.equal(denoiser.decode(denoiser.encode(images)), images)
