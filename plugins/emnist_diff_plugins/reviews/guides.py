"""Guides: further networks of a run, beside the one that makes its samples.

A condition names one (``Cond("own", denoiser="weak")``), and its rows are evaluated by it. Autoguidance steers with a
weaker one in this way (Karras et al., 2024, arXiv:2406.02507).
"""

from __future__ import annotations

import attrs

from emnist_diff.errors import ConfigError
from emnist_diff.families import Source
from emnist_diff.surroundings import Review
from emnist_diff.timeline import FlowSchedule
from emnist_diff_trajectory.names import known


@attrs.frozen
class FittingGuides(Review):
    """Refuses guides that cannot stand beside the run's own network."""

    def require_guide(self, name: str, guide: Source, main: Source) -> None:
        """`Review.require_guide`; raises as `require_fit`."""
        require_fit(name, guide, main)


def require_fit(name: str, guide: Source, main: Source) -> None:
    """Raise `ConfigError` for a guide of this name that cannot stand beside the main network: one that lacks a class,
    was trained on another process, or whose states have another shape or are the latents of another codec.

    How the range of x0 is bounded while sampling is no part of the process.
    """
    needed = () if guide.conditions.open else main.conditions.classes
    if lacking := [c for c in needed if known(c, guide.conditions.classes) is None]:
        raise ConfigError(
            f"guide {name!r} has no class {lacking[0]!r}, which the run's model has — a guide must know all of its "
            "classes, by name"
        )
    if type(guide.process) is not type(main.process):
        own, other = ("flow" if isinstance(each.process, FlowSchedule) else "diffusion" for each in (main, guide))
        raise ConfigError(
            f"guide {name!r} was trained on another forward process than the run's model: a {other} instead of a {own}"
        )
    ours, theirs = (attrs.asdict(attrs.evolve(each.process, clip_sample=None)) for each in (main, guide))
    if ours != theirs:
        differing = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
        changes = ", ".join(f"{key} {theirs.get(key)} instead of {ours.get(key)}" for key in differing)
        raise ConfigError(f"guide {name!r} was trained on another forward process than the run's model: {changes}")
    if tuple(guide.shape) != tuple(main.shape):
        raise ConfigError(
            f"guide {name!r} has states of shape {tuple(guide.shape)}, the run's model {tuple(main.shape)} — use one "
            "of the same size; a folder's is that which its network was trained on"
        )
    if guide.space != main.space:
        own, other = (f"latents of the codec {each.space:.12}…" if each.space else "images" for each in (main, guide))
        raise ConfigError(
            f"guide {name!r} has states in another space than the run's model: {other} instead of {own} — a guide "
            "must be trained on the same codec"
        )
