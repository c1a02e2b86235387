"""Which backend a run gets, what it is recorded as, and what happens when memory is short."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs
import pytest
import torch

from emnist_diff.assembly.assemble import Parts, assemble, chosen_backend
from emnist_diff.assembly.sources import Found
from emnist_diff.components import Component
from emnist_diff.config import ComponentConfig
from emnist_diff.direct import Direct
from emnist_diff.discovery import installed
from emnist_diff.errors import ConfigError, PluginError, UnknownName
from emnist_diff.evaluators import Prepared
from emnist_diff.plugins import Entry, Registry
from emnist_diff_plugins.chooser.attempts import attempt_guide
from emnist_diff_plugins.chooser.limits import Limits
from emnist_diff_plugins.chooser.priority import prepare
from emnist_diff_plugins.contract import BackendSpec, Workload
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture
from emnist_diff_plugins.layers import configure
from emnist_diff_plugins.runconfig import resolve

MIXTURE = {"denoiser": {"name": "gaussian-mixture", "settings": {"shape": [3], "classes": "ABC"}}, "steps": 4}


@attrs.frozen
class Plain:
    """A backend that asks the denoiser."""

    rows_seen: ClassVar[list[int]] = []

    def refusal(self, denoiser: Any, work: Workload) -> str | None:
        return None

    def evaluator(self, denoiser: Any, work: Workload) -> Any:
        self.rows_seen.append(work.rows)
        return Direct(denoiser, work.rows)


@attrs.frozen
class Refusing(Plain):
    def refusal(self, denoiser: Any, work: Workload) -> str | None:
        return "no compiler — install one"


@attrs.frozen
class Breaking(Plain):
    def evaluator(self, denoiser: Any, work: Workload) -> Any:
        raise RuntimeError("the kernel\ndid not compile")


@attrs.frozen
class Unwritten(Plain):
    def evaluator(self, denoiser: Any, work: Workload) -> Any:
        raise TypeError("of an author's mistake")


@attrs.frozen
class Picky(Plain):
    """A backend that finds out late that it cannot."""

    def evaluator(self, denoiser: Any, work: Workload) -> Any:
        def evaluate(x: Any, t: Any, conds: Any) -> Any:
            if conds.variant:
                raise RuntimeError(f"no {conds.variant} here")
            return x

        return evaluate


@attrs.frozen
class Full(Plain):
    """A device whose memory holds nothing more."""

    def evaluator(self, denoiser: Any, work: Workload) -> Any:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")


class Answering:
    """A denoiser, as far as a backend asks it."""

    shape = (3,)

    def predict(self, x: Any, t: Any, conds: Any) -> Any:
        return x


@attrs.frozen
class Small(Plain):
    """A device whose memory holds three rows."""

    def evaluator(self, denoiser: Any, work: Workload) -> Any:
        self.rows_seen.append(work.rows)
        if work.rows > 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return Direct(denoiser, work.rows)


def registry(*specs: BackendSpec) -> Registry:
    known = [e for e in installed().entries if not isinstance(e.spec, BackendSpec)]
    return Registry((*known, *(Entry(spec, "theirs", "1") for spec in specs)), ())


def spec(name: str, factory: type = Plain, **more: Any) -> BackendSpec:
    return BackendSpec(name=name, factory=f"{__name__}:{factory.__name__}", summary="of a test", **more)


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """The factories of this file can be imported by the name that the records say."""
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _this())
    Plain.rows_seen.clear()


def _this() -> Any:
    import types

    module = types.ModuleType(__name__)
    module.__dict__.update(globals())
    return module


def chosen(*specs: BackendSpec, asked: str = "auto", precision: str = "fp32", rows: int = 1000) -> Any:
    limits = Limits(device=torch.device("cpu"), precision=precision, largest=8, total=rows)
    return prepare(registry(*specs), ComponentConfig(asked), None, limits)


def test_auto_takes_the_one_of_most_merit_and_says_why_not_the_others():
    got = chosen(
        spec("slow"),
        spec("good", priority=1),
        spec("refusing", Refusing, priority=5),
        spec("absent", priority=6, requires=("no_such_module",), extra="fast"),
        spec("gpu", priority=7, devices=("cuda",)),
        spec("half", priority=8, precisions=("fp16",)),
        spec("big", priority=9, min_rows=1001),
        spec("broken", Breaking, priority=10),
    )
    assert got.component.name == "good"
    for reason in (
        "refusing: no compiler — install one",
        "absent: no_such_module is not installed — pip install 'emnist-diff[fast]'",
        "half: not in fp32",
        "big: not worth its set-up for 1000 network rows",
        "broken: broken",
    ):
        assert reason in got.reason
    assert "gpu" not in got.reason  # of a device that this run is not on


def test_auto_takes_one_that_is_worth_its_set_up():
    assert chosen(spec("slow"), spec("big", priority=9, min_rows=1000)).component.name == "big"


def test_auto_passes_over_one_that_a_variant_breaks():
    """Before the run begins, though a backend sets its variants up when they are first asked for."""
    there = registry(spec("plain"), spec("picky", Picky, priority=9))

    def named(asked: str, *variants: str) -> Any:
        limits = Limits(device=torch.device("cpu"), largest=2, total=1000, variants=variants)
        return prepare(there, ComponentConfig(asked), Answering(), limits)

    assert named("auto", "").component.name == "picky"
    assert named("auto", "", "blurred").component.name == "plain"
    assert named("auto", "", "blurred").reason == "picky: broken"
    with pytest.raises(PluginError, match="'picky' broke: RuntimeError: no blurred here — use --backend eager"):
        named("picky", "blurred")


def test_what_a_denoiser_says_is_said_where_no_backend_is_left():
    class Asking(Answering):
        def predict(self, x: Any, t: Any, conds: Any) -> Any:
            raise ConfigError("variant 'blurred' wants a file — use SIGMA=FILE")

    limits = Limits(device=torch.device("cpu"), largest=2, total=9, variants=("blurred",))
    for asked in ("auto", "plain"):
        with pytest.raises(ConfigError, match="variant 'blurred' wants a file — use SIGMA=FILE"):
            prepare(registry(spec("plain")), ComponentConfig(asked), Asking(), limits)


def test_where_none_can_serve_every_reason_is_said():
    with pytest.raises(PluginError, match="no backend can serve here — only: no compiler"):
        chosen(spec("only", Refusing))


@pytest.mark.parametrize(
    ("backend", "asked", "precision", "said"),
    [
        (spec("a", Refusing), "a", "fp32", "backend 'a' cannot serve here: no compiler — install one"),
        (spec("a", devices=("cuda", "mps")), "a", "fp32", "backend 'a' serves cuda, mps, not cpu"),
        (spec("a"), "a", "bf16", "backend 'a' computes in fp32, not bf16"),
        (spec("a", requires=("no_such",), extra="x"), "a", "fp32", "backend 'a': no_such is not installed — pip"),
    ],
)
def test_one_asked_for_by_name_must_serve(backend, asked, precision, said):
    with pytest.raises(ConfigError, match=said.replace("(", r"\(")):
        chosen(backend, asked=asked, precision=precision)


def test_one_that_breaks_in_any_way_is_passed_over_or_named():
    assert chosen(spec("slow"), spec("new", Unwritten, priority=9)).reason == "new: broken"
    with pytest.raises(PluginError, match="'new' broke: TypeError: of an author's mistake — use --backend eager"):
        chosen(spec("new", Unwritten), asked="new")


def test_an_unknown_one_suggests_the_known_ones_and_auto():
    with pytest.raises(UnknownName, match=r"unknown backend 'eagre' — did you mean 'eager'.*or auto"):
        chosen(spec("eager"), asked="eagre")


def test_auto_has_no_settings():
    with pytest.raises(ConfigError, match="'auto' has no settings"):
        assemble(installed(), resolve(MIXTURE, {"sinks": [], "backend": {"name": "auto", "streams": 2}}))


@pytest.mark.parametrize("asked", ["small", "auto"])
def test_memory_that_is_short_halves_the_rows_before_anything_is_made(monkeypatch, asked):
    settings = resolve(MIXTURE, {"sinks": [], "character": "A", "total_videos": 10, "backend": asked})
    there = registry(spec("small", Small, devices=("cpu", "meta")))
    parts = Parts.of(there, settings)
    denoiser = parts.networks[""].load("cpu")
    assert parts.layout.plan.micro_batch == 20

    class Elsewhere:
        """A device that is no CPU, whose tensors are a CPU's."""

        type = "meta"

    monkeypatch.setattr(torch, "zeros", lambda *shape, device, **more: torch.ones(*shape, **more))
    networks, identities = {"": denoiser}, {"": ""}
    got = chosen_backend(there, parts.layout, networks, identities, Elsewhere())
    assert Plain.rows_seen == [20, 10, 5, 2]
    assert got.rows == 2
    fixed = attrs.evolve(settings, micro_batch=20)
    whole = Parts.of(there, fixed).layout
    with pytest.raises(ConfigError, match="does not hold a call of 20 rows — use a smaller --micro-batch"):
        chosen_backend(there, attrs.evolve(whole, settings=fixed), networks, identities, Elsewhere())


def test_memory_that_does_not_hold_the_network_is_no_mistake_of_its_family():
    def load(device: str) -> Any:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    source = attrs.evolve(GaussianMixture().source(installed()), load=load)
    with pytest.raises(ConfigError, match="the memory of cuda:0 does not hold the network — use --device cpu"):
        Found(source, Component("large", None, "theirs", "1", {})).load("cuda:0")


def guided(backend: BackendSpec, asked: str) -> Any:
    """The guide "g", asked for its variant "blurred", on a backend."""
    there = registry(backend)
    entry = there.resolve(BackendSpec, backend.name)
    component = Component(backend.name, there.load(BackendSpec, entry.qualified)(), "theirs", "1", {})
    prepared = Prepared({}, 8, "fp32", component)
    limits = Limits(device=torch.device("cpu"), largest=2, total=6, rows=8, variants=("blurred",))
    return attempt_guide(prepared, "g", Answering(), limits, required=asked != "auto")


def test_a_guide_that_a_variant_breaks_is_asked_itself_unless_the_backend_was_asked_for():
    assert isinstance(guided(spec("picky", Picky), "auto"), Direct)
    with pytest.raises(PluginError, match="backend 'picky' broke for guide 'g': RuntimeError: no blurred here"):
        guided(spec("picky", Picky), "picky")


def test_memory_that_does_not_hold_a_guide_is_said():
    with pytest.raises(ConfigError, match="does not hold guide 'g' beside the network — use a smaller --micro-batch"):
        guided(spec("full", Full), "auto")


def test_what_was_chosen_is_recorded_and_asked_for_again(tmp_path):
    made = assemble(installed(), resolve(MIXTURE, {"output": str(tmp_path)}))
    record = made.header.config
    assert record["backend"]["name"] == made.backend.component.name == "eager"
    assert record["precision"] == "fp32"
    assert record["micro_batch"] == made.engine.micro_batch
    assert {"backend": "eager", "precision": "fp32"}.items() <= made.header.environment.items()
    again, _ = configure(installed(), record)
    assert (again.backend.name, again.precision) == ("eager", "fp32")


def test_a_record_wins_over_what_is_set_for_this_machine():
    record = dict(assemble(installed(), resolve(MIXTURE, {"sinks": []})).header.config)
    on_this_machine = {"backend": "openvino", "precision": "bf16"}  # of the user's configuration
    again, _ = configure(installed(), on_this_machine, record)
    assert (again.backend.name, again.precision) == ("eager", "fp32")


def test_a_precision_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="precision"):
        resolve(MIXTURE, {"precision": "fp8"})
