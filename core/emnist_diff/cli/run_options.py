"""What some options of ``emnist-diff run`` mean."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from emnist_diff import parse
from emnist_diff.errors import ConfigError, unknown
from emnist_diff.records import SinkSpec
from emnist_diff.seeds import RANDOM
from emnist_diff.shown import shown

_ALL = "all"


def seed(text: str | None) -> int | str | None:
    """A whole number or ``random``. Raises `ConfigError` for anything else."""
    if text is None or text == RANDOM:
        return text
    if not re.fullmatch(r"\s*[+-]?[0-9]{1,40}\s*", text):
        raise ConfigError(f"--seed {shown(text)}: expected a whole number, or {RANDOM} for one that is drawn")
    return int(text)


def presets(texts: list[str], arguments: str | None) -> list[dict[str, Any]]:
    """The presets asked for, each ``name``, ``name:key=value,…`` or a file; the arguments belong to the only one.

    Raises `ConfigError` for arguments without one preset, or that say again what stands beside its name.
    """
    out = [_preset(text) for text in texts]
    if arguments is None:
        return out
    if len(out) != 1:
        raise ConfigError(f"--preset-args needs one --preset, got {len(out)}")
    settings = parse.json_or_file(arguments, "--preset-args")
    if not isinstance(settings, dict):
        raise ConfigError(f"--preset-args: expected a table of settings, got {shown(settings)}")
    return [{**out[0], "settings": settings}]


def _preset(text: str) -> dict[str, Any]:
    is_file = text.endswith((".toml", ".json")) and not re.match(r"[\w.-]+:[\w-]+=", text)
    return {"name": text} if is_file else parse.component(text, "--preset")


def saved(names: Iterable[str], known: Mapping[str, SinkSpec]) -> dict[str, bool]:
    """The flags of the sinks that ``--save`` switches on: ``all``, or names separated by commas.

    known: the sinks that have a flag, by that.  Raises `UnknownName` for a name that none of them has.
    """
    out: dict[str, bool] = {}
    flag_of = {spec.name: flag for flag, spec in known.items()} | {flag: flag for flag in known}
    for name in (part.strip() for text in names for part in text.split(",")):
        if name == _ALL:
            out |= dict.fromkeys(known, True)
        elif name in flag_of:
            out[flag_of[name]] = True
        else:
            raise unknown("sink of --save:", name, [_ALL, *flag_of])
    return out
