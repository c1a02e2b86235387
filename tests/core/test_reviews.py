"""Reviews, choosers and overlaps of other distributions: what they may change and record, and what broken ones do."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch

from emnist_diff.assembly.assemble import assemble
from emnist_diff.components import Component
from emnist_diff.direct import Direct
from emnist_diff.discovery import installed
from emnist_diff.errors import ConfigError, PluginError, UnknownName
from emnist_diff.evaluators import Prepared
from emnist_diff.plugins import Entry, Registry
from emnist_diff.records import ChooserSpec, OverlapSpec, ReviewSpec, Spec
from emnist_diff.running.run import execute
from emnist_diff.schedules import Constant
from emnist_diff.surroundings import Review
from emnist_diff_plugins.contract import SettingsReview
from emnist_diff_plugins.overlap.recording import Overlapped
from emnist_diff_plugins.runconfig import resolve
from emnist_diff_trajectory.reader import Trajectory

MIXTURE = {
    "denoiser": {"name": "gaussian-mixture", "settings": {"shape": [3], "classes": "ABC"}},
    "steps": 4,
    "character": "A",
    "total_videos": 2,
    "sinks": [],
}
CLAMPED = {"drifts": [{"name": "clamp", "settings": {"min_val": -3.0, "max_val": 3.0}}]}


@attrs.frozen
class Tightening(SettingsReview):
    """Halves the bounds of clamps and the weights of forces, and says so in the record."""

    def amend(self, kind: str, component: Any, weight: Any, timeline: Any) -> Any:
        if kind == "force":
            return component, Constant(weight.value / 2)
        tighter = attrs.evolve(
            component.object, min_val=component.object.min_val / 2, max_val=component.object.max_val / 2
        )
        return attrs.evolve(component, object=tighter, settings=attrs.asdict(tighter)), weight

    def output(self, layout: Any, output: Path) -> Path:
        return output / f"tightened-{len(layout.labels)}"

    def files(self, parts: Any) -> Any:
        return {"tightened": {"name": ",".join(parts), "sha256": "0"}}

    def environment(self, parts: Any, engine: Any, backend: Any, sinks: Any) -> Any:
        return {"tightened": len(parts.layout.components)}


@attrs.frozen
class Refusing(Review):
    def require(self, parts: Any, denoisers: Any, device: Any) -> None:
        raise ConfigError(f"states of {tuple(denoisers[''].shape)} are not allowed here")


@attrs.frozen
class Explaining(Review):
    def explain(self, error: UnknownName, registry: Registry, settings: Any) -> UnknownName:
        return UnknownName(f"{error}; ask next door")


@attrs.frozen
class Resuming(Review):
    def resume(self, layout: Any, registry: Registry) -> Any:
        return attrs.evolve(layout, settings=attrs.evolve(layout.settings, seed=7, micro_batch=3))


@attrs.frozen
class Breaking(Review):
    def report(self, layout: Any) -> None:
        raise TypeError("an author's mistake")


@attrs.frozen
class Foreign:
    """No review at all."""


@attrs.frozen
class Plainest:
    """A chooser that has the networks evaluated as they are, two rows at a time, and says why."""

    def choose(
        self, registry: Registry, layout: Any, denoisers: Any, identities: Any, device: torch.device
    ) -> Prepared:
        evaluators = {name: Direct(denoiser, 2) for name, denoiser in denoisers.items()}
        backend = Component("plainest", self, "theirs", "1", {})
        return Prepared(evaluators, 2, "fp32", backend, reason="the plainest", hint="use another")


class Choosing(Plainest):
    """A chooser that puts nothing on a backend."""

    def choose(self, *_: Any) -> Any:
        return None


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """The factories of this file can be imported by the name that the records say."""
    module = types.ModuleType(__name__)
    module.__dict__.update(globals())
    monkeypatch.setitem(sys.modules, __name__, module)


def with_others(kind: type[Spec], *factories: type, instead: bool = False) -> Registry:
    """What is installed and these.  instead: without what is installed of the same kind."""
    kept = [e for e in installed().entries if not (instead and isinstance(e.spec, kind))]
    specs = [
        kind(name=f.__name__.lower(), factory=f"{__name__}:{f.__name__}", summary="of a test", default=instead)
        for f in factories
    ]
    return Registry((*kept, *(Entry(spec, "theirs", "1") for spec in specs)), ())


def test_what_a_review_amends_acts_and_is_recorded():
    settings = resolve(MIXTURE, CLAMPED, {"forces": [{"name": "attract_class", "settings": {"target": "B"}}]})
    assembly = assemble(with_others(ReviewSpec, Tightening), settings)
    assert assembly.engine.drifts[0].drift.max_val == 1.5
    assert assembly.engine.forces[0].weight(assembly.header.timeline.at(0)) == 0.5
    assert assembly.header.config["drifts"][0]["settings"] == {"min_val": -1.5, "max_val": 1.5}
    assert assembly.header.config["forces"][0]["weight"] == 0.5
    assert assembly.header.config["files"]["tightened"]["name"].startswith("denoiser,scheduler,forces[0]")
    assert assembly.header.environment["tightened"] == 2
    assert assembly.header.output.parts[-2:] == ("A", "tightened-2"), "of the built-in reviews and this one"
    assert "emnist_diff" in assembly.header.environment, "the built-in reviews are asked beside it"


def test_a_review_refuses_a_run_and_explains_an_unknown_name():
    with pytest.raises(ConfigError, match=r"states of \(3,\) are not allowed here"):
        assemble(with_others(ReviewSpec, Refusing), resolve(MIXTURE))
    unknown = resolve(MIXTURE, {"drifts": [{"name": "nowhere"}]})
    with pytest.raises(UnknownName, match=r"'nowhere'.*; ask next door"):
        assemble(with_others(ReviewSpec, Explaining), unknown, resume=True)


def test_a_review_has_a_run_that_is_resumed_go_on_as_before():
    fresh, resumed = (
        assemble(with_others(ReviewSpec, Resuming), resolve(MIXTURE), resume=again) for again in (False, True)
    )
    assert set(fresh.header.seeds.tolist()) == {1000}
    assert set(resumed.header.seeds.tolist()) == {7}
    assert (resumed.config.seed, resumed.header.config["seed"], resumed.header.config["micro_batch"]) == (7, 7, 3)


@pytest.mark.parametrize(
    ("factory", "problem"),
    [
        (Breaking, "review 'breaking' of theirs 1 raised TypeError: an author's mistake"),
        (Foreign, "review 'foreign' of theirs 1 is not derived from surroundings.Review"),
    ],
)
def test_a_broken_review_is_named(factory, problem):
    with pytest.raises(PluginError, match=problem):
        assemble(with_others(ReviewSpec, factory), resolve(MIXTURE))


def test_the_default_chooser_prepares_the_networks_of_a_run():
    assembly = assemble(with_others(ChooserSpec, Plainest, instead=True), resolve(MIXTURE))
    backend = assembly.backend
    assert (backend.component.name, backend.reason, backend.hint) == ("plainest", "the plainest", "use another")
    assert assembly.header.config["backend"]["name"] == "plainest"
    assert assembly.engine.evaluator("") is backend.evaluators[""]
    assert assembly.engine.micro_batch == assembly.plan.micro_batch == assembly.header.config["micro_batch"] == 2
    with pytest.raises(PluginError, match=r"chooser 'choosing' of theirs 1: .* returned NoneType instead of Prepared"):
        assemble(with_others(ChooserSpec, Choosing, instead=True), resolve(MIXTURE))


def test_without_a_chooser_a_run_is_refused():
    with pytest.raises(ConfigError, match="no installed chooser is the default one"):
        assemble(with_others(ChooserSpec, instead=True), resolve(MIXTURE))


def test_a_run_without_an_overlap_draws_and_records_the_same(tmp_path, monkeypatch):
    began, original = [], Overlapped.__attrs_post_init__
    monkeypatch.setattr(Overlapped, "__attrs_post_init__", lambda self: began.append(self) or original(self))
    runs = {}
    for name, registry in {"plain": with_others(OverlapSpec, instead=True), "threads": installed()}.items():
        settings = resolve(MIXTURE, {"output": str(tmp_path / name), "sinks": [{"name": "hdf5"}]})
        execute(assemble(registry, settings), cpus=2)
        with Trajectory(next((tmp_path / name).rglob("*.h5"))) as recorded:
            runs[name] = recorded.x[:]
        assert len(began) == (name == "threads")
    assert np.array_equal(runs["plain"], runs["threads"])


def test_what_is_no_overlap_is_named(tmp_path):
    registry = with_others(OverlapSpec, Foreign, instead=True)
    assembly = assemble(registry, resolve(MIXTURE, {"output": str(tmp_path)}))
    with pytest.raises(PluginError, match=r"overlap 'foreign' of theirs 1 is not derived from recording\.Overlap"):
        execute(assembly)
    assert list(tmp_path.iterdir()) == []
