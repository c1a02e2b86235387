"""All that a training step changes: the network, its average, the optimizer, the loss scale."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from emnist_diff.errors import CheckpointError
from emnist_diff_plugins.training.batches import Draw
from emnist_diff_plugins.training.config import TrainConfig
from emnist_diff_plugins.training.denoisertask import fastest_layout
from emnist_diff_plugins.training.ema import Ema
from emnist_diff_plugins.training.task import Task
from emnist_diff_plugins.training.workers import Workers


@attrs.define(eq=False)
class Learner:
    """A network under training.

    network: the module whose state is saved; wrapped: the same as the loop calls it.  parameters: by name.
    device: where all of it is, but for the optimizer's step counts.
    """

    config: TrainConfig
    task: Task
    network: nn.Module
    wrapped: nn.Module
    parameters: dict[str, nn.Parameter]
    ema: Ema
    optimizer: torch.optim.AdamW
    scaler: torch.amp.GradScaler
    device: torch.device

    @classmethod
    def of(cls, config: TrainConfig, task: Task, workers: Workers) -> Learner:
        """What can train the network of `task`, on the workers' device; nothing learnt yet."""
        device = workers.device
        layout = fastest_layout(device)
        network = task.network.to(device, memory_format=layout).train()  # type: ignore[call-overload]  # torch types none with both
        parameters = dict(network.named_parameters())
        weights = list(parameters.values())
        return cls(
            config,
            task,
            network,
            workers.wrapped(network),
            parameters,
            Ema.of(weights, config.ema_decay),
            torch.optim.AdamW(weights, config.lr, config.betas, weight_decay=config.weight_decay, foreach=True),
            torch.amp.GradScaler(device.type, enabled=config.precision == "fp16"),
            device,
        )

    def advance(self, draw: Draw, seed: int, rate: float, step: int) -> tuple[Tensor, Tensor]:
        """Step `step`, counted from 0: loss and gradient norm before clipping, scalars still on the device.

        seed: of what the network itself draws.  rate: the learning rate.
        """
        config, weights = self.config, list(self.parameters.values())
        torch.manual_seed(seed)
        half = torch.bfloat16 if config.precision == "bf16" else torch.float16
        with torch.autocast(self.device.type, half, enabled=config.precision != "fp32"):
            loss = self.task.loss(self.wrapped, draw)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(weights, config.clip_norm or math.inf, foreach=True)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.ema.update(weights, step + 1)
        return loss.detach(), norm.detach()

    def averaged(self) -> dict[str, Tensor]:
        """The network's state with averaged weights, on the CPU."""
        averages = dict(zip(self.parameters.values(), self.ema.averages, strict=True))
        by_name = {  # a parameter that the network uses twice has two names there
            name: averages[parameter] for name, parameter in self.network.named_parameters(remove_duplicate=False)
        }
        held = self.network.state_dict()
        return {name: by_name.get(name, t).detach().to("cpu", copy=True).contiguous() for name, t in held.items()}

    def ema_distance(self) -> float:
        """L2 distance between the averaged weights and the weights."""
        return self.ema.distance(self.parameters.values())

    def tensors(self) -> dict[str, Tensor]:
        """All that `restore` needs, with `scaler.state_dict()`."""
        out = {f"network/{name}": t for name, t in self.network.state_dict().items()}
        out |= {f"ema/{name}": t for name, t in zip(self.parameters, self.ema.averages, strict=True)}
        names = list(self.parameters)
        for index, kept in self.optimizer.state_dict()["state"].items():
            out |= {f"optimizer/{names[index]}/{what}": t for what, t in kept.items()}
        return out

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor], scaler: Mapping[str, Any]) -> None:
        """Become the learner whose `tensors` these are. Raises `CheckpointError` when they are another network's."""
        weights = {name: tensors.get(f"network/{name}") for name in self.network.state_dict()}
        averages = {name: tensors.get(f"ema/{name}") for name in self.parameters}
        for name, own in self.network.state_dict().items():
            for found in (weights[name], averages.get(name, own)):
                if found is None or found.shape != own.shape:
                    raise CheckpointError(f"the training state does not fit the network: tensor {name!r}")
        self.network.load_state_dict(weights)
        for average, was in zip(self.ema.averages, averages.values(), strict=True):
            average.copy_(was)  # type: ignore[arg-type]  # none is None: the loop above saw to it
        kept: dict[int, dict[str, Tensor]] = {}
        for index, (name, parameter) in enumerate(self.parameters.items()):
            prefix = f"optimizer/{name}/"
            found = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
            if found:  # in the parameter's own memory layout, without which every update is slower
                kept[index] = {
                    what: torch.empty_like(parameter).copy_(t) if t.shape == parameter.shape and what != "step" else t
                    for what, t in found.items()
                }
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": kept})
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(dict(scaler))
