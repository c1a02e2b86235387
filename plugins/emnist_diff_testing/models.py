"""The models that components are tried on: exact mixtures over states of several shapes, and a tiny network.

They are small, need no file and no weights, and between them have what models differ in: pixels, a latent vector,
tokens; predictions of noise, of v, and the velocity of a flow; a first level without any signal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import attrs
import torch

from emnist_diff.components import make
from emnist_diff.config import ComponentConfig
from emnist_diff.discovery import installed
from emnist_diff.engine.base import Base
from emnist_diff.engine.plan import WeightedDrift, WeightedForce
from emnist_diff.engine.state import Engine
from emnist_diff.protocols import Denoiser
from emnist_diff.records import DenoiserSpec, SchedulerSpec
from emnist_diff.structuring import unstructure
from emnist_diff.timeline import FlowSchedule, NoiseSchedule, PredictionType
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader

ROWS = 8
"""Rows of a network call."""


@attrs.frozen(eq=False)
class Model:
    """A denoiser to try a component on.

    label: how findings call it.  steps: how many are walked.  guide: gives the second network that a component asks
    for by any name, if there can be one.  rows: of a network call.  device: where it is.
    elsewhere: gives the same denoiser on another device.
    """

    label: str
    denoiser: Denoiser
    steps: int = 5
    guide: Callable[[], Denoiser] | None = None
    rows: int = ROWS
    device: str = "cpu"
    elsewhere: Callable[[str], Denoiser] | None = None

    @classmethod
    def of(cls, model: Model | Denoiser) -> Model:
        """A model as it is; a denoiser with its shape for a label."""
        if isinstance(model, Model):
            return model
        return cls(f"{type(model).__name__} {tuple(model.shape)}", model, steps=3)

    def engine(
        self, forces: Sequence[WeightedForce] = (), drifts: Sequence[WeightedDrift] = (), guides: Sequence[str] = ()
    ) -> Engine:
        """An engine that walks it, with guidance, on the plain scheduler of its process."""
        denoiser = self.denoiser
        flow = isinstance(denoiser.process, FlowSchedule)
        config = ComponentConfig("flow_euler") if flow else ComponentConfig("ddim", settings={"spacing": "linspace"})
        scheduler = make(installed(), SchedulerSpec, config).object.bind(denoiser.process, denoiser.prediction_type)
        null = denoiser.conditions.null_index is not None
        second = self.guide() if guides and self.guide is not None else denoiser
        return Engine(
            denoisers={"": denoiser, **dict.fromkeys(guides, second)},
            scheduler=scheduler,
            timeline=scheduler.plan(self.steps),
            base=Base("cfg", 2.0) if null else Base("cond"),
            forces=forces,
            drifts=drifts,
            micro_batch=self.rows,
            device=torch.device(self.device),
        )

    def on(self, device: str) -> Model | None:
        """The same model on another device; None where there is no such denoiser."""
        if self.elsewhere is None:
            return None
        return attrs.evolve(self, denoiser=self.elsewhere(device), device=device, guide=None)


def mixture(
    shape: Sequence[int] = (1, 8, 8), prediction: PredictionType = "epsilon", steps: int = 5, **settings: Any
) -> Model:
    """The exact model of a Gaussian mixture over states of this shape, with the digits and letters as its classes.

    settings: more of the denoiser ``gaussian-mixture``.
    """

    def denoiser(device: str = "cpu", **more: Any) -> Denoiser:
        config = {"shape": list(shape), "prediction": prediction, "components": 1, **settings, **more}
        family = make(installed(), DenoiserSpec, ComponentConfig("gaussian-mixture", settings=config)).object
        denoiser: Denoiser = family.source(installed()).load(device)
        return denoiser

    spread = float(settings.get("spread", 0.2))
    label = f"{prediction} {tuple(shape)}"
    return Model(label, denoiser(), steps, lambda: denoiser(spread=2 * spread), elsewhere=denoiser)


def tiny_unet(size: int = 28, steps: int = 3, **settings: Any) -> Model:
    """A `unet2d` with random weights, the same at every call, and attention in its deeper level; states are
    (1, size, size), the classes digits and letters.

    settings: more of the denoiser ``unet2d``.
    """
    family = make(
        installed(),
        DenoiserSpec,
        ComponentConfig(
            "unet2d",
            settings={
                "sample_size": size,
                "block_out_channels": [8, 16],
                "attention": [False, True],
                "norm_num_groups": 4,
                "attention_head_dim": 8,
                "num_class_embeds": 63,
                **settings,
            },
        ),
    ).object
    return Model(f"tiny unet (1, {size}, {size})", _untrained(family, 1), steps, lambda: _untrained(family, 2))


def _untrained(family: Any, seed: int) -> Denoiser:
    with seeded(seed):
        weights = family.network().state_dict()
    header = CheckpointHeader(
        family="unet2d",
        network=dict(unstructure(family)),
        classes=tuple("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"),
        null_index=62,
        schedule=NoiseSchedule(),
        prediction="epsilon",
    )
    denoiser: Denoiser = family.with_weights(weights, header, "cpu")
    return denoiser


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's global generator with this seed, and afterwards as it was."""
    before = torch.get_rng_state()
    torch.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before)


@cache
def mixtures() -> tuple[Model, ...]:
    """Pixels from the noisiest level to the cleanest, a latent vector and tokens from a level without signal."""
    return (
        mixture((1, 8, 8)),
        mixture((16,), "v_prediction", zero_terminal_snr=True),
        mixture((6, 8), "flow"),
    )


@cache
def networks() -> tuple[Model, ...]:
    """The tiny network."""
    return (tiny_unet(),)


def default_models() -> tuple[Model, ...]:
    """The models that components are tried on unless told otherwise."""
    return (*mixtures(), *networks())


def as_models(models: Sequence[Model | Denoiser] | None) -> tuple[Model, ...]:
    """What a caller says, or the default ones."""
    return default_models() if models is None else tuple(Model.of(model) for model in models)


def labels_of(model: Model, ids: Sequence[int]) -> tuple[int, ...]:
    """The own class of each sample, by its id: the first three classes in turn."""
    return tuple(i % min(3, len(model.denoiser.conditions.classes)) for i in ids)
