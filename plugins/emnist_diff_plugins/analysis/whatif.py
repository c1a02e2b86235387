"""What if a force had not been there: the same samples, from the same noise, without it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import attrs
import numpy as np
import numpy.typing as npt

from emnist_diff.assembly.assemble import Assembly
from emnist_diff.config import RunConfig
from emnist_diff.engine.state import Batch
from emnist_diff.engine.walk import walk
from emnist_diff.errors import ConfigError, TrajectoryError, UnknownName, unknown
from emnist_diff.events import get_logger
from emnist_diff.frames import Frame
from emnist_diff.plugins import Registry
from emnist_diff.running.run import prepare
from emnist_diff_plugins.metrics.formulas import Array, norm
from emnist_diff_plugins.rebuild import settings_of
from emnist_diff_trajectory.growth import require_recorded
from emnist_diff_trajectory.pixels import Pixels, to_uint8
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.structure import require_sound

log = get_logger()

_BATCH = 16


@attrs.frozen(eq=False)
class WhatIf:
    """N samples, walked with and without some components.

    without: what was left out, by name.  ids, labels: (N,).  classes: of each sample, None where
    neither the base nor forces of the recorded run read it.
    x: (N, T+1), the L2 norm of the difference of the states that step i starts from, the finished ones last.
    x0: (N, T), of the image estimates.
    image, other: uint8 (N, H, W) or (N, H, W, 3), the samples with, and without.
    """

    without: tuple[str, ...]
    ids: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    classes: tuple[str | None, ...]
    x: Array
    x0: Array
    image: Pixels
    other: Pixels

    @property
    def pixel_change(self) -> npt.NDArray[np.int16]:
        """What the left-out components did to the finished samples: with minus without, -255 … 255."""
        return self.image.astype(np.int16) - self.other.astype(np.int16)

    @property
    def pixel_l2(self) -> Array:
        """(N,) the L2 norm of `pixel_change`."""
        return norm(self.pixel_change.reshape(len(self.ids), -1).astype(np.float64))

    @property
    def pixel_mean(self) -> Array:
        """(N,) the mean of |`pixel_change`|, 0 … 255."""
        out: Array = np.abs(self.pixel_change.reshape(len(self.ids), -1).astype(np.float64)).mean(-1)
        return out

    @property
    def half_step(self) -> npt.NDArray[np.int64]:
        """(N,) the first state whose difference is at least half of the last one's; -1 where there is none at all."""
        last = self.x[:, -1:]
        return np.where(last[:, 0] > 0, (self.x >= last / 2).argmax(1), -1).astype(np.int64)


def left_out(settings: RunConfig, names: Iterable[str], registry: Registry | None = None) -> RunConfig:
    """The same configuration with some forces and drifts at weight 0, and nothing else changed: a component of weight
    0 is not asked, and the noise of the others is as it was.

    names: of forces and drifts, all of a name alike; ``00_attract_class`` for one of several; ``clip`` for the bound on
    the sum; ``forces`` for all forces, ``drifts`` for all drifts.
    Raises `UnknownName` for what is not in the configuration, `ConfigError` where nothing could be left out of it.
    """
    parts = {"forces": list(settings.forces), "drifts": list(settings.drifts)}
    clip = settings.clip_abs, settings.clip_norm
    known = [*(("clip",) if clip != (None, None) else ())]
    for kind, items in parts.items():
        known += [kind] if items else []
        known += [name for number, item in enumerate(items) for name in (item.name, f"{number:02d}_{item.name}")]
    if not known:
        raise ConfigError("this run has no forces, drifts or clip that could be left out")
    for name in names:
        if name not in known:
            raise unknown("force or drift of this run:", name, known)
        if name == "clip":
            clip = None, None
        for kind, items in parts.items():
            for number, item in enumerate(items):
                if name in (kind, item.name, f"{number:02d}_{item.name}"):
                    items[number] = attrs.evolve(item, weight=0.0)
    return attrs.evolve(
        settings,
        forces=tuple(parts["forces"]),
        drifts=tuple(parts["drifts"]),
        clip_abs=clip[0],
        clip_norm=clip[1],
    )


def what_if(
    trajectory: Trajectory,
    registry: Registry,
    without: Sequence[str],
    *,
    checkpoint: str | None = None,
    guides: Mapping[str, str] | None = None,
    samples: Iterable[int] | None = None,
    on_batch: Callable[[int, int], None] | None = None,
) -> WhatIf:
    """Walk the committed samples of a file twice: as they were made, and without some forces or drifts.

    Both walks are done here and now, so that nothing but what was left out makes the difference. It runs the
    components that the file names: ask this of files of people whom you trust.

    without: see `left_out`.  samples: ids; all committed ones when left out.
    Raises as `rebuild.settings_of`, `left_out` and `assemble.assemble`; `UnknownName` for an id that is not committed.
    """
    if not without:
        raise ConfigError("what if without what? — name a force or drift")
    require_sound(trajectory)
    settings = settings_of(trajectory, registry, checkpoint, guides or {})
    assemblies = _comparable(trajectory, registry, settings, left_out(settings, without))
    positions = _positions(trajectory, samples)
    ids = trajectory.ids[positions].astype(np.int64)
    header = assemblies[0].header
    if (ids < 0).any() or (ids >= len(header.labels)).any():
        raise TrajectoryError(f"{trajectory.path} holds samples that its configuration does not make")
    parts = list(_compared(assemblies, ids, on_batch))
    image, other = (np.concatenate([part[which][2] for part in parts]) for which in (0, 1))
    recorded = np.stack([np.asarray(trajectory.images[position]) for position in positions])
    if np.abs(recorded.astype(int) - image.astype(int)).max() > 1:
        log.warning("whatif.not_the_recorded_samples", file=str(trajectory.path), hint="see emnist-diff replay")
    return WhatIf(
        tuple(without),
        ids,
        header.labels[ids],
        tuple(map(header.class_of, ids)),
        np.concatenate([norm(a[0] - b[0]) for a, b in parts]),
        np.concatenate([norm(a[1] - b[1]) for a, b in parts]),
        image,
        other,
    )


def _compared(
    assemblies: Sequence[Assembly], ids: npt.NDArray[np.int64], on_batch: Callable[[int, int], None] | None
) -> Iterator[list[tuple[Array, Array, Pixels]]]:
    """What `_walked` says of each batch of the samples with these ids, by assembly."""
    header = assemblies[0].header
    for first in range(0, len(ids), _BATCH):
        some = tuple(ids[first : first + _BATCH].tolist())
        batch = Batch(some, some, tuple(header.labels[list(some)].tolist()), tuple(header.seeds[list(some)].tolist()))
        yield [_walked(each, batch) for each in assemblies]
        if on_batch is not None:
            on_batch(min(first + _BATCH, len(ids)), len(ids))


def _comparable(trajectory: Trajectory, registry: Registry, *configurations: RunConfig) -> list[Assembly]:
    """The runs of these configurations, of which the first is the recorded one; all evaluate in calls of equal size."""
    assemblies = [prepare(registry, settings, report=False) for settings in configurations]
    require_recorded(trajectory.path, trajectory.config, assemblies[0].header.config)
    if len({assembly.engine.micro_batch for assembly in assemblies}) > 1:
        raise TrajectoryError(f"{trajectory.path} does not say its micro_batch, and so cannot be compared")
    return assemblies


def _walked(assembly: Assembly, batch: Batch) -> tuple[Array, Array, Pixels]:
    """States (B, T+1, D), estimates (B, T, D), and pixels of a batch."""
    x: list[Array] = []
    x0: list[Array] = []
    image = None
    for event in walk(assembly.engine, batch, lambda at: frozenset({"x", "x0"})):
        state = event["x"] if isinstance(event, Frame) else event.x
        x.append(state.flatten(1).cpu().numpy().astype(np.float64))
        if isinstance(event, Frame):
            x0.append(event["x0"].flatten(1).cpu().numpy().astype(np.float64))
        else:
            image = to_uint8(event.images)
    assert image is not None
    return np.stack(x, axis=1), np.stack(x0, axis=1), image


def _positions(trajectory: Trajectory, samples: Iterable[int] | None) -> list[int]:
    done = {int(trajectory.ids[position]): position for position in trajectory.committed}
    numbers = sorted(done) if samples is None else sorted(set(samples))
    for number in numbers:
        if number not in done:
            raise UnknownName(f"sample {number} is not committed in {trajectory.path}")
    if not numbers:
        raise TrajectoryError(f"{trajectory.path} holds no committed sample")
    return [done[number] for number in numbers]
