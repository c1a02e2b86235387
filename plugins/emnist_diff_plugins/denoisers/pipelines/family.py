"""What the families of pipelines share: their settings, and how a folder becomes a source."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import torch
from attrs import validators as v
from torch import Tensor

from emnist_diff.errors import CheckpointError, ConfigError
from emnist_diff.families import Source
from emnist_diff.structuring import unstructure
from emnist_diff.timeline import ForwardProcess, PredictionType
from emnist_diff_plugins.capabilities import WEIGHTS
from emnist_diff_plugins.denoisers.pipelines import parts
from emnist_diff_plugins.denoisers.pipelines.denoiser import Given, PipelineDenoiser
from emnist_diff_plugins.denoisers.pipelines.folder import FAMILIES, INDEX, PipelineFolder
from emnist_diff_plugins.denoisers.pipelines.lora import Lora
from emnist_diff_plugins.denoisers.pipelines.memory import Offload, Turns, require_useful
from emnist_diff_plugins.denoisers.pipelines.preview import require_tiny
from emnist_diff_plugins.denoisers.pipelines.prompts import PromptSpace, paired
from emnist_diff_plugins.denoisers.pipelines.text import Encoded, Encoder
from emnist_diff_plugins.fields import between
from emnist_diff_plugins.inside.layers import Layout
from emnist_diff_trajectory.names import typed

if TYPE_CHECKING:
    from emnist_diff.plugins import Registry

LARGEST_SIDE = 8192
"""Pixels of an image's height and width."""

_PARTS = ("text_encoder", "text_encoder_2")


@attrs.frozen(kw_only=True)
class Pipeline(ABC):
    """The settings of a pipeline; a subclass says how its network and its texts are evaluated."""

    name: ClassVar[str]
    network: ClassVar[str]
    encoders: ClassVar[tuple[Encoder, ...]]
    token_encoders: ClassVar[tuple[tuple[Encoder, ...], ...]]
    """Encoders whose tokens the network has behind each other; those together have the same ones, side by side."""
    classes: ClassVar[Mapping[str, tuple[str, ...]]]
    """Of each part that must be there, by name."""
    inputs: ClassVar[tuple[str, ...]] = ()
    multiple: ClassVar[int] = 8
    """What height and width are multiples of."""

    path: str = attrs.field(metadata={"help": f"the folder, with {INDEX}", "file": True, WEIGHTS: True})
    height: int | None = attrs.field(
        default=None,
        validator=v.optional(between(8, LARGEST_SIDE)),
        metadata={"help": "pixels; what the model was trained on when left out"},
    )
    width: int | None = attrs.field(
        default=None,
        validator=v.optional(between(8, LARGEST_SIDE)),
        metadata={"help": "pixels; what the model was trained on when left out"},
    )
    negative_prompt: str | None = attrs.field(
        default=None, metadata={"help": "the text of the null condition, or its name; the pipeline's own when left out"}
    )
    prompts: tuple[tuple[str, str], ...] = attrs.field(
        default=(), converter=paired, metadata={"help": "names and their texts, in order"}
    )

    lora: tuple[str, ...] = attrs.field(
        default=(), metadata={"help": "files of LoRA, each FILE or FILE:SCALE, e.g. style.safetensors:0.8"}
    )
    offload: Offload = attrs.field(
        default="none",
        metadata={
            "help": "what leaves the GPU while it is not needed: none, model, sequential, group; changes no result",
            WEIGHTS: True,
        },
    )
    attention_slicing: bool = attrs.field(
        default=False, metadata={"help": "attention in parts, for less memory; of networks with a UNet"}
    )
    vae_slicing: bool = attrs.field(default=False, metadata={"help": "refused: images are decoded one at a time"})
    vae_tiling: bool = attrs.field(
        default=False, metadata={"help": "decoding in tiles, for less memory; changes images a little"}
    )
    preview: str | None = attrs.field(
        default=None,
        metadata={
            "help": "the folder of an AutoencoderTiny (TAESD) for pictures of steps; a linear map when left out",
            "file": True,
            WEIGHTS: True,
        },
    )

    @property
    def adapters(self) -> tuple[Lora, ...]:
        """The files of LoRA. Raises `ConfigError` for a scale that is none."""
        return tuple(map(Lora.parse, self.lora))

    def files(self) -> Mapping[str, Path]:
        """`NamesFiles`: the files of LoRA."""
        return {f"lora[{number}]": adapter.path for number, adapter in enumerate(self.adapters)}

    def _require_useful(self) -> None:
        """Raise `ConfigError` for an option of memory that would do nothing."""
        if self.vae_slicing:
            raise ConfigError("vae_slicing would change nothing: images are decoded one at a time — leave it out")
        if self.attention_slicing and self.network != "unet":
            raise ConfigError(
                f"attention_slicing does nothing to the transformer of {self.name!r} — use --offload, or a smaller size"
            )

    @classmethod
    def opened(cls, path: Path, epoch: int | None) -> Pipeline | None:
        """`OpensPaths`: a folder with ``model_index.json`` of a class that this family runs. Raises `CheckpointError`
        for a folder of a pipeline that no family runs, or that lost its index."""
        if not (path / INDEX).is_file() and not any((path / part / "config.json").is_file() for part in _PARTS):
            return None
        folder = PipelineFolder.at(path)
        if folder.kind not in FAMILIES and folder.part_class("text_encoder") is None:
            return None  # of a pipeline without texts
        if epoch is not None:
            raise CheckpointError(f"{path} is the folder of a pipeline, which has no epochs — leave --epoch out")
        return cls(path=str(path)) if folder.family == cls.name else None

    def source(self, registry: Registry) -> Source:
        """`DenoiserFamily.source`. Raises `CheckpointError` for a folder that is not whole or holds what is not run,
        `ConfigError` for a size that the network cannot have, a negative prompt that cannot be read, and what is not
        installed."""
        parts.require_installed()
        folder = PipelineFolder.at(Path(self.path))
        if folder.family != self.name:
            raise ConfigError(f"{folder.path} is a pipeline of the family {folder.family!r}, not {self.name!r}")
        for part, classes in self.classes.items():
            if part not in self.optional or folder.part_class(part) is not None:
                folder.require(part, classes, parts.CLASSES[classes[0]])
        self._require_useful()
        for adapter in self.adapters:
            adapter.require()
        process, predicts = self.process(folder)
        height, width = self.size(folder)
        shape = self.latent_shape(folder, height, width)
        if self.preview is not None:
            require_tiny(Path(self.preview), shape[0])
        space = PromptSpace(names=dict(self.prompts), numbers=self.inputs_of(folder))
        space.resolve(self.negative_prompt or "")
        sha256 = folder.sha256_of(*self.classes, "scheduler")

        def load(device: str) -> PipelineDenoiser:
            complete, turns = attrs.evolve(self, height=height, width=width), Turns(device, self.offload)
            require_useful(self.offload, device)
            return PipelineDenoiser(
                complete, folder, space, process, predicts, shape, (3, height, width), device, turns
            )  # fmt: skip

        return Source(
            conditions=space,
            process=process,
            prediction_type=predicts,
            shape=shape,
            load=load,
            recommended={**self.recommended(folder, height, width), **self._precision(folder)},
            label=str(folder.path),
            identity=sha256,
            space=folder.sha256_of("vae"),
            facts={
                "file": typed(folder.path.resolve().name), "sha256": sha256, "pipeline": folder.kind,
                "schedule": unstructure(process), **parts.versions(),
            },
        )  # fmt: skip

    def _precision(self, folder: PipelineFolder) -> dict[str, str]:
        """What is recommended of a run's precision: that of the folder, where there is a GPU."""
        if not torch.cuda.is_available():
            return {}
        held = str(folder.part_class(self.network))
        return {"precision": parts.precision_of(folder.weights(self.network, parts.CLASSES[held]).dtypes)}

    optional: ClassVar[frozenset[str]] = frozenset()
    """Parts that a folder need not have."""

    def size(self, folder: PipelineFolder) -> tuple[int, int]:
        """Height and width in pixels. Raises `ConfigError` for what the network cannot have."""
        trained = self.trained_size(folder)
        height, width = self.height or trained, self.width or trained
        for what, value in (("height", height), ("width", width)):
            if value % self.multiple:
                lower = max(value - value % self.multiple, self.multiple)
                raise ConfigError(
                    f"{what} = {value} is no multiple of {self.multiple} — use {lower} or {lower + self.multiple}"
                )
        return height, width

    def inputs_of(self, folder: PipelineFolder) -> tuple[str, ...]:
        """Names of the numbers that the network takes beside a text. Raises `ConfigError` for a setting without one."""
        return self.inputs

    def factor(self, folder: PipelineFolder) -> int:
        """Pixels of an image a pixel of its latent."""
        return int(2 ** (len(folder.config("vae").get("block_out_channels") or (0,) * 4) - 1))

    def trained_size(self, folder: PipelineFolder) -> int:
        """The side of the images that the network was trained on."""
        return int(folder.config(self.network).get("sample_size") or 128) * self.factor(folder)

    def latent_shape(self, folder: PipelineFolder, height: int, width: int) -> tuple[int, ...]:
        """(C, h, w) of one state."""
        factor = self.factor(folder)
        return (int(folder.config(self.network).get("in_channels", 4)), height // factor, width // factor)

    def null(self, folder: PipelineFolder) -> str | None:
        """The text of the null condition; None for zeros."""
        text = self.negative_prompt or ""
        return dict(self.prompts).get(text, text)

    def numbers(self, inputs: dict[str, float]) -> list[float]:
        """No numbers beside the text."""
        return []

    @abstractmethod
    def process(self, folder: PipelineFolder) -> tuple[ForwardProcess, PredictionType]:
        """Forward process and prediction type. Raises `CheckpointError`."""

    @abstractmethod
    def recommended(self, folder: PipelineFolder, height: int, width: int) -> Mapping[str, Any]:
        """Settings of a run that suit the model."""

    @abstractmethod
    def joined(self, folder: PipelineFolder, encoded: list[Encoded], chunks: int) -> tuple[Tensor, Tensor]:
        """Tokens (L, width) and vector (width,) for the network of what the encoders made of a text."""

    @abstractmethod
    def layout(self, shape: tuple[int, ...], tokens: int) -> Layout:
        """How the network's layers see a state of this shape and so many tokens of a text."""

    @abstractmethod
    def evaluate(self, network: Any, x: Tensor, t: Tensor, given: Given) -> Tensor:
        """The prediction of each row, (R, *shape)."""
