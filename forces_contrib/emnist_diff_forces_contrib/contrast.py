"""The difference of any two predictions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import attrs
from emnist_diff.conditions import Cond, Predictions
from emnist_diff.errors import ConfigError
from emnist_diff.schedules import Schedule
from emnist_diff.spaces import ConditionSpace
from emnist_diff.steps import ForceStep
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.capabilities import Direction, Directions
from emnist_diff_plugins.variants import Variant
from torch import Tensor

from emnist_diff_forces_contrib._fields import scalar_field
from emnist_diff_forces_contrib._targets import Target, check, condition, target_or_null

_ACROSS = Direction("moves from 'away' to 'toward'", "the two exchanged")


def _class(help: str, default: str, aliases: tuple[str, ...]) -> Any:
    return attrs.field(
        default=default,
        converter=target_or_null,
        metadata={"help": f"{help}: own, null, a name, or one name a sample", "aliases": aliases},
    )


def _named(target: Target | None) -> Target:
    return "null" if target is None else target


def _network(which: str) -> Any:
    return attrs.field(default="", metadata={"help": f"the guide that evaluates {which}; the model itself when empty"})


def _variant(which: str) -> Any:
    def parsed(instance: Any, attribute: Any, value: str) -> None:
        if value:
            Variant.parse(value)

    return attrs.field(
        default="",
        validator=parsed,
        metadata={"help": f"the variant of the network that evaluates {which}; the plain one when empty"},
    )


@attrs.frozen
class Contrast:
    """strength · (e_a − e_b), with a the condition `toward` and b the condition `away`, each of any network of the run.

    Either may be a class, each sample's own one, or none, as the model itself predicts it, another checkpoint (a guide)
    or a variant of a network. What is known under other names are cases of it: classifier-free guidance has own and
    null (Ho and Salimans, 2022, arXiv:2207.12598, equation 6); autoguidance the same class of two checkpoints (Karras
    et al., 2024, arXiv:2406.02507, equation 3, with w − 1 for the strength), and with null for `away`, guidance that
    moves to a class and away from a worse network at once; perturbed-attention guidance the same class with and
    without a variant (Ahn et al., 2024, arXiv:2403.17377). It costs one row a sample for each that the base does not
    read. Both must be predictions of the same forward process, as all guides of a run are.

    Example: ``--base cond --guide weak=weak.safetensors --force "contrast:away=null,away_guide=weak,strength=1.5"``
    """

    toward: Target | None = _class("what is moved toward", "own", ("target", "positive"))
    away: Target | None = _class("what is moved away from", "null", ("secondary", "negative"))
    strength: Schedule = scalar_field(1.0, "multiplies the difference, at least 0", ("scale",))
    toward_guide: str = _network("toward")
    away_guide: str = _network("away")
    toward_variant: str = _variant("toward")
    away_variant: str = _variant("away")

    directions: ClassVar[Directions] = {"weight": _ACROSS, "strength": _ACROSS}

    def __attrs_post_init__(self) -> None:
        if self.a == self.b:
            raise ConfigError(
                f"contrast: toward and away are both {str(self.a)!r}, and nothing is left of their difference — name "
                "two classes, guides or variants that differ"
            )

    @property
    def a(self) -> Cond:
        """What is moved toward."""
        return attrs.evolve(condition(_named(self.toward)), denoiser=self.toward_guide, variant=self.toward_variant)

    @property
    def b(self) -> Cond:
        """What is moved away from."""
        return attrs.evolve(condition(_named(self.away)), denoiser=self.away_guide, variant=self.away_variant)

    def bind(self, space: ConditionSpace) -> Contrast:
        """Itself. Raises `UnknownName` for a class that the model does not have; a guide may have others."""
        for target, guide in ((self.toward, self.toward_guide), (self.away, self.away_guide)):
            if not guide:
                check(_named(target), space)
        return self

    def idle(self, at: StepInfo) -> bool:
        """See `emnist_diff_plugins.capabilities.Idles`."""
        return self.strength(at) == 0

    def conditions(self, at: StepInfo) -> Iterable[Cond]:
        return (self.a, self.b) if self.strength(at) != 0 else ()

    def __call__(self, predictions: Predictions, step: ForceStep) -> Tensor:
        strength = self.strength(step.at)
        if strength == 0:
            return step.x.new_zeros(step.x.shape)
        return strength * (predictions[self.a] - predictions[self.b])
