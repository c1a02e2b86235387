"""How the same samples are made elsewhere: the loops that `speed.py` runs beside ours.

Each loop is written as its users have it, over diffusers' own `UNet2DModel` with a checkpoint's weights, and begins
with the same noise as our runs.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import torch
from diffusers import DDIMScheduler, UNet2DModel
from diffusers.utils import logging
from torch import Tensor

from emnist_diff.engine.noise import INITIAL, batch_normal
from emnist_diff.structuring import structure
from emnist_diff_plugins.containers import checkpoint
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader
from emnist_diff_plugins.denoisers.unet2d import UNet2D

logging.set_verbosity_error()  # that no weight of ours must stay in float32 need not be said


@attrs.frozen
class Work:
    """Samples of one class: guidance at `scale`, and forces toward classes, each with its weight.

    samples: how many.  steps: of the scheduler.  seed: of the run that makes the same samples.
    """

    samples: int
    steps: int
    forces: tuple[tuple[str, float], ...] = ()
    scale: float = 3.0
    character: str = "A"
    seed: int = 1000

    @property
    def rows(self) -> int:
        """Different network rows of a sample in a step."""
        return 2 + len({name for name, _ in self.forces})


def diffusers_network(path: Path) -> tuple[UNet2DModel, CheckpointHeader]:
    """A checkpoint's network as diffusers builds it, and the checkpoint's header."""
    header, weights = checkpoint.load(path)
    family = structure(header.network, UNet2D, "the network")
    network = UNet2DModel(
        sample_size=family.sample_size,
        in_channels=family.channels,
        out_channels=family.channels,
        layers_per_block=family.layers_per_block,
        block_out_channels=family.block_out_channels,
        down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in family.attention),
        up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(family.attention)),
        resnet_time_scale_shift=family.resnet_time_scale_shift,
        norm_num_groups=family.norm_num_groups,
        attention_head_dim=family.attention_head_dim,
        num_class_embeds=family.num_class_embeds,
    )
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False), header


class Peers:
    """The loops; each returns final states (samples, C, H, W) in float32.

    batch: samples that the batched loops walk together.
    """

    def __init__(self, path: Path, batch: int = 16, device: str = "cpu") -> None:
        self.batch, self.device = batch, torch.device(device)
        network, self.header = diffusers_network(path)
        self.network = network.to(self.device)
        self.reduced = copy.deepcopy(self.network).to(torch.bfloat16)
        size = self.network.config.sample_size
        self.shape = (self.network.config.in_channels, size, size)

    def start(self, work: Work) -> Tensor:
        """The noise that our run of the same work begins with."""
        ids = tuple(range(work.samples))
        return batch_normal((work.seed,) * work.samples, ids, INITIAL, "init", self.shape).to(self.device)

    def index(self, name: str) -> int:
        return self.header.classes.index(name)

    def scheduler(self, steps: int) -> DDIMScheduler:
        """diffusers' DDIM on the checkpoint's schedule."""
        schedule = self.header.schedule
        scheduler = DDIMScheduler(
            num_train_timesteps=schedule.train_timesteps,
            beta_schedule=schedule.beta_schedule,
            prediction_type=self.header.prediction,
            clip_sample=schedule.clip_sample is not None,
            clip_sample_range=schedule.clip_sample or 1.0,
            timestep_spacing="trailing",
        )
        scheduler.set_timesteps(steps, device=self.device)
        return scheduler

    @torch.inference_mode()
    def naive(self, work: Work) -> Tensor:
        """A sample at a time, and a call of one row for every condition of the base and of each force: 2 + 2N calls a
        step with N forces."""
        null, own = self.header.null_index, self.index(work.character)
        assert null is not None
        scheduler, finals = self.scheduler(work.steps), []

        def ask(x: Tensor, timestep: Tensor, index: int) -> Tensor:
            return self.network(x, timestep, class_labels=torch.tensor([index], device=self.device)).sample

        for x in self.start(work).split(1):
            for timestep in scheduler.timesteps:
                unguided = ask(x, timestep, null)
                prediction = unguided + work.scale * (ask(x, timestep, own) - unguided)
                for name, weight in work.forces:
                    toward = ask(x, timestep, self.index(name)) - ask(x, timestep, null)
                    prediction = prediction + weight * toward
                x = scheduler.step(prediction, timestep, x, use_clipped_model_output=True).prev_sample
            finals.append(x)
        return torch.cat(finals)

    def batched(self, work: Work, dtype: torch.dtype = torch.float32) -> Tensor:
        """`batch` samples at a time, and one call a step for all conditions: 2B rows with guidance, B more with every
        class of a force. The network computes in `dtype`, the scheduler in float32."""
        network = self.network if dtype == torch.float32 else self.reduced
        with torch.inference_mode():
            return torch.cat([self._batch(network, x, work) for x in self.start(work).split(self.batch)])

    def _batch(self, network: UNet2DModel, x: Tensor, work: Work) -> Tensor:
        size, scheduler = len(x), self.scheduler(work.steps)
        named = list(dict.fromkeys(name for name, _ in work.forces))
        indices = [self.header.null_index, self.index(work.character), *map(self.index, named)]
        labels = torch.tensor(indices, device=self.device).repeat_interleave(size)
        for timestep in scheduler.timesteps:
            rows = torch.cat([x] * len(indices)).to(network.dtype)
            unguided, own, *others = network(rows, timestep, class_labels=labels).sample.float().chunk(len(indices))
            prediction = unguided + work.scale * (own - unguided)
            for name, weight in work.forces:
                prediction = prediction + weight * (others[named.index(name)] - unguided)
            x = scheduler.step(prediction, timestep, x, use_clipped_model_output=True).prev_sample
        return x

    def karras(self, work: Work, dtype: torch.dtype = torch.float32) -> Tensor:
        """Guided Euler steps over sigma as k-diffusion takes them (Karras et al., 2022, arXiv:2206.00364): a wrapper
        makes a denoiser of the network, another guides it in one call of 2B rows, and the sampler sees neither."""
        network = self.network if dtype == torch.float32 else self.reduced
        with torch.inference_mode():
            parts = self.start(work).split(self.batch)
            return torch.cat([euler(self._guided(network, work), x, self.sigmas(work.steps)) for x in parts])

    def sigmas(self, steps: int, rho: float = 7.0) -> Tensor:
        """The noise levels of Karras et al., equation 5, from the schedule's largest (at most 80) down to its smallest,
        and 0."""
        known = self._levels()
        most, least = min(float(known[-1]), 80.0) ** (1 / rho), float(known[0]) ** (1 / rho)
        ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
        return torch.cat(((most + ramp * (least - most)) ** rho, torch.zeros(1, dtype=torch.float64)))

    def _levels(self) -> Tensor:
        """Sigma of every training timestep, float64."""
        alpha_bar = self.scheduler(1).alphas_cumprod.double().cpu()
        return ((1 - alpha_bar) / alpha_bar).sqrt()

    def _guided(self, network: UNet2DModel, work: Work) -> Callable[[Tensor, float], Tensor]:
        known = self._levels().log()

        def timestep(sigma: float) -> float:
            at = torch.tensor(sigma, dtype=torch.float64).log()
            above = int(torch.searchsorted(known, at).clamp(1, len(known) - 1))
            share = (at - known[above - 1]) / (known[above] - known[above - 1])
            return float((above - 1 + share).clamp(0, len(known) - 1))

        def denoised(x: Tensor, sigma: float, labels: Tensor) -> Tensor:
            scale = (sigma**2 + 1) ** -0.5
            times = torch.full((len(x),), timestep(sigma), device=self.device)
            out = network((x * scale).to(network.dtype), times, class_labels=labels).sample.float()
            if self.header.prediction == "v_prediction":
                return x * scale**2 - out * sigma * scale
            return x - out * sigma

        def guided(x: Tensor, sigma: float) -> Tensor:
            pair = torch.tensor([self.header.null_index, self.index(work.character)], device=self.device)
            labels = pair.repeat_interleave(len(x))
            unguided, own = denoised(torch.cat([x] * 2), sigma, labels).chunk(2)
            return unguided + (own - unguided) * work.scale

        return guided


def euler(model: Callable[[Tensor, float], Tensor], x: Tensor, sigmas: Sequence[float] | Tensor) -> Tensor:
    """Algorithm 1 of Karras et al. without its correction. x: (B, *shape) noise of unit variance at the first level."""
    levels = [float(sigma) for sigma in sigmas]
    x = x * (1 + levels[0] ** 2) ** 0.5
    for sigma, after in itertools.pairwise(levels):
        slope = (x - model(x, sigma)) / sigma
        x = x + slope * (after - sigma)
    return x
