"""Fixtures that the tests share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import structlog
import torch
from emnist_diff import discovery, main, plugins
from emnist_diff.assembly.assemble import Assembly, assemble
from emnist_diff.conditions import NULL, OWN, Cond, Predictions, RowConditions, pack, row_of
from emnist_diff.engine.base import Base
from emnist_diff.engine.plan import WeightedForce
from emnist_diff.engine.state import Batch, Engine
from emnist_diff.engine.walk import walk
from emnist_diff.frames import FIELDS, Frame
from emnist_diff.protocols import Denoiser
from emnist_diff.steps import ForceStep
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader
from emnist_diff_plugins.denoisers.unet2d import UNet2D
from emnist_diff_plugins.layers import configure
from emnist_diff_plugins.schedulers.ddim import Ddim
from emnist_diff_plugins.spaces import ClassSpace

PACKAGE = "emnist_diff_forces_contrib"
SPACE = ClassSpace(("A", "B", "C"), null_index=3)
LABELS = (0, 2, 1)
FOUR = (0, 1, 2, 1)
"""The classes of four samples."""


class Exact:
    """Conversions in float64, from the two equations that a state and a prediction are, solved for image and noise."""

    @staticmethod
    def rates(alpha_bar: float, path: str) -> tuple[float, float]:
        """(signal, noise): their squares, or on a flow they themselves, add up to 1."""
        signal, noise = np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar)
        return (signal / (signal + noise), noise / (signal + noise)) if path == "flow" else (signal, noise)

    @staticmethod
    def row(rates: tuple[float, float], kind: str) -> tuple[float, float]:
        """A prediction as multiples of image and noise."""
        signal, noise = rates
        return {"epsilon": (0, 1), "sample": (1, 0), "v_prediction": (-noise, signal), "flow": (-1, 1)}[kind]

    @classmethod
    def split(cls, prediction: np.ndarray, x: np.ndarray, rates: tuple[float, float], kind: str) -> Any:
        """(image, noise) of a prediction made at x."""
        matrix = np.array([rates, cls.row(rates, kind)], dtype=np.float64)
        found = np.linalg.solve(matrix, np.stack([x.ravel(), prediction.ravel()]))
        return found[0].reshape(x.shape), found[1].reshape(x.shape)

    @classmethod
    def joined(cls, x0: np.ndarray, epsilon: np.ndarray, rates: tuple[float, float], kind: str) -> np.ndarray:
        """The prediction that means this image and this noise."""
        of_x0, of_epsilon = cls.row(rates, kind)
        return of_x0 * x0 + of_epsilon * epsilon


@pytest.fixture(scope="session")
def exact() -> type[Exact]:
    return Exact


@attrs.frozen
class Given:
    """A step with random predictions for three samples, and the same in float64."""

    predictions: Predictions
    step: ForceStep
    x: np.ndarray
    own: np.ndarray
    null: np.ndarray
    base: np.ndarray

    def of(self, force: Any) -> np.ndarray:
        """The prediction that the force makes of the base, float64."""
        declared = set(force.conditions(self.step.at))
        read = Watched(self.predictions, declared)
        return self.base + force(read, self.step).numpy().astype(np.float64)


class Watched(Mapping[Any, Any]):
    """Predictions that refuse what was not declared."""

    def __init__(self, predictions: Predictions, declared: set[Any]) -> None:
        self.predictions, self.declared = predictions, declared

    def __getitem__(self, cond: Any) -> Any:
        assert cond in self.declared, f"{cond} was not declared"
        return self.predictions[cond]

    def __iter__(self) -> Any:
        return iter(self.declared)

    def __len__(self) -> int:
        return len(self.declared)


@pytest.fixture
def given() -> Callable[..., Given]:
    """Random predictions of own class and of none; `base` is a third tensor, so that a force that reads it shows."""

    def make(
        shape: tuple[int, ...] = (1, 8, 8),
        kind: Any = "epsilon",
        path: Any = "diffusion",
        alpha_bar: float = 0.4,
        alpha_bar_next: float = 0.55,
        seed: int = 0,
        score: torch.Tensor | None = None,
        memory: Mapping[str, torch.Tensor] | None = None,
        remember: Callable[[str, torch.Tensor], None] | None = None,
        **at: Any,
    ) -> Given:
        random = np.random.default_rng(seed)
        x, own, null, base = (random.normal(size=(3, *shape)).astype(np.float32) for _ in range(4))
        null = 0.8 * own + 0.6 * null  # alike, as they are in a network
        packing = pack([NULL, OWN], LABELS, {"": SPACE})
        rows = torch.empty(6, *shape)
        for cond, values in ((NULL, null), (OWN, own)):
            rows[packing.gather[cond][1]] = torch.from_numpy(values)
        info = StepInfo(**{"index": 2, "steps": 11, "timestep": 500.0, **at}, alpha_bar=alpha_bar,
                        alpha_bar_next=alpha_bar_next, process=path)  # fmt: skip
        step = ForceStep(
            at=info, x=torch.from_numpy(x), labels=torch.tensor(LABELS), sample_ids=(0, 1, 2),
            base=torch.from_numpy(base), sum=torch.from_numpy(base) if score is None else score,
            noise=lambda stream="": torch.zeros(3, *shape), prediction_type=kind, memory=dict(memory or {}),
            remember=remember or (lambda name, value: None),
        )  # fmt: skip
        doubles = (a.astype(np.float64) for a in (x, own, null, base))
        return Given(Predictions(packing, [rows]), step, *doubles)

    return make


@pytest.fixture(scope="session", autouse=True)
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """The package is found by its entry point; the folder on the path that says so, or None where it is installed."""
    if any(point.value == PACKAGE for point in entry_points(group="emnist_diff")):
        yield None
        return
    folder = tmp_path_factory.mktemp("found")
    facts = folder / f"{PACKAGE}-0.1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: emnist-diff-forces-contrib\nVersion: 0.1.0\n")
    (facts / "entry_points.txt").write_text(f"[emnist_diff]\nforces-contrib = {PACKAGE}\n")
    sys.path.append(str(folder))
    discovery.installed.cache_clear()
    yield folder
    sys.path.remove(str(folder))
    discovery.installed.cache_clear()


@pytest.fixture(scope="session")
def registry(found: Path | None) -> plugins.Registry:
    """What is installed."""
    return discovery.installed()


@pytest.fixture(scope="session")
def assembled(registry: plugins.Registry) -> Callable[..., Assembly]:
    """A run on the exact mixture, ready to start."""

    def make(**said: Any) -> Assembly:
        mixture = {"name": "gaussian-mixture", "shape": [1, 8, 8], "classes": "ABC", **said.pop("mixture", {})}
        flow = mixture.get("prediction") == "flow"
        plain = {"steps": 6, "total_videos": 3, "character": "A,B,C", "sinks": [], "device": "cpu"}
        scheduler = "flow_euler" if flow else {"name": "ddim", "clip": False}
        return assemble(
            registry, configure(registry, {**plain, "denoiser": mixture, "scheduler": scheduler, **said})[0]
        )

    return make


@attrs.frozen
class Walked:
    """What a walk gave: its frames, and the final states."""

    frames: list[Frame]
    x: torch.Tensor

    def stacked(self, name: str) -> np.ndarray:
        """A field over all steps, (steps, B, *shape) float64."""
        return np.stack([frame[name].numpy() for frame in self.frames]).astype(np.float64)


@pytest.fixture(scope="session")
def walked(assembled: Callable[..., Assembly]) -> Callable[..., Walked]:
    """Walk the samples of a run, all fields kept."""

    def collect(**said: Any) -> Walked:
        assembly = assembled(**said)
        header = assembly.header
        ids, labels = header.sample_ids.tolist(), header.labels.tolist()
        batch = Batch(tuple(range(len(ids))), tuple(ids), tuple(labels), tuple(header.seeds.tolist()))
        *frames, last = walk(assembly.engine, batch, lambda at: frozenset(FIELDS))
        return Walked(frames, last.x)

    return collect


@pytest.fixture(scope="session")
def ask() -> Callable[..., np.ndarray]:
    """What a denoiser says of states (B, *shape), float64, at a timestep, of these class indices."""

    def answer(denoiser: Denoiser, x: np.ndarray, timestep: float, index: tuple[int, ...]) -> np.ndarray:
        t = torch.full((len(x),), timestep, dtype=torch.float32)
        said: np.ndarray = denoiser.predict(torch.from_numpy(x), t, RowConditions(torch.tensor(index))).numpy()
        return said

    return answer


@pytest.fixture(scope="session")
def unet() -> Denoiser:
    """A tiny network with attention, its weights twice those that it is initialised with."""
    torch.manual_seed(0)
    family = UNet2D(
        sample_size=8,
        block_out_channels=(8, 16),
        attention=(True, True),
        attention_head_dim=8,
        norm_num_groups=4,
        num_class_embeds=4,
    )
    header = CheckpointHeader(family="unet2d", classes=("A", "B", "C"), null_index=3)
    return family.with_weights({k: 2 * t.clone() for k, t in family.network().state_dict().items()}, header, "cpu")


@pytest.fixture(scope="session")
def walk_with() -> Callable[..., list[Frame]]:
    """The frames of four samples that a force moves on these denoisers, by name."""

    def frames(denoisers: Mapping[str, Denoiser], force: Any, base: Base | None = None, steps: int = 3) -> list[Frame]:
        main = denoisers[""]
        bound = Ddim().bind(main.process, main.prediction_type)
        terms = [WeightedForce("tried", force.bind(main.conditions), lambda at: 1.0)]
        engine = Engine(denoisers, bound, bound.plan(steps), base or Base("cond"), terms, micro_batch=4)
        batch = Batch((0, 1, 2, 3), (0, 1, 2, 3), FOUR, (7, 7, 7, 7))
        return list(walk(engine, batch, lambda at: frozenset(FIELDS)))[:-1]

    return frames


@pytest.fixture(scope="session")
def predicted() -> Callable[..., torch.Tensor]:
    """What the network of a condition predicts of the four samples of a frame."""

    def answer(denoisers: Mapping[str, Denoiser], frame: Frame, cond: Cond) -> torch.Tensor:
        denoiser, classes = denoisers[cond.denoiser], denoisers[""].conditions.classes
        labels = [denoiser.conditions.index(classes[label]) for label in FOUR]
        index = torch.tensor([row_of(denoiser.conditions, cond, label) for label in labels])
        with torch.inference_mode():
            t = torch.full((4,), frame.at.timestep)
            return denoiser.predict(frame["x"], t, RowConditions(index, cond.variant))

    return answer


@attrs.frozen
class Finished:
    """How a command ended."""

    code: int
    err: str


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], found: Path | None) -> Iterator[Any]:
    """Run ``emnist-diff`` in this process."""

    def call(*words: str) -> Finished:
        monkeypatch.setattr(sys, "argv", ["emnist-diff", *words])
        with pytest.raises(SystemExit) as stopped:
            main()
        code = stopped.value.code
        return Finished(code if isinstance(code, int) else int(code is not None), capsys.readouterr().err)

    yield call
    structlog.reset_defaults()
