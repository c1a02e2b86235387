"""The bench of denoisers, and the rules for them: rows are independent, and what is said of the network is so."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cached_property
from typing import Any, cast

import attrs
import torch
from torch import Tensor

from emnist_diff.conditions import RowConditions
from emnist_diff.discovery import installed
from emnist_diff.engine.noise import batch_normal
from emnist_diff.errors import ConfigError, EmnistDiffError
from emnist_diff.protocols import Denoiser
from emnist_diff.spaces import ConditionSpace
from emnist_diff.structuring import unstructure
from emnist_diff.timeline import FlowSchedule, ForwardProcess, NoiseSchedule, PredictionType
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader
from emnist_diff_plugins.containers.families import TrainableFamily
from emnist_diff_testing.models import seeded
from emnist_diff_testing.rules import rule
from emnist_diff_testing.subjects import Subject, subject
from emnist_diff_testing.traps import Trapped, trap

ROWS = 6
"""That are asked for together."""

_SHAPES = ((1, 16, 16), (1, 28, 28), (3, 32, 32), (16,), (2, 4, 4), (4, 8, 8), (6, 8))
"""What a family that can be trained is offered as states, pixels or latents of a codec, until it fits."""


@attrs.frozen(eq=False)
class Answer:
    """What a denoiser said to some rows, and what it did behind the engine's back."""

    out: Any
    trapped: Trapped


@attrs.define(eq=False, slots=False)
class DenoiserBench:
    """A denoiser ready to be asked, and the rows that it is asked."""

    subject: Subject
    load: Callable[[], Denoiser]

    @property
    def name(self) -> str:
        return self.subject.name

    @cached_property
    def denoiser(self) -> Denoiser:
        return self.load()

    @cached_property
    def levels(self) -> tuple[float, ...]:
        """Timesteps from the noisiest to the cleanest."""
        schedule = self.denoiser.process
        if isinstance(schedule, FlowSchedule):
            return (schedule.time_scale, 0.37 * schedule.time_scale, 0.01 * schedule.time_scale)
        last = schedule.train_timesteps - 1
        return (float(last), 0.37 * last, 0.0)

    @cached_property
    def x(self) -> Tensor:
        """States, (rows, *shape)."""
        return batch_normal((3,) * ROWS, tuple(range(ROWS)), 0, "rows", tuple(self.denoiser.shape))

    @cached_property
    def index(self) -> Tensor:
        """Class indices, the null one among them where there is one; (rows,)."""
        space = self.denoiser.conditions
        if space.open:
            return torch.tensor([space.index(name) for name in "abcabc"], dtype=torch.int64)
        known = [*range(min(len(space.classes), 3)), *([] if space.null_index is None else [space.null_index])]
        return torch.tensor([known[i % len(known)] for i in range(ROWS)], dtype=torch.int64)

    def ask(self, x: Tensor, t: float, index: Tensor, variant: str = "") -> Answer:
        """The answer to rows at one timestep, as the engine asks."""
        times = torch.full((len(x),), t, dtype=torch.float32)
        with torch.inference_mode(), trap({"x": x, "t": times, "conds.index": index}) as trapped:
            out = self.denoiser.predict(x, times, RowConditions(index, variant))
        return Answer(out, trapped)

    @cached_property
    def answers(self) -> tuple[tuple[float, Answer], ...]:
        """Its answers at every level."""
        return tuple((t, self.ask(self.x, t, self.index)) for t in self.levels)


def bench(component: Any, name: str = "") -> DenoiserBench:
    """The bench of a denoiser that is loaded, or of a family, a class or an object.

    Raises as `subject`, and `ConfigError` for a family that can neither run nor be trained without a checkpoint.
    """
    if hasattr(component, "predict") and not isinstance(component, type):
        family = Subject("denoiser", name or f"denoiser {type(component).__name__}", type(component), None, component)
        return DenoiserBench(family, lambda: component)
    found = subject("denoiser", component, name)
    built = DenoiserBench(found, lambda: _loaded(found))
    try:
        built.denoiser  # noqa: B018  # loaded now, for what it raises
    except Exception as error:  # what breaks in other ways breaks the rules
        if isinstance(error, EmnistDiffError):
            raise
    return built


def _loaded(found: Subject) -> Denoiser:
    """A denoiser of a family, with the weights that training would start from where it needs any."""
    family: Any = found.make()
    if not isinstance(found.make(), TrainableFamily):
        return cast(Denoiser, family.source(installed()).load("cpu"))
    fitted = fitted_family(found)
    with seeded(0):
        weights = fitted.network().state_dict()
    return cast(Denoiser, fitted.with_weights(weights, header_of(fitted), "cpu"))


def fitted_family(found: Subject) -> Any:
    """A family that can be trained, fitted to ten classes and the first states that it takes. Raises `ConfigError`
    where it takes none of them."""
    family = found.make()
    for shape in _SHAPES:
        with suppress(EmnistDiffError):
            return attrs.evolve(family, **family.fitted(shape, 10))
    raise ConfigError(f"{found.name}: fitted() takes none of the shapes {', '.join(map(str, _SHAPES))}")


def header_of(family: Any, process: ForwardProcess | None = None, kind: PredictionType = "epsilon") -> CheckpointHeader:
    """What a checkpoint of a fitted family says, on this process or a diffusion."""
    return CheckpointHeader(
        family="checked",
        network=dict(unstructure(family)),
        classes=tuple("0123456789"),
        null_index=10,
        schedule=process or NoiseSchedule(),
        prediction=kind,
    )


def is_family(bench: DenoiserBench) -> bool:
    """Whether a family is checked, and not a denoiser that is loaded."""
    return not hasattr(bench.subject.factory, "predict")


@rule(
    "denoiser",
    "it can be loaded, and says what it predicts, on which process, over states of which shape",
    "schedulers, forces and files are chosen by what it says",
)
def described(bench: DenoiserBench) -> Iterator[str]:
    denoiser = bench.denoiser
    known = typing.get_args(PredictionType)
    if denoiser.prediction_type not in known:
        yield f"prediction_type is {denoiser.prediction_type!r}, none of {', '.join(known)}"
    shape = denoiser.shape
    if not isinstance(shape, tuple) or not shape or not all(isinstance(n, int) and n >= 1 for n in shape):
        yield f"shape is {shape!r}, no tuple of sizes"
    if not isinstance(denoiser.process, NoiseSchedule | FlowSchedule):
        yield f"process is {type(denoiser.process).__name__}, neither NoiseSchedule nor FlowSchedule"
    elif (denoiser.prediction_type == "flow") > isinstance(denoiser.process, FlowSchedule):
        yield "it predicts the velocity of a flow, and its process is a diffusion"


@rule(
    "denoiser",
    "the condition space is consistent: different names, a null index beside them, merges into classes",
    "classes are asked for by name, and a wrong index is another letter",
)
def condition_space(bench: DenoiserBench) -> Iterator[str]:
    space = bench.denoiser.conditions
    if not isinstance(space, ConditionSpace):
        yield f"conditions is {type(space).__name__}, no ConditionSpace"
        return
    if not space.classes or len(set(space.classes)) != len(space.classes):
        yield f"classes are not different and at least one: {space.classes!r}"
    if space.null_index is not None and 0 <= space.null_index < len(space.classes):
        yield f"null_index {space.null_index} is the index of the class {space.classes[space.null_index]!r}"
    for name, into in space.merged.items():
        if into not in space.classes or name in space.classes:
            yield f"{name!r} is merged into {into!r}: the one must be no class, and the other one"
    if bench.denoiser.conditions != space:
        yield "it says another condition space when asked again"


@rule(
    "denoiser",
    "a prediction has the shape, dtype and device of the rows",
    "predictions are added to states and to each other",
)
def shape(bench: DenoiserBench) -> Iterator[str]:
    for t, answer in bench.answers:
        out, x = answer.out, bench.x
        if not isinstance(out, Tensor) or (out.shape, out.dtype, out.device) != (x.shape, x.dtype, x.device):
            returned = (
                f"{tuple(out.shape)} {out.dtype} on {out.device}" if isinstance(out, Tensor) else type(out).__name__
            )
            yield f"at timestep {t:g}: {returned} instead of {tuple(x.shape)} {x.dtype} on {x.device}"
            return


@rule(
    "denoiser",
    "predictions are finite from the noisiest level to the cleanest",
    "one infinity ends the run",
)
def finite(bench: DenoiserBench) -> Iterator[str]:
    for t, answer in bench.answers:
        if isinstance(answer.out, Tensor) and not bool(torch.isfinite(answer.out).all()):
            yield f"at timestep {t:g}: NaN or infinite"
            return


@rule(
    "denoiser",
    "decode() gives images (B, C, H, W) in [0, 1], each of its own state",
    "pictures, videos and classifiers take them as they are, and several sinks ask for the same ones",
)
def decoding(bench: DenoiserBench) -> Iterator[str]:
    with torch.inference_mode(), trap({"x": bench.x}) as trapped:
        images = bench.denoiser.decode(bench.x)
        wide = bench.denoiser.decode(50.0 * bench.x)
        flipped = bench.denoiser.decode(bench.x.flip(0))
    if not isinstance(images, Tensor) or images.dim() != 4 or len(images) != ROWS or images.dtype != torch.float32:
        got = f"{tuple(images.shape)} {images.dtype}" if isinstance(images, Tensor) else type(images).__name__
        yield f"{got} instead of float32 ({ROWS}, C, H, W)"
        return
    declared = tuple(getattr(bench.denoiser, "image_shape", images.shape[1:]))
    if declared != tuple(images.shape[1:]):
        yield f"image_shape is {declared}, and images are {tuple(images.shape[1:])}"
    for what, shown in (("", images), (", for states far out", wide)):
        low, high = float(shown.min()), float(shown.max())
        if not (low >= 0.0 and high <= 1.0):  # NaN is in no range
            yield f"values {low:.3g} … {high:.3g}{what}"
    if not torch.equal(flipped.flip(0), images):
        yield "an image depends on its neighbours or its place in the batch"
    if trapped.changed or trapped.generators:
        yield f"it changed {', '.join((*trapped.changed, *trapped.generators))}"


@rule(
    "denoiser",
    "a family loads the same network twice from the same weights",
    "workers load it for themselves, and a resumed run loads it again",
)
def same_again(bench: DenoiserBench) -> Iterator[str]:
    if is_family(bench):
        other = DenoiserBench(bench.subject, bench.load)
        if not torch.equal(other.ask(bench.x, bench.levels[1], bench.index).out, bench.answers[1][1].out):
            yield "the second one predicts something else"
