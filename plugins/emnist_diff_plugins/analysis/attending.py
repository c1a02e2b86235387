"""Attention and hidden states afterwards: they are functions of the recorded states, times and conditions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch

from emnist_diff.assembly.assemble import Assembly
from emnist_diff.conditions import Cond
from emnist_diff.engine.batch import BatchEngine
from emnist_diff.engine.capture import captured
from emnist_diff.engine.plan import conditions_at
from emnist_diff.engine.state import Batch
from emnist_diff.errors import ConfigError, Interrupted, TrajectoryError
from emnist_diff.frames import RunHeader
from emnist_diff.plugins import Registry
from emnist_diff.protocols import Captures, offers
from emnist_diff.running.interrupts import stop_requests
from emnist_diff.running.run import prepare
from emnist_diff_plugins.analysis.components import Components, Moments, reduced
from emnist_diff_plugins.analysis.replay import committed_positions, require_same_samples
from emnist_diff_plugins.capabilities import DescribesActivations
from emnist_diff_plugins.inside import budget
from emnist_diff_plugins.rebuild import settings_of
from emnist_diff_trajectory.activations import by_condition
from emnist_diff_trajectory.attention import AttentionRequest
from emnist_diff_trajectory.creation import require_unread
from emnist_diff_trajectory.fields import X, dataset_of
from emnist_diff_trajectory.growth import require_recorded as require_recorded_files
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.schema import Array, Capture, planned
from emnist_diff_trajectory.structure import require_sound
from emnist_diff_trajectory.writer import TrajectoryWriter

_BATCH = 16


@attrs.frozen(kw_only=True)
class Afterwards:
    """What is captured from a file.

    attention: which; None for none.  hidden: requests for hidden states.  samples: ids; None for all.
    every: the steps whose index it divides.  conditions: names of those that are kept; empty for all.
    dtype: float32 or float16.  pca: so many principal components of hidden states in place of channels; 0 for states.
    """

    attention: AttentionRequest | None = attrs.field(factory=AttentionRequest)
    hidden: tuple[str, ...] = ()
    pca: int = 0
    samples: frozenset[int] | None = None
    every: int = 1
    conditions: frozenset[str] = frozenset()
    dtype: str = "float16"

    @property
    def requests(self) -> tuple[str, ...]:
        """For activations, see `Captures`."""
        return (*([self.attention.text] if self.attention else []), *self.hidden)

    @property
    def capture(self) -> Capture:
        """What the file of it keeps."""
        requests = frozenset(self.requests)
        return Capture(frozenset(), self.dtype, self.every, self.samples, requests, self.conditions)


@attrs.frozen(eq=False)
class Attending:
    """A recorded run, and what is captured from it. Bits are those that the run would have recorded, where the file
    keeps states in float32."""

    trajectory: Trajectory
    assembled: Assembly
    what: Afterwards
    header: RunHeader
    components: Mapping[str, Components] = attrs.field(factory=dict)

    @classmethod
    def of(
        cls,
        trajectory: Trajectory,
        registry: Registry,
        what: Afterwards,
        *,
        checkpoint: str | None = None,
        guides: Mapping[str, str] | None = None,
    ) -> Attending:
        """The run that made a file, ready to be evaluated again.

        Raises as `rebuild.settings_of` and `assemble.assemble`; `TrajectoryError` for a file without states;
        `ConfigError` for a network that captures nothing and for steps that the file does not keep; `UnknownName` for a
        layer, a module, a condition or a sample that is not there.
        """
        if X not in trajectory.datasets():
            raise TrajectoryError(f"{trajectory.path} holds no states x — record them with the hdf5 sink's field x")
        assembled = prepare(registry, settings_of(trajectory, registry, checkpoint, guides or {}))
        require_recorded_files(trajectory.path, trajectory.config, assembled.header.config)
        require_same_samples(trajectory, assembled.header, committed_positions(trajectory, what.samples))
        require_sound(trajectory)
        kept = set(trajectory.kept_steps.tolist())
        if missing := [step for step in range(0, trajectory.steps, what.every) if step not in kept]:
            raise ConfigError(f"{trajectory.path} does not keep step {missing[0]} — it keeps {_few(kept)}")
        return cls(trajectory, assembled, what, _header(trajectory, assembled, what))

    def arrays(self) -> list[Array]:
        """What the file holds."""
        return planned(self.header, self.what.capture)

    @property
    def size(self) -> int:
        """Bytes of it."""
        return budget.total(self.arrays())

    def table(self) -> list[str]:
        """What takes how much, in lines for people."""
        return budget.table(self.arrays())

    def within(self, most: int, fit: bool) -> tuple[Attending, tuple[str, ...]]:
        """The same within so many bytes, and what was given up for it.  fit: whether anything may be.

        Raises `ConfigError` where it does not fit.
        """
        if self.size <= most:
            return self, ()
        if not fit:
            raise budget.too_large(self.arrays(), most, "layers, samples or steps")
        choices = budget.choices(self.assembled.engine.denoisers[""], self.what.attention, self.what.every)
        cut, given_up = budget.fit(most, choices, lambda *some: self._cut(*some).arrays(), self.trajectory.steps)
        smaller = self._cut(cut.request, cut.every)
        return attrs.evolve(smaller, header=budget.noted(smaller.header, given_up)), given_up

    def _cut(self, request: AttentionRequest | None, every: int) -> Attending:
        what = attrs.evolve(self.what, attention=request, every=every)
        return attrs.evolve(self, what=what, header=_header(self.trajectory, self.assembled, what))

    def write(
        self,
        output: Path,
        *,
        overwrite: bool = False,
        resume: bool = False,
        on_batch: Callable[[int, int], None] | None = None,
    ) -> int:
        """Evaluate the network at the recorded states, and write what is inside it to `output`, a trajectory file of
        the same run without states; of how many samples.

        resume: go on with what an earlier call left there.  on_batch: told how many samples are done, of how many.
        Raises as `TrajectoryWriter.create`; `OutputError` where `output` is what is read; `Interrupted` after SIGINT
        or SIGTERM.
        """
        file = self.trajectory.path
        require_unread(output, [file, *(file.parent / source.file for source in self.trajectory.sources)])
        done: Collection[int] = ()
        if resume:
            writer, done = TrajectoryWriter.resume(output, self.header, self.what.capture)
        else:
            writer = TrajectoryWriter.create(output, self.header, self.what.capture, overwrite)
        positions = committed_positions(self.trajectory, None)
        left = [position for position in positions if position not in done]
        try:
            with stop_requests() as stopping:
                for first in range(0, len(left), _BATCH):
                    if stopping.is_set():
                        count = f"{len(positions) - len(left) + first} of {len(positions)} samples"
                        raise Interrupted(f"interrupted: {count} are in {output} — repeat the command with --resume")
                    some = left[first : first + _BATCH]
                    writer.commit(some, self._captured(writer, some))
                    if on_batch is not None:
                        on_batch(first + len(some), len(left))
        except BaseException:
            writer.discard()
            raise
        writer.close()
        return len(writer.kept(positions))

    def fitted(self, on_batch: Callable[[int, int], None] | None = None) -> Attending:
        """The same with the components of its hidden states, where those are requested: of all samples, kept steps,
        conditions and places. It evaluates the network for them."""
        if not self.what.pca:
            return self
        denoiser: Any = self.assembled.engine.denoisers[""]
        moments = {name: Moments(shape) for name, shape in denoiser.activations(self.what.hidden).items()}
        kept = set(self.what.capture.conditions(self.header))
        positions = committed_positions(self.trajectory, self.what.samples)
        self._require_states(positions)
        for first in range(0, len(positions), _BATCH):
            for conds, tensors in self._evaluated(positions[first : first + _BATCH], self.what.hidden):
                places = [place for place, cond in enumerate(conds) if cond in kept]
                for name, values in tensors.items():
                    moments[name].add(values[:, places].cpu().numpy(), 2)
            if on_batch is not None:
                on_batch(min(first + _BATCH, len(positions)), len(positions))
        components = {name: each.fitted(self.what.pca) for name, each in moments.items()}
        environment = dict(self.header.environment)
        facts = {name: each.facts for name, each in components.items()}
        environment["activations"] = {**environment["activations"], "pca": facts}
        return attrs.evolve(self, components=components, header=attrs.evolve(self.header, environment=environment))

    def _require_states(self, positions: Collection[int]) -> None:
        if lost := sorted(set(positions).difference(self.trajectory.kept_samples.tolist())):
            number = self.trajectory.ids[lost[0]]
            raise TrajectoryError(f"{self.trajectory.path} does not keep the states of sample {number}")

    def _captured(self, writer: TrajectoryWriter, positions: Sequence[int]) -> dict[str, Any]:
        """What a commit of these samples holds."""
        some = [positions[place] for place in writer.kept(positions)]
        self._require_states(some)
        data: dict[str, Any] = self._activations(some) if some else writer.nothing()
        data["images"] = np.stack([self.trajectory.images[position] for position in positions])
        return data

    def _activations(self, positions: Sequence[int]) -> dict[str, Any]:
        """By dataset, (B, steps, conditions, …)."""
        conditions = self.what.capture.conditions(self.header)
        found: dict[str, list[Any]] = {dataset_of(name): [] for name in self.header.activations}
        for conds, tensors in self._evaluated(positions, self.what.requests):
            for name, values in tensors.items():
                if name in self.components:
                    values = torch.from_numpy(self.components[name].of(values.cpu().numpy(), 2))
                found[dataset_of(name)].append(by_condition(values, conds, conditions).cpu().numpy())
        return {name: np.stack(values, axis=1) for name, values in found.items()}

    def _evaluated(
        self, positions: Sequence[int], requests: Sequence[str]
    ) -> Iterator[tuple[Sequence[Cond], Mapping[str, torch.Tensor]]]:
        """Of each kept step its conditions and what is inside the network, (B, conditions, …) by name."""
        file, engine = self.trajectory, self.assembled.engine
        some = list(positions)
        batch = Batch(
            tuple(some),
            tuple(file.ids[some].tolist()),
            tuple(file.labels[some].tolist()),
            tuple(file.seeds[some].tolist()),
        )
        run = BatchEngine.of(engine, batch)
        for step in self.what.capture.steps(self.header).tolist():
            at, column = engine.timeline.at(step), file.column(step)
            x = np.stack([np.asarray(file.x[file.row(position), column], dtype=np.float32) for position in some])
            packing = run.calls(conditions_at(at, engine.base, engine.forces), False).packing
            with torch.inference_mode():
                found = captured(run, at, torch.from_numpy(x).to(engine.device), packing, requests)
            yield found


def _header(trajectory: Trajectory, assembled: Assembly, what: Afterwards) -> RunHeader:
    """That of the file of what is captured. Raises as `Attending.of`."""
    denoiser = assembled.engine.denoisers[""]
    if not offers(denoiser, Captures):
        raise ConfigError(f"the network that made {trajectory.path} offers no activations")
    activations = dict(denoiser.activations(what.requests))
    if not activations:
        raise ConfigError(f"{', '.join(what.requests)} means nothing here — use {', '.join(denoiser.capturable)}")
    if what.pca:
        hidden = denoiser.activations(what.hidden)
        activations |= {name: reduced(name, shape, what.pca) for name, shape in hidden.items()}
    facts = dict(denoiser.describe(what.requests)) if offers(denoiser, DescribesActivations) else {}
    header = attrs.evolve(
        assembled.header,
        config=trajectory.config,
        environment={**trajectory.environment, "activations": {"requests": list(what.requests), **facts}},
        sample_ids=trajectory.ids,
        labels=trajectory.labels,
        seeds=trajectory.seeds,
        activations=activations,
    )
    what.capture.conditions(header)
    return header


def _few(steps: Collection[int]) -> str:
    some = sorted(steps)
    return ", ".join(map(str, some[:6])) + (", …" if len(some) > 6 else "")
