"""Variants: other ways to ask the same network, such as with its attention perturbed.

A variant is written ``NAME``, ``NAME@NUMBER`` or either with ``:all`` behind it::

    attention_identity        attention_blur@3        attention_blur@3:all

A denoiser declares those that it understands as a tuple of them, with a word in capitals in place of a number that may
be chosen: ``("attention_identity", "attention_blur@SIGMA")``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import attrs

from emnist_diff.errors import ConfigError
from emnist_diff.protocols import Denoiser, offers
from emnist_diff_plugins.capabilities import HasVariants

EVERYWHERE = ":all"


@attrs.frozen
class Variant:
    """A variant as it is asked for.

    name: what is done.  value: how much of it, greater than 0, or None where nothing was said.
    everywhere: in all places of the network where it can be done, not in the usual ones only.
    """

    name: str
    value: float | None = None
    everywhere: bool = False

    @classmethod
    def parse(cls, text: str) -> Variant:
        """The variant that `text` means. Raises `ConfigError` where it is none."""
        rest = text.removesuffix(EVERYWHERE)
        name, at, number = rest.partition("@")
        if not name.isidentifier():
            raise ConfigError(f"variant {text!r}: write it as NAME, NAME@NUMBER, or either with {EVERYWHERE} behind it")
        if not at:
            return cls(name, None, rest != text)
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            raise ConfigError(f"variant {text!r}: {number!r} is no number greater than 0")
        return cls(name, value, rest != text)

    def __str__(self) -> str:
        """The text that `parse` reads."""
        value = "" if self.value is None else f"@{self.value:.17g}"
        return f"{self.name}{value}{EVERYWHERE if self.everywhere else ''}"


def understood(requested: str, declared: Iterable[str]) -> bool:
    """Whether one of the declared variants is the requested one."""
    variant = Variant.parse(requested)
    for one in declared:
        rest = one.removesuffix(EVERYWHERE)
        name, at, _ = rest.partition("@")
        if (name, bool(at), rest != one) == (variant.name, variant.value is not None, variant.everywhere):
            return True
    return False


def require(denoiser: Denoiser, requested: str, name: str) -> None:
    """Raise `ConfigError` for a variant that a denoiser, called `name` in the message, does not declare."""
    known = tuple(denoiser.variants) if offers(denoiser, HasVariants) else ()
    if requested and not understood(requested, known):
        has = "it declares " + ", ".join(known) if known else "it has no variants"
        raise ConfigError(f"denoiser {name!r} has no variant {requested!r} — {has}")
