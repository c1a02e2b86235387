"""Fixtures that the tests share."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import structlog
import torch

from emnist_diff.engine.base import Base
from emnist_diff.engine.plan import WeightedDrift, WeightedForce, streams
from emnist_diff.engine.state import Batch, Engine
from emnist_diff.engine.walk import walk
from emnist_diff.frames import FIELDS, Frame
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture
from emnist_diff_plugins.schedulers.ddim import Ddim

os.environ["EMNIST_DIFF_CONFIG"] = ""  # what somebody has set for their machine is none of the tests' business
os.environ["EMNIST_DIFF_CACHE"] = ""  # nor is what they have compiled


@pytest.fixture(autouse=True)
def no_user_config(monkeypatch: pytest.MonkeyPatch) -> None:
    """What somebody has said of this machine for their own runs must not decide how tests end."""
    monkeypatch.setenv("EMNIST_DIFF_CONFIG", "")


class Exact:
    """Exact answers in float64, by other ways than the code's."""

    @staticmethod
    def linear_alpha_bar(timesteps: int = 1000) -> np.ndarray:
        return np.cumprod(1.0 - np.linspace(1e-4, 0.02, timesteps))

    @staticmethod
    def mixture_epsilon(x: np.ndarray, a: float, means: np.ndarray, spread: float) -> np.ndarray:
        """E[eps | x_t] of the mixture with equal weights at `means` (K, D), by way of the score; x is (B, D)."""
        variance = a * spread**2 + 1 - a
        pull = math.sqrt(a) * means[None] - x[:, None]
        log_density = -(pull**2).sum(2) / (2 * variance)
        share = np.exp(log_density - log_density.max(1, keepdims=True))
        share /= share.sum(1, keepdims=True)
        score = (share[:, :, None] * pull).sum(1) / variance
        return -math.sqrt(1 - a) * score


@pytest.fixture(scope="session")
def exact() -> type[Exact]:
    return Exact


@attrs.define(eq=False)
class Walked:
    """What a walk gave: its frames, and the final states in the order of the batch."""

    frames: list[Frame]
    x: torch.Tensor

    def stacked(self, name: str) -> np.ndarray:
        """A field over all steps, (steps, B, *shape)."""
        return np.stack([frame[name].numpy() for frame in self.frames])


@pytest.fixture
def make_engine() -> Callable[..., Engine]:
    """An engine on the analytic mixture; ``forces`` are (force, weight) pairs."""

    def make(
        mixture: GaussianMixture | None = None,
        *,
        denoiser: Any = None,
        scheduler: Any = None,
        steps: int = 6,
        base: Base | None = None,
        forces: Any = (),
        drifts: Any = (),
        micro_batch: int = 8,
    ) -> Engine:
        denoiser = denoiser or (mixture or GaussianMixture(shape=(3,), classes="ABC")).denoiser()
        bound = (scheduler or Ddim()).bind(denoiser.process, denoiser.prediction_type)
        names = [type(force).__name__ for force, _ in forces]
        terms = [
            WeightedForce(name, force, lambda at, weight=weight: weight, stream)
            for name, (force, weight), stream in zip(names, forces, streams("force", names), strict=True)
        ]
        names = [type(drift).__name__ for drift in drifts]
        maps = [WeightedDrift(*item) for item in zip(names, drifts, streams("drift", names), strict=True)]
        return Engine({"": denoiser}, bound, bound.plan(steps), base or Base(), terms, maps, micro_batch=micro_batch)

    return make


@pytest.fixture
def walk_all() -> Callable[..., Walked]:
    """Walk samples with these ids, all fields wanted."""

    def collect(
        engine: Engine,
        ids: Any = (0, 1, 2, 3),
        *,
        label: int | tuple[int, ...] = 0,
        seed: int = 7,
        fields: frozenset[str] = frozenset(FIELDS),
    ) -> Walked:
        ids = tuple(ids)
        labels = (label,) * len(ids) if isinstance(label, int) else label
        batch = Batch(tuple(range(len(ids))), ids, labels, (seed,) * len(ids))
        *frames, last = walk(engine, batch, lambda at: fields)
        return Walked(frames, last.x)

    return collect


@attrs.define
class Finished:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line of an error; log lines, which are JSON, are left out."""
        lines = [line for line in self.err.splitlines() if not line.startswith("{")]
        assert len(lines) == 1, self.err
        return lines[0]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run ``emnist-diff`` in this process, through its entry point."""
    from emnist_diff import main

    def call(*arguments: str | Path) -> Finished:
        monkeypatch.setattr(sys, "argv", ["emnist-diff", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        code = stopped.value.code
        return Finished(code if isinstance(code, int) else int(code is not None), captured.out, captured.err)

    yield call
    structlog.reset_defaults()


@pytest.fixture
def process() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``emnist-diff`` in a process of its own."""

    def call(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "emnist_diff", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, **environment},
            check=False,
        )

    return call


def pytest_configure() -> None:
    """Listen to signals, as a person's terminal does: what was started in the background or by nohup ignores some, and
    hands that down to every process that a test starts."""
    for number in (signal.SIGINT, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
