"""Where denoisers come from: families, and the sources that they make known.

A family is an attrs class of settings. Its `source` says all that a run has to know of a denoiser before its weights
are read, and loads it. A checkpoint file, a folder of another program, or an exact model without weights are families
alike; what a run is steered by, and what guides it, comes from any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import attrs

if TYPE_CHECKING:
    from pathlib import Path

    from emnist_diff.components import Component
    from emnist_diff.plugins import Registry
    from emnist_diff.protocols import Denoiser
    from emnist_diff.spaces import ConditionSpace
    from emnist_diff.timeline import ForwardProcess, PredictionType


@attrs.frozen(eq=False, kw_only=True)
class Source:
    """A denoiser before its weights are read.

    conditions: what it can be asked for.  process: the forward process that it was trained on.
    prediction_type: what it predicts.  shape: of one state.
    load: makes the denoiser on a torch device (``cpu``, ``cuda:1``); a run calls it once.
    recommended: settings of a run to use unless the user says otherwise.
    label: how messages call it, such as the path of a file, or "".
    identity: the SHA-256 of its weights, which a run records so that nothing else is resumed or replayed with them; ""
    where the settings of the family decide everything.
    space: the identity of the codec that states are latents of, or "" where they are images themselves.
    facts: JSON-ready; a run records them in its environment.
    network: the component whose name and settings a run records as its denoiser; None for the family itself.
    """

    conditions: ConditionSpace
    process: ForwardProcess
    prediction_type: PredictionType
    shape: tuple[int, ...]
    load: Callable[[str], Denoiser]
    recommended: Mapping[str, Any] = attrs.field(factory=dict)
    label: str = ""
    identity: str = ""
    space: str = ""
    facts: Mapping[str, Any] = attrs.field(factory=dict)
    network: Component | None = None

    @classmethod
    def of(cls, load: Callable[[str], Denoiser]) -> Source:
        """The source of a denoiser without weights that costs little to make: it is made once on the CPU to see."""
        known = load("cpu")
        return cls(
            conditions=known.conditions,
            process=known.process,
            prediction_type=known.prediction_type,
            shape=tuple(known.shape),
            load=load,
        )


@runtime_checkable
class DenoiserFamily(Protocol):
    """What a `records.DenoiserSpec` names: an attrs class of settings that denoisers are made of."""

    def source(self, registry: Registry) -> Source:
        """The denoiser that these settings mean. Cheap: weights are read by `Source.load`.

        registry: the installed plugins, for a family that is made of others.
        Raises `CheckpointError` for files that it cannot read, `ConfigError` for settings that name no denoiser.
        """


@runtime_checkable
class OpensPaths(Protocol):
    """What a family whose record says ``opens_paths`` also offers: ``--checkpoint PATH`` and ``--guide NAME=PATH``
    are short for the first family that opens the path."""

    @classmethod
    def opened(cls, path: Path, epoch: int | None) -> DenoiserFamily | None:
        """The family with the settings that mean this file or folder; None for one of another kind. Cheap.

        epoch: the one of a folder that is asked for, or None.
        Raises `CheckpointError` for a path of its kind that is damaged.
        """
