"""``--strict-plugins``: no command of a broken installation."""

from __future__ import annotations

from emnist_diff.errors import PluginError
from emnist_diff.plugins import Registry


def require_healthy(registry: Registry) -> None:
    """Raise `PluginError` when any plugin is broken (``--strict-plugins``)."""
    if registry.broken:
        raise PluginError(
            "broken plugins: "
            + "; ".join(f"{b.distribution} [{b.plugin}]: {b.error}" for b in registry.broken)
            + " — see emnist-diff plugins list --traceback"
        )
