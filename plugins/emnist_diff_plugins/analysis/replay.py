"""Making a recorded run again from nothing but its file and its checkpoint, and comparing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
import numpy as np

from emnist_diff.assembly.assemble import Assembly
from emnist_diff.engine.state import Batch
from emnist_diff.engine.walk import walk
from emnist_diff.errors import Interrupted, TrajectoryError, UnknownName
from emnist_diff.frames import BatchResult, RunHeader
from emnist_diff.plugins import Registry
from emnist_diff.protocols import Captures, offers
from emnist_diff.running.interrupts import stop_requests
from emnist_diff.running.run import prepare
from emnist_diff_plugins.rebuild import settings_of
from emnist_diff_plugins.recorded import facts
from emnist_diff_trajectory.activations import by_condition, recorded_conditions
from emnist_diff_trajectory.compare import Differences
from emnist_diff_trajectory.fields import X, dataset_of, field_of, is_activation
from emnist_diff_trajectory.growth import require_recorded as require_recorded_files
from emnist_diff_trajectory.pixels import to_uint8
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.structure import require_sound

TOLERANCE = 1e-3
"""Largest difference of a value that counts as the same run on another machine; figures: docs/trajectories.md."""
_BATCH = 16


@attrs.frozen
class Replayed:
    """A file, made again.

    samples: how many were compared.  differences: bit for bit.  tolerance: what `close` allows.
    environment: what is otherwise here, ``key: there → here``.
    """

    samples: int
    differences: Differences
    tolerance: float
    environment: tuple[str, ...]

    @property
    def bitwise(self) -> bool:
        """Whether every value is the same, bit for bit."""
        return self.differences.first is None

    @property
    def close(self) -> bool:
        """Whether no value differs by more than the tolerance."""
        return self.differences.within(self.tolerance)


def replay(
    trajectory: Trajectory,
    registry: Registry,
    *,
    checkpoint: str | None = None,
    guides: Mapping[str, str] | None = None,
    samples: Iterable[int] | None = None,
    tolerance: float = TOLERANCE,
    on_batch: Callable[[int, int], None] | None = None,
) -> Replayed:
    """Walk the committed samples of a file again, and compare everything that it holds of them.

    It runs the components that the file names, with the file's settings: replay files of people whom you trust.

    samples: ids; all committed ones when left out.  on_batch: told how many samples are done, of how many.
    Raises as `rebuild.settings_of` and `assemble.assemble`; `UnknownName` for an id that is not committed;
    `TrajectoryError` when nothing is, or when the file does not fit its own configuration; `Interrupted` after SIGINT
    or SIGTERM.
    """
    settings = settings_of(trajectory, registry, checkpoint, guides or {})
    assembled = prepare(registry, settings)
    header = _with_activations(assembled, requests_of(trajectory))
    require_recorded_files(trajectory.path, trajectory.config, header.config)
    positions = committed_positions(trajectory, samples)
    require_same_samples(trajectory, header, positions)
    require_sound(trajectory)
    names = _names(trajectory, header)
    seen = Differences()
    with stop_requests() as stopping:
        for first in range(0, len(positions), _BATCH):
            if not _replay_batch(assembled, trajectory, positions[first : first + _BATCH], names, seen, stopping):
                found = "the same, bit for bit" if seen.first is None else "not the same, bit for bit"
                raise Interrupted(
                    f"interrupted: {first} of {len(positions)} samples of {trajectory.path} are compared"
                    + (f", and {found}" if first else "")
                )
            if on_batch is not None:
                on_batch(min(first + _BATCH, len(positions)), len(positions))
    return Replayed(len(positions), seen, tolerance, _otherwise(trajectory.environment, header.environment))


def requests_of(trajectory: Trajectory) -> tuple[str, ...]:
    """The requests that the activations of a file answer; their names where it does not record any."""
    recorded = facts(trajectory.environment.get("activations")).get("requests")
    if trajectory.activations and isinstance(recorded, list) and all(isinstance(each, str) for each in recorded):
        return tuple(recorded)
    return trajectory.activations


def _with_activations(assembled: Assembly, requests: tuple[str, ...]) -> RunHeader:
    """The header of a run that captures what these requests mean."""
    denoiser = assembled.engine.denoisers[""]
    if not requests or not offers(denoiser, Captures):
        return assembled.header
    return attrs.evolve(assembled.header, activations=dict(denoiser.activations(requests)))


def require_same_samples(trajectory: Trajectory, header: RunHeader, positions: list[int]) -> None:
    """Raise `TrajectoryError` where the samples at these positions are not those that the configuration makes."""
    ids = trajectory.ids[positions]
    if (ids < 0).any() or (ids >= len(header.labels)).any():
        raise TrajectoryError(f"{trajectory.path} holds samples that its configuration does not make")
    for what, held, own in (
        ("labels", trajectory.labels[positions], header.labels[ids]),
        ("seeds", trajectory.seeds[positions], header.seeds[ids]),
        ("timesteps", trajectory.timestep, header.timeline.timestep),
        ("alpha_bar", trajectory.alpha_bar, header.timeline.alpha_bar),
    ):
        if not np.array_equal(held, own):
            raise TrajectoryError(f"{trajectory.path}: its {what} are not those that its configuration makes")


def committed_positions(trajectory: Trajectory, samples: Iterable[int] | None) -> list[int]:
    done = {int(trajectory.ids[p]): p for p in trajectory.committed}
    if samples is None:
        chosen = list(done.values())
    else:
        numbers = sorted(set(samples))
        if missing := [n for n in numbers if n not in done]:
            raise UnknownName(f"sample {missing[0]} is not committed in {trajectory.path}")
        chosen = [done[n] for n in numbers]
    if not chosen:
        raise TrajectoryError(f"{trajectory.path} holds no committed sample to replay")
    return chosen


def _names(trajectory: Trajectory, header: RunHeader) -> dict[str, str]:
    """Of each dataset of states or activations, the field of a frame that it holds."""
    held = trajectory.datasets()
    count = len(trajectory.conditions)
    for name, dataset in held.items():
        shape = header.shape
        if is_activation(name):
            if (activation := field_of(name)) not in header.activations:
                raise TrajectoryError(f"{trajectory.path}: the network has no activation {activation!r}")
            shape = (count, *header.activations[activation])
        if name != "images" and dataset.shape[2:] != shape:
            raise TrajectoryError(f"{trajectory.path}: {name} holds states of shape {dataset.shape[2:]}, not {shape}")
    names = {dataset_of(field): field for field in trajectory.frame_fields}
    return {name: field for name, field in names.items() if name in held}


def _replay_batch(
    assembled: Assembly,
    trajectory: Trajectory,
    positions: list[int],
    names: Mapping[str, str],
    seen: Differences,
    stopping: threading.Event,
) -> bool:
    """Walk some samples again and see what differs; False, with nothing seen, when asked to stop on the way."""
    ids = tuple(int(trajectory.ids[p]) for p in positions)
    header = assembled.header
    batch = Batch(ids, ids, tuple(header.labels[list(ids)].tolist()), tuple(header.seeds[list(ids)].tolist()))
    kept_steps, kept = set(trajectory.kept_steps.tolist()), set(trajectory.kept_samples.tolist())
    fields = frozenset(field for name, field in names.items() if not is_activation(name))
    fields |= frozenset(requests_of(trajectory))
    conditions = recorded_conditions(header.conditions, sorted(kept_steps), trajectory.conditions)
    states_of: dict[str, list[Any]] = {name: [] for name in names}
    for event in walk(assembled.engine, batch, lambda at: fields if at.index in kept_steps else frozenset()):
        if stopping.is_set():
            return False
        if isinstance(event, BatchResult):
            if X in states_of:
                states_of[X].append(event.x.cpu().numpy())
            images = to_uint8(event.images)
        elif event.at.index in kept_steps:
            for name, field in names.items():
                value = event[field]
                value = by_condition(value, event.conditions, conditions) if is_activation(name) else value
                states_of[name].append(value.cpu().numpy())
    steps: list[int | None] = [*trajectory.kept_steps.tolist(), trajectory.steps]
    for row, position in enumerate(positions):
        number = ids[row]
        for name, states in states_of.items():
            if position in kept:
                held = trajectory.field(name, position)
                again = np.stack([state[row] for state in states]).astype(held.dtype)
                seen.see(name, number, steps[: len(states)], held, again)
        seen.see("images", number, [None], trajectory.images[position][None], images[row][None])
    return True


def _otherwise(recorded: dict[str, Any], current: Any) -> tuple[str, ...]:
    ours = ("slurm", "worker", "workers", "earlier", "checkpoint", "guides")  # of one run, or compared by hash
    recorded, current = ({**data, "plugins": _code(data)} for data in (recorded, current))
    keys = sorted(key for key in recorded.keys() | current.keys() if key not in ours)
    return tuple(f"{k}: {recorded.get(k)} → {current.get(k)}" for k in keys if recorded.get(k) != current.get(k))


def _code(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Version and hash of each plugin, without its components, of which a replay needs fewer: it has no sinks."""
    plugins = environment.get("plugins")
    if not isinstance(plugins, Mapping):
        return {}
    known = {name: facts for name, facts in plugins.items() if isinstance(facts, Mapping)}
    return {name: (facts.get("version"), facts.get("sha256")) for name, facts in known.items()}
