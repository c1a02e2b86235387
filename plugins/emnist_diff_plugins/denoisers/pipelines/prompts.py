"""Prompts: the names under which texts go, and the texts as fragments with weights, ``a (red:1.3) house``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

import attrs

from emnist_diff.errors import ConfigError, unknown
from emnist_diff.spaces import Inputs
from emnist_diff_plugins.spaces import TextSpace, listed

_FRAGMENT = re.compile(r"\\([()\\])|\(((?:\\.|[^()\\])*):([^():]*)\)")
"""An escaped bracket, or a fragment with a weight."""

HEAVIEST = 10.0
"""The most that a fragment may weigh; beyond about 1.6 most models make nothing sensible."""


@attrs.define(eq=False)
class PromptSpace(TextSpace):
    """Any text is a condition, and so is each name of `names`, which stands for its text.

    names: name → text.  numbers: what a network takes beside the text, by name; see `Cond.inputs`.
    """

    names: Mapping[str, str] = attrs.field(factory=dict, kw_only=True)
    numbers: tuple[str, ...] = attrs.field(default=(), kw_only=True)

    def resolve(self, name: str) -> str:
        """The text that a name stands for, or the text itself. Raises `ConfigError` for weights that cannot be read."""
        text = self.names.get(name, name)
        fragments(text)
        return text

    def index(self, name: str, inputs: Inputs = ()) -> int:
        """`ConditionSpace.index`. Raises as `resolve`, and `UnknownName` for a number that the network does
        not take."""
        for number, value in inputs:
            if number not in self.numbers:
                raise unknown("number beside a prompt", number, self.numbers)
            if not math.isfinite(value):
                raise ConfigError(f"{number} = {value} beside the prompt {name!r:.80} is no number")
        return super().index(self.resolve(name), inputs)

    def characters(self, requested: str | Sequence[str] | None) -> tuple[str, ...]:
        """`ConditionSpace.characters`: None and ``all`` mean all texts that have names. Raises `ConfigError` for an
        empty text, and where nothing is requested and no text has a name."""
        if requested is None or (requested == "all" and self.names and "all" not in self.names):
            requested = tuple(self.names)
        elif isinstance(requested, str):
            requested = listed(requested) if requested.startswith("[") else [requested]
        if not requested:
            raise ConfigError('this model makes what a text says — use --prompt "…"')
        texts = tuple(dict.fromkeys(self.resolve(name) for name in requested))
        if any(not text.strip() for text in texts):
            raise ConfigError("a prompt is empty, which is the null condition — use --base uncond to sample it")
        return texts

    @property
    def entries(self) -> tuple[tuple[str, Inputs], ...]:
        """Text and numbers of all rows so far, in the order of their indices, and behind them the null condition."""
        return (*self._indices, ("", ()))


@attrs.frozen
class Fragment:
    """A piece of a prompt.  weight: 1 for what is as it is."""

    text: str
    weight: float = 1.0


def fragments(text: str) -> tuple[Fragment, ...]:
    """The pieces of a prompt. ``(words:1.3)`` weighs 1.3; a bracket that is meant as one is written ``\\(``, though
    brackets without a weight stay as they are. Raises `ConfigError` for a weight that is none."""
    out: list[Fragment] = []
    plain, end = "", 0
    for match in _FRAGMENT.finditer(text):
        plain += text[end : match.start()]
        end = match.end()
        if match[1] is not None:
            plain += match[1]
            continue
        weight = _number(match[3])
        if weight is None:  # words and a colon, as in "(note: no weight)"
            plain += match[0]
            continue
        if not 0 <= weight <= HEAVIEST:
            raise ConfigError(f"prompt {text!r:.80}: the weight {match[3]} is not within 0 … {HEAVIEST:g}")
        if plain:
            out.append(Fragment(plain))
            plain = ""
        out.append(Fragment(re.sub(r"\\([()\\])", r"\1", match[2]), weight))
    plain += text[end:]
    return tuple([*out, Fragment(plain)] if plain or not out else out)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def paired(prompts: Mapping[str, str] | Iterable[Iterable[str]]) -> tuple[tuple[str, str], ...]:
    """Names and texts as ordered pairs, from a table or from pairs. Raises `ConfigError` for what is neither."""
    pairs = prompts.items() if isinstance(prompts, Mapping) else prompts
    out = tuple(tuple(pair) for pair in pairs)
    for pair in out:
        if len(pair) != 2 or not all(isinstance(part, str) and part.strip() for part in pair):
            raise ConfigError(f"prompts: {str(pair)!r:.80} is no name with a text")
    if len({name for name, _ in out}) != len(out):
        raise ConfigError("prompts: a name is there twice")
    return out
