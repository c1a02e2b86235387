"""A pipeline's network as a denoiser. Whatever it is made of is loaded when it is first needed, so that a run that is
only planned reads no weights, and each part is there only as long as it is needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import attrs
import torch
from torch import Tensor

from emnist_diff.brief import briefly
from emnist_diff.conditions import RowConditions
from emnist_diff.onethread import one_thread
from emnist_diff.timeline import ForwardProcess, PredictionType
from emnist_diff_plugins.denoisers._skipping import NAME as SKIP
from emnist_diff_plugins.denoisers._skipping import SKIPPING
from emnist_diff_plugins.denoisers.pipelines import attention, lora, memory, parts, preview, skipping, tokens
from emnist_diff_plugins.denoisers.pipelines.codec import Codec
from emnist_diff_plugins.denoisers.pipelines.folder import PipelineFolder
from emnist_diff_plugins.denoisers.pipelines.prompts import PromptSpace
from emnist_diff_plugins.denoisers.pipelines.text import Encoded, Encoder
from emnist_diff_plugins.inside.capturing import Inside
from emnist_diff_plugins.inside.hidden import HIDDEN
from emnist_diff_plugins.inside.layers import Layout
from emnist_diff_plugins.variants import Variant
from emnist_diff_trajectory.attention import ATTENTION

LARGE = 1 << 13
"""Numbers of a state from which a row keeps all threads of a CPU busy. Rows are then evaluated one at a time on all of
them, those of smaller states together on one; either has the same bits wherever a row stands."""


class Architecture(Protocol):
    """What the families of pipelines differ in."""

    @property
    def network(self) -> str:
        """The part that is evaluated."""

    @property
    def encoders(self) -> tuple[Encoder, ...]:
        """What reads texts, in order."""

    @property
    def token_encoders(self) -> tuple[tuple[Encoder, ...], ...]:
        """The encoders whose tokens stand behind each other; those together have the same tokens, side by side."""

    @property
    def adapters(self) -> tuple[lora.Lora, ...]:
        """What is added to network and encoders."""

    @property
    def offload(self) -> memory.Offload:
        """Where weights are while others compute."""

    @property
    def attention_slicing(self) -> bool:
        """Whether heads attend in parts, for less memory."""

    @property
    def vae_tiling(self) -> bool:
        """Whether images are decoded in tiles, for less memory, which changes them a little."""

    @property
    def preview(self) -> str | None:
        """The folder of what makes cheap pictures of latents; None for a linear map."""

    def factor(self, folder: PipelineFolder) -> int:
        """Pixels of an image a pixel of its latent."""

    def joined(self, folder: PipelineFolder, encoded: list[Encoded], chunks: int) -> tuple[Tensor, Tensor]:
        """Tokens (L, width) and vector (width,) for the network of what the encoders made of a text."""

    def null(self, folder: PipelineFolder) -> str | None:
        """The text of the null condition; None for zeros."""

    def numbers(self, inputs: dict[str, float]) -> list[float]:
        """The numbers that the network takes beside a text, `inputs` in place of the usual ones."""

    def evaluate(self, network: Any, x: Tensor, t: Tensor, given: Given) -> Tensor:
        """The prediction of each row, (R, *shape)."""

    def layout(self, shape: tuple[int, ...], tokens: int) -> Layout:
        """How the network's layers see a state of this shape and so many tokens of a text."""


@attrs.frozen(eq=False)
class Given:
    """What a network is given beside state and time, one row each: tokens (R, L, width), vector (R, width), numbers
    (R, n) in single precision."""

    tokens: Tensor
    vector: Tensor
    numbers: Tensor

    def rows(self, index: Tensor) -> Given:
        """Those of some rows, a negative index counting from the end."""
        index = torch.where(index < 0, index + len(self.tokens), index)
        return Given(*(each.index_select(0, index) for each in (self.tokens, self.vector, self.numbers)))

    def part(self, rows: slice) -> Given:
        """Those of neighbouring rows."""
        return Given(self.tokens[rows], self.vector[rows], self.numbers[rows])


@briefly
@attrs.define(eq=False)
class PipelineDenoiser(Inside):
    """`protocols.Denoiser` over the parts of a folder; states are latents as the network has them."""

    architecture: Architecture
    folder: PipelineFolder
    conditions: PromptSpace
    process: ForwardProcess
    prediction_type: PredictionType
    shape: tuple[int, ...]
    image_shape: tuple[int, ...]
    device: str
    turns: memory.Turns
    _network: Any = None
    _codec: Codec | None = None
    _encoded: dict[str, list[Encoded]] = attrs.field(factory=dict)
    _given: Given | None = None
    _dtype: torch.dtype | None = None

    @property
    def loaded(self) -> bool:
        """Whether the network's weights have been read."""
        return self._network is not None

    @property
    def network(self) -> Any:
        """The network on its device, loaded when it is first needed."""
        if self._network is None:
            name = self.architecture.network
            with parts.loading(self.folder, name, self.device):
                network = self._adapted(parts.part(self.folder, name, self.device, self._dtype), name)
                if self.architecture.attention_slicing:
                    network.set_attention_slice("auto")
            self._network = network
        return self._network

    def cast(self, precision: str) -> None:
        """`Casts`: the network is loaded in this precision; one that was loaded in another is dropped."""
        self._dtype = parts.DTYPES[precision]
        if self._network is not None and self._network.dtype != self._dtype:
            self._network = self._given = None

    @property
    def codec(self) -> Codec:
        """The autoencoder, loaded when it is first needed."""
        if self._codec is None:
            with parts.loading(self.folder, "vae", self.device):
                module = self._adapted(parts.part(self.folder, "vae", self.device, torch.float32), "vae")
                if self.architecture.vae_tiling:
                    module.enable_tiling()
            self._codec = Codec(module)
        return self._codec

    @property
    def given(self) -> Given:
        """What the network is given of each condition, in the order of their indices; the last is the null condition.
        Encoders are loaded for texts that are new, and dropped; a run names all of its texts before it starts."""
        entries = self.conditions.entries
        if self._given is None or len(self._given.tokens) != len(entries):
            with torch.inference_mode(False), torch.no_grad():
                self._given = self._table(entries)
        return self._given

    def forget_texts(self) -> None:
        """`ForgetsTexts`: the longest text of a run decides the tokens of all."""
        self.conditions.clear()
        self._given = None

    def _table(self, entries: tuple[tuple[str, Any], ...]) -> Given:
        """Tokens, vector and numbers of each entry; all have as many chunks as the longest text."""
        null = self.architecture.null(self.folder)
        texts = [text or null for text, _ in entries]
        known = [text if text is not None else "" for text in texts]
        new = [text for text in dict.fromkeys(known) if text not in self._encoded]
        present = [each for each in self.architecture.encoders if self.folder.part_class(each.part) is not None]
        for encoder in present if new else ():
            for text, encoded in zip(new, encoder.encode(self.folder, new, self.device, self._adapted), strict=True):
                self._encoded.setdefault(text, []).append(encoded)
        chunks = max(len(each.chunks) for text in known for each in self._encoded[text])
        rows = [self.architecture.joined(self.folder, self._encoded[text], chunks) for text in known]
        rows = [
            (tokens, vector) if text is not None else (torch.zeros_like(tokens), torch.zeros_like(vector))
            for text, (tokens, vector) in zip(texts, rows, strict=True)
        ]
        dtype, numbers = self.network.dtype, [self.architecture.numbers(dict(inputs)) for _, inputs in entries]
        return Given(
            torch.stack([tokens for tokens, _ in rows]).to(self.device, dtype),
            torch.stack([vector for _, vector in rows]).to(self.device, dtype),
            torch.tensor(numbers, dtype=torch.float32, device=self.device),
        )

    def _adapted(self, module: Any, part: str) -> Any:
        """A part that was loaded, with LoRA, and placed. Network and autoencoder may take turns instead."""
        if part != "vae":
            lora.added(module, part, self.architecture.adapters, self.folder)
        late = self.architecture.offload == "model" and not part.startswith("text_encoder")
        return module if late else memory.placed(module, self.device, self.architecture.offload)

    @property
    def variants(self) -> tuple[str, ...]:
        """`HasVariants`: layers skipped, a UNet with its attention perturbed, and a network without its LoRA, where it
        has any."""
        own = attention.VARIANTS if self.architecture.network == "unet" else ()
        return (*own, SKIPPING, *([lora.WITHOUT] if self.architecture.adapters else []))

    @property
    def capturable(self) -> tuple[str, ...]:
        """`Captures.capturable`, for which nothing is loaded."""
        return ATTENTION, HIDDEN

    def inside(self, variant: str = "") -> Any:
        """See `Inside.inside`."""
        return self.network

    def layout(self) -> Layout:
        """See `Inside.layout`."""
        return self.architecture.layout(self.shape, self.given.tokens.shape[1])

    def token_lists(self) -> Mapping[str, Mapping[str, Sequence[Any]]]:
        """See `Inside.token_lists`."""
        null = self.architecture.null(self.folder)
        texts = dict.fromkeys([text for text, _ in self.conditions.entries if text] + [""])
        return tokens.token_lists(
            self.folder, self.architecture.token_encoders, {text: text or null or "" for text in texts},
            self.given.tokens.shape[1],
        )  # fmt: skip

    def most_rows(self, device: str) -> int | None:
        """`BoundsCalls`: rows that are evaluated one at a time need no others beside them."""
        return 1 if device == "cpu" and math.prod(self.shape) >= LARGE else None

    def predict(self, x: Tensor, t: Tensor, conds: RowConditions) -> Tensor:
        """The network's prediction, (R, *shape) float32. Raises `RunFailed` where memory is short."""
        given, network = self.given.rows(conds.index), self.network
        slices = self.architecture.network == "unet" and not self.architecture.attention_slicing
        options = ["--attention-slicing"] if slices else []
        rows = "1 row" if len(x) == 1 else f"{len(x)} rows"
        holding = self._holding(f"{rows} of the network", *options)
        with holding, self.turns.turn(network), self._as(network, conds.variant):
            return self._predicted(x, t, given)

    def _holding(self, what: str, *options: str) -> AbstractContextManager[None]:
        """See `memory.holding`."""
        smaller = "a smaller --batch-size, --micro-batch, or height and width"
        return memory.holding(what, self.device, self.architecture.offload, (*options, smaller))

    @staticmethod
    def _as(network: Any, variant: str) -> AbstractContextManager[None]:
        """The network as a variant has it, for as long as the context lasts."""
        if variant == lora.WITHOUT:
            return lora.without(network)
        if variant and Variant.parse(variant).name == SKIP:
            return skipping.skipped(network, variant)
        return attention.perturbed(network, variant) if variant else nullcontext()

    def _predicted(self, x: Tensor, t: Tensor, given: Given) -> Tensor:
        if x.device.type != "cpu" or math.prod(self.shape) < LARGE:
            with one_thread(x.device):
                return self._evaluate(x, t, given)
        rows = [slice(row, row + 1) for row in range(len(x))]
        return torch.cat([self._evaluate(x[row], t[row], given.part(row)) for row in rows])

    def _evaluate(self, x: Tensor, t: Tensor, given: Given) -> Tensor:
        return self.architecture.evaluate(self.network, x.to(self.network.dtype), t, given).float().contiguous()

    def decode(self, x: Tensor) -> Tensor:
        """Images in [0, 1], (B, 3, H, W). Raises `RunFailed` where memory is short."""
        codec = self.codec
        with self._coding("image"), self.turns.turn(codec.module):
            return codec.decode(x)

    def encode(self, images: Tensor) -> Tensor:
        """`protocols.Encodes`: latents (B, *shape) of images (B, 3, H, W) in [0, 1]. Raises as `decode`."""
        codec = self.codec
        with self._coding("latent"), self.turns.turn(codec.module):
            return codec.encode(images)

    def previewer(self) -> Callable[[Tensor], Tensor]:
        """`Previews`: the folder's tiny autoencoder, or a linear map fitted to its own. Raises `CheckpointError` for a
        folder that holds none."""
        if self.architecture.preview is not None:
            return preview.tiny(Path(self.architecture.preview), self.shape[0], self.device)
        codec = self.codec
        with self._coding("latent"), self.turns.turn(codec.module):
            return preview.Linear.fitted(codec, self.architecture.factor(self.folder), self.device)

    def _coding(self, what: str) -> AbstractContextManager[None]:
        options = () if self.architecture.vae_tiling else ("--vae-tiling",)
        return self._holding(f"the autoencoder's work on one {what}", *options)
