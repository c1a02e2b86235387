"""Texts through the encoders of a pipeline. Each encoder is loaded, reads all texts one by one, so that what it makes
of one does not depend on the others, and is dropped."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import attrs
import torch
from torch import Tensor

from emnist_diff.events import get_logger
from emnist_diff.onethread import one_thread
from emnist_diff_plugins.denoisers.pipelines import parts
from emnist_diff_plugins.denoisers.pipelines.folder import PipelineFolder
from emnist_diff_plugins.denoisers.pipelines.prompts import fragments

log = get_logger()

_LIGHTEST = 1e-5
"""A weight below which a fragment counts as this heavy: its counterpart without it weighs tan((1 - w) π / 2)."""

Adapt = Callable[[Any, str], Any]
"""What changes a part, given its name, after it is loaded into main memory, and places it where it computes."""


@attrs.frozen(eq=False)
class Encoded:
    """What an encoder makes of a text.

    chunks: (tokens, width) each, in order.  empty: the same of the empty text, which fills up where another text is
    longer.  pooled: (width,), or None where the encoder has none.
    """

    chunks: tuple[Tensor, ...]
    empty: Tensor
    pooled: Tensor | None

    def filled(self, count: int) -> Tensor:
        """The tokens of so many chunks, (count · tokens, width)."""
        return torch.cat([*self.chunks, *[self.empty] * (count - len(self.chunks))])


@attrs.frozen
class Encoder:
    """A text encoder of a pipeline.

    part, tokenizer: their names in the folder.  hidden: which layer is read.
    pooled: the attribute of its answer that says the text in one vector, or "".
    longest: tokens of a text, the end among them, from which the rest is cut; None for chunks of as many as the
    tokenizer has at most.
    """

    part: str
    tokenizer: str
    hidden: Literal["penultimate", "last"]
    pooled: str = ""
    longest: int | None = None

    def encode(self, folder: PipelineFolder, texts: Sequence[str], device: str, adapt: Adapt) -> list[Encoded]:
        """Each of the texts, on the CPU. Raises as `parts.part`."""
        tokenizer = parts.tokenizer(folder, self.tokenizer)
        module = parts.part(folder, self.part, device)
        with parts.loading(folder, self.part, device), one_thread(device):
            module = adapt(module, self.part)
            out = [self._encoded(_Reader(module, device, self), tokenizer, text) for text in texts]
        del module
        gc.collect()
        if torch.device(device).type == "cuda":
            torch.cuda.empty_cache()
        return out

    def _encoded(self, read: _Reader, tokenizer: Any, text: str) -> Encoded:
        empty = read(Chunk.of([], tokenizer, self._room(tokenizer)))[0]
        chunks = self.tokens(tokenizer, text)
        answers = [read(chunk) for chunk in chunks]
        states = [_weighted(z, empty, chunk) for chunk, (z, _) in zip(chunks, answers, strict=True)]
        shares = [torch.ones(())]
        versions = [states]
        for number, fragment in enumerate(fragments(text)):
            if fragment.weight < 1 and any(number in chunk.fragments for chunk in chunks):
                masked = [read(chunk, without=number)[0] for chunk in chunks]
                versions.append([_weighted(z, empty, chunk) for chunk, z in zip(chunks, masked, strict=True)])
                shares.append(torch.tensor(math.tan((1 - max(fragment.weight, _LIGHTEST)) * math.pi / 2)))
        if len(versions) > 1:
            share = torch.stack(shares) / torch.stack(shares).sum()
            states = [
                sum((z * float(s) for z, s in zip(zs, share, strict=True)), torch.zeros_like(zs[0]))
                for zs in zip(*versions, strict=True)
            ]
        return Encoded(tuple(z.cpu() for z in states), empty.cpu(), answers[0][1])

    def _room(self, tokenizer: Any) -> int:
        return self.longest or int(tokenizer.model_max_length)

    def tokens(self, tokenizer: Any, text: str) -> list[Chunk]:
        """The tokens of a text in chunks. What does not fit an encoder that reads one chunk is cut, which is logged."""
        tokens = [
            (token, fragment.weight, number)
            for number, fragment in enumerate(fragments(text))
            for token in tokenizer(fragment.text, add_special_tokens=False, verbose=False).input_ids
        ]
        room = self._room(tokenizer)
        size = room - (1 if tokenizer.bos_token_id is None else 2)
        one = self.longest is not None
        if len(tokens) > size and (one or not self.part_of_chunks):
            lost = tokenizer.decode([token for token, _, _ in tokens[size:]])
            log.warning(
                "prompt.cut", encoder=self.part, tokens=len(tokens), read=size, prompt=text[:60], lost=lost[:120]
            )
        starts = range(0, 1 if one else max(len(tokens), 1), size)
        return [Chunk.of(tokens[start : start + size], tokenizer, room) for start in starts]

    @property
    def part_of_chunks(self) -> bool:
        """Whether chunks behind the first are read by the network, as states are, and a vector is not."""
        return self.hidden == "penultimate"


@attrs.frozen(eq=False)
class _Reader:
    """An encoder with its module on a device."""

    module: Any
    device: str
    encoder: Encoder

    def __call__(self, chunk: Chunk, without: int | None = None) -> tuple[Tensor, Tensor | None]:
        """The states of a chunk, (tokens, width), and its vector.  without: the fragment that is masked."""
        mask = None
        if without is not None:
            mask = torch.tensor([[int(number != without) for number in chunk.fragments]], device=self.device)
        ids = torch.tensor([chunk.ids], device=self.device)
        answer = self.module(ids, attention_mask=mask, output_hidden_states=True)
        last = self.encoder.hidden == "last"
        states = answer.last_hidden_state if last else answer.hidden_states[-2]
        pooled = self.encoder.pooled
        return states[0].detach(), getattr(answer, pooled)[0].detach().cpu() if pooled else None


@attrs.frozen
class Chunk:
    """Tokens as an encoder takes them, with marks of beginning, end and nothing: ids, weights, and the numbers of the
    fragments that they are of, -1 for marks."""

    ids: list[int]
    weights: list[float]
    fragments: list[int]

    @classmethod
    def of(cls, tokens: Sequence[tuple[int, float, int]], tokenizer: Any, room: int) -> Chunk:
        begin = [] if tokenizer.bos_token_id is None else [(tokenizer.bos_token_id, 1.0, -1)]
        full = [*begin, *tokens, (tokenizer.eos_token_id, 1.0, -1)]
        full += [(tokenizer.pad_token_id, 1.0, -1)] * (room - len(full))
        return cls([t for t, _, _ in full], [w for _, w, _ in full], [n for _, _, n in full])


def _weighted(states: Tensor, empty: Tensor, chunk: Chunk) -> Tensor:
    """States moved away from those of the empty text, or toward them, by the weight of each token, as compel does."""
    if all(weight == 1 for weight in chunk.weights):
        return states
    weights = torch.tensor(chunk.weights, device=states.device, dtype=states.dtype)[:, None]
    return empty + (states - empty) * weights
