"""A loop in float64 that knows nothing of the engine, and the exact mixture as plain arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from torch import Tensor

from emnist_diff.conditions import RowConditions
from emnist_diff.discovery import installed
from emnist_diff.plugins import load_factory
from emnist_diff.records import SchedulerSpec
from emnist_diff.steps import SchedulerResult, SchedulerStep
from emnist_diff.timeline import StepInfo, Timeline
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture, MixtureDenoiser

BUILT_IN = {
    entry.spec.name: load_factory(entry)
    for entry in installed().of(SchedulerSpec)
    if entry.spec.factory.startswith("emnist_diff_plugins.")
}
VARIED: dict[str, list[dict[str, Any]]] = {
    "ddpm": [{}, {"variance": "fixed_large"}],
    "ddim": [{}, {"eta": 0.7}],
    "euler_ancestral": [{}, {"eta": 0.0}],
    "dpmpp_2m_sde": [{}, {"eta": 0.0}],
    "dpmpp_sde": [{}, {"eta": 0.0}, {"r": 0.3}],
    "lms": [{}, {"order": 1}],
    "unipc": [{}, {"order": 3, "variant": "bh1"}],
    "edm": [{}, {"s_churn": 8.0, "s_noise": 1.01}],
    "flow_euler": [{}, {"mu": 1.15, "terminal": 0.1}],
    "flow_euler_ancestral": [{}, {"eta": 0.0}],
    "flow_edm": [{}, {"s_churn": 8.0, "s_noise": 1.01}],
}
CASES = {
    name + "".join(f",{key}={value}" for key, value in settings.items()): (name, settings)
    for name in BUILT_IN
    for settings in VARIED.get(name, [{}])
}
FIXTURES = {
    "built_in": ("d", "f"),
    "of_diffusions": ("d",),
    "of_flows": ("f",),
    "diffusion_as_it_comes": ("d", "plain"),
}
NOISY = ("ddpm", "eta=0.7", "s_churn", "euler_ancestral", "_sde")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``built_in``: every built-in one, also with settings that change its course; ``of_diffusions`` and ``of_flows``:
    those of one process; ``diffusion_as_it_comes``: without settings."""
    for fixture, wanted in FIXTURES.items():
        if fixture in metafunc.fixturenames:
            chosen = {
                label: Case(label, BUILT_IN[name], settings)
                for label, (name, settings) in CASES.items()
                if ("f" if name.startswith("flow_") else "d") in wanted and not (settings and "plain" in wanted)
            }
            metafunc.parametrize(fixture, chosen.values(), ids=chosen.keys())


@attrs.frozen
class Case:
    """A scheduler under test."""

    label: str
    factory: Any
    settings: dict[str, Any]

    def __call__(self, **more: Any) -> Any:
        """It, with these settings beside its own."""
        return self.factory(**self.settings, **more)

    @property
    def is_flow(self) -> bool:
        return self.label.startswith("flow_")

    @property
    def noisy(self) -> bool:
        return "eta=0.0" not in self.label and any(mark in self.label for mark in NOISY)


@attrs.define(eq=False)
class Path:
    """What a scheduler did: states (steps + 1, B, …), and how often it asked."""

    timeline: Timeline
    states: list[Tensor]
    moves: list[SchedulerResult]
    asked: int

    @property
    def end(self) -> np.ndarray:
        return self.states[-1].numpy()


@attrs.frozen(eq=False)
class World:
    """A mixture, and schedulers walking it in float64."""

    family: GaussianMixture
    denoiser: MixtureDenoiser = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "denoiser", self.family.denoiser())

    def ask(self, x: Tensor, timestep: float, label: int = 0) -> Tensor:
        """The denoiser's prediction at x (B, …), in float64."""
        rows = RowConditions(torch.full((len(x),), label), "")
        return self.denoiser.predict(x, torch.full((len(x),), timestep, dtype=torch.float64), rows)

    def walk(self, scheduler: Any, steps: int, x: Tensor, noise: Callable[..., Tensor] | None = None) -> Path:
        """`steps` steps of a scheduler from x (B, …); noise(index, stream) is asked for its draws."""
        bound = scheduler.bind(self.denoiser.process, self.family.prediction)
        path = Path(bound.plan(steps), [x], [], 0)
        memory: Any = {}
        for index in range(steps):
            at = path.timeline.at(index)
            step = SchedulerStep(
                at=at, x=path.states[-1], labels=torch.zeros(len(x)), sample_ids=range(len(x)), memory=memory,
                noise=lambda stream="", index=index: noise(index, stream), timeline=path.timeline,
                evaluate=lambda x, number, at=at: self._counted(path, x, at.inside(number)),
            )  # fmt: skip
            moved = bound.step(self._counted(path, step.x, at), step)
            memory = moved.memory
            path.moves.append(moved)
            path.states.append(moved.x_prev)
        return path

    def _counted(self, path: Path, x: Tensor, at: StepInfo) -> Tensor:
        path.asked += 1
        return self.ask(x, at.timestep)


@pytest.fixture(scope="session")
def make_world() -> Callable[..., World]:
    """A world whose mixture has these settings."""

    def make(**settings: Any) -> World:
        return World(GaussianMixture(**{"shape": (2,), "classes": "AB", "spread": 0.7, **settings}))

    return make


@pytest.fixture
def drawn() -> Callable[..., Tensor]:
    """Standard normal states of a seed, float64."""

    def draw(*shape: int, seed: int = 0) -> Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    return draw


@pytest.fixture(scope="session")
def walk_array() -> Callable[..., Path]:
    """`World.walk` from an array."""
    return lambda world, scheduler, steps, x: world.walk(scheduler, steps, torch.from_numpy(x))
