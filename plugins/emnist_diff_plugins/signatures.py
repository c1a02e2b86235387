"""Functions of users: can they be called as they will be?"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from emnist_diff.errors import ConfigError


def require_parameters(function: Callable[..., Any], wanted: tuple[str, ...], found: str) -> None:
    """Raise `ConfigError` for a function that cannot be called with `wanted`, positional arguments by these names.

    found: where what other programs hand over is found, for the message.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built-ins do not say
        return
    try:
        signature.bind(*wanted)
    except TypeError:
        name = getattr(function, "__name__", type(function).__name__)
        shown = ", ".join(signature.parameters)
        raise ConfigError(
            f"function {name!r} takes ({shown:.200}) — write it as def {name}({', '.join(wanted)}): {found}"
        ) from None
