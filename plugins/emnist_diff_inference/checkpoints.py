"""A checkpoint, the denoiser in it, and a scheduler that fits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import torch

from emnist_diff.assembly.devices import choose_device
from emnist_diff.assembly.layout import bound_scheduler
from emnist_diff.assembly.sources import Found, found, opened
from emnist_diff.brief import briefly
from emnist_diff.components import default, make
from emnist_diff.config import ComponentConfig, RunConfig
from emnist_diff.discovery import installed
from emnist_diff.errors import CheckpointError, ConfigError
from emnist_diff.evaluators import Prepared
from emnist_diff.paths import local_path
from emnist_diff.protocols import Denoiser, Scheduler
from emnist_diff.records import SchedulerSpec
from emnist_diff.structuring import aliases, unstructure
from emnist_diff.timeline import ForwardProcess, PredictionType
from emnist_diff_plugins.containers import checkpoint
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader
from emnist_diff_plugins.runconfig import component, normalised
from emnist_diff_plugins.spaces import ClassSpace
from emnist_diff_trajectory import files

_INDEX = "model_index.json"
"""What marks the folder of a pipeline."""


@attrs.frozen(kw_only=True)
class FolderHeader(CheckpointHeader):
    """What the folder of a pipeline says: any text is a class, so that it names none, and `network` holds the settings
    of the family that were given."""

    classes: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        """Nothing to check, for the family has done so."""


@briefly
@attrs.frozen
class CheckpointInfo:
    """What a checkpoint says of itself; its weights are not read yet.

    path: the file, or the folder of a pipeline.  sha256: of its content, in hex.  file_size_bytes: its size.
    header: all that it says.
    """

    path: Path
    sha256: str
    file_size_bytes: int
    header: CheckpointHeader

    @property
    def epoch(self) -> int | None:
        """The epoch of training, if it says."""
        return self.header.epoch

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in index order."""
        return self.header.classes

    @property
    def null_class_index(self) -> int | None:
        """The class index that means "no class", or None where there is none."""
        return self.header.null_index

    @property
    def num_class_embeds(self) -> int:
        """How many class indices the network knows, "no class" among them."""
        return len(self.classes) + (self.null_class_index is not None)

    @property
    def merged(self) -> Mapping[str, str]:
        """Names that the training data folds into another class, with that class."""
        return self.header.merged

    @property
    def recommended(self) -> Mapping[str, Any]:
        """Settings of a run to use unless others are given."""
        return self.header.recommended

    @property
    def family(self) -> str:
        """The denoiser component that runs it."""
        return self.header.family

    @property
    def network(self) -> Mapping[str, Any]:
        """The settings of that component."""
        return self.header.network

    @property
    def size(self) -> int | None:
        """Height and width of an image in pixels, where the family's settings name them ``sample_size``."""
        return self.network.get("sample_size")

    @property
    def channels(self) -> int | None:
        """Channels of an image, where the family's settings name them ``channels``."""
        return self.network.get("channels")

    @property
    def scheduler_config(self) -> dict[str, Any]:
        """The forward process that it was trained on, and its prediction type, as plain data."""
        return {**unstructure(self.header.schedule), "prediction_type": self.header.prediction}

    def get_label_index(self, character: str) -> int:
        """The index of a class, 0 … C-1, by its name or that of a letter merged into it.

        Raises `UnknownName` with the nearest classes.
        """
        space = ClassSpace(self.classes, self.null_class_index, self.merged)
        return space.index(character)


def load_checkpoint(path: str | Path | None = None, epoch: int | None = None, **settings: Any) -> CheckpointInfo:
    """The checkpoint in a file, or the newest in a directory, or the folder of a pipeline.

    path: a ``.safetensors`` file, a directory of them, or a folder with ``model_index.json``; None for the one that
    comes with the package.
    epoch: which one of a directory.
    settings: of the family that runs a folder, such as ``negative_prompt``, ``height`` and ``width``.

    Raises `CheckpointError` for one that is missing, foreign, truncated or newer, or for a legacy ``.pt`` file, which
    is to be converted first; `UnknownName` or `ConfigError` for settings that the family does not take, and for any
    beside a file.
    """
    if path is None and epoch is not None:
        raise CheckpointError(f"epoch {epoch} was requested without a directory to choose from — name it")
    file, header = headed(path, epoch, settings)
    if isinstance(header, FolderHeader):
        size = sum(part.stat().st_size for part in file.rglob("*") if part.is_file())
        return CheckpointInfo(file, _of_folder(file, None, header.network).source.identity, size, header)
    return CheckpointInfo(file, files.sha256(file), file.stat().st_size, header)


def headed(
    path: str | Path | None, epoch: int | None, settings: Mapping[str, Any] | None = None
) -> tuple[Path, CheckpointHeader]:
    """The file or folder that a path means, and what it says. Raises as `load_checkpoint`."""
    if path is not None and (folder := Path(local_path(path))).joinpath(_INDEX).is_file():
        known = _of_folder(folder, epoch, settings or {})
        if known.source.conditions.open:
            return folder, _header_of(known, settings or {})
    if settings:
        named = "the shipped checkpoint" if path is None else str(path)
        raise ConfigError(f"{named} is no folder of a pipeline, and takes no settings, but {', '.join(settings)}")
    file = checkpoint.located(path, epoch)
    return file, checkpoint.read_header(file)


def _of_folder(folder: Path, epoch: int | None, settings: Mapping[str, Any]) -> Found:
    registry = installed()
    first = opened(registry, str(folder), epoch)
    if not settings:
        return first
    family = ComponentConfig(first.component.name, settings=dict(settings))
    return found(registry, RunConfig(checkpoint=str(folder), denoiser=family))


def _header_of(known: Found, settings: Mapping[str, Any]) -> FolderHeader:
    source = known.source
    return FolderHeader(
        family=known.component.name,
        network=dict(settings),
        schedule=source.process,
        prediction=source.prediction_type,
        recommended=dict(source.recommended),
    )


@briefly
@attrs.frozen(eq=False)
class LoadedDenoiser:
    """A denoiser on its device, with the checkpoint it came from.

    States are (B, *shape); timesteps (B,); conditions class indices: see `protocols.Denoiser`, which `denoiser` is.

    threads: of the CPU, that torch had when it was loaded; samples' last bits depend on them.
    """

    denoiser: Denoiser
    device: torch.device
    sha256: str
    threads: int = attrs.field(factory=torch.get_num_threads, init=False)
    on_backends: dict[Any, Prepared] = attrs.field(factory=dict, init=False, repr=False)
    guides: dict[str, Denoiser] = attrs.field(factory=dict, init=False, repr=False)  # by hash; the same

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one state."""
        return self.denoiser.shape

    @property
    def prediction(self) -> PredictionType:
        """What the network predicts."""
        return self.denoiser.prediction_type


def load_unet(ckpt: CheckpointInfo, device: str = "cpu") -> LoadedDenoiser:
    """The network of a checkpoint, of whichever family, ready to generate.

    device: auto, cpu, cuda, cuda:1, …

    Raises `ConfigError` for a device that is not there, `CheckpointError` for weights that do not fit or a file that
    has changed since `load_checkpoint`, and `PluginError` or `UnknownName` when nothing installed can run the family.
    """
    chosen = choose_device(device)
    settings = ckpt.header.network if isinstance(ckpt.header, FolderHeader) else {}
    known = _of_folder(ckpt.path, None, settings)
    denoiser = known.load(chosen)
    if known.source.identity != ckpt.sha256:
        raise CheckpointError(f"{ckpt.path} has changed since load_checkpoint read it — load it again")
    return LoadedDenoiser(denoiser, torch.device(chosen), ckpt.sha256)


@briefly
@attrs.frozen(eq=False)
class BuiltScheduler:
    """A scheduler for one forward process.

    name, settings: the component and its full settings.  schedule, prediction: what it was bound to.
    scheduler: the `protocols.Scheduler`.
    """

    name: str
    settings: Mapping[str, Any]
    schedule: ForwardProcess
    prediction: PredictionType
    scheduler: Scheduler


def build_scheduler(ckpt: CheckpointInfo, name: str | None = None, **settings: Any) -> BuiltScheduler:
    """The scheduler for a checkpoint.

    name: ``ddim``, ``ddpm``, …; None for the one that the checkpoint recommends, with its recommended settings.
    settings: of the scheduler, for example ``eta=0.5``; they win over the recommended ones. With an eta, and a
    recommended scheduler that has none, it is ``ddim``.

    Raises `UnknownName` for an unknown scheduler or setting, `ConfigError` for a bad value.
    """
    built = make(installed(), SchedulerSpec, chosen_scheduler(ckpt.header, name, settings))
    header = ckpt.header
    bound = bound_scheduler(built, header.schedule, header.prediction)
    return BuiltScheduler(built.name, built.settings, header.schedule, header.prediction, bound)


def chosen_scheduler(header: CheckpointHeader | None, name: str | None, settings: Mapping[str, Any]) -> ComponentConfig:
    """The scheduler called `name`, or the one recommended with its settings under `settings`. One that knows no eta is
    not asked for it: then it is the default one's."""
    if name is not None:
        return ComponentConfig(name, settings=dict(settings))
    recommended = None if header is None else normalised(header.recommended).get("scheduler")
    usual = attrs.evolve(default(installed(), SchedulerSpec), settings=dict(settings))
    if recommended is None:
        return usual
    data = component(recommended, "scheduler")
    if "eta" in settings and "eta" not in aliases(installed().load(SchedulerSpec, data["name"])):
        return usual
    return ComponentConfig(data["name"], settings={**data.get("settings", {}), **settings})
