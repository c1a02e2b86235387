"""What a trained model can and cannot do: how far it looks at the class, how guidance acts, where its gradients are,
how its methods of sampling compare, and what its codec loses."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from emnist_diff.assembly.sources import found
from emnist_diff.conditions import RowConditions
from emnist_diff.errors import ConfigError, DatasetError
from emnist_diff.parameterization import convert, to_x0
from emnist_diff.plugins import Registry
from emnist_diff.protocols import Denoiser, Encodes, offers
from emnist_diff.timeline import FlowSchedule
from emnist_diff_plugins.analysis.finished import Finished, generated
from emnist_diff_plugins.capabilities import Exportable
from emnist_diff_plugins.datasets.images import Images
from emnist_diff_plugins.judging.file import Judge, chosen_or_none
from emnist_diff_plugins.judging.scores import score
from emnist_diff_plugins.runconfig import resolve
from emnist_diff_plugins.training.batches import to_state
from emnist_diff_plugins.training.evaluate import levels_of
from emnist_diff_plugins.training.objective import loss

_IMAGES, _ROWS, _GRADIENT = 256, 64, 64
"""Held-out images that errors are measured on, rows of a call, and images that gradients are of."""


@attrs.frozen
class LevelError:
    """One noise level.

    timestep: shown to the network.  noise: the noise's share of the power.  right, null, wrong: mean squared error of
    the x0 estimate with the image's class, with none, with another one.
    guidance: ‖e_c − e_null‖ / ‖e_null‖, how much the class changes the prediction, in the mean over the images.
    """

    timestep: float
    noise: float
    right: float
    null: float
    wrong: float
    guidance: float


@attrs.frozen(eq=False)
class Embedding:
    """The vectors that stand for classes.  norms: (C,), and that of "no class" behind them where there is one.
    cosines: of each pair, square."""

    norms: npt.NDArray[np.float64]
    cosines: npt.NDArray[np.float64]


@attrs.frozen(eq=False)
class Sampled:
    """Samples of one method of sampling.  scores: recognised, frechet and spread, {} without a judge."""

    method: str
    images: npt.NDArray[np.uint8]
    scores: Mapping[str, float | None]


@attrs.frozen(eq=False)
class Diagnosis:
    """What was found; a part that the model does not have is None.

    states: mean and deviation of the data's states, over all numbers, and the deviations of each channel or number.
    gradients: L2 norm of the training loss's gradient by part of the network.
    floor: of the codec's reconstructions, mean squared error and, with a judge, recognised and frechet.
    """

    levels: tuple[LevelError, ...]
    embedding: Embedding | None
    gradients: Mapping[str, float] | None
    states: Mapping[str, Any]
    floor: Mapping[str, float | None] | None
    sampled: tuple[Sampled, ...]

    def as_data(self) -> dict[str, Any]:
        """JSON-ready, without images."""
        embedding = self.embedding
        vectors = (
            None if embedding is None else {"norms": embedding.norms.tolist(), "cosines": embedding.cosines.tolist()}
        )
        return {
            "levels": [attrs.asdict(level) for level in self.levels],
            "embedding": vectors,
            "gradients": None if self.gradients is None else dict(self.gradients),
            "states": dict(self.states),
            "floor": None if self.floor is None else dict(self.floor),
            "sampled": {part.method: dict(part.scores) for part in self.sampled},
        }


def diagnose(
    registry: Registry, checkpoint: str | None, images: Images, judge: str | None, layer: Mapping[str, Any]
) -> Diagnosis:
    """Examine a model on held-out images.

    judge: as for `judging.file.chosen_or_none`.  layer: of the runs that samples are made by.
    Raises as `found` and `finished.generated`; `DatasetError` for images of which the model knows no class,
    `ConfigError` for images that it cannot take.
    """
    named = {} if checkpoint is None else {"checkpoint": checkpoint}
    denoiser = found(registry, resolve(named)).load("cpu")
    known, labels = _known(images, denoiser)
    names = [denoiser.conditions.classes[number] for number in labels.tolist()]
    classifier = chosen_or_none(judge, sorted(set(names)), known.shape[1:])
    x0 = _states(denoiser, known)
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
    return Diagnosis(
        _errors(denoiser, x0, labels, noise),
        _embedding(denoiser),
        _gradients(denoiser, x0[:_GRADIENT], labels[:_GRADIENT], noise[:_GRADIENT]),
        _spread(x0),
        _floor(denoiser, known, names, classifier),
        tuple(_sampled(registry, {**layer, **named}, isinstance(denoiser.process, FlowSchedule), classifier)),
    )


def _known(images: Images, denoiser: Denoiser) -> tuple[npt.NDArray[np.uint8], Tensor]:
    """Up to 256 images of classes that the model knows, and their indices there."""
    classes = denoiser.conditions.classes
    places = np.array([classes.index(name) if name in classes else -1 for name in images.classes], dtype=np.int64)
    labels = places[images.labels]
    fitting = np.flatnonzero(labels >= 0)
    if not len(fitting):
        raise DatasetError("the model knows no class of these images — name the dataset that it was trained on")
    order = torch.randperm(len(fitting), generator=torch.Generator().manual_seed(0))[:_IMAGES].numpy()
    some = fitting[order]
    return images.images[some], torch.from_numpy(labels[some])


def _states(denoiser: Denoiser, images: npt.NDArray[np.uint8]) -> Tensor:
    pixels = torch.from_numpy(images)
    if offers(denoiser, Encodes):
        return denoiser.encode(pixels.to(torch.float32) / 255.0)
    if tuple(pixels.shape[1:]) != tuple(denoiser.shape):
        wanted, given = ("×".join(map(str, shape)) for shape in (denoiser.shape, pixels.shape[1:]))
        raise ConfigError(f"the model takes images of {wanted}, these are {given}")
    return to_state(pixels)


@torch.inference_mode()
def _predicted(denoiser: Denoiser, x: Tensor, timestep: float, index: Tensor) -> Tensor:
    parts = zip(x.split(_ROWS), index.split(_ROWS), strict=True)
    return torch.cat([denoiser.predict(p, torch.full((len(p),), timestep), RowConditions(i)) for p, i in parts])


def _errors(denoiser: Denoiser, x0: Tensor, labels: Tensor, noise: Tensor) -> tuple[LevelError, ...]:
    space = denoiser.conditions
    count = len(space.classes)
    shown = {"right": labels, "wrong": (labels + max(1, count // 2)) % count}
    if space.null_index is not None:
        shown["null"] = torch.full_like(labels, space.null_index)
    levels = []
    for timestep, level in levels_of(denoiser.process):
        x = level[0] * x0 + level[1] * noise
        answers = {name: _predicted(denoiser, x, timestep, index) for name, index in shown.items()}
        kind = denoiser.prediction_type
        errors = {name: float((to_x0(a, x, level, kind) - x0).square().mean()) for name, a in answers.items()}
        guidance = float("nan")
        if "null" in answers:
            null = answers["null"].flatten(1)
            guidance = float(
                ((answers["right"].flatten(1) - null).norm(dim=1) / null.norm(dim=1).clamp_min(1e-8)).mean()
            )
        power = level[1] ** 2 / (level[0] ** 2 + level[1] ** 2)
        null_error = errors.get("null", float("nan"))
        levels.append(LevelError(timestep, power, errors["right"], null_error, errors["wrong"], guidance))
    return tuple(levels)


def _embedding(denoiser: Denoiser) -> Embedding | None:
    """The network's table of classes: an embedding with as many vectors as it has classes, or with one more."""
    count = len(denoiser.conditions.classes)
    network = _module(denoiser)
    for part in () if network is None else network.modules():
        if isinstance(part, nn.Embedding) and part.num_embeddings in (count, count + 1):
            vectors = part.weight.detach().double()
            norms = vectors.norm(dim=1)
            unit = vectors / norms.clamp_min(1e-12)[:, None]
            return Embedding(norms.numpy(), (unit @ unit.T).numpy())
    return None


def _gradients(denoiser: Denoiser, x0: Tensor, labels: Tensor, noise: Tensor) -> dict[str, float] | None:
    """L2 norm of the gradient of the mean squared error at noise level one half, by the network's own parts."""
    fixed = _module(denoiser)
    if fixed is None:
        return None
    network = copy.deepcopy(fixed).requires_grad_(True)
    timestep, level = min(levels_of(denoiser.process), key=lambda item: abs(item[1][0] - item[1][1]))
    x = level[0] * x0 + level[1] * noise
    wanted = convert(noise, x, level, "epsilon", denoiser.prediction_type)
    answer = network(x, torch.full((len(x),), float(timestep)), labels)
    loss(answer, wanted, None).backward()
    squares: dict[str, float] = {}
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            squares[_part(name)] = squares.get(_part(name), 0.0) + float(parameter.grad.double().square().sum())
    return {part: square**0.5 for part, square in squares.items()}


def _module(denoiser: Denoiser) -> nn.Module | None:
    return denoiser.module() if offers(denoiser, Exportable) else None


def _part(name: str) -> str:
    """The part of a network that a parameter belongs to: its first two names, without a wrapper's own."""
    names = name.split(".")[:-1] or [name]
    return ".".join([n for n in names if n not in ("network", "unet", "model")][:2]) or names[0]


def _spread(x0: Tensor) -> dict[str, Any]:
    axes = (0, *range(2, x0.dim()))
    return {
        "mean": float(x0.mean()),
        "deviation": float(x0.std()),
        "deviations": [float(value) for value in x0.std(axes).flatten()],
    }


def _floor(
    denoiser: Denoiser, images: npt.NDArray[np.uint8], names: Sequence[str], judge: Judge | None
) -> dict[str, float | None] | None:
    """What is lost by encoding and decoding: no sample of a model can be better than that."""
    pixels = torch.from_numpy(images).to(torch.float32) / 255.0
    latents = denoiser.encode(pixels) if offers(denoiser, Encodes) else None
    if latents is None:
        return None
    again = denoiser.decode(latents)
    out: dict[str, float | None] = {"mse": float((again - pixels).square().mean())}
    if judge is not None:
        out |= _scores(judge, (again * 255.0).round().to(torch.uint8).numpy(), names)
    return out


def _scores(judge: Judge, images: npt.NDArray[np.uint8], names: Sequence[str]) -> dict[str, float | None]:
    result = score(judge, images, names)
    return {"recognised": result.recognised, "frechet": result.frechet, "spread": result.spread}


def _sampled(registry: Registry, layer: Mapping[str, Any], flow: bool, judge: Judge | None) -> list[Sampled]:
    """The recommended method, the conditional model, and two schedulers: of diffusions without and with new noise,
    of flows of first and second order."""
    methods: dict[str, dict[str, Any]] = {"guided": {}, "conditional": {"base": "cond"}}
    methods |= {name: {"scheduler": name} for name in (("flow_euler", "flow_heun") if flow else ("ddim", "ddpm"))}
    out = []
    for method, changes in methods.items():
        samples: Finished = generated(registry, {**layer, **changes})
        out.append(
            Sampled(method, samples.images, {} if judge is None else _scores(judge, samples.images, samples.names))
        )
    return out
