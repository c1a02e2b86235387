"""Texts beside prompt and negative prompt, as a modular pipeline of diffusers encodes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor

from emnist_diff.conditions import NULL, OWN, Cond, named
from emnist_diff.errors import ConfigError

_ENCODER = "text_encoder"
_OF_TEXT = {
    "prompt_embeds": "prompt_embeds",
    "encoder_hidden_states": "prompt_embeds",
    "text_embeds": "pooled_prompt_embeds",
    "pooled_projections": "pooled_prompt_embeds",
    "encoder_hidden_states_mask": "prompt_embeds_mask",
    "encoder_attention_mask": "prompt_embeds_mask",
}
"""What networks call the parts of an encoded text → what the encoding block calls them."""
_OF_IMAGES = ("hidden_states", "time_ids", "image_embeds", "txt_ids", "img_ids")
"""What a text does not decide, so that the prompt's serves."""


@attrs.frozen(eq=False)
class Texts:
    """What the encoders of a pipeline make of texts.  parts: by text, then by the name of the part."""

    parts: Mapping[str, Mapping[str, Any]]

    @classmethod
    def encoded(cls, pipeline: Any, texts: Sequence[str]) -> Texts:
        """Each text by itself, as the pipeline encodes a prompt. Raises `ConfigError` for a pipeline without a block
        that does so."""
        if not texts:
            return cls({})
        from diffusers.modular_pipelines.modular_pipeline import PipelineState

        blocks = getattr(getattr(pipeline, "_blocks", None), "sub_blocks", {})
        if _ENCODER not in blocks:
            raise ConfigError(
                f"{type(pipeline).__name__} has no block {_ENCODER!r}, which the text {texts[0]!r:.80} needs"
            )
        encode, parts = blocks[_ENCODER], {}
        for text in texts:
            state = PipelineState()
            for given in encode.inputs:
                state.set(given.name, given.default, given.kwargs_type)
            state.set("prompt", text)
            parts[text] = dict(encode(pipeline, state)[1].values)
        return cls(parts)


def with_text(batch: Any, paired: Mapping[str, Any], cond: Cond, texts: Texts) -> Any:
    """A batch of the prompt with what a text decides in its place.  paired: what prompt and negative prompt differ in.

    Raises `ConfigError` for a part of the text that is not known.
    """
    for key, pair in paired.items():
        own = pair[0]
        if own is None or key in _OF_IMAGES:
            continue
        if key not in _OF_TEXT:
            raise ConfigError(
                f"ForceGuider: what {key!r} is of a text is not known, so that none but the prompt can be"
            )
        values = [_part(text, key, number, pair, texts) for number, text in enumerate(_names(cond, len(own)))]
        setattr(batch, key, torch.cat(values))
    return batch


def _names(cond: Cond, count: int) -> tuple[str, ...]:
    if cond.kind != "each":
        return (cond.value,) * count
    if len(cond.values) < count:
        raise ConfigError(f"a target names {len(cond.values)} texts, too few for {count} samples")
    return cond.values[:count]


def _part(text: str, key: str, sample: int, pair: Any, texts: Texts) -> Tensor:
    """One sample's part of a text, (1, …)."""
    own: Tensor = pair[0]
    if (cond := named(text)) in (OWN, NULL):
        chosen: Tensor = pair[int(cond == NULL)]
        return chosen[sample : sample + 1]
    part = texts.parts[text].get(_OF_TEXT[key])
    if not isinstance(part, Tensor):
        raise ConfigError(
            f"ForceGuider: the encoders give no {_OF_TEXT[key]!r} of a text, which the network's {key!r} is"
        )
    return part[:1].to(own)
