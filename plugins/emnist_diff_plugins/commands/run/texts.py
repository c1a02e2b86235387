"""Options of ``emnist-diff run`` for models that take texts; `reviews.texts` says what they mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from emnist_diff.config import GENERATION, MODEL, SPEED
from emnist_diff.errors import ConfigError
from emnist_diff_trajectory.plaindata import read_text


def prompts(texts: list[str], option: str) -> list[str]:
    """The texts, those of ``@FILE`` one a line. Raises `ConfigError` for a file that cannot be read or holds none."""
    out: list[str] = []
    for text in texts:
        if not text.startswith("@"):
            out.append(text)
            continue
        try:
            lines = read_text(Path(text[1:])).splitlines()
        except ValueError as error:
            raise ConfigError(f"{option}: cannot read {text[1:]!r}: {error}") from error
        if not (lines := [line.strip() for line in lines if line.strip()]):
            raise ConfigError(f"{option} {text}: the file holds no prompt — write one a line")
        out += lines
    return out


def _option(help: str, panel: str = GENERATION, **more: object) -> Any:
    return attrs.field(default=None, metadata={"help": help, "panel": panel, "otherwise": "", **more})


@attrs.frozen(kw_only=True)
class TextOptions:
    """What belongs to models that take texts, each an option and a key of configuration files."""

    prompt: tuple[str, ...] | None = _option(
        "a text to sample, or @FILE with one a line; one sample of each unless their number is given",
        read=prompts, several=True,
    )  # fmt: skip
    negative_prompt: str | None = _option("the text of the null condition, from which guidance leads away")
    lora: tuple[str, ...] | None = _option(
        "a LoRA to add to a text-to-image model, FILE or FILE:SCALE", MODEL, several=True
    )
    offload: str | None = _option(
        "what of a text-to-image model leaves the GPU while it is not needed: none, model, sequential or group", SPEED
    )
    attention_slicing: bool | None = _option("attention in parts, for less memory", SPEED)
    vae_slicing: bool | None = _option("refused, since images are always decoded one at a time", SPEED)
    vae_tiling: bool | None = _option("decode images in tiles, for less memory; changes them a little", SPEED)
