"""Guides: further networks of a run, beside the one that makes its samples.

A condition names one (``Cond("own", denoiser="weak")``), and its rows are evaluated by it. Autoguidance steers with a
weaker one in this way (Karras et al., 2024, arXiv:2406.02507).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from emnist_diff import checkpoint
from emnist_diff.errors import CheckpointError, ConfigError
from emnist_diff.names import known

if TYPE_CHECKING:
    from emnist_diff.conditions import ConditionSpace
    from emnist_diff.protocols import Denoiser
    from emnist_diff.timeline import ForwardProcess


def require_fit(
    name: str, space: ConditionSpace, process: ForwardProcess, main: ConditionSpace, main_process: ForwardProcess
) -> None:
    """Raise `ConfigError` for a guide of this name, with these classes and forward process, that cannot stand beside
    the main network: one that lacks a class, or was trained on another process.

    How the range of x0 is bounded while sampling is no part of the process.
    """
    if lacking := [c for c in main.classes if known(c, space.classes) is None]:
        raise ConfigError(
            f"guide {name!r} has no class {lacking[0]!r}, which the run's model has — a guide must know all of its "
            "classes, by name"
        )
    here, there = (attrs.asdict(attrs.evolve(p, clip_sample=None)) for p in (main_process, process))
    if type(process) is not type(main_process) or here != there:
        differing = sorted(key for key in here.keys() | there.keys() if here.get(key) != there.get(key))
        said = ", ".join(f"{key} {there.get(key)} instead of {here.get(key)}" for key in differing)
        raise ConfigError(f"guide {name!r} was trained on another forward process than the run's model: {said}")


def require_shape(name: str, guide: Denoiser, main: Denoiser) -> None:
    """Raise `ConfigError` for a guide whose states have another shape than the main network's."""
    if tuple(guide.shape) != tuple(main.shape):
        raise ConfigError(
            f"guide {name!r} has states of shape {tuple(guide.shape)}, the run's model {tuple(main.shape)}"
        )


def require_recorded(guides: Mapping[str, str], recorded: object, what: str) -> None:
    """Raise `CheckpointError` when `guides`, name → file, are not the ones that were recorded, name → SHA-256.

    what: whose they were, for the message.
    """
    hashes: Mapping[str, Any] = recorded if isinstance(recorded, Mapping) else {}
    for name, sha256 in hashes.items():
        wanted = f"{what} was made with the guide {str(name)!r:.80} of sha256 {sha256!s:.12}…"
        if name not in guides:
            raise CheckpointError(f"{wanted} — say --guide {name}=FILE")
        path = checkpoint.discover(Path(guides[name]))
        if checkpoint.sha256(path) != sha256:
            raise CheckpointError(f"{wanted}, and {path} is another")
    if more := sorted(guides.keys() - hashes.keys()):
        raise CheckpointError(f"{what} was made without the guide {more[0]!r} — leave it out")
