"""A network of anyone's as a denoiser: plain torch, or a model of diffusers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from emnist_diff.conditions import RowConditions
from emnist_diff.errors import ConfigError
from emnist_diff.timeline import ForwardProcess, NoiseSchedule, PredictionType
from emnist_diff_plugins.diffusers.process import process_of
from emnist_diff_plugins.spaces import ClassSpace

Evaluate = Callable[[Any, Tensor, Tensor, Tensor], Tensor]
"""``evaluate(network, x, t, index)``: the prediction of each row, (R, *shape), from states x (R, *shape), timesteps
t (R,) float32 and indices of conditions (R,) int64; the null condition's index is their number."""


def evaluated(network: Any, x: Tensor, t: Tensor, index: Tensor) -> Tensor:
    """`Evaluate` of a network called as ``network(x, t, index)``, and of diffusers' class-conditional and unconditional
    models, which take the class as ``class_labels`` and return their tensor in a ``sample``."""
    config = getattr(network, "config", None)
    if not hasattr(config, "sample_size"):
        return require_tensor(network(x, t, index))
    conditional = getattr(network, "class_embedding", None) is not None
    return require_tensor(network(x, t, class_labels=index) if conditional else network(x, t))


def require_tensor(answer: Any) -> Tensor:
    """The tensor of an answer. Raises `ConfigError` for one that holds none."""
    found = getattr(answer, "sample", answer[0] if isinstance(answer, tuple) and answer else answer)
    if not isinstance(found, Tensor):
        raise ConfigError(
            f"the network returned {type(answer).__name__} and no tensor — give NetworkDenoiser an evaluate"
        )
    return found


def pixels(x: Tensor) -> Tensor:
    """Images in [0, 1] of states that are images in [-1, 1]."""
    return ((x + 1.0) / 2.0).clamp(0.0, 1.0)


@attrs.frozen(eq=False, kw_only=True)
class NetworkDenoiser:
    """`protocols.Denoiser` over a network that is under training.

    network: a torch module, without wrappers of accelerate or DistributedDataParallel.
    shape: of one state, such as (C, H, W).
    classes: names of the conditions in index order, such as classes or prompts.
    null: whether the index after the last means "no condition", as classifier-free guidance needs.
    schedule: the forward process of the training: a scheduler of diffusers, or a `timeline.NoiseSchedule` or
    `timeline.FlowSchedule`.
    prediction: what the network predicts: ``epsilon``, ``v_prediction``, ``sample`` or ``flow``; a scheduler of
    diffusers says it where this is left out.
    evaluate: how the network is called; see `evaluated`.  decode: images (B, C, H, W) in [0, 1] of states.

    Raises `ConfigError` for a schedule that is none, and without a prediction.
    """

    network: nn.Module
    shape: tuple[int, ...] = attrs.field(converter=tuple)
    classes: tuple[str, ...] = attrs.field(default=("sample",), converter=tuple)
    null: bool = False
    schedule: Any = attrs.field(factory=NoiseSchedule)
    prediction: PredictionType | None = None
    evaluate: Evaluate = evaluated
    decode: Callable[[Tensor], Tensor] = pixels
    conditions: ClassSpace = attrs.field(init=False)
    process: ForwardProcess = attrs.field(init=False)
    prediction_type: PredictionType = attrs.field(init=False)

    @conditions.default
    def _of_classes(self) -> ClassSpace:
        return ClassSpace(self.classes, len(self.classes) if self.null else None)

    @process.default
    def _of_schedule(self) -> ForwardProcess:
        return process_of(self.schedule)[0]

    @prediction_type.default
    def _as_given(self) -> PredictionType:
        if (known := self.prediction or process_of(self.schedule)[1]) is None:
            raise ConfigError("NetworkDenoiser: say what the network predicts — prediction='epsilon', or another")
        return known

    @property
    def device(self) -> torch.device:
        """That of the network's weights."""
        return next((weight.device for weight in self.network.parameters()), torch.device("cpu"))

    def predict(self, x: Tensor, t: Tensor, conds: RowConditions) -> Tensor:
        """See `protocols.Denoiser`. What a network keeps of a call, such as a cached embedding, is of ordinary tensors,
        so that it can be trained on."""
        if not torch.is_inference_mode_enabled():
            return self._answer(x, t, conds.index)
        with torch.inference_mode(False), torch.no_grad():
            return self._answer(x.clone(), t.clone(), conds.index.clone())

    def _answer(self, x: Tensor, t: Tensor, index: Tensor) -> Tensor:
        weight = next(self.network.parameters(), x)
        return self.evaluate(self.network, x.to(weight.dtype), t, index).to(x.dtype)
