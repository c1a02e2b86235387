"""What is measured of a network's attention at a step: what each token gets, and how spread it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from emnist_diff.errors import TrajectoryError
from emnist_diff.events import get_logger
from emnist_diff.frames import Frame, RunHeader
from emnist_diff_plugins.metrics.formulas import Array, ratio
from emnist_diff_plugins.metrics.trace import mean_of
from emnist_diff_trajectory.attention import ATTENTION, beside
from emnist_diff_trajectory.opening import reading
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.structure import require_sound

log = get_logger()

KINDS = ("cross", "self")


@attrs.frozen
class Layer:
    """A layer whose attention of a kind is captured.

    name: its path.  kind: cross or self.  joint: whether both kinds of the layer sum to one together.
    heads: how many are kept apart.  tokens: of the texts that it attends to; 0 of self attention.
    """

    name: str
    kind: str
    joint: bool
    heads: int
    tokens: int

    @property
    def field(self) -> str:
        """The activation that its maps are."""
        return f"{ATTENTION}/{self.name}.{self.kind}"


@attrs.frozen(eq=False)
class Seen:
    """Attention at a step of B samples; NaN where it is not known.

    activation: (B, T), the mean over layers of what each token gets; zeros in networks without texts.
    entropies: kind → layer → (B,), in nats.  shares: of joint layers, what the text gets of all attention, (B,).
    texts: whether layers attend to one.
    """

    activation: Array
    entropies: Mapping[str, Mapping[str, Array]]
    shares: Mapping[str, Array]
    texts: bool

    def some(self, which: slice) -> Seen:
        """Of some of the samples."""
        entropies = {kind: {name: v[which] for name, v in found.items()} for kind, found in self.entropies.items()}
        return Seen(self.activation[which], entropies, {name: v[which] for name, v in self.shares.items()}, self.texts)


def token_means(layers: Sequence[tuple[Array, bool]]) -> Array:
    """The mean over layers of what each token gets, (…, T); of a joint layer that as shares of what the text gets.

    layers: of each, its token activation, and whether it is joint.
    """
    return mean_of([ratio(values, values.sum(-1, keepdims=True)) if joint else values for values, joint in layers])


@attrs.frozen(eq=False)
class Watched:
    """Which attention of a run is measured.

    layers: in the order of evaluation.  condition: whose evaluation.  texts: lists of tokens by text.
    classes: names in index order, or texts.
    """

    layers: tuple[Layer, ...]
    condition: str
    texts: Mapping[str, Any]
    classes: tuple[str, ...]

    @classmethod
    def of(
        cls,
        activations: Mapping[str, Sequence[int]],
        conditions: Iterable[str],
        environment: Mapping[str, Any],
        classes: Sequence[str],
    ) -> Watched | None:
        """Of what is captured; None where that is no attention.

        activations: name → shape of a row's.  conditions: all that are evaluated; measured is that of a sample's own
        class or text, or the first that is not the null condition.
        """
        recorded = _table(environment.get("activations"))
        listed = recorded.get(ATTENTION)
        facts = {str(f["name"]): f for f in listed if "name" in f} if isinstance(listed, list) else {}
        layers = []
        for field, shape in activations.items():
            name, _, kind = field.removeprefix(f"{ATTENTION}/").rpartition(".")
            if field.startswith(f"{ATTENTION}/") and kind in KINDS and f"{field}_entropy" in activations:
                joint, tokens = _table(facts.get(name)).get("kind") == "joint", shape[1] if kind == "cross" else 0
                layers.append(Layer(name, kind, joint, shape[0], tokens))
        names = list(conditions)
        if not layers or not names:
            return None
        chosen = "own" if "own" in names else next((name for name in names if name != "null"), names[0])
        order = {name: place for place, name in enumerate(facts)}
        layers.sort(key=lambda layer: (order.get(layer.name, len(order)), layer.kind))
        return cls(tuple(layers), chosen, _table(recorded.get("tokens")), tuple(classes))

    @classmethod
    def of_run(cls, header: RunHeader) -> Watched | None:
        """Of what a run captures for its sinks; None where that is no attention."""
        conditions = dict.fromkeys(str(cond) for step in header.conditions for cond in step)
        return cls.of(header.activations, conditions, header.environment, header.classes)

    @property
    def fields(self) -> frozenset[str]:
        """The activations that are read."""
        entropies = {f"{layer.field}_entropy" for layer in self.layers}
        return frozenset(entropies | {f"{layer.field}_activation" for layer in self.layers if layer.tokens})

    @property
    def count(self) -> int:
        """Tokens of a text; 1 in networks without texts."""
        return max(1, next((layer.tokens for layer in self.layers if layer.tokens), 1))

    def tokens(self, label: int) -> tuple[list[str], npt.NDArray[np.bool_]]:
        """Those of the text of a sample with this label, and whether each is a mark or filling."""
        name = self.classes[label]
        found = _table(self.texts.get({"own": name, "null": ""}.get(self.condition, self.condition)))
        text, special = found.get("text"), found.get("special")
        if isinstance(text, list) and isinstance(special, list) and len(text) == len(special) == self.count:
            return list(map(str, text)), np.array(special, bool)
        return [name if self.count == 1 else f"{name}[{k}]" for k in range(self.count)], np.zeros(self.count, bool)

    def special(self, labels: Iterable[int]) -> npt.NDArray[np.bool_]:
        """(B, T) of samples with these labels, which tokens are marks and filling."""
        return np.stack([self.tokens(int(label))[1] for label in labels])

    def seen(self, frame: Frame) -> Seen | None:
        """What the frame of a step holds; None where that is not the condition's attention."""
        names = [str(cond) for cond in frame.conditions]
        if self.condition not in names or not self.fields <= frame.keys():
            return None
        place = names.index(self.condition)
        return self.read(lambda field: frame[field][:, place].detach().to("cpu").double().numpy(), len(frame.positions))

    def read(self, get: Callable[[str], Array], count: int) -> Seen:
        """Of `count` samples.  get: of an activation, (B, heads, …)."""
        entropies: dict[str, dict[str, Array]] = {kind: {} for kind in KINDS}
        shares, found = {}, []
        for layer in self.layers:
            if layer.heads == 1:  # the entropy of a mean is not the mean of entropies
                entropies[layer.kind][layer.name] = get(f"{layer.field}_entropy")[:, 0]
            if layer.tokens != self.count or layer.kind != "cross":
                continue
            values = mean_of(list(np.moveaxis(get(f"{layer.field}_activation"), 1, 0)))
            found.append((values, layer.joint))
            if layer.joint:
                shares[layer.name] = values.sum(-1)
        activation = token_means(found) if found else np.zeros((count, self.count))
        return Seen(activation, entropies, shares, bool(found))


@attrs.frozen(eq=False)
class Captured:
    """What is measured of the attention of a block's samples: at each of its steps, None where nothing is known."""

    watched: Watched
    steps: tuple[Seen | None, ...]


def attention_file(stack: ExitStack, trajectory: Trajectory) -> Trajectory | None:
    """The file that holds the attention of a run, open as long as `stack`: its own, or the one beside it that was
    captured afterwards; None where there is none, or another run's, of which the log tells."""
    path = beside(trajectory.path)
    if _attends(trajectory):
        return trajectory
    if not path.exists():
        return None
    try:
        other = stack.enter_context(Trajectory(path))
        require_sound(other)
        if other.config_hash != trajectory.config_hash or not np.array_equal(other.timestep, trajectory.timestep):
            raise TrajectoryError("it is of another run")
    except TrajectoryError as error:
        log.warning("metrics.no_attention", file=str(path), reason=str(error))
        return None
    return other if _attends(other) else None


def captured(file: Trajectory, ids: Sequence[int], steps: Sequence[int]) -> Captured | None:
    """What a file holds of the attention of samples with these ids, at these steps of the run."""
    shapes = {name: file.activation(name).shape[3:] for name in file.activations}
    watched = Watched.of(shapes, file.conditions, file.environment, file.classes)
    if watched is None:
        return None
    position_of = {int(number): place for place, number in enumerate(file.ids)}
    kept = {*file.kept_samples.tolist()} & {*file.committed}
    positions = [position_of.get(int(number), -1) for number in ids]
    rows = [file.row(position) if position in kept else -1 for position in positions]
    place, at = file.conditions.index(watched.condition), {*file.kept_steps.tolist()}

    def seen(step: int) -> Seen | None:
        if step not in at or not file.evaluated[column := file.column(step), place] or max(rows, default=-1) < 0:
            return None

        def get(field: str) -> Array:
            dataset = file.activation(field)
            out = np.full((len(rows), *dataset.shape[3:]), np.nan)
            with reading(file.path):
                for number, row in enumerate(rows):
                    if row >= 0:
                        out[number] = dataset[row, column, place]
            if not np.isfinite(out[np.array(rows) >= 0]).all():
                raise TrajectoryError(f"{file.path}: {field} is not finite at step {step} — see emnist-diff verify")
            return out

        return watched.read(get, len(rows))

    return Captured(watched, tuple(seen(int(step)) for step in steps))


def _attends(trajectory: Trajectory) -> bool:
    return any(name.startswith(f"{ATTENTION}/") for name in trajectory.activations)


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
