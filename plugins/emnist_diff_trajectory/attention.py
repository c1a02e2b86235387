"""What a run is requested to keep of a network's attention, as a file of it records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import attrs
from attrs import validators as v

from emnist_diff.errors import ConfigError
from emnist_diff.structuring import structure

ATTENTION = "attention"
"""The group of the activations that are attention, and the name of requests for it."""

SUFFIX = ".attention.h5"
"""What replaces ``.h5`` in the name of a run's file in that of what was captured from it afterwards."""

Kind = Literal["cross", "self"]


def beside(path: Path) -> Path:
    """Where what is captured afterwards from a file goes: ``trajectory.attention.h5`` beside ``trajectory.h5``."""
    return path.with_name(path.name.removesuffix(".h5") + SUFFIX)


def captured_from(path: Path) -> Path | None:
    """The inverse of `beside`; None for a file that is not named so."""
    return path.with_name(path.name.removesuffix(SUFFIX) + ".h5") if path.name.endswith(SUFFIX) else None


def is_attention(request: str) -> bool:
    """Whether a request for activations is one for attention."""
    return request.partition(":")[0].partition("/")[0] == ATTENTION


@attrs.frozen(kw_only=True)
class AttentionRequest:
    """Which attention is kept, and how much of it. `text` is the request of a sink that means it."""

    layers: tuple[str, ...] = attrs.field(
        default=(),
        metadata={"help": "layers, by path or pattern, e.g. mid_block.*; one of each kind a block when left out"},
    )
    kinds: tuple[Kind, ...] = attrs.field(
        default=("cross", "self"),
        validator=v.and_(v.min_len(1), v.deep_iterable(v.in_(("cross", "self")))),
        metadata={"help": "cross (to the tokens of a text or class), self (among the places of the state), or both"},
    )
    heads: Literal["mean", "all"] = attrs.field(
        default="mean", metadata={"help": "mean of the heads of a layer, or all of them"}
    )
    resolution: int = attrs.field(
        default=32,
        validator=v.and_(v.ge(1), v.le(4096)),
        metadata={"help": "cross: the longest side of a kept map; larger ones are pooled"},
    )
    self_resolution: int = attrs.field(
        default=16,
        validator=v.and_(v.ge(1), v.le(1024)),
        metadata={"help": "self: the longest side of a kept map; larger ones are pooled"},
    )

    @property
    def text(self) -> str:
        """The request: ``attention``, with the settings that are not the usual ones."""
        usual = AttentionRequest()
        changed = {
            field.name: getattr(self, field.name)
            for field in attrs.fields(AttentionRequest)
            if getattr(self, field.name) != getattr(usual, field.name)
        }
        return ATTENTION + (f":{json.dumps(changed, sort_keys=True)}" if changed else "")

    @classmethod
    def parse(cls, request: str) -> AttentionRequest:
        """The inverse of `text`. Raises `ConfigError` for settings that are none."""
        name, _, settings = request.partition(":")
        try:
            read = json.loads(settings or "{}")
        except ValueError as error:
            raise ConfigError(f"{name}: its settings {settings!r:.80} are no JSON: {error}") from None
        if not isinstance(read, dict):
            raise ConfigError(f"{name}: its settings are a table, got {settings!r:.80}")
        return structure(read, cls, name)
