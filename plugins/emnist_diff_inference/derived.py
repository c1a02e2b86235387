"""Fields of an `InferenceConfig` that mean a setting of a run, whose help, range and spellings stand at `RunConfig`."""

from __future__ import annotations

import re
import types
import typing
from typing import Any, Literal

import attrs

from emnist_diff.config import RunConfig
from emnist_diff.structuring import hints
from emnist_diff_inference.checks import Check, anything, named, number, one_of, setting, whole

_RUN = {field.name: field for field in attrs.fields(RunConfig)}

_KINDS: dict[Any, tuple[str, Check]] = {
    int: ("a whole number", whole()),
    float: ("a finite number", number()),
    str: ("text", named),
}
"""The types of a run's settings: what messages call them, and the check of each."""

_BOUNDS = {">=": "at least", ">": "more than", "<=": "at most", "<": "less than"}


def of_run(name: str, default: Any = attrs.NOTHING, *, note: str = "", **more: Any) -> Any:
    """A field that means the setting `name` of a run, with the default, help and other spellings of that one, and
    refusing what that one refuses.

    note: what the help says besides.  more: as of `checks.setting`, and ``check``, in place of that of the type.
    """
    field = _RUN[name]
    parts = [field.metadata["help"], note]
    if default is None and not note:
        otherwise = field.metadata.get("otherwise")
        parts[1] = "the checkpoint's recommendation when None" if field.metadata.get("recommended") else ""
        parts[1] = parts[1] or (f"{otherwise} when None" if otherwise else "")
    kind, check = _kind(name)
    return setting(
        field.default if default is attrs.NOTHING else default,
        "; ".join(filter(None, parts)),
        _within(name, kind, more.pop("check", check)),
        **{"aliases": field.metadata.get("aliases", ()), **more},
    )


def _kind(name: str) -> tuple[str, Check]:
    """What messages call the values of a run's setting, and a check of their type."""
    hint = hints(RunConfig)[name]
    members = [member for member in typing.get_args(hint) if member is not type(None)]
    kind = members[0] if typing.get_origin(hint) in (typing.Union, types.UnionType) else hint
    if typing.get_origin(kind) is Literal:
        return "", one_of(*typing.get_args(kind))
    return _KINDS.get(kind, ("", anything))


def _within(name: str, kind: str, check: Check) -> Check:
    """A check that refuses besides what the setting of a run refuses."""
    field = _RUN[name]

    def both(value: object) -> str | None:
        wrong = check(value)
        if wrong or field.validator is None:
            return wrong
        try:
            field.validator(None, field, value)
        except ValueError as error:
            bound = re.search(r"must be (\S+) (\S+):", str(error.args[0]))
            return f"{kind}, {_BOUNDS.get(bound[1], bound[1])} {bound[2]}" if bound else str(error.args[0])
        return None

    return both
