"""Settings through a TOML file and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tomlkit

from emnist_diff_trajectory.plaindata import from_toml


def carried(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as a TOML file with them gives them back. What is None is left out: TOML has no word for it.

    Raises `ValueError` for what TOML cannot say.
    """
    try:
        text = tomlkit.dumps(_without_none(settings))
    except (TypeError, ValueError) as error:
        raise ValueError(f"TOML cannot say it: {error}") from error
    return from_toml(text)


def _without_none(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {str(key): _without_none(value) for key, value in data.items() if value is not None}
    return [_without_none(item) for item in data] if isinstance(data, list | tuple) else data
