"""The bench of backends, and the rules for them: a network evaluated in another way is still the network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import attrs
import torch
from torch import Tensor

from emnist_diff.conditions import RowConditions
from emnist_diff.engine.noise import batch_normal
from emnist_diff.errors import EmnistDiffError
from emnist_diff.evaluators import Evaluator
from emnist_diff.protocols import Denoiser
from emnist_diff.timeline import FlowSchedule
from emnist_diff_plugins.contract import Workload
from emnist_diff_testing.models import Model, as_models, mixtures, networks
from emnist_diff_testing.rules import rule
from emnist_diff_testing.subjects import Subject, subject
from emnist_diff_testing.traps import Trapped, trap

_ROWS = 4
_TOLERANCE = 1e-3
"""Of the largest value of a prediction: what another order of additions makes of float32 in a deep network."""


@attrs.define(eq=False)
class Serving:
    """A model as a backend serves it: the evaluator, the rows to ask it for, (3 · rows, *shape), and what it did behind
    the engine's back."""

    model: Model
    evaluator: Evaluator
    x: Tensor
    t: Tensor
    index: Tensor
    trapped: list[Trapped] = attrs.field(factory=list)

    @classmethod
    def of(cls, model: Model, evaluator: Evaluator) -> Serving:
        """The rows: noise at the levels from the noisiest to the cleanest, the first classes and the null one."""
        count, denoiser = 3 * _ROWS, model.denoiser
        schedule, space = denoiser.process, denoiser.conditions
        last = schedule.time_scale if isinstance(schedule, FlowSchedule) else schedule.train_timesteps - 1
        known = [0, min(1, len(space.classes) - 1), *([] if space.null_index is None else [space.null_index])]
        return cls(
            model,
            evaluator,
            batch_normal((5,) * count, tuple(range(count)), 0, "rows", tuple(denoiser.shape)),
            torch.linspace(float(last), 0.0, count, dtype=torch.float32),
            torch.tensor([known[i % len(known)] for i in range(count)], dtype=torch.int64),
        )

    def ask(self, rows: Sequence[int]) -> Any:
        """The answer to these of the rows, a multiple of the rows of a call."""
        order = torch.tensor(rows)
        x, t, index = self.x[order], self.t[order], self.index[order]
        with torch.inference_mode(), trap({"x": x, "t": t, "conds.index": index}) as trapped:
            out = self.evaluator(x, t, RowConditions(index))
        self.trapped.append(trapped)
        return out

    @cached_property
    def plain(self) -> Tensor:
        """What the denoiser itself says to all rows."""
        with torch.inference_mode():
            parts = [
                self.model.denoiser.predict(self.x[part], self.t[part], RowConditions(self.index[part]))
                for part in (slice(i, i + _ROWS) for i in range(0, 3 * _ROWS, _ROWS))
            ]
        return torch.cat(parts)


@attrs.define(eq=False, slots=False)
class BackendBench:
    """A backend, and the models that it serves here."""

    subject: Subject
    models: tuple[Model, ...]

    @property
    def name(self) -> str:
        return self.subject.name

    def work(self) -> Workload:
        """What it is asked to be ready for: few rows in single precision on the CPU."""
        return Workload(rows=_ROWS, device=torch.device("cpu"))

    @cached_property
    def refusals(self) -> dict[str, str | None]:
        """Why it does not serve a model, by label; None where it does."""
        backend = self.subject.make()
        return {model.label: backend.refusal(model.denoiser, self.work()) for model in self.models}

    def refused(self) -> dict[str, str]:
        """The models that it does not serve, by label, and why."""
        return {label: str(reason) for label, reason in self.refusals.items() if reason is not None}

    @cached_property
    def serving(self) -> tuple[Serving, ...]:
        """The models that it serves; of the exact ones the first is enough. Raises what the backend raises."""
        backend = self.subject.make()
        able = [model for model in self.models if self.refusals[model.label] is None]
        return tuple(Serving.of(model, backend.evaluator(model.denoiser, self.work())) for model in able)


def bench(component: Any, name: str = "", models: Sequence[Model | Denoiser] | None = None) -> BackendBench:
    """The bench of a backend, a class or an object. Raises as `subject`."""
    chosen = (*mixtures()[:1], *networks()) if models is None else as_models(models)
    return BackendBench(subject("backend", component, name), chosen)


@rule(
    "backend",
    "refusal() is pure, and gives None or a reason",
    "`auto` asks every backend, and tells people what it was told",
)
def refuses_with_a_reason(bench: BackendBench) -> Iterator[str]:
    for model in bench.models:
        backend = bench.subject.make()
        answers = [backend.refusal(model.denoiser, bench.work()) for _ in range(2)]
        if answers[0] is not None and not (isinstance(answers[0], str) and answers[0].strip()):
            yield f"on {model.label}: {answers[0]!r}"
        if answers[0] != answers[1]:
            yield f"on {model.label}: first {answers[0]!r}, then {answers[1]!r}"


@rule(
    "backend",
    "it serves one of the models here",
    "what it does not serve on this machine cannot be checked on it",
    warning=True,
)
def serves(bench: BackendBench) -> Iterator[str]:
    if all(bench.refusals.values()):
        yield "; ".join(f"{label}: {reason}" for label, reason in bench.refusals.items())


@rule("backend", "what it does not refuse it can set up", "`auto` trusts a backend that does not refuse")
def sets_up(bench: BackendBench) -> Iterator[str]:
    try:
        for served in bench.serving:
            served.ask(range(_ROWS))
    except EmnistDiffError as error:
        yield str(error)


@rule(
    "backend",
    "predictions are float32, contiguous, of the rows' shape, for one call's rows and for several",
    "they are added to states and to each other, whatever the network computes in",
)
def shape(bench: BackendBench) -> Iterator[str]:
    for served in bench.serving:
        for count in (1, 2, 3):
            out, wanted = served.ask(range(count * _ROWS)), (count * _ROWS, *served.model.denoiser.shape)
            if not isinstance(out, Tensor) or tuple(out.shape) != wanted or out.dtype != torch.float32:
                answers = f"{tuple(out.shape)} {out.dtype}" if isinstance(out, Tensor) else type(out).__name__
                yield f"on {served.model.label}: {answers} instead of {wanted} torch.float32"
                return
            if not out.is_contiguous():
                yield f"on {served.model.label}: {count * _ROWS} rows are not contiguous"
                return


@rule(
    "backend",
    "in single precision it predicts what the denoiser itself does, but for rounding",
    "a run on another backend makes the same samples to the eye, and within a tolerance that is measured",
)
def faithful(bench: BackendBench) -> Iterator[str]:
    for served in bench.serving:
        off = (served.ask(range(3 * _ROWS)) - served.plain).abs().max() / served.plain.abs().max()
        if not float(off) < _TOLERANCE:  # NaN is not less either
            yield f"on {served.model.label}: off by {float(off):.2g} of the largest value"


@rule(
    "backend",
    "a row's value depends neither on the other rows, nor on its place, nor on how many calls there are",
    "rows of all samples and conditions are packed into calls, and cut anew for every batch and worker",
)
def row_independence(bench: BackendBench) -> Iterator[str]:
    for served in bench.serving:
        whole = served.ask(range(3 * _ROWS))
        for what, rows in (
            ("one call at a time", [4, 5, 6, 7]),
            ("in the opposite order", list(range(3 * _ROWS))[::-1]),
            ("among copies of row 2", [2, 2, 9, 2]),
        ):
            if not torch.equal(served.ask(rows), whole[torch.tensor(rows)]):
                yield f"on {served.model.label}: {what}, rows differ"


@rule(
    "backend",
    "the same rows get the same prediction, also from a second evaluator",
    "workers set theirs up for themselves, and a resumed run sets it up again",
)
def determinism(bench: BackendBench) -> Iterator[str]:
    for served in bench.serving:
        rows = range(2 * _ROWS)
        first = served.ask(rows)
        fresh = bench.subject.make().evaluator(served.model.denoiser, bench.work())
        for what, other in (("asked again", served), ("set up again", Serving.of(served.model, fresh))):
            if not torch.equal(other.ask(rows), first):
                yield f"on {served.model.label}: {what}, it says something else"


@rule(
    "backend",
    "nothing that it is given is changed, no global generator is used",
    "the rows are gathered from the state, which goes on",
)
def no_mutation(bench: BackendBench) -> Iterator[str]:
    for served in bench.serving:
        served.ask(range(_ROWS))
        done = {name for trapped in served.trapped for name in (*trapped.changed, *trapped.generators)}
        if done:
            yield f"on {served.model.label}: {', '.join(sorted(done))}"
