"""What a trajectory file and the attention beside it hold of a sample, as a dataset needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from emnist_diff.errors import ConfigError, TrajectoryError, UnknownName, unknown
from emnist_diff.timeline import rates
from emnist_diff_plugins.metrics.formulas import Array
from emnist_diff_trajectory.attention import ATTENTION
from emnist_diff_trajectory.attention import beside as sidecar
from emnist_diff_trajectory.fields import dataset_of
from emnist_diff_trajectory.opening import reading
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.structure import require_sound

Numbers = npt.NDArray[Any]

KINDS = ("cross", "self")


@attrs.frozen
class Layer:
    """Maps of a kind that are recorded of a layer.

    name: the layer's path.  kind: cross or self.  joint: whether the two kinds of this layer sum to one together.
    shape: of a step's maps in a dataset, (T, fy, fx) or (fy · fx, ky · kx).  facts: place, heads and grid.
    """

    name: str
    kind: str
    joint: bool
    shape: tuple[int, ...]
    facts: Mapping[str, Any]

    @property
    def field(self) -> str:
        """The activation that its maps are."""
        return f"{ATTENTION}/{self.name}.{self.kind}"


@attrs.frozen(eq=False)
class Pair:
    """A trajectory file with states, and the file with attention of the same run, which may be the same file.

    condition: of which attention is.
    """

    states: Trajectory
    attention: Trajectory
    condition: str
    layers: tuple[Layer, ...]

    @property
    def tokens(self) -> int:
        """Of a text, as layers of cross attention have them; 0 where there are none."""
        return next((layer.shape[0] for layer in self.layers if layer.kind == "cross"), 0)

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the file says of its activations."""
        return _table(self.attention.environment.get("activations"))

    def position(self, sample: int) -> int:
        """Of a sample in the file of states. Raises `UnknownName` and `TrajectoryError` where it cannot be exported."""
        file = self.states
        found = np.flatnonzero(file.ids == sample)
        if not len(found):
            raise UnknownName(f"sample {sample} of {file.path}: its ids are {_range(file.ids)}")
        position = int(found[0])
        if file.steps_done[position] != file.steps:
            raise TrajectoryError(f"{file.path}: sample {sample} is not finished — finish the run with --resume")
        file.row(position)
        return position

    def sample(self, sample: int) -> Recorded:
        """What there is of one. Raises as `position`, and `TrajectoryError` for one without attention."""
        position, file = self.position(sample), self.attention
        found = np.flatnonzero(file.ids == sample)
        where = int(found[0]) if len(found) else -1
        if where < 0 or where not in file.committed or not file.keeps(where):
            remedy = f"{_remedy(self.states)} --overwrite"
            raise TrajectoryError(f"{file.path} holds no attention of sample {sample}{remedy}")
        if file.seeds[where] != self.states.seeds[position]:
            raise TrajectoryError(f"{file.path} is of another run than {self.states.path}: sample {sample} differs")
        steps = sorted({*self.states.kept_steps.tolist()} & {*file.kept_steps.tolist()})
        if not steps:
            raise TrajectoryError(f"{file.path} and {self.states.path} keep no step in common")
        return Recorded(self, sample, position, file.row(where), tuple(steps))


@contextmanager
def opened(path: Path, beside: Path | None, condition: str) -> Iterator[Pair]:
    """A trajectory file and the attention of its run.  beside: the file that holds it; None for the file itself, or
    ``NAME.attention.h5`` beside it.

    Raises `TrajectoryError` for files that hold no states, no predictions or no attention, or are of different runs,
    and `ConfigError` for attention that is recorded head by head.
    """
    with Trajectory(path) as states:
        own = any(name.startswith(f"{ATTENTION}/") for name in states.activations)
        other = sidecar(path) if beside is None else beside
        if beside is None and own:
            yield _paired(states, states, condition)
            return
        if beside is None and not other.exists():
            raise TrajectoryError(f"{path} holds no attention{_remedy(states)}")
        with Trajectory(other) as attention:
            yield _paired(states, attention, condition)


def _paired(states: Trajectory, attention: Trajectory, condition: str) -> Pair:
    require_sound(states)
    held = states.datasets()
    if dataset_of("x") not in held:
        raise TrajectoryError(f"{states.path} holds no states x — name the file of the run, which records them")
    if not {dataset_of("prediction"), dataset_of("base")} & set(held) or (
        dataset_of("prediction") not in held and states.force_names
    ):
        raise TrajectoryError(f"{states.path} holds no predictions — record them with the hdf5 sink's field prediction")
    if attention is not states:
        require_sound(attention)
        if attention.config_hash != states.config_hash or not np.array_equal(attention.timestep, states.timestep):
            remedy = f"{_remedy(states)} --overwrite"
            raise TrajectoryError(f"{attention.path} is of another run than {states.path}{remedy}")
    layers = _layers(attention)
    if not layers:
        raise TrajectoryError(f"{attention.path} holds no attention{_remedy(states)}")
    if condition not in attention.conditions:
        raise unknown(f"condition of {attention.path.name}:", condition, attention.conditions)
    return Pair(states, attention, condition, layers)


def _layers(file: Trajectory) -> tuple[Layer, ...]:
    """The layers whose maps a file holds, in the order of evaluation."""
    listed = _table(file.environment.get("activations")).get(ATTENTION)
    facts = {
        str(each["name"]): each
        for each in (listed if isinstance(listed, list) else [])
        if isinstance(each, dict) and "name" in each
    }
    out = []
    for field in file.activations:
        name, _, kind = field.removeprefix(f"{ATTENTION}/").rpartition(".")
        if not field.startswith(f"{ATTENTION}/") or kind not in KINDS:
            continue
        heads, *shape = file.activation(field).shape[3:]
        if len(shape) != (3 if kind == "cross" else 4) or f"{field}_entropy" not in file.activations:
            raise TrajectoryError(f"{file.path} is damaged: {field} is {(heads, *shape)} a step")
        if heads > 1:
            raise ConfigError(
                f"{file.path} keeps attention head by head, and a dataset has the mean of the heads — capture it with "
                "emnist-diff attend FILE --heads mean"
            )
        known = _table(facts.get(name))
        size = tuple(shape) if kind == "cross" else (shape[0] * shape[1], shape[2] * shape[3])
        about = {key: known[key] for key in ("place", "heads", "grid") if key in known}
        out.append(Layer(name, kind, known.get("kind") == "joint", size, about))
    order = {name: place for place, name in enumerate(facts)}
    return tuple(sorted(out, key=lambda layer: (order.get(layer.name, len(order)), layer.kind)))


@attrs.frozen(eq=False)
class Recorded:
    """A sample.

    position: in the file of states.  row: of its attention in that file.  steps: of the run that a dataset has, those
    of which both files keep something. A step of a dataset ends where the next one begins.
    """

    pair: Pair
    sample: int
    position: int
    row: int
    steps: tuple[int, ...]

    @property
    def ends(self) -> tuple[int, ...]:
        """Where each step ends; the last with the final state."""
        return (*self.steps[1:], self.pair.states.steps)

    @property
    def character(self) -> str:
        """The name of its class, or its text."""
        return self.pair.states[self.position].character

    def states(self) -> Numbers:
        """(N+1, *shape), what the first step starts from and where each ends, float32."""
        file = self.pair.states
        row = file.row(self.position)
        with reading(file.path):
            found = [np.asarray(file.x[row, file.column(step)], np.float32) for step in (*self.steps[:1], *self.ends)]
        return self._finite(np.stack(found), "x")

    def noise(self) -> Array:
        """(N, *shape), the noise that each prediction means, guidance and forces included."""
        file = self.pair.states
        of = "prediction" if dataset_of("prediction") in file.datasets() else "base"
        found = [file.epsilon(self.position, step, of) for step in self.steps]
        return np.asarray(self._finite(np.stack(found), of))

    def _finite(self, values: Numbers, name: str) -> Numbers:
        if not np.isfinite(values).all():
            path = self.pair.states.path
            raise TrajectoryError(f"{path}: {name} of sample {self.sample} is not finite — see emnist-diff verify")
        return values

    def rates(self) -> tuple[Array, Array]:
        """Signal and noise where each step ends, (N,) each; past the last one signal alone."""
        file = self.pair.states
        after = file.schedule().get("alpha_bar_next", np.append(file.alpha_bar[1:], 1.0))
        levels = [*file.alpha_bar[list(self.ends[:-1])].tolist(), float(after[-1])]
        path: Any = "flow" if file.forward_process == "flow" else "diffusion"
        pairs = np.array([rates(float(level), path) for level in levels])
        return pairs[:, 0], pairs[:, 1]

    def evaluated(self, step: int) -> bool:
        """Whether this step of the run evaluated the condition whose attention is exported."""
        file = self.pair.attention
        return bool(file.evaluated[file.column(step), file.conditions.index(self.pair.condition)])

    def activation(self, field: str) -> Array:
        """Of all steps, (N, …) without the axis of heads; NaN where the condition is not evaluated."""
        return np.stack([self._read(field, step) for step in self.steps])

    def maps(self, layer: Layer, step: int) -> npt.NDArray[np.float16]:
        """Of a layer at a step of the run, as a dataset has them."""
        found = self._read(layer.field, step).reshape(layer.shape)
        return found.astype("<f2")

    def _read(self, field: str, step: int) -> Array:
        file = self.pair.attention
        place = file.conditions.index(self.pair.condition)
        dataset = file.activation(field)
        with reading(file.path):
            found = np.asarray(dataset[self.row, file.column(step), place, 0], np.float64)
        if not self.evaluated(step):
            return np.full_like(found, np.nan)
        if not np.isfinite(found).all():
            raise TrajectoryError(f"{file.path}: {field} of sample {self.sample} is not finite at step {step}")
        return found

    def tokens(self) -> dict[str, list[Any]]:
        """Its text's tokens: lists of text, id, special and word. Of a class without any, tokens of its name."""
        pair, character = self.pair, self.character
        listed = _table(_table(pair.facts.get("tokens")).get(character))
        kinds: dict[str, type] = {"text": str, "id": int, "special": int, "word": int}
        count = pair.tokens
        if count and all(_is_list(listed.get(key), kind, count) for key, kind in kinds.items()):
            return {key: list(listed[key]) for key in kinds}
        label, count = int(pair.states.labels[self.position]), max(1, count)
        texts = [character] if count == 1 else [f"{character}[{place}]" for place in range(count)]
        return {"text": texts, "id": [label] * count, "special": [0] * count, "word": [0] * count}


def _remedy(file: Trajectory) -> str:
    return f" — capture it with emnist-diff attend {file.path}"


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _is_list(values: object, kind: type, count: int) -> bool:
    return isinstance(values, list) and len(values) == count and all(isinstance(each, kind) for each in values)


def _range(ids: Sequence[int] | Numbers) -> str:
    numbers = sorted(int(number) for number in ids)
    return f"{numbers[0]} … {numbers[-1]}" if len(numbers) > 1 else str(numbers[0])
