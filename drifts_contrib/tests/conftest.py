"""Fixtures that the tests share."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import structlog
import torch
from emnist_diff import discovery, main, plugins
from emnist_diff.steps import DriftStep
from emnist_diff.timeline import StepInfo

PACKAGE = "emnist_diff_drifts_contrib"


@pytest.fixture(scope="session", autouse=True)
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """The package is found by its entry point; the folder on the path that says so, or None where it is installed."""
    if any(point.value == PACKAGE for point in entry_points(group="emnist_diff")):
        yield None
        return
    folder = tmp_path_factory.mktemp("found")
    facts = folder / f"{PACKAGE}-0.1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: emnist-diff-drifts-contrib\nVersion: 0.1.0\n")
    (facts / "entry_points.txt").write_text(f"[emnist_diff]\ndrifts-contrib = {PACKAGE}\n")
    sys.path.append(str(folder))
    discovery.installed.cache_clear()
    yield folder
    sys.path.remove(str(folder))
    discovery.installed.cache_clear()


@pytest.fixture(scope="session")
def registry(found: Path | None) -> plugins.Registry:
    """What is installed."""
    return discovery.installed()


@attrs.frozen(eq=False)
class Given:
    """A step with a random state and prediction for some samples; the arrays are its float64 twins.

    x: the state before the step.  after: the state that the drift is given.  epsilon: the noise that was predicted.
    signal, rest: the rates where the step ends.  noise: what ``step.noise(stream)`` draws.
    left: what the drift remembered.
    """

    step: DriftStep
    x: np.ndarray
    after: np.ndarray
    epsilon: np.ndarray
    signal: float
    rest: float
    noise: Callable[..., np.ndarray]
    left: dict[str, torch.Tensor]

    def by(self, drift: Any) -> np.ndarray:
        """What a drift makes of `after`, float64."""
        before = torch.from_numpy(self.after.astype(np.float32))
        given = before.clone()
        out = drift(before, self.step)
        assert torch.equal(before, given)
        assert out.dtype == torch.float32
        return out.numpy().astype(np.float64)


@pytest.fixture
def given() -> Callable[..., Given]:
    """A step from alpha_bar 0.4 to 0.55, or from and to what is said, of any path and prediction type."""

    def make(
        shape: tuple[int, ...] = (1, 8, 8),
        kind: str = "epsilon",
        path: str = "diffusion",
        alpha_bar: float = 0.4,
        alpha_bar_next: float = 0.55,
        samples: int = 3,
        after: np.ndarray | None = None,
        memory: dict[str, torch.Tensor] | None = None,
        **at: Any,
    ) -> Given:
        def rates(power: float) -> tuple[float, float]:
            signal, noise = np.sqrt(power), np.sqrt(1 - power)
            total = signal + noise if path == "flow" else 1.0
            return signal / total, noise / total

        def noise(stream: str = "") -> np.ndarray:
            key = zlib.crc32(f"{stream}/{at.get('index', 4)}".encode())
            return np.random.default_rng(key).normal(size=(samples, *shape)).astype(np.float32)

        random = np.random.default_rng(5)
        x, epsilon, state = (random.normal(size=(samples, *shape)).astype(np.float32) for _ in range(3))
        m, n = rates(alpha_bar)
        x0 = (x - n * epsilon) / m
        said = {"epsilon": epsilon, "sample": x0, "v_prediction": m * epsilon - n * x0, "flow": epsilon - x0}[kind]
        info = StepInfo(**{"index": 4, "steps": 11, "timestep": 500.0, **at}, alpha_bar=alpha_bar,
                        alpha_bar_next=alpha_bar_next, process=path)  # fmt: skip
        left: dict[str, torch.Tensor] = {}
        step = DriftStep(
            at=info, x=torch.from_numpy(x), labels=torch.zeros(samples, dtype=torch.int64), sample_ids=range(samples),
            noise=lambda stream="": torch.from_numpy(noise(stream)), sum=torch.from_numpy(said.astype(np.float32)),
            base=torch.from_numpy(said.astype(np.float32)), prediction_type=kind, memory=dict(memory or {}),
            remember=left.__setitem__, evaluate=torch.zeros_like,
        )  # fmt: skip
        doubles = [a.astype(np.float64) for a in (x, state if after is None else after, epsilon)]
        return Given(step, *doubles, *rates(alpha_bar_next), lambda stream="": noise(stream).astype(np.float64), left)

    return make


@pytest.fixture
def save(tmp_path: Path) -> Callable[[str, np.ndarray], str]:
    """Save an array, or with a name in .png a picture, and say where."""

    def write(name: str, values: np.ndarray) -> str:
        path = tmp_path / name
        if name.endswith(".npy"):
            np.save(path, values)
        else:
            from PIL import Image

            Image.fromarray(values).save(path)
        return str(path)

    return write


@attrs.frozen
class Finished:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line of an error; log lines are left out."""
        (line,) = [line for line in self.err.splitlines() if not line.startswith("{")]
        return line


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], found: Path | None) -> Iterator[Any]:
    """Run ``emnist-diff`` in this process."""

    def call(*words: Any) -> Finished:
        monkeypatch.setattr(sys, "argv", ["emnist-diff", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        code = stopped.value.code
        captured = capsys.readouterr()
        return Finished(code if isinstance(code, int) else int(code is not None), captured.out, captured.err)

    yield call
    structlog.reset_defaults()
