"""What does packing gain? Guidance and two class forces, in three loops over one network and one initial noise.

Run it from anywhere: ``python tests/benchmarks/packing.py [--rounds 5] [--steps 10] [--samples 16]``.

- *packed* is the engine: each (condition, sample) row once, in calls of a constant number of rows.
- *one by one* is the loop that one writes first: a sample at a time, a call for every condition that the base and
  each force ask for, 2 + 2N with N forces.
- *batched* is the usual loop around diffusers' `DDIMScheduler`: all samples at once, a call for each of the different
  conditions.

The three are interleaved. Nothing is reported unless their final states agree.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from emnist_diff.assembly.assemble import assemble
from emnist_diff.discovery import installed
from emnist_diff.engine.noise import INITIAL, batch_normal
from emnist_diff.engine.state import Batch, Engine
from emnist_diff.engine.walk import walk
from emnist_diff.frames import BatchResult
from emnist_diff_plugins.layers import configure

SEED, SCALE = 1000, 3.0
FORCES = [("B", 0.5), ("O", -0.5)]
"""Class and weight; a negative weight repels."""


class Loops:
    """The three loops; each returns final states (samples, C, H, W)."""

    def __init__(self, engine: Engine, samples: int) -> None:
        self.engine, self.samples = engine, samples
        self.denoiser = engine.denoisers[""]
        self.network = self.denoiser.network
        space = self.denoiser.conditions
        self.own, self.null = space.index("A"), space.null_index
        self.targets = [(space.index(name), weight) for name, weight in FORCES]
        ids = tuple(range(samples))
        self.batch = Batch(ids, ids, (self.own,) * samples, (SEED,) * samples)
        self.start = batch_normal(self.batch.seeds, ids, INITIAL, "init", engine.shape)

    def packed(self) -> Tensor:
        for event in walk(self.engine, self.batch, lambda at: frozenset()):
            if isinstance(event, BatchResult):
                return event.x
        raise AssertionError("the walk has no end")

    @torch.inference_mode()
    def one_by_one(self) -> Tensor:
        alpha_bar = [*self.engine.timeline.alpha_bar.tolist(), 1.0]
        finals = []
        for x in self.start.split(1):
            for step, timestep in enumerate(self.engine.timeline.timestep.tolist()):
                null = self._ask(x, timestep, self.null)
                prediction = null + SCALE * (self._ask(x, timestep, self.own) - null)
                for target, weight in self.targets:
                    prediction += weight * (self._ask(x, timestep, target) - self._ask(x, timestep, self.null))
                here, there = alpha_bar[step], alpha_bar[step + 1]
                if self.denoiser.prediction_type == "v_prediction":
                    x0 = here**0.5 * x - (1 - here) ** 0.5 * prediction
                else:
                    x0 = (x - (1 - here) ** 0.5 * prediction) / here**0.5
                x0 = x0.clamp(-1, 1)
                x = there**0.5 * x0 + (1 - there) ** 0.5 * (x - here**0.5 * x0) / (1 - here) ** 0.5
            finals.append(x)
        return torch.cat(finals)

    @torch.inference_mode()
    def batched(self) -> Tensor:
        schedule = self.denoiser.process
        scheduler = DDIMScheduler(
            num_train_timesteps=schedule.train_timesteps,
            beta_schedule=schedule.beta_schedule,
            prediction_type=self.denoiser.prediction_type,
            clip_sample=True,
            clip_sample_range=schedule.clip_sample,
            timestep_spacing="trailing",
        )
        scheduler.set_timesteps(len(self.engine.timeline))
        x = self.start
        for timestep in scheduler.timesteps:
            null = self._ask(x, timestep, self.null)
            prediction = null + SCALE * (self._ask(x, timestep, self.own) - null)
            for target, weight in self.targets:
                prediction += weight * (self._ask(x, timestep, target) - null)
            x = scheduler.step(prediction, timestep, x, use_clipped_model_output=True).prev_sample
        return x

    def _ask(self, x: Tensor, timestep: float | Tensor, index: int) -> Tensor:
        answer: Tensor = self.network(x, torch.full((len(x),), float(timestep)), torch.full((len(x),), index))
        return answer


class Counter:
    """Counts the calls of a network and the rows in them."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.calls = self.rows = 0
        network.register_forward_pre_hook(self._count)

    def _count(self, network: torch.nn.Module, arguments: tuple[Tensor, ...]) -> None:
        self.calls += 1
        self.rows += len(arguments[0])

    def during(self, loop: Callable[[], Tensor]) -> tuple[Tensor, int, int]:
        """What a loop returns, and its calls and rows."""
        self.calls = self.rows = 0
        return loop(), self.calls, self.rows


def build(steps: int, samples: int) -> Engine:
    """The engine on the shipped checkpoint."""
    forces = [{"name": "attract_class", "target": name, "weight": weight} for name, weight in FORCES]
    layer = {"character": "A", "seed": SEED, "steps": steps, "total_videos": samples, "batch_size": samples}
    layer |= {"base": "cfg", "guidance_scale": SCALE, "forces": forces, "sinks": [], "device": "cpu"}
    layer |= {"scheduler": {"name": "ddim", "spacing": "trailing"}}
    settings, _ = configure(installed(), layer)
    return assemble(installed(), settings).engine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--samples", type=int, default=16)
    arguments = parser.parse_args()
    loops = Loops(build(arguments.steps, arguments.samples), arguments.samples)
    ways = {"packed": loops.packed, "one by one": loops.one_by_one, "batched": loops.batched}

    counter = Counter(loops.network)
    counted = {name: counter.during(way) for name, way in ways.items()}  # the warm-up as well
    expected = counted["packed"][0]
    differences = {name: float((final - expected).abs().max()) for name, (final, *_) in counted.items()}
    if not expected.std() > 0.1 or not max(differences.values()) < 1e-3:
        sys.exit(f"the loops disagree, so their times mean nothing: largest differences {differences}")

    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(arguments.rounds):
        for name in [*ways][turn % 3 :] + [*ways][: turn % 3]:
            started = time.perf_counter()
            ways[name]()
            seconds[name].append(time.perf_counter() - started)

    print(
        f"{arguments.samples} samples, {arguments.steps} steps, guidance and {len(FORCES)} forces, "
        f"{arguments.rounds} rounds, {torch.get_num_threads()} threads"
    )
    print(f"{'':12}{'median s':>10}{'× packed':>10}{'calls':>8}{'rows':>8}{'rows/sample/step':>18}{'difference':>12}")
    for name, (_, calls, rows) in counted.items():
        ratio = statistics.median(t / p for t, p in zip(seconds[name], seconds["packed"], strict=True))
        each = rows / arguments.samples / arguments.steps
        print(
            f"{name:12}{statistics.median(seconds[name]):10.3f}{ratio:10.2f}{calls:8d}{rows:8d}{each:18.2f}"
            f"{differences[name]:12.1e}"
        )


if __name__ == "__main__":
    main()
