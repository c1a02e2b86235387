"""Making a recorded run again from nothing but its file and its checkpoint, and comparing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch

from emnist_diff import checkpoint, config
from emnist_diff.assembly.assemble import Assembly, assemble
from emnist_diff.assembly.deciding import recorded_files
from emnist_diff.assembly.guides import require_recorded
from emnist_diff.assembly.origins import require_known
from emnist_diff.assembly.sources import Source, shipped_checkpoint
from emnist_diff.config import MOST_THREADS, RunConfig
from emnist_diff.engine.decoding import decoded
from emnist_diff.engine.walk import Batch, walk
from emnist_diff.errors import CheckpointError, ConfigError, Interrupted, TrajectoryError, UnknownName
from emnist_diff.identity import require_recorded as require_recorded_files
from emnist_diff.pixels import to_uint8
from emnist_diff.plugins import Registry
from emnist_diff.protocols import BatchResult, Denoiser, Field, Frame
from emnist_diff.running.interrupts import stop_requests
from emnist_diff_trajectory.compare import Differences
from emnist_diff_trajectory.pictures import Decode
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.verify import require_sound

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


def settings_of(
    trajectory: Trajectory, registry: Registry, file: str | None = None, guides: Mapping[str, str] | None = None
) -> RunConfig:
    """The configuration that made a file, ready to be assembled, without sinks.

    file: the checkpoint; the shipped one when left out, if its hash is the recorded one.  guides: name → file; where
    none are given, the configuration has none either, and cannot be assembled if a condition names one.
    Raises `CheckpointError` when checkpoint or guides are others than the recorded ones, `TrajectoryError` when the
    file's configuration is none, `UnknownName` for a component that is not installed, with the distribution that it
    came from.
    """
    data: dict[str, Any] = {**config.WITHOUT_BACKENDS, **trajectory.config}
    sha256 = data.pop("checkpoint_sha256", None)
    recorded_guides = data.pop("guide_sha256", None)
    data.pop("files", None)  # which are compared once the components that name them are made
    if guides is not None:
        require_recorded(guides, recorded_guides, str(trajectory.path))
        data["guides"] = dict(guides)
    if sha256 is None and file is not None:
        raise CheckpointError(f"{trajectory.path} was made without a checkpoint — leave --checkpoint out")
    if sha256 is not None:
        data.pop("denoiser", None)
        data["checkpoint"] = str(_found(trajectory, registry, str(sha256), file))
    threads = trajectory.environment.get("threads")
    if isinstance(threads, int) and 1 <= threads <= MOST_THREADS:
        data["threads"] = threads
    data["sinks"] = []
    data["device"] = _device(trajectory)
    try:
        settings = config.resolve(data)
    except ConfigError as error:
        raise TrajectoryError(f"{trajectory.path} cannot be made again: {error}") from error
    require_known(registry, settings, trajectory)
    return settings


def _found(trajectory: Trajectory, registry: Registry, sha256: str, file: str | None) -> Path:
    """The checkpoint with this hash."""
    said = trajectory.environment.get("checkpoint")
    name = said.get("file") if isinstance(said, dict) else None
    wanted = f"{trajectory.path} was made with the checkpoint {str(name)!r:.80} of sha256 {sha256:.12}…"
    if file is not None:
        path = checkpoint.discover(Path(file))
        if checkpoint.sha256(path) != sha256:
            raise CheckpointError(f"{wanted}, and {path} is another")
        return path
    with suppress(CheckpointError):
        path = shipped_checkpoint(registry)
        if checkpoint.sha256(path) == sha256:
            return path
    raise CheckpointError(f"{wanted}, which is not the shipped one — say --checkpoint FILE")


def _device(trajectory: Trajectory) -> str:
    """The recorded device where there is one here, else the CPU."""
    recorded = str(trajectory.environment.get("device"))
    return recorded if recorded.startswith("cuda") and torch.cuda.is_available() else "cpu"


def model(trajectory: Trajectory, registry: Registry, file: str | None = None) -> tuple[RunConfig, Denoiser]:
    """The configuration that made a file, and its network, ready to be asked. Raises as `settings_of`, and
    `TrajectoryError` where the network is made of other files than the recorded ones."""
    settings = settings_of(trajectory, registry, file)
    made, denoiser = Source.of(registry, settings).load(registry, settings.device)
    files = trajectory.config.get("files")
    known = {
        place: said
        for place, said in (files if isinstance(files, dict) else {}).items()
        if place.startswith("denoiser.")
    }
    require_recorded_files(trajectory.path, {"files": known}, {"files": recorded_files({"denoiser": made})})
    return settings, denoiser


def decoder(trajectory: Trajectory, registry: Registry, file: str | None = None) -> Decode:
    """The codec of the model that made a file, from its own configuration; raises as `model`."""
    settings, denoiser = model(trajectory, registry, file)

    def decode(states: Any) -> Any:
        return decoded(denoiser, torch.from_numpy(states).to(settings.device)).cpu().numpy()

    return decode


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
    Raises as `settings_of` and `assemble.assemble`; `UnknownName` for an id that is not committed; `TrajectoryError`
    when nothing is, or when the file does not fit its own configuration; `Interrupted` after SIGINT or SIGTERM.
    """
    settings = settings_of(trajectory, registry, checkpoint, guides or {})
    assembled = assemble(registry, settings)
    header = assembled.header
    require_recorded_files(trajectory.path, trajectory.config, header.config)
    positions = _positions(trajectory, samples)
    ids = trajectory.ids[positions]
    if (ids < 0).any() or (ids >= len(header.labels)).any():
        raise TrajectoryError(f"{trajectory.path} holds samples that its configuration does not make")
    for what, held, made in (
        ("labels", trajectory.labels[positions], header.labels[ids]),
        ("seeds", trajectory.seeds[positions], header.seeds[ids]),
        ("timesteps", trajectory.timestep, header.timeline.timestep),
        ("alpha_bar", trajectory.alpha_bar, header.timeline.alpha_bar),
    ):
        if not np.array_equal(held, made):
            raise TrajectoryError(f"{trajectory.path}: its {what} are not those that its configuration makes")
    require_sound(trajectory)
    names = _names(trajectory, header.shape)
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


def _positions(trajectory: Trajectory, samples: Iterable[int] | None) -> list[int]:
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


def _names(trajectory: Trajectory, shape: tuple[int, ...]) -> dict[str, Callable[[Frame], Any]]:
    """Of each dataset of states, what it holds of a frame."""
    out: dict[str, Callable[[Frame], Any]] = {}
    for name, dataset in trajectory.datasets().items():
        kind, _, rest = name.partition("/")
        if name != "images" and dataset.shape[2:] != shape:
            raise TrajectoryError(f"{trajectory.path}: {name} holds states of shape {dataset.shape[2:]}, not {shape}")
        if kind == "trajectory" and rest in ("x", "x0", "prediction", "base"):
            out[name] = partial(_state, rest)
        elif kind == "forces" and (group := rest.partition("/")[0]) in trajectory.force_names:
            out[name] = partial(_part, "forces", trajectory.force_names.index(group))
        elif kind == "drifts" and (group := rest.partition("/")[0]) in trajectory.drift_names:
            out[name] = partial(_part, "drifts", trajectory.drift_names.index(group))
    return out


def _state(field: str, frame: Frame) -> Any:
    return getattr(frame, field)


def _part(kind: str, number: int, frame: Frame) -> Any:
    return getattr(frame, kind)[number]


def _replay_batch(
    assembled: Assembly,
    trajectory: Trajectory,
    positions: list[int],
    names: dict[str, Callable[[Frame], Any]],
    seen: Differences,
    stopping: threading.Event,
) -> bool:
    """Walk some samples again and see what differs; False, with nothing seen, when asked to stop on the way."""
    ids = tuple(int(trajectory.ids[p]) for p in positions)
    header = assembled.header
    batch = Batch(ids, ids, tuple(header.labels[list(ids)].tolist()), tuple(header.seeds[list(ids)].tolist()))
    kept_steps, kept = set(trajectory.kept_steps.tolist()), set(trajectory.kept_samples.tolist())
    fields = frozenset(field for field in Field if field.value in trajectory.fields)
    made: dict[str, list[Any]] = {name: [] for name in names}
    for event in walk(assembled.engine, batch, lambda at: fields if at.index in kept_steps else frozenset()):
        if stopping.is_set():
            return False
        if isinstance(event, BatchResult):
            if "trajectory/x" in made:
                made["trajectory/x"].append(event.x.cpu().numpy())
            images = to_uint8(event.images)
        else:
            for name, value in names.items():
                made[name].append(value(event).cpu().numpy())
    steps: list[int | None] = [*trajectory.kept_steps.tolist(), trajectory.steps]
    for row, position in enumerate(positions):
        number = ids[row]
        for name, states in made.items():
            if position in kept:
                held = trajectory.field(name, position)
                again = np.stack([state[row] for state in states]).astype(held.dtype)
                seen.see(name, number, steps[: len(states)], held, again)
        seen.see("images", number, [None], trajectory.images[position][None], images[row][None])
    return True


def _otherwise(there: dict[str, Any], here: Any) -> tuple[str, ...]:
    ours = ("slurm", "worker", "workers", "earlier", "checkpoint", "guides")  # of one run, or compared by hash
    there, here = {**there, "plugins": _code(there)}, {**here, "plugins": _code(here)}
    keys = sorted(key for key in there.keys() | here.keys() if key not in ours)
    return tuple(f"{k}: {there.get(k)} → {here.get(k)}" for k in keys if there.get(k) != here.get(k))


def _code(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Version and hash of each plugin, without its components, of which a replay needs fewer: it has no sinks."""
    plugins = environment.get("plugins")
    if not isinstance(plugins, Mapping):
        return {}
    made = {name: facts for name, facts in plugins.items() if isinstance(facts, Mapping)}
    return {name: (facts.get("version"), facts.get("sha256")) for name, facts in made.items()}
