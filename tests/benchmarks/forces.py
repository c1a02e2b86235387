"""What does another force cost? Stacks of 0, 2, 5 and 10 forces over two classes, in the engine and in the loop that
calls the network for each condition of each force.

Run it from anywhere: ``python tests/benchmarks/forces.py [--rounds 3] [--steps 5] [--samples 8]``.

- *engine*: N forces over two classes ask for three conditions a step, one of them "no class", whatever N is.
- *calls*: the usual loop, batched over samples: the base, and for each force its class and "no class", 1 + 2N calls.

Both start from the unconditional prediction. The kinds are interleaved; nothing is reported unless their final states
agree.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from emnist_diff.assembly.assemble import assemble
from emnist_diff.discovery import installed
from emnist_diff.engine.noise import INITIAL, batch_normal
from emnist_diff.engine.state import Batch, Engine
from emnist_diff.engine.walk import walk
from emnist_diff.frames import BatchResult
from emnist_diff_plugins.layers import configure

COUNTS = (0, 2, 5, 10)
CLASSES, SEED = ("A", "B"), 7


def stack(count: int) -> list[tuple[str, float]]:
    """Classes and weights of `count` forces, the classes taking turns."""
    return [(CLASSES[i % 2], 1.0 / (1 + i)) for i in range(count)]


def build(count: int, steps: int, samples: int) -> Engine:
    """The engine on the shipped checkpoint."""
    forces = [{"name": "attract_class", "target": name, "weight": weight} for name, weight in stack(count)]
    layer = {"steps": steps, "total_videos": samples, "batch_size": samples, "seed": SEED, "device": "cpu", "sinks": []}
    layer |= {"base": "uncond", "forces": forces, "scheduler": "ddim"}
    settings, _ = configure(installed(), layer)
    return assemble(installed(), settings).engine


def in_engine(engine: Engine, samples: int) -> Tensor:
    ids = tuple(range(samples))
    batch = Batch(ids, ids, (engine.denoisers[""].conditions.index("A"),) * samples, (SEED,) * samples)
    for event in walk(engine, batch, lambda at: frozenset()):
        if isinstance(event, BatchResult):
            return event.x
    raise AssertionError("the walk has no end")


@torch.inference_mode()
def in_calls(engine: Engine, samples: int, count: int) -> Tensor:
    denoiser = engine.denoisers[""]
    space = denoiser.conditions
    ids = tuple(range(samples))
    x = batch_normal((SEED,) * samples, ids, INITIAL, "init", engine.shape)

    def ask(x: Tensor, timestep: float, index: int) -> Tensor:
        rows = torch.full((samples,), index)
        return denoiser.network(x, torch.full((samples,), timestep), rows)

    for number in range(len(engine.timeline)):
        at = engine.timeline.at(number)
        prediction = ask(x, at.timestep, space.null_index)
        for name, weight in stack(count):
            pull = ask(x, at.timestep, space.index(name)) - ask(x, at.timestep, space.null_index)
            prediction = prediction + weight * pull
        here, there = at.alpha_bar, at.alpha_bar_next
        x0 = (here**0.5 * x - (1 - here) ** 0.5 * prediction).clamp(-1, 1)
        x = there**0.5 * x0 + (1 - there) ** 0.5 * (x - here**0.5 * x0) / (1 - here) ** 0.5
    return x


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--samples", type=int, default=8)
    arguments = parser.parse_args()
    engines = {count: build(count, arguments.steps, arguments.samples) for count in COUNTS}
    ways: dict[tuple[str, int], Callable[[], Tensor]] = {}
    for count, engine in engines.items():
        ways["engine", count] = lambda engine=engine: in_engine(engine, arguments.samples)
        ways["calls", count] = lambda engine=engine, count=count: in_calls(engine, arguments.samples, count)

    rows: dict[tuple[str, int], int] = {}
    finals: dict[tuple[str, int], Tensor] = {}
    for key, way in ways.items():  # the warm-up as well
        seen: list[int] = []
        network = engines[key[1]].denoisers[""].network
        handle = network.register_forward_pre_hook(lambda module, given, seen=seen: seen.append(len(given[0])))
        finals[key] = way()
        handle.remove()
        rows[key] = sum(seen)
    for count in COUNTS:
        difference = float((finals["engine", count] - finals["calls", count]).abs().max())
        if not difference < 1e-3:
            sys.exit(f"with {count} forces the loops disagree by {difference}, so their times mean nothing")

    seconds: dict[tuple[str, int], list[float]] = {key: [] for key in ways}
    for turn in range(arguments.rounds):
        for key in [*ways][turn % len(ways) :] + [*ways][: turn % len(ways)]:
            started = time.perf_counter()
            ways[key]()
            seconds[key].append(time.perf_counter() - started)

    print(
        f"{arguments.samples} samples, {arguments.steps} steps, {arguments.rounds} rounds, "
        f"{torch.get_num_threads()} threads; rows include the padding of calls"
    )
    print(f"{'forces':>6}{'engine s':>10}{'rows':>7}{'calls s':>10}{'rows':>7}{'calls / engine':>16}")
    for count in COUNTS:
        ours, theirs = seconds["engine", count], seconds["calls", count]
        ratio = statistics.median(t / o for t, o in zip(theirs, ours, strict=True))
        print(
            f"{count:6d}{statistics.median(ours):10.3f}{rows['engine', count]:7d}"
            f"{statistics.median(theirs):10.3f}{rows['calls', count]:7d}{ratio:16.2f}"
        )


if __name__ == "__main__":
    main()
