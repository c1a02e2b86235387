"""Samples from a training loop of anyone's, every so many steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import torch
from attrs import validators as v
from torch import Tensor

from emnist_diff.config import RunConfig
from emnist_diff.discovery import installed
from emnist_diff.errors import ConfigError, OutputError
from emnist_diff.protocols import Denoiser
from emnist_diff_plugins.pictures import enlargement, png, table
from emnist_diff_plugins.runconfig import UNRELATED_TO_SAMPLES, resolve, to_dict
from emnist_diff_plugins.sinks._folder import IMAGES, image_name
from emnist_diff_plugins.sinks.images import image_text
from emnist_diff_plugins.validation.boards import Board, tensorboard, weights_and_biases
from emnist_diff_plugins.validation.network import NetworkDenoiser
from emnist_diff_plugins.validation.undisturbed import networks_of, undisturbed
from emnist_diff_plugins.validation.walker import Walker
from emnist_diff_trajectory.files import make_folder, write_files
from emnist_diff_trajectory.pixels import Pixels, to_uint8

_OWN = ("character", "per_character", "total_videos", "steps", "scheduler", "guidance_scale", "seed")


def _names(value: str | Sequence[str] | None) -> tuple[str, ...] | None:
    return (value,) if isinstance(value, str) else None if value is None else tuple(value)


@attrs.define(eq=False, kw_only=True)
class Validation:
    """Samples of a network while it is being trained, with the same conditions, seeds and noise each time::

        validation = Validation(conditions=("A", "B"), every=500, scheduler="ddim", steps=20)
        for step, batch in enumerate(loader, 1):
            …
            validation(step, denoiser)

    Writes ``step_000500/images/model_000000_A.png``, … as the sink ``images`` does, and ``step_000500/samples.png``, a
    grid of them, whose rows are of one condition where there are several of each. The network's modes, its gradients
    and torch's random state are afterwards what they were; so is the memory of its device.

    every: training steps between samples.
    conditions, or prompts: names that the denoiser knows, or any texts where it takes them; all classes when left out.
    each: samples of each condition.  steps, scheduler, seed: as of a run; the run's default scheduler, or for a flow
    ``flow_euler``, when left out.  guidance_scale: 3 where the denoiser has a null condition, else 1, when left out.
    settings: of a run besides: ``forces``, ``drifts``, ``base``, …
    model: how files call it.
    tensorboard: None, where it is installed; True; False; or a ``SummaryWriter``.
    wandb: None, where the program has started a run; True; False; or a run.
    accelerator: of accelerate: the main process samples, of the network without its wrappers, and the others wait.

    Raises `ConfigError` for settings that cannot be met.
    """

    every: int = attrs.field(validator=v.ge(1))
    conditions: tuple[str, ...] | None = attrs.field(default=None, converter=_names)
    prompts: tuple[str, ...] | None = attrs.field(default=None, converter=_names)
    each: int = attrs.field(default=1, validator=v.ge(1))
    scheduler: str | Mapping[str, Any] | None = None
    steps: int = 20
    guidance_scale: float | None = None
    seed: int = 1000
    settings: Mapping[str, Any] = attrs.field(factory=dict)
    output: Path = attrs.field(default=Path("validation"), converter=Path)
    model: str = "model"
    tensorboard: Any = None
    wandb: Any = None
    accelerator: Any = None
    _boards: list[Board] | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        if self.conditions is not None and self.prompts is not None:
            raise ConfigError("Validation: conditions and prompts are two names of one thing — give one of them")
        if () in (self.conditions, self.prompts):
            raise ConfigError("Validation: there is no condition to sample — name one, or leave conditions out")
        if taken := sorted(set(self.settings) & set(_OWN)):
            raise ConfigError(f"Validation: settings has {taken[0]!r}, which Validation has a setting of its own for")
        resolve(self._layer(guided=True))

    def due(self, step: int) -> bool:
        """Whether samples are due after this many steps."""
        return step % self.every == 0

    def __call__(self, step: int, denoiser: Denoiser) -> list[Path]:
        """Sample where it is due; the files of the samples, then the grid. Raises as `sample`."""
        if not self.due(step):
            return []
        if self.accelerator is None:
            return self.sample(step, denoiser)
        try:
            return self.sample(step, self._unwrapped(denoiser)) if self.accelerator.is_main_process else []
        finally:
            self.accelerator.wait_for_everyone()

    def sample(self, step: int, denoiser: Denoiser) -> list[Path]:
        """Sample now; the files of the samples, then the grid.

        Raises `ConfigError`, `UnknownName` or `PluginError` for settings that do not suit the denoiser, `RunFailed`
        where it fails, `OutputError` where files cannot be written.
        """
        device = _device(denoiser)
        with undisturbed(denoiser, device):
            images, names, settings = self._drawn(denoiser, device)
        return self._written(step, images, names, {**settings, "step": step})

    def close(self) -> None:
        """Write what boards hold in memory."""
        for board in self._boards or ():
            board.close()

    def _drawn(self, denoiser: Denoiser, device: torch.device) -> tuple[Pixels, list[str], dict[str, Any]]:
        """Pictures, the condition of each, and the settings that decided them."""
        walker = Walker.of(denoiser, self._config(denoiser), installed(), device)
        conditions = walker.layout.characters
        names = [name for name in conditions for _ in range(self.each)]
        drawn = walker.samples([denoiser.conditions.index(name) for name in names], lambda: False)
        assert drawn is not None  # nothing stops it
        settings = to_dict(walker.layout.settings)
        unrelated = (*UNRELATED_TO_SAMPLES, "total_videos")
        return to_uint8(drawn[1]), names, {key: value for key, value in settings.items() if key not in unrelated}

    def _config(self, denoiser: Denoiser) -> RunConfig:
        layer = self._layer(guided=denoiser.conditions.null_index is not None)
        if self.scheduler is None and denoiser.prediction_type == "flow":
            layer["scheduler"] = "flow_euler"
        names = self.conditions or self.prompts or denoiser.conditions.classes
        return resolve(layer, {"character": list(names)})

    def _layer(self, guided: bool) -> dict[str, Any]:
        scale = self.guidance_scale if self.guidance_scale is not None else 3.0 if guided else 1.0
        own = {"steps": self.steps, "guidance_scale": scale, "seed": self.seed, "per_character": self.each}
        scheduler = {} if self.scheduler is None else {"scheduler": self.scheduler}
        return {**self.settings, **own, **scheduler}

    def _unwrapped(self, denoiser: Denoiser) -> Denoiser:
        if isinstance(denoiser, NetworkDenoiser):
            return attrs.evolve(denoiser, network=self.accelerator.unwrap_model(denoiser.network))
        return denoiser

    def _written(self, step: int, images: Pixels, names: Sequence[str], settings: Mapping[str, Any]) -> list[Path]:
        folder = self.output / f"step_{step:06d}"
        grid = table(list(images), self.each if self.each > 1 else math.ceil(math.sqrt(len(images) * 1.6)))
        size = images.shape[1:3]
        try:
            make_folder(folder / IMAGES)
        except OSError as error:
            raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error
        files = list(self._pngs(images, names, settings))
        write_files(folder / IMAGES, files)
        write_files(folder, [("samples.png", png(grid, enlargement(3, size)))])
        for board in self._opened():
            board.image("validation", grid, step)
        return [*(folder / IMAGES / name for name, _ in files), folder / "samples.png"]

    def _pngs(self, images: Pixels, names: Sequence[str], settings: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
        for number, (pixels, name) in enumerate(zip(images, names, strict=True)):
            text = image_text(number, self.seed, name, settings)
            yield image_name(self.model, number, name), png(pixels, enlargement(8, pixels.shape[:2]), text)

    def _opened(self) -> list[Board]:
        if self._boards is None:
            found = (tensorboard(self.tensorboard, self.output / "tensorboard"), weights_and_biases(self.wandb))
            self._boards = [board for board in found if board is not None]
        return self._boards


def _device(denoiser: Denoiser) -> torch.device:
    """Where the weights of a denoiser are."""
    weights: Iterator[Tensor] = (weight for network in networks_of(denoiser) for weight in network.parameters())
    return next((weight.device for weight in weights), torch.device("cpu"))
